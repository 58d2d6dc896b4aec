"""Learned tensors as NumPy arrays that own their memory: what a fit may keep."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from torch import Tensor


def numpy_state(tensors: Mapping[str, Tensor]) -> dict[str, np.ndarray]:
    """Copy named tensors to NumPy arrays on the CPU."""
    return {k: v.detach().cpu().numpy().copy() for k, v in tensors.items()}
