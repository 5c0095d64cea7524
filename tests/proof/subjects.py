"""All models, lemmas and fallacies: each subject adds its own when it is imported."""

from proof import (  # noqa: F401
    books,
    budgets,
    files,
    holes,
    host,
    layouts,
    naive,
    pieces,
    removals,
    requests,
    spans,
    windows,
)
from proof.lemmas import FALLACIES, LEMMAS
from proof.models import MODELS

__all__ = ["FALLACIES", "LEMMAS", "MODELS"]
