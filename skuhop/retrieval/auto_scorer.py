"""Retrieval told nothing: many models of damage, weighed query by query.

Four parameter-free models (noise; noise, gain and offset; noise as the learned
feature map sees it; noise with heavy tails) and a bank of channels each give a
posterior over the patterns and an evidence, see `evidence`. The answer's posterior is
their evidence-weighted mean.

Where the residual of the parameter-free models is white, one of them is right and
they are mixed by evidence. Where it has structure none of them is, and then they are
pooled geometrically: a pattern has to be good under all. A family of the bank has to
beat a channel learned from the single pair of query and pattern, which protects
against damage that no family describes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from skuhop.retrieval import evidence
from skuhop.retrieval.scorers import FeatureMap, KernelScorer, Query
from skuhop.retrieval.similarities import SIMILARITIES

SELECTED = 8
"""Families scored per query at most, by their predicted histograms."""
MARGIN = 60.0
"""A family whose histogram is so many nats worse than the best is not scored."""
SHORTLIST = 16
"""Best patterns of a family that are scored again without factorisation."""
FAMILY_COST = 2.0
"""Evidence that a family pays beside its share of the prior."""
DISTRUST = 4.0
"""How fast trust falls with structure in the residual beyond half a nat."""
POOL_TEMPER = 0.005
"""Nats of pool log-weight per nat of evidence: evidence of wrong models misleads."""
STRUCTURE_POWER = 1.5
"""How fast a model's pool weight falls with the structure of its residual."""
POOL_PRIOR = {"noise": 1.0, "gain and offset": 0.0, "feature map": -1.0, "tails": 0.0}
"""Log-weights of the parameter-free models in the geometric pool."""
COSTS = {"noise": 1, "gain and offset": 3, "tails": 3}
"""Parameters of each that the evidence is charged for, half a log d apiece."""
PROTOTYPES = 256
"""Patterns whose damaged histograms are predicted at most."""
_GATHERED = 2**22
"""Table entries looked up at once."""


class _Model(NamedTuple):
    """What a parameter-free model says about a batch of queries."""

    name: str
    log_posterior: Tensor
    evidence: Tensor
    adaptive: Tensor
    structure: Tensor


class AutoScorer:
    """Log-likelihoods of queries, told nothing about their damage.

    Parameters
    ----------
    bank : mapping of str to Tensor
        What `learn_bank` gave.
    patterns : Tensor of shape (M, d)
        Distinct patterns.
    weights : Tensor of shape (M,) or None
        Their weights.
    columns : Tensor of shape (N,) or None
        Which distinct pattern each stored one is; None if they are the same.
    mean : Tensor of shape (d,)
        Mean pattern.
    feature_map : FeatureMap or None
        The learned feature map.
    components : Tensor of shape (r, d) or None
        Its matrix if it is linear. A map that is not gives no density in the space
        of the queries, so it joins the pool but not the mixture.
    learned : mapping of str to Tensor
        Empty, or what unlabelled queries taught: `log_families`, log-weights of the
        parameter-free models and the families, and maybe a `table` (A, K).
    """

    beta = 1.0
    width = 12
    streams = False

    def __init__(
        self, bank, patterns, weights, columns, mean, feature_map, components, learned
    ):
        self.bank, self.columns, self.learned = bank, columns, learned
        self.patterns = patterns
        self.n_patterns = len(patterns) if columns is None else len(columns)
        n, d = patterns.shape
        self.log_weights = patterns.new_full((n,), -math.log(n))
        if weights is not None:
            self.log_weights = (weights / weights.sum()).log()
        self.log_volume = None
        if components is not None:
            feature_map, self.log_volume = _fill_space(components)
        kernels = {
            "noise": ("euclidean", None),
            "gain and offset": ("correlation", None),
        }
        if feature_map is not None:
            kernels["feature map"] = ("euclidean", feature_map)
        self.kernels = {
            name: KernelScorer(SIMILARITIES[rule], patterns, mean, phi, None)
            for name, (rule, phi) in kernels.items()
        }
        self.directions = bank["directions"].to(patterns)
        self.bins = torch.searchsorted(
            bank["codes"], torch.bucketize(patterns.double(), bank["edges"])
        )
        self.left = bank["left"].to(patterns)
        self.right, self.base = bank["right"].to(patterns), bank["base"].to(patterns)
        self.keys = self.left[self.bins].reshape(n, -1)
        self.n_bins = len(bank["edges"]) + 1
        mixed = torch.lerp(
            bank["tables"], bank["tables"].new_tensor(1 / self.n_bins), bank["uniform"]
        )
        self.log_tables = mixed.log().to(patterns)
        self.tables = bank["tables"].to(patterns)
        self.predicted = self._predict_histograms(mixed)
        sextiles = bank["sextiles"].to(patterns)
        self.coarse = evidence.half_bins(patterns, sextiles.expand(n, -1))
        self.n_coarse = 2 * len(sextiles) + 1
        self.row_width = 20 * d
        if "table" in learned:
            names = ("table", "table_base", "table_left", "table_right")
            table, *factors = (learned[name].to(patterns) for name in names)
            self.learned_table = (table.log(), *factors)

    def _predict_histograms(self, tables: Tensor) -> Tensor:
        """Log of the histograms (F, m, K) that families would make of patterns."""
        order = self.patterns.mean(1).argsort(stable=True)
        bins = self.bins[order[:: -(-len(order) // PROTOTYPES)]]
        histograms = torch.zeros(
            (len(bins), tables.shape[1]), dtype=tables.dtype, device=tables.device
        )
        histograms.scatter_add_(1, bins, torch.ones_like(bins, dtype=tables.dtype))
        histograms /= bins.shape[1]
        return torch.einsum("ma,fab->fmb", histograms, tables).log().to(self.patterns)

    def prepare(self, X):
        """Keep the queries; nearly all depends on the patterns."""
        return Query(X, X.new_zeros(len(X)))

    def null(self, query):
        """Log-likelihood of the query's features under its own histogram."""
        X = query.encoded
        bins = torch.bucketize(X.double().contiguous(), self.bank["edges"])
        return _histogram_log_likelihood(_histogram(bins, self.n_bins)).to(X)

    def block(self, query, start, stop):
        """Scores of the patterns from `start` to `stop`."""
        X = query.encoded
        _, log_mixture, _, null = self.explain(X)
        scores = log_mixture + null[:, None] - self.log_weights
        scores = self._settle_matches(X, scores)
        columns = slice(None) if self.columns is None else self.columns
        return scores[:, columns][:, start:stop]

    def explain(self, X):
        """Weigh all models for queries of shape (n, d).

        Returns
        -------
        bins : Tensor of shape (n, d)
            Bins of the queries.
        log_mixture : Tensor of shape (n, M)
            Log of the evidence-weighted sum of the models' posteriors over the
            distinct patterns.
        evidences : Tensor of shape (n, F + 1)
            Evidence of the parameter-free models together and of every family;
            minus infinity where a family was not scored.
        null : Tensor of shape (n,)
            Log-likelihood of the query under its own histogram.
        """
        bins = torch.bucketize(X.double().contiguous(), self.bank["edges"])
        histogram = _histogram(bins, self.n_bins)
        null = (histogram / X.shape[1]).gather(1, bins).to(X)
        coarse = evidence.half_bins(X, evidence.query_sextiles(X))
        answer, found = self._parameter_free(X, bins, coarse, null)
        evidences = X.new_full((len(X), len(self.tables) + 1), -math.inf)
        evidences[:, 0] = found
        log_mixture = answer + found[:, None]
        for family, rows, log_posterior, found in self._families(bins, histogram, null):
            evidences[rows, family + 1] = found
            log_mixture[rows] = torch.logaddexp(
                log_mixture[rows], log_posterior + found[:, None]
            )
        total = _histogram_log_likelihood(histogram).to(X)
        if "table" in self.learned:
            scores = self._learned_scores(bins) + self.log_weights
            log_mixture = torch.logaddexp(log_mixture, scores - total[:, None])
        return bins, log_mixture, evidences, total

    def _learned_scores(self, bins):
        """Log-likelihoods (n, M) under the table that queries taught."""
        table, base, left, right = self.learned_table
        keys = left[self.bins].reshape(len(self.bins), -1)
        return self._table_scores(bins, table, (base, keys, right))

    def _settle_matches(self, X, scores):
        """Leave a query that equals a stored pattern to that pattern."""
        kernel = self.kernels["noise"]
        nearest = kernel.block(kernel.prepare(X), 0, len(self.patterns)).argmax(1)
        same = (self.patterns[nearest] == X).all(1)
        match = torch.nn.functional.one_hot(nearest, len(self.patterns)).bool()
        lost = same[:, None] & ~match
        # Finite, because a tiny beta times infinity is not a number.
        return scores.masked_fill_(lost, -(torch.finfo(X.dtype).max ** 0.25))

    def _posterior(self, scores):
        return torch.log_softmax(scores + self.log_weights, 1)

    def _parameter_free(self, X, bins, coarse, null):
        """Log-posterior (n, M) of the parameter-free models and its evidence (n,)."""
        models = self._models(X, bins, coarse, null)
        log_posteriors = [model.log_posterior for model in models]
        evidences = torch.stack([model.evidence for model in models], 1)
        adaptives = torch.stack([model.adaptive for model in models], 1)
        structures = torch.stack([model.structure for model in models], 1)
        costs = evidence.structure_cost(structures, len(self.directions))

        prior = X.new_tensor([POOL_PRIOR[model.name] for model in models])
        seen = torch.where(evidences.isfinite(), evidences, evidences[:, :1])
        leaning = (
            POOL_TEMPER * (seen + adaptives)
            - STRUCTURE_POWER * structures.log()
            + prior
        )
        shares = torch.softmax(leaning, 1)
        pooled = sum(
            share[:, None] * log_posterior
            for share, log_posterior in zip(shares.T, log_posteriors, strict=True)
        )
        pooled = torch.log_softmax(pooled, 1)

        mixing = torch.softmax(evidences - costs, 1)
        trust = (-DISTRUST * ((costs * mixing).sum(1) - 0.5).clamp_min(0)).exp()
        answer = pooled + torch.log1p(-trust.clamp_max(1 - 1e-6))[:, None]
        for share, log_posterior in zip(
            (mixing.T * trust), log_posteriors, strict=True
        ):
            answer = torch.logaddexp(answer, log_posterior + share.log()[:, None])
        winner = self._adaptive(X, coarse, answer.argmax(1))
        found = torch.cat([evidences, winner[:, None]], 1).amax(1)
        if self.learned:
            found = found + self.learned["log_families"][0].to(X)
        return answer, found

    def _models(self, X, bins, coarse, null):
        """Ask the parameter-free models for their posteriors and evidences."""
        edges = self.bank["edges"].to(X)
        far = edges.new_tensor([math.inf])
        edges = torch.cat([-far, edges, far])
        cells = edges[bins], edges[bins + 1], null, 1e-3 * float(self.bank["span"])
        models, totals = [], []
        for name, kernel in self.kernels.items():
            query = kernel.prepare(X)
            scores = kernel.block(query, 0, len(self.patterns))
            totals.append(torch.logsumexp(scores + self.log_weights, 1))
            if name == "feature map":
                model = self._through_map(X, coarse, scores, models[0], totals)
                models.append(model)
            else:
                ratio = evidence.gaussian_ratio
                models.append(self._model(name, X, coarse, scores, cells, ratio))
        scores = self._laplace_scores(X, models)
        ratio = evidence.laplace_ratio
        models.append(self._model("tails", X, coarse, scores, cells, ratio))
        return models

    def _model(self, name, X, coarse, scores, cells, ratio):
        """Judge a model of noise by the pattern that it likes best."""
        log_posterior = self._posterior(scores)
        top, winner = log_posterior.max(1)
        centre = self.patterns[winner]
        if name == "gain and offset":
            centre = _regress(X, centre)
        found = evidence.contaminated(ratio(X, centre, *cells))
        found = found + self.log_weights[winner] - top
        found = found - 0.5 * COSTS[name] * math.log(X.shape[1])
        shape = evidence.structure(X - centre, self.directions)
        adaptive = self._adaptive(X, coarse, winner)
        return _Model(name, log_posterior, found, adaptive, shape)

    def _through_map(self, X, coarse, scores, noise, totals):
        """Judge the model of noise with the metric of the feature map.

        What that metric adds to the density of the query it adds to the evidence; a
        map that gives no density has no evidence.
        """
        log_posterior = self._posterior(scores)
        found = torch.full_like(noise.evidence, -math.inf)
        if self.log_volume is not None:
            gain = totals[-1] + self.log_volume - totals[0]
            found = noise.evidence + gain - 0.5 * math.log(X.shape[1])
        adaptive = self._adaptive(X, coarse, log_posterior.argmax(1))
        return _Model("feature map", log_posterior, found, adaptive, noise.structure)

    def _laplace_scores(self, X, models):
        """Scores (n, M) of Laplace noise, its level profiled out.

        Absolute distances have no matrix product, so only the patterns are compared
        that another model likes; the rest get the score of the worst of them.
        """
        n, d = X.shape
        most = min(SHORTLIST, len(self.patterns))
        near = [model.log_posterior.topk(most, 1).indices for model in models]
        near = torch.cat(near, 1)
        distances = torch.empty_like(near, dtype=X.dtype)
        step = max(1, _GATHERED // (near.shape[1] * d))
        for start in range(0, n, step):
            rows = slice(start, start + step)
            distances[rows] = (self.patterns[near[rows]] - X[rows, None]).abs_().sum(2)
        least = 1e-6 * d * float(self.bank["span"])
        scores = distances.clamp_min_(least).log_().mul_(-d)
        rest = scores.amin(1, keepdim=True).expand(n, len(self.patterns))
        return rest.scatter(1, near, scores)

    def _adaptive(self, X, coarse, winner):
        """Evidence (n,) of the adaptive channel for the winners."""
        found = evidence.adaptive(coarse, self.coarse[winner], self.n_coarse)
        return found.to(X) + self.log_weights[winner]

    def _families(self, bins, histogram, null):
        """Yield number, rows, log-posterior and evidence of families in question."""
        n_families = len(self.tables)
        fit = histogram.to(self.predicted) @ self.predicted.flatten(0, 1).T
        fit = fit.view(len(bins), n_families, -1).amax(2)
        selected = torch.zeros_like(fit, dtype=torch.bool)
        best = fit.topk(min(SELECTED, n_families), 1).indices
        selected.scatter_(1, best, True)
        selected &= fit > fit.amax(1, keepdim=True) - MARGIN
        for family in range(n_families):
            rows = selected[:, family].nonzero()[:, 0]
            if len(rows) == 0:
                continue
            factors = self.base[family], self.keys, self.right[family]
            scores = self._table_scores(bins[rows], self.log_tables[family], factors)
            log_posterior = self._posterior(scores)
            top, winner = log_posterior.max(1)
            ratio = self.tables[family][self.bins[winner], bins[rows]] / null[rows]
            found = evidence.contaminated(ratio) + self.log_weights[winner] - top
            found = found - math.log(n_families) - FAMILY_COST
            if self.learned:
                found = found + self.learned["log_families"][family + 1].to(found)
            yield family, rows, log_posterior, found

    def _table_scores(self, bins, log_table, factors):
        """Log-likelihoods (n, M) of a table: factorised, then exact for the best."""
        base, keys, right = factors
        scores = right.T[bins].reshape(len(bins), -1) @ keys.T
        scores += base[bins].sum(1, keepdim=True)
        near = scores.topk(min(SHORTLIST, scores.shape[1]), 1).indices
        flat = log_table.flatten()
        exact = torch.empty_like(near, dtype=scores.dtype)
        step = max(1, _GATHERED // (near.shape[1] * bins.shape[1]))
        for start in range(0, len(bins), step):
            rows = slice(start, start + step)
            cells = self.bins[near[rows]] * self.n_bins + bins[rows, None]
            exact[rows] = flat[cells].sum(2)
        return scores.scatter(1, near, exact)


def _histogram(bins: Tensor, n_bins: int) -> Tensor:
    counts = torch.zeros((len(bins), n_bins), dtype=torch.float64, device=bins.device)
    return counts.scatter_add_(1, bins, torch.ones_like(bins, dtype=counts.dtype))


def _histogram_log_likelihood(histogram: Tensor) -> Tensor:
    share = histogram / histogram.sum(1, keepdim=True)
    return torch.special.xlogy(histogram, share).sum(1)


def _regress(X: Tensor, patterns: Tensor) -> Tensor:
    """Best fit (n, d) of every query by its pattern times a gain plus an offset."""
    centred = patterns - patterns.mean(1, keepdim=True)
    tiny = torch.finfo(X.dtype).tiny
    energy = centred.square().sum(1, keepdim=True).clamp_min(tiny)
    gain = (X * centred).sum(1, keepdim=True) / energy
    return X.mean(1, keepdim=True) + gain * centred


def _fill_space(components: Tensor) -> tuple[FeatureMap, Tensor]:
    """Extend W to all of R^d by the identity beside its rows' span.

    Returns the map and the logarithm of its volume, which makes likelihoods through
    it densities of the query itself.
    """
    basis = torch.linalg.qr(components.T.contiguous())[0]

    def extended(X):
        return X + (X @ components.T - X @ basis) @ basis.T

    log_volume = torch.linalg.slogdet(components @ basis)[1]
    return FeatureMap(extended, extended), log_volume


def build_auto_scorer(
    bank: Mapping,
    learned: Mapping,
    patterns,
    weights,
    columns,
    mean,
    feature_map,
    components,
) -> AutoScorer:
    """Build the scorer from NumPy state, on the device of the patterns."""

    def tensors(state):
        return {k: torch.as_tensor(v, device=patterns.device) for k, v in state.items()}

    return AutoScorer(
        tensors(bank),
        patterns,
        weights,
        columns,
        mean,
        feature_map,
        components,
        tensors(learned),
    )
