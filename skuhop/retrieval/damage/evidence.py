"""Evidence: how well a model explains one query, its features taken one by one.

Every number here is a log-likelihood ratio against the same null, "the features are
drawn from the query's own histogram", so models of any kind can be compared. A model
is judged by what it says about the pattern it likes best.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

ARBITRARY = (0.02, 0.05, 0.2, 0.5)
"""Shares of features that a model may leave unexplained."""
CONCENTRATION = 4.0
"""Prior counts of the adaptive channel, in every row of its table."""
_SEXTILES = 6


class Seen(NamedTuple):
    """Queries with what every hypothesis looks at.

    Attributes
    ----------
    X : Tensor of shape (n, d)
        The queries.
    bins : Tensor of shape (n, d), integer
        Bins of their features, 0 to K - 1.
    histogram : Tensor of shape (n, K)
        Counts of these.
    null : Tensor of shape (n, d)
        Share of every feature's bin in the query's histogram.
    coarse : Tensor of shape (n, d), integer
        `half_bins` of the features between the query's own sextiles.
    """

    X: Tensor
    bins: Tensor
    histogram: Tensor
    null: Tensor
    coarse: Tensor


class Hypothesis(NamedTuple):
    """What one model of damage says about some of the queries.

    Attributes
    ----------
    rows : Tensor of shape (m,) or slice
        Which queries.
    log_posterior : Tensor of shape (m, M)
        Log-probabilities of the patterns.
    evidences : Tensor of shape (m, E)
        Log-likelihood ratio of the model to the null, for shares of arbitrary
        features from the smallest on (see `mix_with_arbitrary`).
    """

    rows: Tensor | slice
    log_posterior: Tensor
    evidences: Tensor

    @property
    def evidence(self) -> Tensor:
        """Evidence (m,) at the share of arbitrary features that suits each query."""
        return self.evidences.amax(1)

    @property
    def strict_evidence(self) -> Tensor:
        """Evidence (m,) at the smallest share: for whoever sees many queries."""
        return self.evidences[:, 0]


def quantise(values: Tensor, edges: Tensor) -> Tensor:
    """Bin number of every value, 0 to len(edges).

    In float64, because the edges around an atom lie a millionth of the range apart.
    """
    return torch.bucketize(values.double().contiguous(), edges)


def nearest_code(bins: Tensor, codes: Tensor) -> Tensor:
    """Position (n, d) of every bin among sorted codes, or of the code next to it.

    Patterns that came after the tables were made may have values in other bins.
    """
    above = torch.searchsorted(codes, bins).clamp_max(len(codes) - 1)
    below = (above - 1).clamp_min(0)
    return torch.where(bins - codes[below] < codes[above] - bins, below, above)


def histogram(bins: Tensor, n_bins: int) -> Tensor:
    """Count the bins of every row, shape (n, n_bins), float64."""
    counts = torch.zeros((len(bins), n_bins), dtype=torch.float64, device=bins.device)
    return counts.scatter_add_(1, bins, torch.ones_like(bins, dtype=counts.dtype))


def observe(X: Tensor, edges: Tensor) -> Seen:
    """Look at queries of shape (n, d) through the bins between `edges`."""
    bins = quantise(X, edges)
    counts = histogram(bins, len(edges) + 1)
    null = (counts / X.shape[1]).gather(1, bins).to(X)
    return Seen(X, bins, counts, null, half_bins(X, query_sextiles(X)))


def null_log_likelihood(seen: Seen) -> Tensor:
    """Log-likelihood (n,) of the features under the query's own histogram."""
    share = seen.histogram / seen.histogram.sum(1, keepdim=True)
    return torch.special.xlogy(seen.histogram, share).sum(1).to(seen.X)


def coarseness_cost(seen: Seen) -> Tensor:
    """Nats (n,) that the null's fine histogram gains by fitting noise.

    Whoever explains no more than the coarse bins leaves the rest of a feature to the
    null, whose further shares have been fitted to the query itself. Schwarz's
    criterion, ``log(d / 2 pi) / 2`` for every one of them.
    """
    d = seen.X.shape[1]
    fine = (seen.histogram > 0).sum(1)
    coarse = (histogram(seen.coarse, 2 * _SEXTILES - 1) > 0).sum(1)
    return 0.5 * max(0.0, math.log(d / (2 * math.pi))) * (fine - coarse)


def mix_with_arbitrary(ratio: Tensor) -> Tensor:
    """``sum_k log((1 - e) ratio_k + e)`` for shares e of arbitrary features, (n, E).

    `ratio`, shape (n, d), is the model's probability of every feature's bin over the
    null's. Features that the model cannot explain then cost a bounded amount each. A
    single query may have its best share; among many queries that makes up for models
    that are nearly right, and the smallest share tells them apart.
    """
    terms = [torch.log((1 - e) * ratio + e).sum(1) for e in ARBITRARY]
    return torch.stack(terms, 1)


def gaussian_ratio(
    X: Tensor, centre: Tensor, lower: Tensor, upper: Tensor, null: Tensor, least: float
) -> Tensor:
    """Gaussian probability of every feature's bin over the null's, shape (n, d).

    Parameters
    ----------
    X, centre : Tensor of shape (n, d)
        Queries and where the model expects them; the noise level is that of the
        residual, at least `least`.
    lower, upper : Tensor of shape (n, d)
        Edges of the bins that the features are in.
    null : Tensor of shape (n, d)
        Share of these bins in the query's histogram.
    """
    sigma = (X - centre).square().mean(1, keepdim=True).sqrt().clamp_min(least)
    mass = torch.special.ndtr((upper - centre) / sigma)
    mass -= torch.special.ndtr((lower - centre) / sigma)
    return mass.clamp_min_(0).div_(null)


def laplace_ratio(
    X: Tensor, centre: Tensor, lower: Tensor, upper: Tensor, null: Tensor, least: float
) -> Tensor:
    """Laplace probability of every feature's bin over the null's, shape (n, d)."""
    scale = (X - centre).abs().mean(1, keepdim=True).clamp_min(least)

    def cumulative(values):
        z = (values - centre) / scale
        half = 0.5 * torch.exp(-z.abs())
        return torch.where(z < 0, half, 1 - half)

    mass = cumulative(upper) - cumulative(lower)
    return mass.clamp_min_(0).div_(null)


def half_bins(values: Tensor, edges: Tensor) -> Tensor:
    """Bins of rows of values between rows of edges; equality has bins of its own."""
    values, edges = values.contiguous(), edges.contiguous()
    left = torch.searchsorted(edges, values)
    return left + torch.searchsorted(edges, values, right=True)


def query_sextiles(X: Tensor) -> Tensor:
    """Distinct sextiles of every row, shape (n, 5); repeated ones become infinite."""
    d = X.shape[1]
    at = torch.arange(1, _SEXTILES, device=X.device) * d // _SEXTILES
    sextiles = X.sort(1).values[:, at]
    repeated = torch.zeros_like(sextiles, dtype=torch.bool)
    repeated[:, 1:] = sextiles[:, 1:] == sextiles[:, :-1]
    return sextiles.masked_fill(repeated, math.inf).sort(1).values


def adaptive(query_bins: Tensor, pattern_bins: Tensor, n_pattern_bins: int) -> Tensor:
    """Evidence (n,) of a channel learned from the one pair of query and pattern.

    A Dirichlet-multinomial over coarse bins: it asks whether the pattern tells
    anything about the query, whatever the damage does, and so is what a family of
    the bank has to beat.

    Parameters
    ----------
    query_bins : Tensor of shape (n, d)
        `half_bins` of the query between its own sextiles.
    pattern_bins : Tensor of shape (n, d)
        `half_bins` of the pattern between the patterns' sextiles.
    n_pattern_bins : int
        Number of the latter.
    """
    n, d = query_bins.shape
    n_query_bins = 2 * _SEXTILES - 1
    cells = pattern_bins * n_query_bins + query_bins
    counts = torch.zeros(
        (n, n_pattern_bins * n_query_bins), dtype=torch.float64, device=cells.device
    )
    counts.scatter_add_(1, cells, torch.ones_like(cells, dtype=counts.dtype))
    counts = counts.view(n, n_pattern_bins, n_query_bins)
    total = counts.sum(1)
    used = total > 0
    prior = torch.where(used, total + 0.5, 0)
    prior = CONCENTRATION * prior / prior.sum(1, keepdim=True)
    prior = torch.where(used, prior, 1.0)[:, None]
    gain = (torch.lgamma(counts + prior) - torch.lgamma(prior)).sum((1, 2))
    rows = torch.lgamma(counts.sum(2) + CONCENTRATION) - math.lgamma(CONCENTRATION)
    return gain - rows.sum(1) - torch.special.xlogy(total, total / d).sum(1)


def structure(residual: Tensor, directions: Tensor) -> Tensor:
    """How far the residual (n, d) is from white: energy ratio (n,), at least 1.

    Mean energy along the patterns' principal directions over mean energy per
    feature. Noise has ratio 1; damage with a shape (a block, a blur) has more.
    """
    k = len(directions)
    if k == 0:
        return residual.new_ones(len(residual))
    tiny = torch.finfo(residual.dtype).tiny
    energy = residual.square().mean(1).clamp_min(tiny)
    along = (residual @ directions.T).square().mean(1)
    return (along / energy).clamp_min(1)


def structure_cost(ratio: Tensor, n_directions: int) -> Tensor:
    """Log-likelihood that white noise loses by that ratio: ``k/2 (l - 1 - log l)``."""
    return n_directions / 2 * (ratio - 1 - ratio.log())
