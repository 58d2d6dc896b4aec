"""One similarity on one feature map, at a fixed beta or with the noise profiled out."""

from __future__ import annotations

import copy
import math

import torch
from torch import Tensor

from skuhop.retrieval.products import exact, gather_products
from skuhop.retrieval.scores.beta import attention_beta
from skuhop.retrieval.scores.scorer import (
    FeatureMap,
    Linear,
    Query,
    Scorer,
    largest_beta,
)
from skuhop.retrieval.scores.similarities import SIMILARITIES, Similarity
from skuhop.retrieval.units import enter


def times(scores: Tensor, scale: Tensor) -> Tensor:
    """Scores times a scale that may be infinite, which leaves a score of 0 alone."""
    return torch.where(scores == 0, scores, scores * scale)


def growth(similarity: Similarity, units: Tensor, n: Tensor | int) -> Tensor | None:
    """Log-densities (n,) of n features that lie in units, less those in 1."""
    if similarity.degree == 0:
        return None
    return (-n * units.log())[:, 0]


class KernelScorer:
    """``beta * s(Phi(x), Phi(xi))`` for one similarity s and one feature map Phi.

    Parameters
    ----------
    similarity : Similarity
        A row of ``SIMILARITIES``.
    patterns : Tensor of shape (M, d)
        The stored patterns, divided by the unit.
    mean : Tensor of shape (d,)
        Mean pattern, likewise. Its features are taken off all others where the
        similarity does not mind, and it stands for "nothing stored" among likelihoods
        and distances.
    feature_map : pair of callables or None
        Phi for patterns (``.patterns``) and for queries (``.queries``) in the unit;
        None is the identity.
    beta : float or None
        Inverse temperature of scores in the unit; None profiles the noise level out,
        for every query and pattern.
    product : callable, default=exact
        How queries and keys are multiplied; see `products`. Not where the noise level
        is profiled out: its logarithm is of a small difference of large products.
    unit : float or None, default=1
        What queries are divided by; None if the feature map takes them as they are.
    source : Tensor of shape (M, d) or None, default=None
        The patterns before they were divided, if answers are read out of them.
    """

    width = 2
    streams = True

    def __init__(
        self,
        similarity: Similarity,
        patterns,
        mean,
        feature_map,
        beta,
        product=exact,
        unit=1.0,
        source=None,
    ):
        self.similarity, self.rows_unit = similarity, unit
        self.unit = unit or 1.0
        self.feature_map = feature_map
        self.n_patterns = len(patterns)
        self.profiled = beta is None
        self.product = exact if self.profiled else product
        self.beta = 1.0 if self.profiled else largest_beta(beta, patterns.dtype)
        self.feature_unit = self.unit
        if feature_map is not None and not feature_map.keeps_unit:
            self.feature_unit = 1.0
        in_user_units = similarity.in_user_units(self.feature_unit)
        self.energy_unit = 1.0 if self.profiled else in_user_units
        # On a GPU nobody asks for it, and it would only keep the patterns alive.
        same = feature_map is None and not self.profiled and similarity.degree
        source = patterns if source is None and self.unit == 1 else source
        self.source = source if same and patterns.device.type == "cpu" else None
        if self.profiled:
            patterns = torch.cat([patterns, mean[None]])
        self.keys = patterns if feature_map is None else feature_map.patterns(patterns)
        _check_size(self.keys, feature_map)
        self.origin = None
        if similarity.centred:
            mean = mean[None]
            self.origin = mean if feature_map is None else feature_map.patterns(mean)
            self.keys = self.keys - self.origin
        self.keys, bias = similarity.encode(self.keys)
        self.row_width = 3 * self.keys.shape[1]
        self.bias = None if bias is None else bias * self.beta

    def prepare(self, X):
        """Encode queries of shape (n, d)."""
        X, units = enter(X, self.rows_unit)
        features = X if self.feature_map is None else self.feature_map.queries(X)
        if self.origin is not None:
            features = features - self.origin
        vectors, bias = self.similarity.encode(features)
        own = self.similarity.self_score(features)
        if self.profiled:
            scale = vectors.square().sum(1, keepdim=True)
            units = units * (self.feature_unit / self.unit)
            offset = growth(self.similarity, units, self.keys.shape[1])
            return Query((vectors, bias, scale), torch.zeros_like(own), offset)
        # A query far away has scores as large as its distance, up to what beta may be.
        excess = units / self.unit
        if self.similarity.compare is None:
            most = largest_beta(math.inf, X.dtype)
            vectors = vectors * (self.beta * excess).clamp_max_(most)
        scale = self.beta * excess[:, 0] ** self.similarity.degree
        offset = None if bias is None else times(bias, scale)
        return Query((vectors, None, None), times(own, scale), offset)

    def pairs(self, query, indices):
        """Scores (n, k) of the patterns at `indices`, its own k for every query."""
        vectors, offset, scale = query.encoded
        scores = gather_products(self.keys, indices, vectors)
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
            self.keys,
            self.bias,
            self.source,
            None if self.origin is None else self.origin * self.unit,
            self.unit,
        )

    def null(self, query):
        """Score of "nothing stored": of the mean pattern, or zero.

        Zero is no better than orthogonal for a product, but a perfect match for a
        distance. Then, as among likelihoods, nothing is the mean pattern.
        """
        if self.profiled:
            return self.block(query, self.n_patterns, self.n_patterns + 1)[:, 0]
        if self.similarity.compare is None:  # The origin's product is zero.
            return torch.zeros_like(query.self_score)
        vectors = query.encoded[0]
        scores = self.similarity.compare(vectors, torch.zeros_like(vectors[:1]))
        return scores[:, 0] * self.beta


def _check_size(keys: Tensor, feature_map: FeatureMap | None) -> None:
    """Refuse features of a user's module that cannot be squared.

    Raises
    ------
    ValueError
        Names their size.
    """
    if feature_map is None or feature_map.keeps_unit or not len(keys):
        return
    info, size = torch.finfo(keys.dtype), keys.abs().amax().item()
    if size and not info.tiny < size * size * keys.shape[1] < info.max:
        raise ValueError(
            f"The features of feature_map are of the size {size:.0e}, whose squares "
            f"{keys.dtype} cannot hold: scale X, or what the module gives."
        )


def in_unit(similarity, beta, unit, features, weights) -> float | None:
    """Beta for scores in a unit; None where the noise level is to be profiled out."""
    rule = SIMILARITIES[similarity]
    if beta != "auto":
        return float(beta) * rule.in_user_units(unit)
    if rule.profile is not None:
        return None
    return attention_beta(features, weights)


def build_scorer(
    similarity,
    beta,
    patterns,
    mean,
    weights,
    feature_map,
    product=exact,
    unit=1.0,
    source=None,
) -> Scorer:
    """Scorer for complete queries, from the names that the estimators take.

    Parameters are those of `KernelScorer`, but that `beta` is in the user's units.
    """
    features = patterns
    if beta == "auto" and feature_map is not None:
        features = feature_map.patterns(patterns)
    own = feature_map is not None and not feature_map.keeps_unit
    scale = 1.0 if own or unit is None else unit
    beta = in_unit(similarity, beta, scale, features, weights)
    rule = SIMILARITIES[similarity]
    parts = patterns, mean, feature_map, beta, product
    return KernelScorer(rule, *parts, unit, source)
