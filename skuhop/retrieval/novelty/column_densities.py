"""Densities of single columns, exact in one sweep: kernels of two exponentials."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

_WIDTH = 0.3
"""Width of the kernels, in standard deviations."""
_FLOOR = 1e-6
"""Density, in parts of that of a row that all others equal, that nothing is below: what
is far from everything is surprising once, not without bound."""


class ColumnDensities(NamedTuple):
    """Kernel densities of c columns of n numbers.

    Attributes
    ----------
    points : Tensor of shape (c, n)
        The numbers of every column, rising.
    below, above : Tensor of shape (c, n)
        Sums of the kernels of all points up to each, and from each on, there.
    total : Tensor of shape ()
        Weight of all points.
    """

    points: Tensor
    below: Tensor
    above: Tensor
    total: Tensor


def fit_densities(columns: Tensor, weights: Tensor) -> ColumnDensities:
    """Sort columns (n, c) and add up kernels ``exp(-|x - y| / width)`` from both ends.

    Rows weigh (n,).

    The sums are exact: a kernel of one exponential on each side only fades from one
    point to the next.
    """
    points, order = columns.T.sort(dim=1)
    scaled, logs = points / _WIDTH, weights.log()[order]
    below = ((logs + scaled).logcumsumexp(1) - scaled).exp_()
    above = ((logs - scaled).flip(1).logcumsumexp(1).flip(1) + scaled).exp_()
    return ColumnDensities(points.contiguous(), below, above, weights.sum())


def surprise_by_column(densities: ColumnDensities, rows: Tensor, own: Tensor) -> Tensor:
    """Surprise (m, c), minus the log-density, of the entries of rows (m, c).

    Parameters
    ----------
    densities : ColumnDensities
    rows : Tensor of shape (m, c)
    own : Tensor of shape (m,)
        What each weighs among the points, which is left out.
    """
    points, n = densities.points, densities.points.shape[1]
    at = rows.T.contiguous()
    place = torch.searchsorted(points, at, right=True)
    before, after = (place - 1).clamp_min(0), place.clamp_max(n - 1)
    gaps = (at - points.gather(1, before)).abs() / -_WIDTH
    total = torch.where(place > 0, densities.below.gather(1, before) * gaps.exp(), 0)
    gaps = (points.gather(1, after) - at).abs() / -_WIDTH
    total += torch.where(place < n, densities.above.gather(1, after) * gaps.exp(), 0)
    others = densities.total - own
    mean = (total - own).clamp_min(0) / others.where(others > 0, 1)
    return -((mean + _FLOOR) / (2 * _WIDTH)).log().T
