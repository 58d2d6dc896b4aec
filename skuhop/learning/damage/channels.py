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


class ChannelEM:
    """EM for a mixture of tables, on queries that come from one of some candidates.

    Parameters
    ----------
    counts : Tensor of shape (n, J, A * K)
        Joint counts of the bins of every query and of each of its J candidates.
    log_weights : Tensor of shape (n, J)
        Log-weights of the candidates.
    weights : Tensor of shape (n,)
        Weights of the queries.
    prior : Tensor of shape (A, K)
        Prior counts of every table, more than one half of a count in each row.
    """

    def __init__(self, counts, log_weights, weights, prior):
        self.counts, self.log_weights, self.weights = counts, log_weights, weights
        self.prior = prior

    def maximise(self, member: Tensor) -> Channel:
        """M-step: tables and their weights from memberships (n, J, C)."""
        member = (member * self.weights[:, None, None]).flatten(0, 1)
        tables = (member.T @ self.counts.flatten(0, 1)).to(self.prior)
        tables = tables.unflatten(1, self.prior.shape) + self.prior
        tables = tables / tables.sum(2, keepdim=True)
        share = member.sum(0) / member.sum()
        return Channel(tables.log(), share.clamp_min(1e-12).log())

    def scores(self, channel: Channel) -> Tensor:
        """Log of weight times likelihood (n, J, C) of candidates and tables."""
        scores = self.counts @ channel.log_tables.flatten(1).T.to(self.counts)
        return scores + channel.log_prior + self.log_weights[:, :, None]

    def objective(self, channel: Channel) -> Tensor:
        """Log-posterior of the channel, up to a constant: no round lowers it."""
        fit = torch.logsumexp(self.scores(channel).flatten(1), 1)
        return self.weights @ fit + (self.prior * channel.log_tables).sum()

    def run(self, member: Tensor, rounds: int) -> tuple[Channel, list[float]]:
        """Alternate M- and E-steps; the channel, the objective after every M-step."""
        curve = []
        for _ in range(rounds):
            channel = self.maximise(member)
            curve.append(self.objective(channel).item())
            scores = self.scores(channel)
            member = torch.softmax(scores.flatten(1), 1).view_as(scores)
        return channel, curve


def equal_groups(key: Tensor, n_groups: int) -> Tensor:
    """Membership (n, n_groups) of groups of equal size in the order of the key."""
    rank = key.argsort(stable=True).argsort(stable=True)
    return torch.nn.functional.one_hot(rank * n_groups // len(rank), n_groups)


def smooth_tables(channel: Channel) -> Channel:
    """Mix the share `UNIFORM` of a uniform into every row of the tables."""
    tables = channel.log_tables.exp()
    tables = (1 - UNIFORM) * tables + UNIFORM / tables.shape[2]
    return channel._replace(log_tables=tables.log())


def fit_mixture(
    counts: Tensor, weights: Tensor, key: Tensor, shape: tuple, n_components: int
) -> Channel:
    """Fit a mixture of tables to pairs of patterns and damaged copies.

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
    n_query_bins = shape[1]
    common = (weights @ counts).view(shape) + PSEUDO_COUNT / n_query_bins
    common = common / common.sum(1, keepdim=True)
    lean = PSEUDO_COUNT + (SHRINKAGE if n_components > 1 else 0)
    prior = lean * common + PSEUDO_COUNT / n_query_bins
    no_choice = counts.new_zeros((len(counts), 1))
    problem = ChannelEM(counts[:, None], no_choice, weights, prior)
    member = equal_groups(key, n_components).to(counts)[:, None]
    rounds = EM_ROUNDS if n_components > 1 else 1
    return smooth_tables(problem.run(member, rounds)[0])


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
