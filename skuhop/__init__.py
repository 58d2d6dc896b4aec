"""skuhop: a scikit-learn compatible associative memory (U-Hop) on torch."""

from skuhop._version import __version__
from skuhop.choices import (
    CrossFitting,
    Entmax,
    Index,
    KSubsets,
    LogLoss,
    Normmax,
    Polynomial,
    Retention,
    Training,
    Updates,
)
from skuhop.estimators import (
    KanervaMemory,
    UHopClassifier,
    UHopDetector,
    UHopImputer,
    UHopMemory,
    UHopMILClassifier,
    UHopRegressor,
)

__all__ = [
    "CrossFitting",
    "Entmax",
    "Index",
    "KSubsets",
    "KanervaMemory",
    "LogLoss",
    "Normmax",
    "Polynomial",
    "Retention",
    "Training",
    "UHopClassifier",
    "UHopDetector",
    "UHopImputer",
    "UHopMILClassifier",
    "UHopMemory",
    "UHopRegressor",
    "Updates",
    "__version__",
]
