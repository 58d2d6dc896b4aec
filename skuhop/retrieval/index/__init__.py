"""Memories too large to look at all of: candidates and sampled tails."""

from skuhop.retrieval.index.candidates import Nearest, indexed_best, missing_weight
from skuhop.retrieval.index.lists import (
    Lists,
    Space,
    move,
)
from skuhop.retrieval.index.tails import N_DRAWS, tail_std, update_of
from skuhop.retrieval.index.trials import (
    NUMBERS_AT_ONCE,
    caution_of,
    checks_of,
    shares_found,
)

__all__ = [
    "NUMBERS_AT_ONCE",
    "N_DRAWS",
    "Lists",
    "Nearest",
    "Space",
    "caution_of",
    "checks_of",
    "indexed_best",
    "missing_weight",
    "move",
    "shares_found",
    "tail_std",
    "update_of",
]
