"""Memories too large to look at all of: candidates and sampled tails."""

from skuhop.retrieval.index.candidates import (
    Nearest,
    answer_from_index,
    best_from_index,
    missing_weight,
)
from skuhop.retrieval.index.lists import (
    Lists,
    Space,
    move,
)
from skuhop.retrieval.index.tails import N_DRAWS, answer_with_tail_alone, tail_std
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
    "answer_from_index",
    "answer_with_tail_alone",
    "best_from_index",
    "caution_of",
    "checks_of",
    "missing_weight",
    "move",
    "shares_found",
    "tail_std",
]
