"""Retrieval told nothing: many hypotheses about the damage, weighed query by query.

Four parameter-free models (see `noise_models`) and a bank of channels (see
`channel_bank`) each give a posterior over the patterns and an evidence. One more
hypothesis is that the damage is of no known kind. The answer's posterior is the
evidence-weighted mean of all, as Bayes would have it:
``p(i | x) = sum_h pi_h Z_h(x) p_h(i | x) / sum_h pi_h Z_h(x)``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch

from skuhop.retrieval.damage import evidence
from skuhop.retrieval.damage.channel_bank import ChannelBank, StoredBins
from skuhop.retrieval.damage.noise_models import COSTS, NoiseModels
from skuhop.retrieval.numpy_tensors import tensor_of
from skuhop.retrieval.scores import Query, largest_beta
from skuhop.retrieval.units import divide, enter

_SMALLEST_NOISE = 1e-3
"""Least noise level, in units of the patterns' range."""


class AutoScorer:
    """Log-likelihoods of queries, told nothing about their damage.

    Parameters
    ----------
    bank : mapping of str to Tensor
        What `learn_bank` gave.
    patterns : Tensor of shape (M, d)
        Distinct patterns, divided by the unit, as all that has one.
    weights : Tensor of shape (M,) or None
        Their weights.
    columns : Tensor of shape (N,) or None
        Which distinct pattern each stored one is; None if they are the same.
    mean : Tensor of shape (d,)
        Mean pattern.
    feature_map : FeatureMap or None
        The learned feature map.
    components : Tensor of shape (r, d) or None
        Its matrix if it is linear.
    learned : mapping of str to Tensor
        Empty, or what unlabelled queries taught: `log_prior` of all hypotheses, and
        maybe further channels, as in the bank.
    unit : float, default=1
        What queries are divided by.
    beta : float, default=1
        What log-likelihoods are multiplied by.
    """

    energy_unit = 1.0
    width = 12
    streams = False

    def __init__(
        self,
        bank,
        patterns,
        weights,
        columns,
        mean,
        feature_map,
        components,
        learned,
        unit=1.0,
        beta=1.0,
    ):
        self.patterns, self.columns, self.unit = patterns, columns, unit
        self.beta = beta
        self.n_patterns = len(patterns) if columns is None else len(columns)
        n, d = patterns.shape
        self.row_width = 20 * d
        self.log_weights = patterns.new_full((n,), -math.log(n))
        if weights is not None:
            self.log_weights = (weights / weights.sum()).log()
        self.edges, span = bank["edges"], float(bank["span"])
        self.share = bank["share"]
        bins = evidence.quantise(patterns, self.edges)
        bins = evidence.nearest_code(bins, bank["codes"])
        order = patterns.mean(1).argsort(stable=True)
        self.stored = StoredBins(bins, self.log_weights, order)
        self.noise_models = NoiseModels(
            patterns,
            self.log_weights,
            mean,
            feature_map,
            components,
            bank["directions"].to(patterns),
            bank["sextiles"].to(patterns),
            self.edges,
            _SMALLEST_NOISE * span,
        )
        states = [bank, learned] if "tables" in learned else [bank]
        self.banks = [ChannelBank(state, self.stored) for state in states]
        n_channels = len(bank["tables"])
        log_prior = patterns.new_zeros(len(COSTS) + 1 + n_channels)
        log_prior[len(COSTS) :] = -math.log(n_channels)
        self.log_prior = learned.get("log_prior", log_prior).to(patterns)

    def prepare(self, X):
        """Bring queries to the unit, and encode them for the models of noise."""
        X = enter(X, self.unit)[0]
        compared = []
        for kernel in self.noise_models.kernels.values():
            compared.append(kernel.prepare(X))
        seen = evidence.observe(X, self.edges)
        return Query((seen, compared), X.new_zeros(len(X)))

    def null(self, query):
        """Log-likelihood of the query's features under its own histogram."""
        seen, _ = query.encoded
        return self._sharpen(evidence.null_log_likelihood(seen))

    def block(self, query, start, stop):
        """Scores of the patterns from `start` to `stop`."""
        seen, compared = query.encoded
        models = self.noise_models.judge(seen, compared)
        nearest = models[0].log_posterior.argmax(1)
        scores = seen.X.new_full((len(seen.X), len(self.patterns)), -math.inf)
        for number, hypothesis in self.hypotheses(seen, models):
            self.add(hypothesis, self.log_prior[number], scores)
        scores += evidence.null_log_likelihood(seen)[:, None] - self.log_weights
        scores = self._settle_matches(seen.X, nearest, scores)
        columns = slice(None) if self.columns is None else self.columns
        return self._sharpen(scores[:, columns][:, start:stop])

    def _sharpen(self, scores):
        """Multiply log-likelihoods by a beta of the user's."""
        if self.beta == 1:
            return scores
        return scores.mul_(largest_beta(self.beta, scores.dtype))

    @staticmethod
    def add(hypothesis, log_prior, mixture):
        """Add a hypothesis to the log of the mixture (n, M) of posteriors, in place."""
        weight = hypothesis.evidence + log_prior
        weighed = hypothesis.log_posterior + weight[:, None]
        rows = hypothesis.rows
        mixture[rows] = torch.logaddexp(mixture[rows], weighed)

    def hypotheses(self, seen, models):
        """Yield number and hypothesis of what applies, from what models of noise say.

        Parameters
        ----------
        seen : Seen
            The queries.
        models : list of NoiseModel
            What ``noise_models.judge`` gave.
        """
        for model in models:
            yield self.noise_models.hypothesis(model)
        yield len(COSTS), self.noise_models.pool(seen, models)
        first = len(COSTS) + 1
        for bank in self.banks:
            for channel, hypothesis in bank.hypotheses(seen):
                yield first + channel, hypothesis
            first += bank.n_channels

    def _settle_matches(self, X, nearest, scores):
        """Leave a query that equals a stored pattern to that pattern."""
        same = (self.patterns[nearest] == X).all(1)
        match = torch.nn.functional.one_hot(nearest, len(self.patterns)).bool()
        lost = same[:, None] & ~match
        # Finite, because a tiny beta times infinity is not a number.
        return scores.masked_fill_(lost, -(torch.finfo(X.dtype).max ** 0.25))


def build_auto_scorer(
    bank: Mapping,
    learned: Mapping,
    patterns,
    weights,
    columns,
    mean,
    feature_map,
    components,
    unit=1.0,
    beta=1.0,
) -> AutoScorer:
    """Build the scorer from NumPy state, on the device of the patterns.

    The bank is in the user's units, patterns and mean are divided by `unit`.
    """

    def tensors(state):
        return {k: tensor_of(v).to(patterns.device) for k, v in state.items()}

    return AutoScorer(
        tensors(divide(bank, unit)),
        patterns,
        weights,
        columns,
        mean,
        feature_map,
        components,
        tensors(learned),
        unit,
        beta,
    )
