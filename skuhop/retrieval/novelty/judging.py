"""How unlike what is stored a row is, and which of its features make it so.

A row is compared in its standardised features z and in their conditional residuals

    r_j = (z_j - E[z_j | the others]) / sd[z_j | the others] = (z P)_j / sqrt(P_jj),

P the precision matrix of a Gaussian: an entry that is usual by itself and strange
beside the others has a large residual. Both are compared by city-block distances, which
are sums over features, so that a score is one, too.

References
----------
Ramaswamy, Rastogi, Shim, "Efficient algorithms for mining outliers from large data
sets", SIGMOD 2000: distances to nearest neighbours. Angiulli and Pizzuti, "Fast outlier
detection in high dimensional spaces", PKDD 2002: their mean. Lauritzen, "Graphical
models", 1996, section 5.1: conditional residuals by the precision matrix.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from skuhop.retrieval.chunks import row_chunks
from skuhop.retrieval.engine import Memory, nearest_patterns
from skuhop.retrieval.novelty.column_densities import (
    ColumnDensities,
    fit_densities,
    surprise_by_column,
)
from skuhop.retrieval.scores import SIMILARITIES, KernelScorer
from skuhop.retrieval.separations import SEPARATIONS

_SHARE = 0.5
"""Weight of the surprise of single columns beside the distance from neighbours. Over
the tables of the benchmark anything from a quarter to one is as good."""


class Novelty(NamedTuple):
    """Stored rows, ready to judge others.

    Attributes
    ----------
    rows : Tensor of shape (n, d)
        The rows, complete.
    mean, scale : Tensor of shape (d,)
        How features are standardised.
    residual_map : Tensor of shape (d, d)
        What makes residuals of standardised features.
    memory : Memory
        Finds neighbours among features and residuals, (n, 2 d).
    densities : ColumnDensities
        Of features and residuals one by one.
    n_neighbours : int
    unit : float
        Distance from neighbours that is usual.
    """

    rows: Tensor
    mean: Tensor
    scale: Tensor
    residual_map: Tensor
    memory: Memory
    densities: ColumnDensities
    n_neighbours: int
    unit: float


def build_novelty(
    rows: Tensor,
    mean: Tensor,
    scale: Tensor,
    residual_map: Tensor,
    n_neighbours: int,
    unit: float,
) -> Novelty:
    """Put together what `judge` needs; rows that lack entries have mean ones."""
    rows = rows.where(~rows.isnan(), mean)
    columns = _expand(rows, mean, scale, residual_map)
    centre = columns.mean(0)
    scorer = KernelScorer(SIMILARITIES["manhattan"], columns, centre, None, 1.0)
    memory = Memory(scorer, SEPARATIONS["softmax"], {}, columns, None)
    learned = rows, mean, scale, residual_map
    return Novelty(*learned, memory, fit_densities(columns), n_neighbours, unit)


def map_residuals(precision: Tensor) -> Tensor:
    """Matrix (d, d) by which standardised rows become conditional residuals."""
    return precision / precision.diagonal().sqrt()


def _expand(rows: Tensor, mean: Tensor, scale: Tensor, residual_map: Tensor) -> Tensor:
    """Standardised features and their conditional residuals (n, 2 d)."""
    # Beyond this a row is far from everything, and sums of squares are no numbers.
    most = torch.finfo(rows.dtype).max ** 0.25
    Z = ((rows - mean) / scale).clamp_(-most, most)
    return torch.cat([Z, Z @ residual_map], 1)


def judge(novelty: Novelty, X: Tensor, budget: int) -> Tensor:
    """Find what every feature adds (m, d) to the surprise of rows (m, d), their sum.

    The mean distance from the nearest stored rows, in units of a usual one, and half
    the mean surprise of features and residuals one by one. A row that is stored is
    judged by the others: one copy of it does not count.
    """
    n, d = novelty.rows.shape
    out, k = X.new_empty(X.shape), min(novelty.n_neighbours, n - 1)
    row = 6 * X.element_size() * (k + 2) * 2 * d
    for part in row_chunks(len(X), row, budget // 2):
        rows = X[part].where(~X[part].isnan(), novelty.mean)
        learned = novelty.mean, novelty.scale, novelty.residual_map
        columns = _expand(rows, *learned)
        at, _ = nearest_patterns(novelty.memory, columns, budget // 2, k + 1)
        at, stored = _leave_out(novelty, rows, at)
        apart = novelty.memory.patterns[at].sub_(columns[:, None]).abs_().mean(1)
        surprise = surprise_by_column(novelty.densities, columns, stored)
        both = apart / novelty.unit + surprise * (_SHARE / d)
        out[part] = both[:, :d] + both[:, d:]
    return out


def _leave_out(novelty: Novelty, rows: Tensor, at: Tensor) -> tuple[Tensor, Tensor]:
    """Neighbours (m, k) of k + 1 without the row itself, and which rows are stored.

    Of more equal rows than neighbours it does not matter which one goes.
    """
    same = (novelty.rows[at] == rows[:, None]).all(2)
    stored = same.any(1)
    gone = torch.where(stored, same.to(torch.uint8).argmax(1), at.shape[1] - 1)
    kept = torch.arange(at.shape[1], device=at.device) != gone[:, None]
    return at[kept].view(len(at), -1), stored


def usual_distance(novelty: Novelty, budget: int) -> float:
    """Median over the stored rows of the mean distance from others, 1 where it is 0."""
    columns = novelty.memory.patterns
    k = min(novelty.n_neighbours, len(columns) - 1)
    at, apart = nearest_patterns(novelty.memory, columns, budget, k + 1)
    same = (at == torch.arange(len(at), device=at.device)[:, None]).any(1)
    # The row itself, at distance 0, is one of them; or as good a copy of it.
    total = torch.where(same, apart.sum(1), apart[:, :-1].sum(1))
    median = (total / k).median().item()
    return median if median > 0 else 1.0
