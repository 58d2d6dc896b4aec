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


def asked(values: Tensor, observed: Tensor) -> Tensor:
    """Make queries the left factor (n, 2 d + 1) of `mean_distances`.

    Parameters
    ----------
    values : Tensor of shape (n, d)
        Scaled queries, zero where unknown.
    observed : Tensor of shape (n, d)
        One where known, else zero.
    """
    share = 1 / observed.sum(1, keepdim=True).clamp_min(1)
    own = values.square().sum(1, keepdim=True)
    return torch.cat([-2 * values, observed, own], 1) * share


def stored(patterns: Tensor) -> Tensor:
    """Make scaled patterns (M, d) the right factor (M, 2 d + 1) of `mean_distances`."""
    ones = torch.ones_like(patterns[:, :1])
    return torch.cat([patterns, patterns.square(), ones], 1)


def mean_distances(queries: Tensor, keys: Tensor) -> Tensor:
    """Squared distances (n, M) on the observed entries, divided by their number.

    One product of what `asked` and `stored` give: as many passes over n x M numbers as
    there are steps is what the time goes into.
    """
    return (queries @ keys.T).clamp_min_(0)


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
    width = 1
    streams = True

    def __init__(self, patterns: Tensor, mean: Tensor, precision: Tensor):
        self.n_patterns, self.row_width = len(patterns), 4 * len(mean) + 1
        self.mean, self.scale = mean, precision.sqrt()
        self.log_precision = precision.log()
        self.keys = stored((torch.cat([patterns, mean[None]]) - mean) * self.scale)

    def prepare(self, X):
        """Split the queries into observed values and the mask of them."""
        known = ~X.isnan()
        values = torch.where(known, (X - self.mean) * self.scale, 0)
        observed = known.to(X.dtype)
        n = observed.sum(1, keepdim=True).clamp_min(1)
        constant = log_constant(n, (observed @ self.log_precision)[:, None])
        encoded = (asked(values, observed), n)
        return Query(encoded, X.new_zeros(len(X)), constant[:, 0])

    def block(self, query, start, stop):
        """Scores of the patterns from `start` to `stop`, without the constant."""
        queries, n = query.encoded
        return log_shape(mean_distances(queries, self.keys[start:stop]), n)

    def null(self, query):
        """Log-likelihood around the mean pattern."""
        last = self.block(query, self.n_patterns, self.n_patterns + 1)[:, 0]
        return last + query.offset
