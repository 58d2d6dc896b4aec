"""Pictures of a memory, as scikit-learn's displays: computed first, drawn later.

A display holds numbers and nothing else. ``plot`` draws them, as often as wanted and
into any axes, and is the only place that imports matplotlib.
"""

from skuhop.plotting._capacity import CapacityDisplay
from skuhop.plotting._energy import EnergyDisplay
from skuhop.plotting._learning import StageOneDisplay
from skuhop.plotting._retrieval import RetrievalDisplay

__all__ = ["CapacityDisplay", "EnergyDisplay", "RetrievalDisplay", "StageOneDisplay"]
