"""Stage I: what the feature map is and how it is learned."""

from skuhop.learning.bank import learn_bank
from skuhop.learning.completion import learn_precision
from skuhop.learning.corruptions import (
    CORRUPTIONS,
    any_of_both,
    corrupted_copies,
    limit_rows,
)
from skuhop.learning.feature_maps import (
    FEATURE_MAPS,
    feature_map_kind,
    restore,
    state_for_unit,
)
from skuhop.learning.losses import LOSSES
from skuhop.learning.told import learn_channels, learn_exponents
from skuhop.learning.trainer import Learned, Schedule, learn
from skuhop.learning.unlabelled import learn_from_queries

__all__ = [
    "CORRUPTIONS",
    "FEATURE_MAPS",
    "LOSSES",
    "Learned",
    "Schedule",
    "any_of_both",
    "corrupted_copies",
    "feature_map_kind",
    "learn",
    "learn_bank",
    "learn_channels",
    "learn_exponents",
    "learn_from_queries",
    "learn_precision",
    "limit_rows",
    "restore",
    "state_for_unit",
]
