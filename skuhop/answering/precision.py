"""How products are rounded: float32, TF32 or bfloat16, by device."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor

from skuhop.retrieval import bf16, exact
from skuhop.support import BEFORE_TF32, TF32


@contextmanager
def tf32_allowed():
    """Let CUDA round the factors of float32 products to TF32, and then no longer.

    The setting is one for the whole process: other threads see it meanwhile, and the
    last one to leave puts it back.
    """
    flags = torch.backends.cuda.matmul
    # torch 2.9 has a new name, and does not take both to be used.
    new = hasattr(flags, "fp32_precision")
    name, value = ("fp32_precision", "tf32") if new else ("allow_tf32", True)
    with TF32:
        BEFORE_TF32.append(*BEFORE_TF32[:1] or [getattr(flags, name)])
        setattr(flags, name, value)
    try:
        yield
    finally:
        with TF32:
            before = BEFORE_TF32.pop()
            if not BEFORE_TF32:
                setattr(flags, name, before)


def tf32(a: Tensor, b: Tensor, bias: Tensor | None = None) -> Tensor:
    """Multiply as `exact`, with factors that CUDA rounds to TF32."""
    with tf32_allowed():
        return exact(a, b, bias)


PRODUCTS: dict[str, dict] = {
    "float32": {},
    "tf32": {"cuda": tf32},
    "bf16": {"cuda": bf16, "cpu": bf16},
}
"""Precision to device to product; `exact` where there is none."""


def choose_product(precision: str, dtype: np.dtype, device: torch.device) -> Callable:
    """How to multiply: with fewer bits where that is asked for and data are float32."""
    if dtype != np.float32:
        return exact
    return PRODUCTS[precision].get(device.type, exact)
