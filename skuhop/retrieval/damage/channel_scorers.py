"""Channel tables as kernels: learned, asymmetric, one matrix product.

``sum_k log p(bin(x_k) | bin(xi_k))`` is the inner product of what the pattern's bins
say and what the query's bins say, in the few directions that a table is made of.
"""

from __future__ import annotations

import torch

from skuhop.retrieval.scores import Query, largest_beta

_KEPT_KEYS = 2**27
"""Encoded keys with more numbers than this are made block by block."""


class ChannelScorer:
    """Log-likelihood of queries under a mixture of channel tables.

    Parameters
    ----------
    pattern_bins : Tensor of shape (M, d), integer
        Bins of the patterns, 0 to A - 1.
    query_edges : Tensor of shape (K - 1,)
        Edges of the queries' bins.
    base, left, right : Tensor of shape (C, K), (A, r) and (C, r, K)
        The log-tables, ``base + left @ right``.
    log_prior : Tensor of shape (C,)
        Log-weight of every table.
    """

    beta = 1.0
    energy_unit = 1.0
    streams = True

    def __init__(self, pattern_bins, query_edges, base, left, right, log_prior):
        self.n_patterns, n_features = pattern_bins.shape
        self.bins, self.edges = pattern_bins, query_edges
        self.base, self.left, self.right = base, left, right
        self.log_prior = log_prior
        self.width = 3 if len(log_prior) > 1 else 2
        self.row_width = n_features * self.left.shape[1]
        small = self.n_patterns * self.row_width <= _KEPT_KEYS
        self.keys = self._encode(0, self.n_patterns) if small else None

    def _encode(self, start, stop):
        bins = self.bins[start:stop]
        return self.left[bins].reshape(len(bins), -1)

    def prepare(self, X):
        """Look up the tables' columns for queries of shape (n, d)."""
        bins = torch.bucketize(X.contiguous(), self.edges.to(X))
        tables = []
        for base, right, prior in zip(
            self.base, self.right, self.log_prior, strict=True
        ):
            columns = right.T[bins].reshape(len(X), -1)
            tables.append((columns, base[bins].sum(1, keepdim=True) + prior))
        return Query(tables, X.new_zeros(len(X)))

    def block(self, query, start, stop):
        """Scores of the patterns from `start` to `stop`."""
        keys = self._encode(start, stop) if self.keys is None else self.keys[start:stop]
        total = None
        for columns, base in query.encoded:
            scores = (columns @ keys.T).add_(base)
            total = scores if total is None else torch.logaddexp(total, scores)
        return total

    def null(self, query):
        """Score of "nothing stored": the tables' mean over the patterns' bins."""
        return torch.logsumexp(torch.cat([b for _, b in query.encoded], 1), 1)


class PooledScorer:
    """Logarithmic pool: log-likelihoods of several experts, each to a power.

    Parameters
    ----------
    experts : list of (Scorer, float)
        Experts and their exponents.
    beta : float, default=1
        What the pool is multiplied by.
    """

    energy_unit = 1.0
    streams = True

    def __init__(self, experts, beta=1.0):
        self.experts, self.beta = experts, beta
        self.n_patterns = experts[0][0].n_patterns
        self.width = 1 + max(scorer.width for scorer, _ in experts)
        self.row_width = sum(scorer.row_width for scorer, _ in experts)

    def prepare(self, X):
        """Encode the queries for every expert."""
        queries, offset = [], X.new_zeros(len(X))
        for scorer, exponent in self.experts:
            query = scorer.prepare(X)
            queries.append(query)
            if query.offset is not None:
                offset = offset + exponent * query.offset
        zero = torch.zeros_like(offset)
        return Query(queries, zero, self._sharpen(offset))

    def block(self, query, start, stop):
        """Scores of the patterns from `start` to `stop`."""
        total = None
        for (scorer, exponent), own in zip(self.experts, query.encoded, strict=True):
            scores = scorer.block(own, start, stop).mul_(exponent)
            total = scores if total is None else total.add_(scores)
        return self._sharpen(total)

    def null(self, query):
        """Score of "nothing stored"."""
        total = None
        for (scorer, exponent), own in zip(self.experts, query.encoded, strict=True):
            score = scorer.null(own).mul_(exponent)
            total = score if total is None else total.add_(score)
        return self._sharpen(total)

    def _sharpen(self, scores):
        """Multiply log-likelihoods by a beta of the user's."""
        if self.beta == 1:
            return scores
        return scores.mul_(largest_beta(self.beta, scores.dtype))
