"""Benchmarks of daxmap. `python -m benches` runs them all and prints one table."""
