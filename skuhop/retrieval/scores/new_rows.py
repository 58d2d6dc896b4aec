"""Incomplete queries that are new rows, not copies of stored ones.

The best answer to such a query is a mean over its neighbours. A noise level that is
profiled out for every pattern never gives one: without any prior the nearest pattern
explains the query too well. Here the level has a prior, inverse-gamma with as many
degrees of freedom as the query has observed entries n, so that prior and query count
alike. Marginalised, the query is Student-t around a pattern (Gelman et al., "Bayesian
data analysis", section 3.2):

    log p(x | xi) = log_constant - n log(1 + sum_k precision_k (x_k - xi_k)^2 / n)

with the sum over observed entries. `learning.noise_levels` finds the precisions.

Rejected: a Gaussian or a power of the distance, with as many learned numbers (up to
four per cent worse on 44 tables); and this as the rule for all incomplete queries, with
a threshold below which a query counts as a copy: noisy copies of stored patterns were
completed up to ten times worse than by the profiled level.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from skuhop.retrieval.scores.scorer import Query
from skuhop.retrieval.units import enter


def log_shape(growth: Tensor, n_observed: Tensor) -> Tensor:
    """Log-likelihood without its constant, in place.

    Parameters
    ----------
    growth : Tensor of shape (n, M)
        What `growths` gives.
    n_observed : Tensor of shape (n, 1)
        Number of observed entries.
    """
    return growth.log_().mul_(-n_observed)


def likelihood_ratios(growth: Tensor, best: Tensor, n_observed: Tensor) -> Tensor:
    """Likelihoods (n, M) as shares of that at `best`, shape (n, 1).

    ``(best / growth) ** n``: the number of observed entries is a whole one, so that
    squaring does it, several times faster than a logarithm and an exponential. Rows
    with as many entries are to stand side by side. The growths become the bases.
    """
    bases = torch.div(best, growth, out=growth)
    ratios = torch.empty_like(bases)
    numbers, counts = n_observed[:, 0].unique_consecutive(return_counts=True)
    counts = counts.tolist()
    for n, x, out in zip(
        numbers.tolist(), bases.split(counts), ratios.split(counts), strict=True
    ):
        _power(x, int(n), out)
    return ratios


def _power(x: Tensor, n: int, out: Tensor) -> None:
    """Put ``x ** n`` into `out`, n >= 1: bit by bit of n, from the highest on."""
    if n == 1:
        out.copy_(x)
    root = x
    for bit in f"{n:b}"[1:]:
        torch.mul(root, root, out=out)
        if bit == "1":
            out.mul_(x)
        root = out


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
    """Make queries the left factor (n, 2 d + 1) of `growths`.

    Parameters
    ----------
    values : Tensor of shape (n, d)
        Scaled queries, zero where unknown.
    observed : Tensor of shape (n, d)
        One where known, else zero.
    """
    n = observed.sum(1, keepdim=True).clamp_min(1)
    own = values.square().sum(1, keepdim=True) + n
    return torch.cat([-2 * values, observed, own], 1) / n


def stored(patterns: Tensor) -> Tensor:
    """Make scaled patterns (M, d) the right factor (M, 2 d + 1) of `growths`."""
    ones = torch.ones_like(patterns[:, :1])
    return torch.cat([patterns, patterns.square(), ones], 1)


def growths(queries: Tensor, keys: Tensor) -> Tensor:
    """One plus the mean squared distance (n, M) on the observed entries.

    One product of what `asked` and `stored` give: as many passes over n x M numbers as
    there are steps is what the time goes into.
    """
    return (queries @ keys.T).clamp_min_(1)


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
    unit : float, default=1
        What queries are divided by; all the rest has been.
    """

    beta = 1.0
    energy_unit = 1.0
    width = 2
    streams = True

    def __init__(self, patterns: Tensor, mean: Tensor, precision: Tensor, unit=1.0):
        self.unit = unit
        self.n_patterns, self.row_width = len(patterns), 4 * len(mean) + 1
        self.mean, self.scale = mean, precision.sqrt()
        self.log_precision = precision.log()
        self.keys = stored((torch.cat([patterns, mean[None]]) - mean) * self.scale)

    def prepare(self, X):
        """Split the queries into observed values and the mask of them."""
        known = ~X.isnan()
        values, units = enter(X.where(known, 0), self.unit)
        values = torch.where(known, (values - self.mean) * self.scale, 0)
        values, _ = enter(values, 1.0)
        observed = known.to(X.dtype)
        n = observed.sum(1, keepdim=True)
        precision = (observed @ self.log_precision)[:, None] - 2 * n * units.log()
        n = n.clamp_min(1)
        constant = log_constant(n, precision)
        encoded = (asked(values, observed), n)
        return Query(encoded, X.new_zeros(len(X)), constant[:, 0])

    def block(self, query, start, stop):
        """Scores of the patterns from `start` to `stop`, without the constant."""
        queries, n = query.encoded
        return log_shape(growths(queries, self.keys[start:stop]), n)

    def lift(self, query, start, stop):
        """Best scores (n,) of the same patterns, and the exponentials below them."""
        queries, n = query.encoded
        growth = growths(queries, self.keys[start:stop])
        best = growth.amin(1, keepdim=True)
        ratios = likelihood_ratios(growth, best, n)
        return log_shape(best, n)[:, 0], ratios

    def null(self, query):
        """Log-likelihood around the mean pattern, without the constant."""
        return self.block(query, self.n_patterns, self.n_patterns + 1)[:, 0]
