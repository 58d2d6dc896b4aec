"""Incomplete queries that are new rows, not copies of stored ones.

The best answer to such a query is a mean over its neighbours. A noise level that is
profiled out for every pattern never gives one: without any prior the nearest pattern
explains the query too well. Here the level has a prior, inverse-gamma with as many
degrees of freedom as the query has observed entries n, so that prior and query count
alike. Marginalised, the query is Student-t around a pattern (Gelman et al., "Bayesian
data analysis", section 3.2):

    log p(x | xi) = log_constant - n log(1 + sum_k precision_k (x_k - xi_k)^2 / n)

with the sum over observed entries. `learning.completion` finds the precisions.

Rejected: a Gaussian or a power of the distance, with as many learned numbers (up to
four per cent worse on 44 tables); and this as the rule for all incomplete queries, with
a threshold below which a query counts as a copy: noisy copies of stored patterns were
completed up to ten times worse than by the profiled level.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from skuhop.retrieval.scorers import Query


def log_shape(x: Tensor, n_observed: Tensor) -> Tensor:
    """Log-likelihood without its constant, in place.

    Parameters
    ----------
    x : Tensor of shape (n, M)
        Squared distances on the observed entries, times the precisions and divided by
        the number of observed entries.
    n_observed : Tensor of shape (n, 1)
        That number.
    """
    return x.log1p_().mul_(-n_observed)


def log_constant(n_observed: Tensor, log_precision_sum: Tensor) -> Tensor:
    """Logarithm of the constant of the Student-t density with n degrees of freedom."""
    n = n_observed
    return (
        torch.lgamma(n)
        - torch.lgamma(n / 2)
        - n / 2 * (math.pi * n).log()
        + log_precision_sum / 2
    )


def mean_distances(
    values: Tensor, observed: Tensor, patterns: Tensor, squares: Tensor
) -> Tensor:
    """Squared distances (n, M) on the observed entries, divided by their number.

    Parameters
    ----------
    values : Tensor of shape (n, d)
        Scaled queries, zero where unknown.
    observed : Tensor of shape (n, d)
        One where known, else zero.
    patterns, squares : Tensor of shape (M, d)
        Scaled patterns, and their squares.
    """
    share = 1 / observed.sum(1, keepdim=True).clamp_min(1)
    own = values.square().sum(1, keepdim=True) * share
    distances = torch.addmm(own, values * share, patterns.T, alpha=-2)
    return distances.addmm(observed * share, squares.T).clamp_min(0)


class NewRowScorer:
    """Log-likelihoods of incomplete queries that are new rows.

    Parameters
    ----------
    patterns : Tensor of shape (M, d)
        The stored patterns.
    mean : Tensor of shape (d,)
        Mean pattern; stands for "nothing stored".
    precision : Tensor of shape (d,)
        Inverse of the squared prior noise level of every feature.
    """

    beta = 1.0
    width = 3
    streams = True

    def __init__(self, patterns: Tensor, mean: Tensor, precision: Tensor):
        self.n_patterns, self.row_width = len(patterns), 3 * len(mean)
        self.mean, self.scale = mean, precision.sqrt()
        self.log_precision = precision.log()
        self.keys = (torch.cat([patterns, mean[None]]) - mean) * self.scale
        self.squares = self.keys.square()

    def prepare(self, X):
        """Split the queries into observed values and the mask of them."""
        known = ~X.isnan()
        values = torch.where(known, (X - self.mean) * self.scale, 0)
        observed = known.to(X.dtype)
        n = observed.sum(1, keepdim=True).clamp_min(1)
        constant = log_constant(n, (observed @ self.log_precision)[:, None])
        return Query((values, observed, n), X.new_zeros(len(X)), constant[:, 0])

    def block(self, query, start, stop):
        """Scores of the patterns from `start` to `stop`, without the constant."""
        values, observed, n = query.encoded
        rows = slice(start, stop)
        x = mean_distances(values, observed, self.keys[rows], self.squares[rows])
        return log_shape(x, n)

    def null(self, query):
        """Log-likelihood around the mean pattern."""
        last = self.block(query, self.n_patterns, self.n_patterns + 1)[:, 0]
        return last + query.offset
