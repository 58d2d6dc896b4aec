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
from torch.nn.functional import embedding

from skuhop.retrieval.chunks import row_chunks
from skuhop.retrieval.engine import Memory, highest_patterns
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


_UNSURE = 1000
"""Squared distances so many times as large as what is rounded are told apart."""
_AT_ONCE = 256
"""Rows that are compared with their candidates at once: what stays in the cache."""


class Novelty(NamedTuple):
    """Stored rows, ready to judge others.

    Attributes
    ----------
    rows : Tensor of shape (n, d)
        The rows, complete, all different.
    weights : Tensor of shape (n,)
        How many copies there are of each.
    mean, scale : Tensor of shape (d,)
        How features are standardised.
    residual_map : Tensor of shape (d, d)
        What makes residuals of standardised features.
    memory, exact : Memory
        Find candidates among features and residuals, (n, 2 d); the first in single
        precision.
    centre : Tensor of shape (2 d,)
        Their mean.
    reach : Tensor of shape ()
        The largest of their squared distances from it.
    densities : ColumnDensities
        Of features and residuals one by one.
    n_neighbours : int
    unit : float
        Distance from neighbours that is usual.
    """

    rows: Tensor
    weights: Tensor
    mean: Tensor
    scale: Tensor
    residual_map: Tensor
    memory: Memory
    exact: Memory
    centre: Tensor
    reach: Tensor
    densities: ColumnDensities
    n_neighbours: int
    unit: float


def build_novelty(
    rows: Tensor,
    weights: Tensor,
    mean: Tensor,
    scale: Tensor,
    residual_map: Tensor,
    n_neighbours: int,
    unit: float,
) -> Novelty:
    """Put together what `judge` needs; rows that lack entries have mean ones."""
    rows = rows.where(~rows.isnan(), mean)
    columns = _expand(rows, mean, scale, residual_map)
    memories = _search_by(_shorten(columns), columns), _search_by(columns, columns)
    learned = rows, weights, mean, scale, residual_map
    densities = fit_densities(columns, weights)
    centre = columns.mean(0)
    reach = (columns - centre).square().sum(1).amax()
    where = *memories, centre, reach
    return Novelty(*learned, *where, densities, n_neighbours, unit)


def _search_by(keys: Tensor, columns: Tensor) -> Memory:
    """Memory of columns that finds the nearest keys."""
    scorer = KernelScorer(SIMILARITIES["euclidean"], keys, keys.mean(0), None, 1.0)
    return Memory(scorer, SEPARATIONS["softmax"], {}, columns, None)


def map_residuals(precision: Tensor) -> Tensor:
    """Matrix (d, d) by which standardised rows become conditional residuals."""
    return precision / precision.diagonal().sqrt()


def _expand(rows: Tensor, mean: Tensor, scale: Tensor, residual_map: Tensor) -> Tensor:
    """Standardised features and their conditional residuals (n, 2 d)."""
    # Beyond this a row is far from everything, and sums of squares are no numbers.
    most = torch.finfo(rows.dtype).max ** 0.25
    Z = ((rows - mean) / scale).clamp_(-most, most)
    return torch.cat([Z, Z @ residual_map], 1)


def _shorten(columns: Tensor) -> Tensor:
    """Columns in single precision, which is enough to look for candidates."""
    most = torch.finfo(torch.float32).max ** 0.25
    return columns.clamp(-most, most).float()


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
        far, own = _compare(novelty, rows, columns, budget // 2)
        strange = surprise_by_column(novelty.densities, columns, own)
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
    """Mean distance (m, 2 d) from neighbours by column, and copies (m,) left out."""
    most = _count_candidates(novelty)
    at = highest_patterns(novelty.memory, _shorten(columns), budget, most)
    unsure = _tell_unsure(novelty, columns, at)
    if unsure.any():
        at[unsure] = highest_patterns(novelty.exact, columns[unsure], budget, most)
    parts = zip(*(part.split(_AT_ONCE) for part in (rows, columns, at)), strict=True)
    far, own = zip(*(_weigh_nearest(novelty, *part) for part in parts), strict=True)
    return torch.cat(far), torch.cat(own)


def _tell_unsure(novelty: Novelty, columns: Tensor, at: Tensor) -> Tensor:
    """Tell for which rows single precision may have missed a candidate, shape (m,).

    Scores are rounded as squared norms are, which between clusters that are far apart
    is more than the distances inside of them.
    """
    rounding = _UNSURE * torch.finfo(torch.float32).eps
    size = (columns - novelty.centre).square().sum(1) + novelty.reach
    farthest = (novelty.memory.patterns[at[:, -1]] - columns).square().sum(1)
    return farthest < rounding * size


def _weigh_nearest(novelty: Novelty, rows: Tensor, columns: Tensor, at: Tensor):
    """Do the same for few rows, with the candidates (m, c) at hand."""
    apart = embedding(at, novelty.memory.patterns).sub_(columns[:, None]).abs_()
    distances = apart.sum(2)
    copies, own = _leave_out(novelty, rows, columns, at, distances)
    order = distances.argsort(dim=1)
    near = copies.gather(1, order)
    # The nearest give all of their copies, until there are enough.
    share = (novelty.n_neighbours - near.cumsum(1) + near).clamp_min(0).minimum(near)
    total = share.sum(1, keepdim=True)
    share = torch.empty_like(share).scatter_(
        1, order, share / total.where(total > 0, 1)
    )
    return torch.einsum("mc,mcd->md", share, apart), own


def _leave_out(novelty: Novelty, rows, columns, at, distances):
    """Count copies (m, c) of candidates but the row itself, and of it (m,), if any."""
    copies, own = novelty.weights[at], rows.new_zeros(len(rows))
    # Residuals of the same row are rounded differently in products of other sizes.
    rounding = torch.finfo(rows.dtype).eps ** 0.5 * columns.abs().sum(1)
    maybe = (distances.amin(1) <= rounding).nonzero()[:, 0]
    same = (novelty.rows[at[maybe]] == rows[maybe, None]).all(2)
    there = same.any(1)
    stored, place = maybe[there], same[there].to(torch.uint8).argmax(1)
    own[stored] = copies[stored, place].clamp_max(1)
    copies[stored, place] -= own[stored]
    return copies, own


def usual_distance(apart: Tensor, weights: Tensor) -> float:
    """Median over rows (m, d) of the distance from neighbours, 1 where it is 0."""
    distances, order = apart.sum(1).sort()
    counts = weights[order].cumsum(0)
    median = distances[(counts < counts[-1] / 2).sum()].item()
    return median if median > 0 else 1.0
