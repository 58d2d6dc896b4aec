"""skuhop: a scikit-learn compatible associative memory (U-Hop) on torch."""

from skuhop._memory import UHopMemory
from skuhop._version import __version__

__all__ = ["UHopMemory", "__version__"]
