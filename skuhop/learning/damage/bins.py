"""Bins: how the values of features are quantised for channel tables.

Values that occur with a mass of their own (the exact zeros of a dark background, a
ceiling) are atoms and get bins of their own, because damage likes to write just such
values. Between them lie quantiles and a uniform grid, and outside the patterns' range
a few wide bins, because queries may go where no pattern has been.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

N_ATOMS = 6
ATOM_MASS = 0.02
MOST_VALUES = 400_000
_GRID = 8
_OUTSIDE = (0.0, 0.06, 0.125, 0.25, 0.5, 1.0, 2.0)


def sort_sample(values: Tensor, weights: Tensor | None) -> tuple[Tensor, Tensor]:
    """Sort values with their weights, thinned evenly to at most MOST_VALUES."""
    flat = values.reshape(-1)
    mass = flat.new_ones(()) if weights is None else weights.to(flat)[:, None]
    mass = mass.expand(values.shape).reshape(-1)
    step = -(-len(flat) // MOST_VALUES)
    flat, order = flat[::step].sort(stable=True)
    return flat, mass[::step][order]


class Bins(NamedTuple):
    """Edges of the bins, K - 1 for K of them, and the range they were made for.

    `span` is the range without its tails: the size of "one" for the data.
    """

    edges: Tensor
    low: float
    high: float
    span: float


def make_bins(values: Tensor, mass: Tensor, n_quantiles: int) -> Bins:
    """Make bins for a sorted sample.

    Parameters
    ----------
    values, mass : Tensor of shape (n,)
        What `sort_sample` gives.
    n_quantiles : int
        Number of quantile bins among the values that are no atoms.
    """
    share = mass.cumsum(0) / mass.sum()
    low, high = values[0].item(), values[-1].item()
    inner_low = values[torch.searchsorted(share, 0.001).clamp_max(len(values) - 1)]
    inner_high = values[torch.searchsorted(share, 0.999).clamp_max(len(values) - 1)]
    # A constant has no range: the size of the value itself stands in.
    span = (inner_high - inner_low).item() or high - low or abs(high) or 1.0

    distinct, inverse = values.unique_consecutive(return_inverse=True)
    masses = mass.new_zeros(len(distinct)).scatter_add_(0, inverse, mass) / mass.sum()
    heavy = masses.argsort(descending=True, stable=True)[:N_ATOMS]
    atoms = distinct[heavy][masses[heavy] >= ATOM_MASS].tolist()
    tolerance = 1e-6 * span
    for special in (0.0, low, high):
        if all(abs(special - atom) >= tolerance for atom in atoms):
            atoms.append(special)

    is_atom = torch.isin(values, distinct[heavy][masses[heavy] >= ATOM_MASS])
    rest, rest_share = values[~is_atom], mass[~is_atom].cumsum(0)
    candidates = [low + span * i / _GRID for i in range(1, _GRID)]
    if len(rest):
        at = torch.arange(1, n_quantiles, device=values.device).to(rest_share)
        at = at / n_quantiles * rest_share[-1]
        index = torch.searchsorted(rest_share, at).clamp_max(len(rest) - 1)
        candidates += rest[index].tolist()
    candidates += [high + span * step for step in _OUTSIDE]
    candidates += [low - span * step for step in _OUTSIDE]

    kept: list[float] = []
    for edge in sorted(candidates):
        apart = not kept or edge - kept[-1] > span / 200
        if apart and all(abs(edge - atom) > span / 400 for atom in atoms):
            kept.append(edge)
    kept += [atom + side for atom in atoms for side in (-tolerance, tolerance)]
    edges = torch.tensor(sorted(kept), dtype=torch.float64, device=values.device)
    return Bins(edges, low, high, span)
