"""The Rust core without Python: rust/daxmap-core/benches/pair, run by cargo."""

from benches.compare import Compare
from benches.rust_program import rounds_of

CASES = [("pair, gap", "obvious loop in Rust", 1.08), ("setup, 10,000 live", "HashMap scanned in Rust", None)]


def test_core(compare: Compare) -> None:
    rounds = compare.once(lambda: rounds_of("daxmap-core", "pair"))
    for what, against, bar in CASES:
        compare.record(f"Rust core: {what}", rounds[what], against=against, bar=bar)
