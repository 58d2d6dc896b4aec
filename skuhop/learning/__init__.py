"""Stage I: what the feature map is and how it is learned."""

from skuhop.learning.feature_maps import FEATURE_MAPS, feature_map_kind
from skuhop.learning.losses import LOSSES
from skuhop.learning.trainer import Schedule, learn

__all__ = ["FEATURE_MAPS", "LOSSES", "Schedule", "feature_map_kind", "learn"]
