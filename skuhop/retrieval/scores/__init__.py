"""Scores: how alike a query and every stored pattern are."""

from skuhop.retrieval.scores.expected_kernel import WITH_HOLES, build_incomplete_scorer
from skuhop.retrieval.scores.kernel import KernelScorer, build_scorer
from skuhop.retrieval.scores.observed import build_observed_scorer
from skuhop.retrieval.scores.scorer import (
    FeatureMap,
    Linear,
    Query,
    ScaledScorer,
    Scorer,
    largest_beta,
)
from skuhop.retrieval.scores.similarities import (
    SIMILARITIES,
    Similarity,
    direction,
    less_mean,
)

__all__ = [
    "SIMILARITIES",
    "WITH_HOLES",
    "FeatureMap",
    "KernelScorer",
    "Linear",
    "Query",
    "ScaledScorer",
    "Scorer",
    "Similarity",
    "build_incomplete_scorer",
    "build_observed_scorer",
    "build_scorer",
    "direction",
    "largest_beta",
    "less_mean",
]
