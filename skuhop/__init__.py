"""skuhop: a scikit-learn compatible associative memory (U-Hop) on torch."""

from skuhop._version import __version__
from skuhop.estimators import (
    KanervaMemory,
    UHopClassifier,
    UHopImputer,
    UHopMemory,
    UHopRegressor,
)

__all__ = [
    "KanervaMemory",
    "UHopClassifier",
    "UHopImputer",
    "UHopMemory",
    "UHopRegressor",
    "__version__",
]
