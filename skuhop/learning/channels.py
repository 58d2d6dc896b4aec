"""Channels: damage per feature, as tables of log p(query's bin | pattern's bin).

If damage acts on every feature alike and apart, ``log p(x | xi)`` is the sum over
features of one table entry, and the table can be counted. Damage that is shared by
the features of a query (an offset, a gain) is not of that kind; a small mixture of
tables, one for each level of it, is.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

PSEUDO_COUNT = 0.5
"""Counts added to every table row, spread as all rows together are."""
SHRINKAGE = 20.0
"""Counts by which the tables of a mixture lean on their common mean."""
UNIFORM = 1e-3
"""Share of a uniform in every row: no single feature may rule a pattern out."""
EM_ROUNDS = 12
RANK = 8
"""Directions kept of the log-tables, whose spectrum decays fast."""


class Channel(NamedTuple):
    """A mixture of tables.

    Attributes
    ----------
    log_tables : Tensor of shape (C, A, K)
        ``log p(query bin | pattern bin)``; rows sum to one.
    log_prior : Tensor of shape (C,)
        Log-weight of every table.
    """

    log_tables: Tensor
    log_prior: Tensor


def joint_counts(pattern_bins, query_bins, n_pattern_bins, n_query_bins) -> Tensor:
    """Count pairs of bins over the features of every row, shape (n, A * K)."""
    pairs = pattern_bins * n_query_bins + query_bins
    counts = torch.zeros(
        (len(pairs), n_pattern_bins * n_query_bins),
        dtype=torch.float64,
        device=pairs.device,
    )
    return counts.scatter_add_(1, pairs, torch.ones_like(pairs, dtype=counts.dtype))


def tables_from_counts(counts: Tensor) -> Tensor:
    """Turn counts (C, A, K) into tables whose rows sum to one."""
    n_components, _, n_query_bins = counts.shape
    pooled = counts.sum(0, keepdim=True)
    common = pooled + PSEUDO_COUNT / n_query_bins
    common = common / common.sum(2, keepdim=True)
    lean = PSEUDO_COUNT + (SHRINKAGE if n_components > 1 else 0)
    tables = counts + lean * common + PSEUDO_COUNT / n_query_bins
    tables = tables / tables.sum(2, keepdim=True)
    return (1 - UNIFORM) * tables + UNIFORM / n_query_bins


def fit_mixture(
    counts: Tensor, weights: Tensor, key: Tensor, shape: tuple, n_components: int
) -> Channel:
    """Fit a mixture of tables to paired rows by EM.

    Parameters
    ----------
    counts : Tensor of shape (n, A * K)
        Joint counts of every pair of a pattern and its damaged copy.
    weights : Tensor of shape (n,)
        Weights of the rows.
    key : Tensor of shape (n,)
        The rows start in `n_components` groups of equal size in the order of it.
    shape : tuple of int
        A and K.
    n_components : int
        Number of tables.
    """
    rank = key.argsort(stable=True).argsort(stable=True)
    groups = rank * n_components // len(rank)
    member = torch.nn.functional.one_hot(groups, n_components).to(counts)
    for _ in range(EM_ROUNDS if n_components > 1 else 1):
        member = member * weights[:, None]
        tables = tables_from_counts((member.T @ counts).view(n_components, *shape))
        log_prior = (member.sum(0) / member.sum()).clamp_min(1e-12).log()
        scores = counts @ tables.log().view(n_components, -1).T + log_prior
        member = torch.softmax(scores, 1)
    return Channel(tables.log(), log_prior)


def factorise(log_tables: Tensor, share: Tensor, rank: int = RANK):
    """Split log-tables into ``base + left @ right``, weighted by use.

    Parameters
    ----------
    log_tables : Tensor of shape (C, A, K)
        Log-likelihood of query bin given pattern bin.
    share : Tensor of shape (A,)
        How often the patterns use each of their bins.
    rank : int
        Directions to keep, shared by all tables.

    Returns
    -------
    base : Tensor of shape (C, K)
        What does not depend on the pattern.
    left : Tensor of shape (A, r)
        Directions in the patterns' bins.
    right : Tensor of shape (C, r, K)
        Directions in the queries' bins.
    """
    base = (share[:, None] * log_tables).sum(1)
    centred = log_tables - base[:, None]
    marginal = (share[:, None] * log_tables.exp()).sum(1)
    weighted = centred * share.sqrt()[:, None] * (marginal + 1e-3).sqrt()[:, None]
    n_bins = log_tables.shape[1]
    stacked = weighted.permute(1, 0, 2).reshape(n_bins, -1)
    left = torch.linalg.svd(stacked, full_matrices=False)[0][:, :rank]
    right = torch.einsum("ar,cab->crb", left * share.sqrt()[:, None], centred)
    return base, left / share.sqrt().clamp_min(1e-12)[:, None], right
