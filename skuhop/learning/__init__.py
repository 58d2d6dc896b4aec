"""Stage I: what the feature map is and how it is learned."""

from skuhop.learning.corruptions import (
    CORRUPTIONS,
    any_of_both,
    corrupted_copies,
    limit_rows,
    resolve_corruption,
)
from skuhop.learning.damage import (
    learn_bank,
    learn_channels,
    learn_exponents,
    learn_from_queries,
)
from skuhop.learning.feature_maps import (
    FEATURE_MAPS,
    feature_map_kind,
    kept_kind,
    restore,
    state_for_unit,
)
from skuhop.learning.losses import LOSSES
from skuhop.learning.members import (
    MEMBER_MAPS,
    Inputs,
    Kernel,
    common_scale,
    joint_features,
    kernels_of,
    standardisation,
)
from skuhop.learning.noise_levels import learn_precision
from skuhop.learning.optimiser import Adam
from skuhop.learning.supervised import (
    LABELS,
    NUMBERS,
    Division,
    Line,
    LineKind,
    Problem,
    Settings,
    Target,
    choose_inputs,
    cross_fit,
    divide,
    fit_line,
    take_trend,
)
from skuhop.learning.trainer import WATCH_EVERY, Learned, Schedule, learn

__all__ = [
    "CORRUPTIONS",
    "FEATURE_MAPS",
    "LABELS",
    "LOSSES",
    "MEMBER_MAPS",
    "NUMBERS",
    "WATCH_EVERY",
    "Adam",
    "Division",
    "Inputs",
    "Kernel",
    "Learned",
    "Line",
    "LineKind",
    "Problem",
    "Schedule",
    "Settings",
    "Target",
    "any_of_both",
    "choose_inputs",
    "common_scale",
    "corrupted_copies",
    "cross_fit",
    "divide",
    "feature_map_kind",
    "fit_line",
    "joint_features",
    "kept_kind",
    "kernels_of",
    "learn",
    "learn_bank",
    "learn_channels",
    "learn_exponents",
    "learn_from_queries",
    "learn_precision",
    "limit_rows",
    "resolve_corruption",
    "restore",
    "standardisation",
    "state_for_unit",
    "take_trend",
]
