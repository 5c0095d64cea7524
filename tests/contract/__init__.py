"""The contract of the mapper, over every backend."""
