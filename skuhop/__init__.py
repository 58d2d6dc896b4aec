"""skuhop: a scikit-learn compatible associative memory (U-Hop) on torch."""

from skuhop._version import __version__
from skuhop.estimators import (
    KanervaMemory,
    UHopClassifier,
    UHopMemory,
    UHopMILClassifier,
    UHopRegressor,
)

__all__ = [
    "KanervaMemory",
    "UHopClassifier",
    "UHopMILClassifier",
    "UHopMemory",
    "UHopRegressor",
    "__version__",
]
