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


_CANDIDATES = 16
"""Nearest rows by Euclidean distance, which is one matrix product, among which those by
city-block distance are looked for. Over the tables of the benchmark looking at all rows
is no better, and takes several times as long."""


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
        Finds candidates among features and residuals, (n, 2 d).
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
    scorer = KernelScorer(SIMILARITIES["euclidean"], columns, centre, None, 1.0)
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


def measure(novelty: Novelty, X: Tensor, budget: int) -> tuple[Tensor, Tensor]:
    """Distances from neighbours and surprise of entries, of rows (m, d) by feature.

    Both are (m, d), features and their residuals together. A row that is stored is
    judged by the others: one copy of it does not count.
    """
    d = novelty.rows.shape[1]
    apart, surprise = X.new_empty(X.shape), X.new_empty(X.shape)
    row = 6 * X.element_size() * (_count_candidates(novelty) + 2) * 2 * d
    for part in row_chunks(len(X), row, budget // 2):
        rows = X[part].where(~X[part].isnan(), novelty.mean)
        learned = novelty.mean, novelty.scale, novelty.residual_map
        columns = _expand(rows, *learned)
        far, stored = _compare(novelty, rows, columns, budget // 2)
        strange = surprise_by_column(novelty.densities, columns, stored)
        apart[part] = far[:, :d] + far[:, d:]
        surprise[part] = strange[:, :d] + strange[:, d:]
    return apart, surprise


def weigh(apart: Tensor, surprise: Tensor, unit: float) -> Tensor:
    """Find what every feature adds (m, d) to the surprise of rows, which is their sum.

    The mean distance from the nearest stored rows, in units of a usual one, and half
    the mean surprise of features and residuals one by one.
    """
    return apart / unit + surprise * (_SHARE / apart.shape[1])


def judge(novelty: Novelty, X: Tensor, budget: int) -> Tensor:
    """Question for what every feature adds (m, d) to the surprise of rows (m, d)."""
    return weigh(*measure(novelty, X, budget), novelty.unit)


def _count_candidates(novelty: Novelty) -> int:
    """How many rows to look at for neighbours, the row itself included."""
    return min(max(_CANDIDATES, 2 * novelty.n_neighbours) + 1, len(novelty.rows))


def _compare(novelty: Novelty, rows: Tensor, columns: Tensor, budget: int):
    """Mean distance (m, 2 d) from neighbours by column, and which rows are stored."""
    at, _ = nearest_patterns(
        novelty.memory, columns, budget, _count_candidates(novelty)
    )
    at, stored = _leave_out(novelty, rows, at)
    apart = novelty.memory.patterns[at].sub_(columns[:, None]).abs_()
    k = min(novelty.n_neighbours, at.shape[1])
    near = apart.sum(2).topk(k, dim=1, largest=False).indices
    return apart.gather(1, near[..., None].expand(-1, -1, apart.shape[2])).mean(
        1
    ), stored


def _leave_out(novelty: Novelty, rows: Tensor, at: Tensor) -> tuple[Tensor, Tensor]:
    """Candidates (m, c) of c + 1 without the row itself, and which rows are stored.

    Of more equal rows than candidates it does not matter which one goes.
    """
    same = (novelty.rows[at] == rows[:, None]).all(2)
    stored = same.any(1)
    gone = torch.where(stored, same.to(torch.uint8).argmax(1), at.shape[1] - 1)
    kept = torch.arange(at.shape[1], device=at.device) != gone[:, None]
    return at[kept].view(len(at), -1), stored


def usual_distance(apart: Tensor) -> float:
    """Median over rows (m, d) of the distance from neighbours, 1 where it is 0."""
    median = apart.sum(1).median().item()
    return median if median > 0 else 1.0
