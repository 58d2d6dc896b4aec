"""What members learn on: standardised rows, feature maps, kernels."""

from skuhop.learning.members.input_scaling import Inputs, common_scale, standardisation
from skuhop.learning.members.kernels import (
    JointFeatures,
    Kernel,
    joint_features,
    kernels_of,
)
from skuhop.learning.members.member_maps import (
    MEMBER_MAPS,
    MemberMap,
    is_learned,
    member_map,
)

__all__ = [
    "MEMBER_MAPS",
    "Inputs",
    "JointFeatures",
    "Kernel",
    "MemberMap",
    "common_scale",
    "is_learned",
    "joint_features",
    "kernels_of",
    "member_map",
    "standardisation",
]
