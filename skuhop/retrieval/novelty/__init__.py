"""How unlike stored rows others are, feature by feature."""

from skuhop.retrieval.novelty.judging import (
    Novelty,
    build_novelty,
    judge,
    map_residuals,
    measure,
    usual_distance,
    weigh,
)

__all__ = [
    "Novelty",
    "build_novelty",
    "judge",
    "map_residuals",
    "measure",
    "usual_distance",
    "weigh",
]
