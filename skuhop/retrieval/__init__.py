"""Stage II: how a query becomes an answer."""

from skuhop.retrieval.auto_scorer import build_auto_scorer
from skuhop.retrieval.engine import (
    Memory,
    answers,
    energies,
    iterate,
    partial,
)
from skuhop.retrieval.experts import told_experts, told_pool
from skuhop.retrieval.new_rows import NewRowScorer
from skuhop.retrieval.partials import finalise, merge
from skuhop.retrieval.ranking import associations, best_patterns
from skuhop.retrieval.scorers import ScaledScorer, build_observed_scorer, build_scorer
from skuhop.retrieval.separations import SEPARATIONS
from skuhop.retrieval.similarities import SIMILARITIES

__all__ = [
    "SEPARATIONS",
    "SIMILARITIES",
    "Memory",
    "NewRowScorer",
    "ScaledScorer",
    "answers",
    "associations",
    "build_auto_scorer",
    "best_patterns",
    "build_observed_scorer",
    "build_scorer",
    "energies",
    "finalise",
    "iterate",
    "merge",
    "partial",
    "told_experts",
    "told_pool",
]
