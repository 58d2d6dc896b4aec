"""Memories too large to look at all of: candidates and sampled tails."""

from skuhop.retrieval.index.candidates import (
    Nearest,
    indexed_answers,
    indexed_best,
    missing_weight,
)
from skuhop.retrieval.index.lists import (
    Lists,
    Space,
    move,
)
from skuhop.retrieval.index.tails import N_DRAWS, sampled_answers_alone, tail_std
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
    "indexed_answers",
    "indexed_best",
    "missing_weight",
    "move",
    "sampled_answers_alone",
    "shares_found",
    "tail_std",
]
