"""A bank of generic channels: what may have happened to a query, told nothing.

Each family is one kind of damage at one strength, relative to the patterns' own
range, as a table of log p(query's bin | pattern's bin) made from the patterns alone.
Stage II finds out, query by query, which family explains what it sees.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import Tensor

from skuhop.learning.damage.bins import Bins, make_bins, sort_sample
from skuhop.learning.damage.channels import factorise
from skuhop.learning.saved_state import numpy_state
from skuhop.retrieval import quantise

Damage = Callable[[np.ndarray, np.random.RandomState], np.ndarray]

N_QUANTILES = 32
VALUES_PER_BIN = 1500
"""Values of every pattern bin that are pushed through a family."""
UNIFORM = 0.05
"""Share of a uniform in every scored table: families are never quite right."""
RANK = 4
N_DIRECTIONS = 32
"""Principal directions on which residuals are checked for structure."""
MOST_ROWS = 1024
"""Patterns that the principal directions are computed from at most."""


def families(bins: Bins) -> Iterator[Damage]:
    """Yield the families, as ``(values, random_state) -> damaged values``."""
    low, high, span = bins.low, bins.high, bins.span

    def mask(keep, gain):
        return lambda v, r: gain * v * (r.uniform(size=len(v)) < keep)

    def mask_with_noise(keep, sigma, offset):
        def damage(v, r):
            noise = sigma * r.standard_normal(len(v)) + offset
            return v * (r.uniform(size=len(v)) < keep) + span * noise

        return damage

    def add_noise_clip(sigma):
        return lambda v, r: np.clip(
            v + sigma * span * r.standard_normal(len(v)), low, high
        )

    def fold_noise(sigma):
        return lambda v, r: np.clip(
            np.abs(v + sigma * span * r.standard_normal(len(v))), low, high
        )

    def replace(share):
        return lambda v, r: np.where(
            r.uniform(size=len(v)) < share, r.uniform(low, high, len(v)), v
        )

    def multiply(sigma):
        return lambda v, r: v * (1 + sigma * r.standard_normal(len(v)))

    for keep in (0.3, 0.5, 0.7, 0.9):
        yield mask(keep, 1)
        if keep > 0.3:
            yield mask(keep, 1 / keep)
    for keep in (0.5, 0.7):
        for sigma in (0.1, 0.3):
            for offset in (0.0, 0.15, 0.3):
                yield mask_with_noise(keep, sigma, offset)
    if low >= 0:
        yield from map(fold_noise, (0.2, 0.35, 0.5, 0.75))
    yield from map(add_noise_clip, (0.1, 0.2, 0.5, 1.0))
    yield multiply(0.25)
    yield from map(replace, (0.2, 0.6))


def family_tables(
    values: Tensor, mass: Tensor, bins: Bins, codes: Tensor, least: Tensor
) -> Tensor:
    """Tables p(query bin | pattern bin) of all families, shape (F, A, K).

    `least`, shape (A,), is the smallest value in every bin: it stands in where a
    large memory's thinned sample has none.
    """
    n_bins = len(bins.edges) + 1
    where = torch.searchsorted(codes, quantise(values, bins.edges))
    sample, rows = [], []
    for code in range(len(codes)):
        own = (where == code).nonzero()[:, 0]
        if len(own):
            share = mass[own].cumsum(0)
            steps = share[-1] * torch.linspace(
                0, 1, VALUES_PER_BIN, dtype=share.dtype, device=share.device
            )
            index = torch.searchsorted(share, steps).clamp_max(len(own) - 1)
            chosen = values[own[index]]
        else:
            chosen = least[code].expand(VALUES_PER_BIN)
        sample.append(chosen.cpu().numpy())
        rows.append(np.full(VALUES_PER_BIN, code))
    drawn, origins = np.concatenate(sample), torch.from_numpy(np.concatenate(rows))
    tables = []
    for damage in families(bins):
        # The same draws for every memory: the bank is a constant, not a chance.
        damaged = torch.from_numpy(damage(drawn, np.random.RandomState(0)))
        cells = origins * n_bins + quantise(damaged, bins.edges.cpu())
        counts = torch.bincount(cells, minlength=len(codes) * n_bins).double()
        counts = counts.view(len(codes), n_bins)
        counts += counts.sum(0) / counts.sum() + 1 / n_bins
        tables.append(counts / counts.sum(1, keepdim=True))
    return torch.stack(tables).to(values.device)


def principal_directions(patterns: Tensor, weights: Tensor | None) -> Tensor:
    """Directions (k, d) along which the patterns vary most, at most a quarter of d."""
    n, d = patterns.shape
    step = -(-n // MOST_ROWS)
    rows = patterns[::step]
    if weights is None:
        rows = rows - rows.mean(0)
    else:
        w = weights[::step, None] / weights[::step].sum()
        rows = (rows - (w * rows).sum(0)) * w.sqrt()
    k = min(N_DIRECTIONS, len(rows) - 1, max(1, d // 4))
    if len(rows) < d:
        _, vectors = torch.linalg.eigh(rows @ rows.T)
        directions = vectors[:, len(vectors) - k :].T @ rows
        return torch.nn.functional.normalize(directions, dim=1)
    _, vectors = torch.linalg.eigh(rows.T @ rows)
    return vectors[:, len(vectors) - k :].T


def learn_bank(patterns: Tensor, weights: Tensor | None) -> dict[str, np.ndarray]:
    """Make the bank for distinct patterns of shape (M, d).

    Returns
    -------
    state : dict of str to ndarray
        `edges` and `codes` of the bins, `span`, `tables` (F, A, K), the factors
        `base`, `left` and `right` of their logarithms with a share `uniform` mixed in,
        `share` (A,) of every bin, `sextiles` of the values and `directions`.
    """
    values, mass = sort_sample(patterns.double(), weights)
    bins = make_bins(values, mass, N_QUANTILES)
    pattern_bins = quantise(patterns, bins.edges)
    codes = torch.unique(pattern_bins)
    kept = torch.isin(quantise(values, bins.edges), codes)
    columns = torch.searchsorted(codes, pattern_bins).reshape(-1)
    least = values.new_zeros(len(codes)).scatter_reduce_(
        0, columns, patterns.double().reshape(-1), "amin", include_self=False
    )
    tables = family_tables(values[kept], mass[kept], bins, codes, least)
    mixed = (1 - UNIFORM) * tables + UNIFORM / tables.shape[2]

    row_mass = values.new_ones(len(patterns)) if weights is None else weights
    row_mass = row_mass.to(values)[:, None].expand(patterns.shape).reshape(-1)
    share = values.new_zeros(len(codes)).scatter_add_(0, columns, row_mass)
    share = share / share.sum()
    base, left, right = factorise(mixed.log(), share, RANK)
    at = torch.arange(1, 6, device=mass.device).to(mass) / 6 * mass.sum()
    sextiles = values[torch.searchsorted(mass.cumsum(0), at).clamp_max(len(mass) - 1)]
    state = {
        "edges": bins.edges,
        "codes": codes,
        "span": torch.tensor(bins.span, dtype=torch.float64),
        "tables": tables,
        "uniform": torch.tensor(UNIFORM, dtype=torch.float64),
        "base": base,
        "left": left,
        "right": right,
        "share": share,
        "sextiles": torch.unique(sextiles),
        "directions": principal_directions(patterns, weights),
    }
    return numpy_state(state)
