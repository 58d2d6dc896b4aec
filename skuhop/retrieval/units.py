"""Units: rows are compared in a power of two of the size of what is stored.

Scores square and multiply, and a square of 1e20 has no place in float32. So patterns
are divided by a power of two near their largest entry, which changes no bit but those
of the exponents, and queries likewise on their way into a scorer. What comes out are
weights, which have no unit; only energies are brought back.

A query that is larger by orders of magnitude gets a unit of its own, in which its
squares fit: from there all patterns are equally far, up to rounding.

Rejected: to bring rows to their unit in the estimators and answers back. Each question,
and each shard of a memory, would have to know.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import partial

import torch
from torch import Tensor

_HEADROOM = 16
"""Factor by which sums over features may exceed the features' squares and products."""


def power_of_two(size: float, tiny: float) -> float:
    """Smallest power of two that is at least `size`; 1 for a size of 0.

    As far as it and 1 over it are no smaller than `tiny`, the smallest number that has
    all its bits.
    """
    if not 0 < size < math.inf:
        return 1.0
    mantissa, exponent = math.frexp(size)
    least = math.frexp(tiny)[1] - 1
    return math.ldexp(1.0, min(max(exponent - (mantissa == 0.5), least), -least))


def powers_of_two(sizes: Tensor) -> Tensor:
    """`power_of_two`, roughly, of every one of some sizes."""
    info = torch.finfo(sizes.dtype)
    known = sizes.clamp(info.tiny, 1 / info.tiny)
    powers = known.log2().round_().exp2_()
    return torch.where((sizes > 0) & sizes.isfinite(), powers, 1)


largest = partial(torch.linalg.vector_norm, ord=math.inf, dim=1, keepdim=True)
"""Largest absolute value (n, 1) of every row. Who learns through rows detaches them."""


def enter(X: Tensor, unit: float | None) -> tuple[Tensor, Tensor]:
    """Divide rows by a unit, or those that are far too large for it by their own.

    None leaves rows as they are: they have no unit, or a feature map sees to it.

    Returns
    -------
    Z : Tensor of shape (n, d)
        The rows, whose squares have finite sums.
    units : Tensor of shape (n, 1)
        What they were divided by: `unit`, or more for what is far away.
    """
    if unit is None:
        return X, torch.ones_like(X[:, :1])
    most = torch.finfo(X.dtype).max ** 0.5 / (_HEADROOM * max(1, X.shape[1]))
    units = (largest(X.detach()) / most).clamp_min_(unit)
    return X / units, units


LENGTHS = ("edges", "span", "sextiles", "pattern_edges", "query_edges")
"""What has a unit of the state that damage models keep; "noise" has its square."""


def divide(state: Mapping, unit: float) -> dict:
    """Divide what is known of damage, tensors or arrays by name, by a unit."""
    lengths = {name: state[name] / unit for name in LENGTHS if name in state}
    if "noise" in state:
        lengths["noise"] = state["noise"] / unit / unit
    return {**state, **lengths}
