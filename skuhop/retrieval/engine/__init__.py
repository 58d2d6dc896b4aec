"""The engine: from scores to weights and answers, in bounded memory."""

from skuhop.retrieval.engine.answers_and_energies import (
    answers,
    energies,
    energies_of,
    null_of,
    null_weights,
    partial,
)
from skuhop.retrieval.engine.holes import Holes, lay_out_known
from skuhop.retrieval.engine.memory_record import Memory, origin_of
from skuhop.retrieval.engine.neighbourhoods import patterns_within
from skuhop.retrieval.engine.neighbours import highest_patterns, nearest_patterns
from skuhop.retrieval.engine.partial_results import Sums, finalise, lift_scores, merge
from skuhop.retrieval.engine.ranking import (
    associations,
    best_partial,
    best_patterns,
    finalise_heaviest,
    heaviest,
    heaviest_partial,
    merge_best,
    merge_heaviest,
)

__all__ = [
    "Holes",
    "Memory",
    "Sums",
    "answers",
    "associations",
    "best_partial",
    "best_patterns",
    "energies",
    "energies_of",
    "finalise",
    "finalise_heaviest",
    "heaviest",
    "heaviest_partial",
    "highest_patterns",
    "lay_out_known",
    "lift_scores",
    "merge",
    "merge_best",
    "merge_heaviest",
    "nearest_patterns",
    "null_of",
    "null_weights",
    "origin_of",
    "partial",
    "patterns_within",
]
