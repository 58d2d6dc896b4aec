"""Scores of queries with missing entries, on the entries that they have."""

from __future__ import annotations

import math

import torch

from skuhop.retrieval.scores.kernel import growth, in_unit, times
from skuhop.retrieval.scores.scorer import Query, ScaledScorer, Scorer, largest_beta
from skuhop.retrieval.scores.similarities import SIMILARITIES, Similarity
from skuhop.retrieval.units import enter


class ObservedScorer:
    """Scores of incomplete queries on their observed (not NaN) entries.

    Phi of an incomplete vector is not defined, so the patterns themselves are
    compared, whatever the feature map. Parameters are those of `KernelScorer`.
    """

    width = 5
    streams = True

    def __init__(self, similarity: Similarity, patterns, mean, beta, unit=1.0):
        self.similarity, self.unit = similarity, unit
        self.n_patterns = len(patterns)
        self.profiled = beta is None
        self.beta = 1.0 if self.profiled else largest_beta(beta, patterns.dtype)
        self.energy_unit = 1.0 if self.profiled else similarity.in_user_units(unit)
        self.patterns = torch.cat([patterns, mean[None]])
        self.origin = mean if similarity.centred else torch.zeros_like(mean)
        self.patterns -= self.origin
        self.row_width = 3 * len(mean)

    def prepare(self, X):
        """Split the queries into observed values and the mask of them."""
        observed = ~X.isnan()
        values, units = enter(X.where(observed, 0), self.unit)
        values = torch.where(observed, values - self.origin, 0)
        own = self.similarity.self_score(values)
        mask = observed.to(X.dtype)
        if self.profiled:
            n = mask.sum(1, keepdim=True)
            offset = growth(self.similarity, units, n)
            return Query((values, mask, n), torch.zeros_like(own), offset)
        excess = units / self.unit
        factor = (self.beta * excess).clamp_max_(largest_beta(math.inf, X.dtype))
        scale = self.beta * excess[:, 0] ** self.similarity.degree
        return Query((values, mask, factor), times(own, scale))

    def block(self, query, start, stop):
        """Scores of the patterns from `start` to `stop`."""
        values, mask, factor = query.encoded
        patterns = self.patterns[start:stop]
        scores = self.similarity.compare_observed(values, mask, patterns)
        if self.profiled:
            scale = values.square().sum(1, keepdim=True)
            return self.similarity.profile(scores, factor, scale)
        most = torch.finfo(scores.dtype).max / 4  # All as far away, and no infinity.
        return scores.mul_(factor).clamp_(-most, most)

    def null(self, query):
        """As that of `KernelScorer`."""
        if self.profiled or self.similarity.centred:
            return self.block(query, self.n_patterns, self.n_patterns + 1)[:, 0]
        return torch.zeros_like(query.self_score)


def build_observed_scorer(
    similarity, beta, patterns, mean, weights, unit=1.0
) -> Scorer:
    """Scorer for queries with missing entries; parameters are those of `build_scorer`.

    What is no row of ``SIMILARITIES`` has the likelihood of plain noise, times beta.
    """
    if similarity not in SIMILARITIES:
        rule = SIMILARITIES["euclidean"]
        scorer = ObservedScorer(rule, patterns, mean, None, unit)
        return scorer if beta == "auto" else ScaledScorer(scorer, float(beta))
    beta = in_unit(similarity, beta, unit, patterns, weights)
    return ObservedScorer(SIMILARITIES[similarity], patterns, mean, beta, unit)
