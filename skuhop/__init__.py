"""skuhop: a scikit-learn compatible associative memory (U-Hop) on torch."""

from skuhop._classifier import UHopClassifier
from skuhop._kanerva import KanervaMemory
from skuhop._memory import UHopMemory
from skuhop._regressor import UHopRegressor
from skuhop._version import __version__

__all__ = [
    "KanervaMemory",
    "UHopClassifier",
    "UHopMemory",
    "UHopRegressor",
    "__version__",
]
