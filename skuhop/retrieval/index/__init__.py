"""Memories too large to look at all of: candidates and sampled tails."""

from skuhop.retrieval.index.candidates import Nearest, indexed_best, missing_weight
from skuhop.retrieval.index.lists import (
    Lists,
    Space,
    distances,
    effective_features,
    expected_exponentials,
    move,
    read_lists,
    squared_distances,
)
from skuhop.retrieval.index.tails import N_DRAWS, tail_std, update_of

__all__ = [
    "N_DRAWS",
    "Lists",
    "Nearest",
    "Space",
    "distances",
    "effective_features",
    "expected_exponentials",
    "indexed_best",
    "missing_weight",
    "move",
    "read_lists",
    "squared_distances",
    "tail_std",
    "update_of",
]
