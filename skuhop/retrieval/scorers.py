"""Scorers: a stored memory made ready to be asked.

A scorer holds what can be computed once from the patterns and gives the scores of
a batch of queries against a block of patterns. The engine knows nothing else of
similarities, feature maps or noise models.

- :class:`KernelScorer`: one similarity on one feature map, at a fixed beta or
  with the noise level profiled out.
- :class:`ObservedScorer`: the same for queries with missing entries, compared on
  the others.
- :class:`ScaledScorer`: log-likelihoods times a beta of the user's.

The scorers that know what damage looks like stand in files of their own:
`auto_scorer`, `channel_scorers` and `experts`.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from skuhop.retrieval.products import exact, gathered
from skuhop.retrieval.similarities import SIMILARITIES, Similarity


class FeatureMap(NamedTuple):
    """A learned feature map, ready for Stage II.

    Attributes
    ----------
    patterns : callable
        ``(M, d) -> (M, r)`` for stored patterns.
    queries : callable
        The same for queries. It differs where the posterior loss has learned how
        damage scales and shifts them.
    """

    patterns: Callable[[Tensor], Tensor]
    queries: Callable[[Tensor], Tensor]


class Query(NamedTuple):
    """A batch of encoded queries.

    Attributes
    ----------
    encoded : object
        What the scorer's `block` reads.
    self_score : Tensor of shape (n,)
        ``beta * s(x, x)``, twice the first term of the energy; zero for
        likelihoods.
    offset : Tensor of shape (n,) or None
        A part of the scores that is the same for all patterns. `block` leaves it
        out, because most separations do not see it.
    """

    encoded: object
    self_score: Tensor
    offset: Tensor | None = None


class Linear(NamedTuple):
    """Scores that are one product: ``vectors(X) @ keys.T + bias``.

    Attributes
    ----------
    vectors : callable
        ``(n, d) -> (n, r)``.
    keys : Tensor of shape (M, r)
    bias : Tensor of shape (M,) or None
    source : Tensor of shape (M, r) or None
        The patterns where they are ``keys + origin``: who reads both reads one.
    origin : Tensor of shape (1, r) or None
        None is zero.
    """

    vectors: Callable[[Tensor], Tensor]
    keys: Tensor
    bias: Tensor | None
    source: Tensor | None = None
    origin: Tensor | None = None


class Scorer(Protocol):
    """What the engine asks of a scorer.

    A scorer may also have a method `linear` that gives its scores, up to a part common
    to all patterns, as a :class:`Linear`, or None where they are no product; and a
    method `lift`, with the parameters of `block`, that gives the best scores (n,) and
    the exponentials (n, stop - start) of the scores below them.
    """

    n_patterns: int
    beta: float
    width: int
    """How many numbers per query and pattern `block` holds at its peak."""
    row_width: int
    """How many numbers per query `prepare` holds."""
    streams: bool
    """Whether `block` may be asked for a part of the patterns."""

    def prepare(self, X: Tensor) -> Query:
        """Encode queries of shape (n, d)."""

    def block(self, query: Query, start: int, stop: int) -> Tensor:
        """Scores (n, stop - start), times beta, in memory that may be overwritten."""

    def null(self, query: Query) -> Tensor:
        """Score (n,) of "nothing stored": 0 for products, else the mean pattern's."""


def largest_beta(beta: float, dtype: torch.dtype) -> float:
    """Beta small enough that ``beta * score`` stays finite.

    At the square root of the largest number every separation is long since the
    maximum, so nothing is lost.
    """
    return min(beta, torch.finfo(dtype).max ** 0.5)


class KernelScorer:
    """``beta * s(Phi(x), Phi(xi))`` for one similarity s and one feature map Phi.

    Parameters
    ----------
    similarity : Similarity
        A row of ``SIMILARITIES``.
    patterns : Tensor of shape (M, d)
        The stored patterns.
    mean : Tensor of shape (d,)
        Mean pattern. Its features are taken off all others where the similarity
        does not mind, and it stands for "nothing stored" among likelihoods and
        distances.
    feature_map : pair of callables or None
        Phi for patterns (``.patterns``) and for queries (``.queries``); None is the
        identity.
    beta : float or None
        Inverse temperature; None profiles the noise level out, for every query
        and pattern.
    product : callable, default=exact
        How queries and keys are multiplied; see `products`. Not where the noise level
        is profiled out: its logarithm is of a small difference of large products.
    """

    width = 2
    streams = True

    def __init__(
        self, similarity: Similarity, patterns, mean, feature_map, beta, product=exact
    ):
        self.similarity = similarity
        self.feature_map = feature_map
        self.n_patterns = len(patterns)
        self.profiled = beta is None
        self.product = exact if self.profiled else product
        self.beta = 1.0 if self.profiled else largest_beta(beta, patterns.dtype)
        if self.profiled:
            patterns = torch.cat([patterns, mean[None]])
        self.keys = patterns if feature_map is None else feature_map.patterns(patterns)
        self.origin = None
        if similarity.centred:
            mean = mean[None]
            self.origin = mean if feature_map is None else feature_map.patterns(mean)
            self.keys = self.keys - self.origin
        plain, (self.keys, bias) = self.keys, similarity.encode(self.keys)
        same = self.keys is plain and feature_map is None and not self.profiled
        # Elsewhere nobody asks for it, and it would only keep the patterns alive.
        self.source = patterns if same and patterns.device.type == "cpu" else None
        self.row_width = 3 * self.keys.shape[1]
        self.bias = None if bias is None else bias * self.beta

    def prepare(self, X):
        """Encode queries of shape (n, d)."""
        features = X if self.feature_map is None else self.feature_map.queries(X)
        if self.origin is not None:
            features = features - self.origin
        vectors, bias = self.similarity.encode(features)
        own = self.similarity.self_score(features) * (not self.profiled) * self.beta
        offset = None if bias is None else bias * self.beta
        if self.similarity.compare is None and self.beta != 1:
            vectors = vectors * self.beta
        if self.profiled:
            scale = vectors.square().sum(1, keepdim=True)
            return Query((vectors, offset, scale), own)
        return Query((vectors, None, None), own, offset)

    def pairs(self, query, indices):
        """Scores (n, k) of the patterns at `indices`, its own k for every query."""
        vectors, offset, scale = query.encoded
        scores = gathered(self.keys, indices, vectors)
        for bias in (
            None if self.bias is None else self.bias[indices],
            None if offset is None else offset[:, None],
        ):
            scores = scores if bias is None else scores.add_(bias)
        if self.profiled:
            scores = self.similarity.profile(scores, self.keys.shape[1], scale)
        return scores

    def block(self, query, start, stop):
        """Scores of the patterns from `start` to `stop`."""
        vectors, offset, scale = query.encoded
        keys = self.keys[start:stop]
        if self.similarity.compare is not None:
            scores = self.similarity.compare(vectors, keys).mul_(self.beta)
        else:
            bias = None if self.bias is None else self.bias[None, start:stop]
            scores = self.product(vectors, keys.T, bias)
        if offset is not None:
            scores += offset[:, None]
        if self.profiled:
            scores = self.similarity.profile(scores, keys.shape[1], scale)
        return scores

    def at(self, indices):
        """Make a scorer of the patterns at `indices` (m,) alone."""
        few = copy.copy(self)
        if self.profiled:  # The mean pattern stays behind the others.
            end = indices.new_tensor([self.n_patterns])
            few.n_patterns, indices = len(indices), torch.cat([indices, end])
        else:
            few.n_patterns = len(indices)
        few.keys, few.source = self.keys[indices], None
        few.bias = None if self.bias is None else self.bias[indices]
        return few

    def linear(self):
        """Scores as one product, unless the noise level is profiled out."""
        if self.profiled or self.similarity.compare is not None:
            return None
        return Linear(
            lambda X: self.prepare(X).encoded[0],
            self.keys,
            self.bias,
            self.source,
            self.origin,
        )

    def null(self, query):
        """Score of "nothing stored": of the mean pattern, or zero.

        Zero is no better than orthogonal for a product, but a perfect match for a
        distance. Then, as among likelihoods, nothing is the mean pattern.
        """
        if self.profiled:
            return self.block(query, self.n_patterns, self.n_patterns + 1)[:, 0]
        if self.origin is None:
            return torch.zeros_like(query.self_score)
        if self.similarity.compare is None:  # The origin's product is zero.
            return query.offset
        vectors = query.encoded[0]
        scores = self.similarity.compare(vectors, torch.zeros_like(vectors[:1]))
        return scores[:, 0] * self.beta


class ObservedScorer:
    """Scores of incomplete queries on their observed (not NaN) entries.

    Phi of an incomplete vector is not defined, so the patterns themselves are
    compared, whatever the feature map.
    """

    width = 5
    streams = True

    def __init__(self, similarity: Similarity, patterns, mean, beta):
        self.similarity = similarity
        self.n_patterns = len(patterns)
        self.profiled = beta is None
        self.beta = 1.0 if self.profiled else largest_beta(beta, patterns.dtype)
        self.patterns = torch.cat([patterns, mean[None]])
        self.origin = mean if similarity.centred else torch.zeros_like(mean)
        self.patterns -= self.origin
        self.row_width = 3 * len(mean)

    def prepare(self, X):
        """Split the queries into observed values and the mask of them."""
        observed = ~X.isnan()
        values = torch.where(observed, X - self.origin, 0)
        own = self.similarity.self_score(values) * (not self.profiled) * self.beta
        return Query((values, observed.to(X.dtype)), own)

    def block(self, query, start, stop):
        """Scores of the patterns from `start` to `stop`."""
        values, mask = query.encoded
        patterns = self.patterns[start:stop]
        scores = self.similarity.compare_observed(values, mask, patterns)
        if self.profiled:
            scale = values.square().sum(1, keepdim=True)
            return self.similarity.profile(scores, mask.sum(1, keepdim=True), scale)
        return scores.mul_(self.beta)

    def null(self, query):
        """As that of `KernelScorer`."""
        if self.profiled or self.similarity.centred:
            return self.block(query, self.n_patterns, self.n_patterns + 1)[:, 0]
        return torch.zeros_like(query.self_score)


class ScaledScorer:
    """Another scorer's log-likelihoods times beta."""

    def __init__(self, scorer: Scorer, beta: float):
        self.scorer = scorer
        self.n_patterns, self.width = scorer.n_patterns, scorer.width
        self.row_width, self.streams = scorer.row_width, scorer.streams
        self.beta = beta
        self.prepare = scorer.prepare

    def block(self, query, start, stop):
        """Scores of the patterns from `start` to `stop`."""
        scores = self.scorer.block(query, start, stop)
        return scores.mul_(largest_beta(self.beta, scores.dtype))

    def null(self, query):
        """Score of "nothing stored"."""
        null = self.scorer.null(query)
        return null.mul_(largest_beta(self.beta, null.dtype))


def attention_beta(features: Tensor, weights: Tensor | None) -> float:
    """``sqrt(r) / mean(|phi|^2)``: 1 / sqrt(r) for features of unit variance."""
    squared = features.square().sum(1)
    mean = squared.mean() if weights is None else squared @ weights / weights.sum()
    return features.shape[1] ** 0.5 / max(mean.item(), torch.finfo(mean.dtype).tiny)


def _resolve_beta(similarity, beta, features, weights):
    """Return a number, or None where the noise level is to be profiled out."""
    if beta != "auto":
        return float(beta)
    if similarity.profile is not None:
        return None
    return attention_beta(features, weights)


def build_scorer(
    similarity, beta, patterns, mean, weights, feature_map, product=exact
) -> Scorer:
    """Scorer for complete queries, from the names that the estimators take."""
    rule = SIMILARITIES[similarity]
    if beta == "auto" and rule.profile is None:
        features = patterns if feature_map is None else feature_map.patterns(patterns)
        beta = attention_beta(features, weights)
    beta = None if beta == "auto" else float(beta)
    return KernelScorer(rule, patterns, mean, feature_map, beta, product)


def build_observed_scorer(similarity, beta, patterns, mean, weights) -> Scorer:
    """Scorer for queries with missing entries."""
    name = similarity if similarity in SIMILARITIES else "euclidean"
    rule = SIMILARITIES[name]
    if similarity not in SIMILARITIES and beta != "auto":
        scorer = ObservedScorer(rule, patterns, mean, None)
        return ScaledScorer(scorer, float(beta))
    beta = _resolve_beta(rule, beta, patterns, weights)
    return ObservedScorer(rule, patterns, mean, beta)
