"""Says of each lemma whether it is proven, and what is wrong with arithmetic that is not daxmap's.

PYTHONPATH=tests python -m proof            prints that
PYTHONPATH=tests python -m proof --write    writes the vectors with which functions are compared
"""

import sys

from proof import vectors
from proof.lemmas import Lemma
from proof.subjects import FALLACIES, LEMMAS


def tell(lemma: Lemma) -> bool:
    """Prints what becomes of a lemma; whether it holds."""
    words = lemma.counterexample()
    if words is None:
        answer = "proven"
    else:
        answer = "fails for " + ", ".join(f"{name} = {number:#x}" for name, number in words.items())
    text = lemma.text.partition("\n\n")[0].replace("\n", " ")
    print(f"{lemma.name}: {answer}\n    {text}")
    return words is None


def main() -> int:
    if sys.argv[1:] == ["--write"]:
        vectors.write()
        return 0
    proven = [tell(lemma) for lemma in LEMMAS]
    print("\nWhat looks right, but is not:\n")
    refuted = [not tell(lemma) for lemma in FALLACIES]
    return 0 if all(proven) and all(refuted) else 1


if __name__ == "__main__":
    sys.exit(main())
