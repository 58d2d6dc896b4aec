"""NumPy arrays as tensors, whatever their layout and whoever may write to them."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor


def tensor_of(array: np.ndarray) -> Tensor:
    """Make a tensor on the CPU, in the array's memory where it can.

    Copied are arrays that torch refuses (negative strides, foreign byte order) and
    read-only ones, such as those of a file that is mapped, of which it would warn.
    """
    array = np.require(array, requirements=["C", "W"])
    if min(array.strides, default=0) < 0:  # which NumPy minds not in a single row
        array = array.copy()
    if not array.dtype.isnative:
        array = array.astype(array.dtype.newbyteorder("="))
    return torch.from_numpy(array)
