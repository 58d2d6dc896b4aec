"""Scores: how alike a query and a stored pattern are in feature space.

A similarity is a row of the table at the end. Nearly all of them are a matrix
product of encoded features plus a bias, so one block of scores costs one
``addmm``; only the Manhattan distance needs a kernel of its own.

All scores grow with likeness: distances enter with a minus sign. (The code
published with U-Hop puts ``+distance`` into its softmax and so retrieves the
farthest pattern.)
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from skuhop.retrieval.units import largest


class Similarity(NamedTuple):
    """One way to compare encoded queries with encoded patterns.

    Attributes
    ----------
    encode : callable
        ``(features) -> (vectors, bias)``, the same for queries and patterns; the
        bias, shape (n,), is None where the score has none.
    compare : callable or None
        ``(vectors_x, vectors_p) -> scores``; None is the matrix product.
    compare_observed : callable
        ``(queries, observed, patterns) -> scores`` on the observed entries only;
        unobserved entries of `queries` hold zeros.
    profile : callable or None
        ``(scores, n_features, scale) -> log-likelihood`` with the noise level
        profiled out per query and pattern; `scale`, shape (n, 1), is the size of
        the terms that cancel in an exact match. None where the similarity has no
        noise model.
    self_score : callable
        ``(features) -> s(x, x)``, shape (n,): the first term of the energy.
    centred : bool
        Whether a shift common to queries and patterns leaves the score alone, so
        that it may be taken off first for the sake of precision.
    degree : int
        Power of a factor on queries and patterns that the score is multiplied by; 0
        where each may have a factor of its own.
    """

    encode: Callable
    compare: Callable | None
    compare_observed: Callable
    profile: Callable | None
    self_score: Callable
    centred: bool = False
    degree: int = 0

    def in_user_units(self, unit: float) -> float:
        """Score, in the user's units, of a score of one in another unit."""
        return math.prod([unit] * self.degree)


def _log_residual(residual: Tensor, scale: Tensor) -> Tensor:
    """Logarithm of residuals, in place; within rounding of zero they are a match.

    An exact match gets the smallest number there is: it then wins by the largest
    margin there is, and the logarithm is finite and does not depend on rounding.
    """
    info = torch.finfo(residual.dtype)
    return residual.masked_fill_(residual <= 16 * info.eps * scale, info.tiny).log_()


def divide_by_largest(vectors: Tensor) -> Tensor:
    """Rows divided by their largest entry, so that they can be squared."""
    size = largest(vectors.detach())
    return vectors / torch.where(size > 0, size, 1)


def direction(vectors: Tensor) -> Tensor:
    """Rows, of any size, divided by their Euclidean norm; zero rows stay zero."""
    size = largest(vectors.detach())
    vectors = vectors / torch.where(size > 0, size, 1)
    norms = torch.linalg.vector_norm(vectors, dim=1, keepdim=True)
    return vectors / torch.where(norms > 0, norms, 1)


def less_mean(rows: Tensor) -> Tensor:
    """Rows less their mean; what is left of a constant row is rounding, and is zero."""
    centred = rows - rows.mean(1, keepdim=True)
    rounding = 4 * torch.finfo(rows.dtype).eps * largest(rows.detach())
    return centred.masked_fill(largest(centred.detach()) <= rounding, 0)


def _safe_ratio(numerator: Tensor, squared: Tensor) -> Tensor:
    positive = squared > 0
    return torch.where(positive, numerator / squared.where(positive, 1).sqrt(), 0)


def _encode_dot(features):
    return features, None


def _encode_euclidean(features):
    return features, _norm_square(features).mul_(-0.5)


def _encode_cosine(features):
    return direction(features), None


def _encode_correlation(features):
    return direction(less_mean(features)), None


def _compare_manhattan(queries, patterns):
    return torch.cdist(queries, patterns, p=1).neg_()


def _observed_dot(queries, observed, patterns):
    return queries @ patterns.T


def _observed_euclidean(queries, observed, patterns):
    scores = queries @ patterns.T
    scores -= observed @ patterns.square().T / 2
    scores -= queries.square().sum(1, keepdim=True) / 2
    return scores.clamp_max_(0)


def _observed_cosine(queries, observed, patterns):
    patterns = divide_by_largest(patterns)
    squared = observed @ patterns.square().T
    return _safe_ratio(direction(queries) @ patterns.T, squared)


def _observed_correlation(queries, observed, patterns):
    """Pearson's correlation of what is left of rows once their means are taken off.

    A query has no mean left on the entries that it shares with a pattern, so that no
    large sums cancel in the product. The pattern's own may have, and then rounding is
    what they leave: of a constant pattern, and beside a perfect correlation.
    """
    eps = 16 * torch.finfo(queries.dtype).eps
    count = observed.sum(1, keepdim=True).clamp_min(1)
    mean = queries.sum(1, keepdim=True) / count
    centred = torch.where(observed > 0, queries - mean, 0)
    flat = largest(centred) <= eps / 4 * largest(queries)
    queries = direction(centred.masked_fill(flat, 0))
    patterns = divide_by_largest(less_mean(patterns))
    means = (observed @ patterns.T).div_(count)
    raw = observed @ patterns.square().T
    squared = torch.addcmul(raw, means.square(), count, value=-1)
    squared.masked_fill_(squared <= eps * raw, 0)
    found = (queries @ patterns.T).addcmul_(
        means, queries.sum(1, keepdim=True), value=-1
    )
    found = _safe_ratio(found, squared)
    rest = found.square().neg_().add_(1).mul_(squared)
    return torch.where(rest <= eps * raw, found.sign(), found)


def _observed_manhattan(queries, observed, patterns):
    # cdist sees zeros where the query is unobserved: take those terms off again.
    hidden = (1 - observed) @ patterns.abs().T
    scores = torch.cdist(queries, patterns, p=1).sub_(hidden)
    # What a match leaves is the rounding of the terms that cancel.
    rounding = 16 * torch.finfo(scores.dtype).eps * hidden
    return scores.masked_fill_(scores <= rounding, 0).neg_()


def _norm_square(features):
    return features.square().sum(1)


def _one(features):
    return features.new_ones(len(features))


def _zero(features):
    return features.new_zeros(len(features))


def _profile_euclidean(scores, n_features, scale):
    """Log-likelihood of an isotropic Gaussian query at its best noise level."""
    return _log_residual(scores.mul_(-2), scale).mul_(-n_features / 2)


def _profile_angle(scores, n_features, scale):
    """As for the Euclidean model, with a positive gain profiled out as well."""
    residual = scores.clamp_(0, 1).square_().neg_().add_(1)
    return _log_residual(residual, torch.ones_like(scale)).mul_(-n_features / 2)


def _profile_manhattan(scores, n_features, scale):
    """Log-likelihood of a Laplace query at its best noise level."""
    return _log_residual(scores.neg_(), scale.sqrt()).mul_(-n_features)


SIMILARITIES = {
    "euclidean": Similarity(
        _encode_euclidean, None, _observed_euclidean, _profile_euclidean, _zero, True, 2
    ),
    "dot": Similarity(_encode_dot, None, _observed_dot, None, _norm_square, degree=2),
    "cosine": Similarity(_encode_cosine, None, _observed_cosine, _profile_angle, _one),
    "correlation": Similarity(
        _encode_correlation, None, _observed_correlation, _profile_angle, _one
    ),
    "manhattan": Similarity(
        _encode_dot,
        _compare_manhattan,
        _observed_manhattan,
        _profile_manhattan,
        _zero,
        True,
        1,
    ),
}
"""Similarities by name.

To add one: write how it encodes, compares and compares what is observed, and its score
of a row with itself; a `profile` if it stands for a model of noise. Add the row, and
one to `REFERENCES` in ``tests/retrieval/test_similarities.py`` and to the grid of
``tests/estimators/test_memory_checks.py``; tests say where they lack it. Name it in
the docstrings of the estimators.
"""
