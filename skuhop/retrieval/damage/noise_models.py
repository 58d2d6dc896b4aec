"""Models of damage without parameters: noise, with a gain, an offset or heavy tails.

Each profiles its parameters out for every query and pattern. Where none of them is
right they still know something together: pooled geometrically, a pattern has to be
good under all, and what is left unsaid is asked of the channel between the query and
the few patterns that they like (see `evidence.adaptive`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from skuhop.retrieval.damage import evidence
from skuhop.retrieval.damage.evidence import Hypothesis, Seen
from skuhop.retrieval.scores import SIMILARITIES, FeatureMap, KernelScorer, Query

COSTS = {"noise": 0, "gain and offset": 3, "feature map": 1, "tails": 2}
"""What the evidence is charged for beyond noise of one level, in half a log d each.
Chosen on the retrieval benchmark, where noise has to be recognised as noise."""
POOL_PRIOR = {"noise": 1.0, "gain and offset": 0.0, "feature map": -1.0, "tails": 0.0}
"""Log-weights in the geometric pool."""
POOL_TEMPER = 0.005
"""Nats of pool log-weight per nat of evidence: evidence of wrong models misleads."""
STRUCTURE_POWER = 1.5
"""How fast a model's pool weight falls with the structure of its residual."""
WITNESSES = 2
"""Best patterns of every model that the adaptive channel is asked about."""
ADAPTIVE_POWER = 0.3
"""Power of the adaptive channel in the pool: it takes features for independent."""
DEPENDENCE = 0.375
"""Power of the residual's structure by which the adaptive evidence is divided: features
of a residual with a shape are not independent, so they count for fewer."""
SHORTLIST = 16
"""Best patterns of every model that absolute distances are computed for."""
_EQUAL = 2**-10
"""Nats that patterns of one rank in a shortlist may lie apart."""
_DOUBT = 2**-10
"""What the likelihood of noise counts in the rank that another model gives."""
_GATHERED = 2**18
"""Differences held at once: what the processor's cache holds."""


class NoiseModel(NamedTuple):
    """What one model says about a batch of queries; `liked` are its best patterns."""

    name: str
    log_posterior: Tensor
    liked: Tensor
    evidences: Tensor
    structure: Tensor


class NoiseModels:
    """Posteriors and evidences of the parameter-free models and of their pool.

    Parameters
    ----------
    patterns : Tensor of shape (M, d)
        Distinct patterns.
    log_weights : Tensor of shape (M,)
        Log of their shares in all weight.
    mean : Tensor of shape (d,)
        Mean pattern.
    feature_map : FeatureMap or None
        The learned feature map.
    components : Tensor of shape (r, d) or None
        Its matrix if it is linear. A map that is not gives no density in the space
        of the queries, so it joins the pool but is no hypothesis of its own.
    directions : Tensor of shape (k, d)
        Principal directions on which residuals are checked for structure.
    sextiles : Tensor of shape (<= 5,)
        Of the patterns' values.
    edges : Tensor of shape (K - 1,)
        Edges of the bins of features.
    least : float
        Smallest noise level: a match up to rounding has some too.
    """

    def __init__(
        self,
        patterns,
        log_weights,
        mean,
        feature_map,
        components,
        directions,
        sextiles,
        edges,
        least,
    ):
        self.patterns, self.log_weights = patterns, log_weights
        self.directions, self.least = directions, least
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
        self.coarse = evidence.half_bins(
            patterns, sextiles.expand(len(patterns), -1).contiguous()
        )
        self.n_coarse = 2 * len(sextiles) + 1
        infinity = edges.new_tensor([math.inf])
        self.edges = torch.cat([-infinity, edges, infinity]).to(patterns)

    def hypothesis(self, model: NoiseModel) -> tuple[int, Hypothesis]:
        """Give the number of a model, as in `COSTS`, and the hypothesis that it is."""
        cost = evidence.structure_cost(model.structure, len(self.directions))
        found = model.evidences - cost[:, None]
        number = list(COSTS).index(model.name)
        return number, Hypothesis(slice(None), model.log_posterior, found)

    def _posterior(self, scores):
        return torch.log_softmax(scores + self.log_weights, 1)

    def judge(self, seen: Seen, compared: Sequence[Query]) -> list[NoiseModel]:
        """Ask the models for their posteriors and evidences.

        `compared` are the queries as every one of the `kernels` encodes them.
        """
        X, cells = seen.X, (self.edges[seen.bins], self.edges[seen.bins + 1])
        models: list[NoiseModel] = []
        noise, total = None, None
        for (name, kernel), query in zip(self.kernels.items(), compared, strict=True):
            scores = kernel.block(query, 0, len(self.patterns))
            if name == "feature map":
                models.append(self._through_map(X, scores, noise, total))
                continue
            ratio = evidence.gaussian_ratio
            models.append(self._model(name, seen, scores, cells, ratio, noise))
            if noise is None:
                noise = models[0]
                total = torch.logsumexp(scores + self.log_weights, 1)
        scores = self._laplace_scores(X, models)
        ratio = evidence.laplace_ratio
        models.append(self._model("tails", seen, scores, cells, ratio, noise))
        return models

    def _model(self, name, seen, scores, cells, ratio, noise) -> NoiseModel:
        """Judge a model of noise by the pattern that it likes best."""
        X, log_posterior = seen.X, self._posterior(scores)
        liked = _best(log_posterior, noise)
        winner = liked[:, 0]
        top = log_posterior.gather(1, winner[:, None])[:, 0]
        centre = self.patterns[winner]
        if name == "gain and offset":
            centre = _regress(X, centre)
        found = evidence.mix_with_arbitrary(
            ratio(X, centre, *cells, seen.null, self.least)
        )
        found += (self.log_weights[winner] - top)[:, None]
        found -= 0.5 * COSTS[name] * math.log(X.shape[1])
        shape = evidence.structure(X - centre, self.directions)
        return NoiseModel(name, log_posterior, liked, found, shape)

    def _through_map(self, X, scores, noise, total) -> NoiseModel:
        """Judge the model of noise with the metric of the feature map.

        What that metric adds to the density of the query it adds to the evidence; a
        map that gives no density has no evidence.
        """
        found = torch.full_like(noise.evidences, -math.inf)
        if self.log_volume is not None:
            gain = torch.logsumexp(scores + self.log_weights, 1) - total
            extra = COSTS["feature map"] - COSTS["noise"]
            found = noise.evidences + (gain + self.log_volume)[:, None]
            found = found - 0.5 * extra * math.log(X.shape[1])
        log_posterior = self._posterior(scores)
        liked = _best(log_posterior, noise)
        return NoiseModel("feature map", log_posterior, liked, found, noise.structure)

    def _laplace_scores(self, X, models):
        """Scores (n, M) of Laplace noise, its level profiled out.

        Absolute distances have no matrix product, so only the patterns are compared
        that another model likes; the rest get the score of the worst of them.
        """
        n, d = X.shape
        near = torch.cat([model.liked for model in models], 1)
        distances = torch.empty_like(near, dtype=X.dtype)
        step = max(1, _GATHERED // (near.shape[1] * d))
        for start in range(0, n, step):
            rows = slice(start, start + step)
            liked = self.patterns.index_select(0, near[rows].flatten())
            gaps = liked.view(-1, near.shape[1], d).sub_(X[rows, None])
            distances[rows] = gaps.abs_().sum(2)
        scores = distances.clamp_min_(1e-3 * self.least * d).log_().mul_(-d)
        rest = scores.amin(1, keepdim=True).expand(n, len(self.patterns))
        return rest.scatter(1, near, scores)

    def pool(self, seen: Seen, models: list[NoiseModel]) -> Hypothesis:
        """Hold damage to be of no known kind: pool the models.

        The evidence is that of the adaptive channel, which a known kind has to beat.
        """
        evidences = torch.stack([model.evidences.amax(1) for model in models], 1)
        evidences = torch.where(evidences.isfinite(), evidences, evidences[:, :1])
        structures = torch.stack([model.structure for model in models], 1)
        witnesses = torch.cat([model.liked[:, :WITNESSES] for model in models], 1)
        adaptive = torch.stack(
            [
                evidence.adaptive(seen.coarse, self.coarse[liked], self.n_coarse)
                for liked in witnesses.T
            ],
            1,
        ).to(seen.X)
        adaptive += self.log_weights[witnesses]
        winners = adaptive.view(len(adaptive), len(models), -1)[:, :, 0]

        prior = evidences.new_tensor([POOL_PRIOR[model.name] for model in models])
        leaning = POOL_TEMPER * (evidences + winners) + prior
        shares = torch.softmax(leaning - STRUCTURE_POWER * structures.log(), 1)
        pooled = sum(
            share[:, None] * model.log_posterior
            for share, model in zip(shares.T, models, strict=True)
        )
        rest = adaptive.amin(1, keepdim=True).expand(pooled.shape)
        discount = structures**DEPENDENCE
        power = ADAPTIVE_POWER / discount.amin(1, keepdim=True)
        pooled += power * rest.scatter(1, witnesses, adaptive)
        found = (winners / discount).amax(1) - evidence.coarseness_cost(seen).to(pooled)
        return Hypothesis(slice(None), torch.log_softmax(pooled, 1), found[:, None])


def _best(log_posterior: Tensor, noise: NoiseModel | None) -> Tensor:
    """Best patterns (n, `SHORTLIST`) of every query, by a rank that rounding spares.

    Data of few values have many patterns that are equally likely, and a gain that may
    not be negative suits all alike that it would have to turn around. Left to rounding,
    the choice between them would differ from one device, and one batch, to the next.
    The model of noise chooses, where it is not asked itself; then the first of the
    patterns.
    """
    if noise is not None:
        log_posterior = log_posterior + _DOUBT * noise.log_posterior
    below = log_posterior - log_posterior.amax(1, keepdim=True)
    n = below.shape[1]
    rank = (below.double() / _EQUAL).round_()
    rank -= torch.arange(n, dtype=rank.dtype, device=rank.device) / n
    return rank.topk(min(SHORTLIST, n), 1).indices


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

    def extend(X):
        return X + (X @ components.T - X @ basis) @ basis.T

    log_volume = torch.linalg.slogdet(components @ basis)[1]
    return FeatureMap(extend, extend), log_volume
