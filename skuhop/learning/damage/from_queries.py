"""What unlabelled queries teach: which damage is common, and channels of its own.

The hypotheses of the memory told nothing get the weights with which they explain the
queries (EM on their evidences). Beside them stands a channel of its own, a small
mixture of tables fitted to the queries by EM, with the memory's posterior over
patterns as a start: E-step, which pattern and which table each query came from;
M-step, expected counts of (pattern's bin, query's bin). Its weight comes from
queries that it has not seen, so one that explains nothing gets none.
"""

from __future__ import annotations

import math
from itertools import product
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from skuhop.learning.damage.channels import (
    Channel,
    ChannelEM,
    equal_groups,
    factorise,
    joint_counts,
    smooth_tables,
)
from skuhop.learning.saved_state import numpy_state
from skuhop.retrieval import AutoScorer, evidence

MOST_QUERIES = 1000
CANDIDATES = 6
"""Likeliest patterns of a query among which EM shares it out."""
ROUNDS = 8
WEIGHT_ROUNDS = 50
PRIOR_STRENGTHS = (2.0, 100.0, 2000.0)
COMPONENTS = (1, 3)
"""Prior counts per table row and number of tables: chosen on unseen queries."""
FEWEST_QUERIES = 4
"""With fewer there is nothing to hold out."""
_FLAT = 0.5


def hypothesis_weights(evidences: Tensor) -> Tensor:
    """Maximise ``sum_n log sum_h pi_h exp(e_nh)`` with one prior count, by EM.

    Returns ``log pi`` of shape (H,) for evidences of shape (n, H).
    """
    n, n_hypotheses = evidences.shape
    log_pi = evidences.new_full((n_hypotheses,), -np.log(n_hypotheses))
    for _ in range(WEIGHT_ROUNDS):
        member = torch.softmax(evidences + log_pi, 1)
        log_pi = ((member.sum(0) + 1 / n_hypotheses) / (n + 1)).log()
    return log_pi


class _Queries(NamedTuple):
    """Queries and the patterns they may come from.

    Attributes
    ----------
    counts : Tensor of shape (n, J, A * K)
        Joint counts of the bins of candidate and query.
    start : Tensor of shape (n, J)
        Probabilities of the candidates.
    log_weights : Tensor of shape (n, J)
        Log-weights of the candidates.
    shift : Tensor of shape (n,)
        How much brighter a query is than its pattern: what all features of a query
        share is what tells one table of a mixture from the next.
    cells : Tensor of shape (n, J, d), integer
        Pairs of bins, feature by feature.
    null : Tensor of shape (n, d)
        Share of every feature's bin in the query's histogram.
    """

    counts: Tensor
    start: Tensor
    log_weights: Tensor
    shift: Tensor
    cells: Tensor
    null: Tensor

    def take(self, rows) -> _Queries:
        """Leave only some of the queries."""
        return _Queries(*(tensor[rows] for tensor in self._asdict().values()))


def learn_from_queries(scorer: AutoScorer, queries: Tensor) -> dict[str, np.ndarray]:
    """Learn weights of the hypotheses, and channels if they prove themselves.

    Parameters
    ----------
    scorer : AutoScorer
        The memory told nothing.
    queries : Tensor of shape (n, d)
        Complete queries, in any order, of unknown origin.

    Returns
    -------
    state : dict of str to ndarray
        `log_prior` (H,), log-weights of the hypotheses; and, if channels are kept,
        their `tables` (C, A, K), factors and `uniform` as in the bank, with C more
        entries at the end of `log_prior`.
    """
    queries = queries[:: -(-len(queries) // MOST_QUERIES)]
    seen, compared = scorer.prepare(queries).encoded
    evidences, log_posterior = _explain(scorer, seen, compared)
    log_prior = hypothesis_weights(evidences)
    if len(queries) < FEWEST_QUERIES:
        return numpy_state({"log_prior": log_prior})
    data = _candidates(scorer, seen, log_posterior)
    common = _common_table(scorer, seen, log_prior)
    known = torch.logsumexp(evidences + log_prior, 1).mean()
    trials = {}
    for strength, n_tables in product(PRIOR_STRENGTHS, COMPONENTS):
        prior = strength * common + _FLAT / common.shape[1]
        held_out = _evidences_of_halves(data, prior, n_tables)
        together = torch.cat([evidences, held_out], 1)
        weights = hypothesis_weights(together)
        gained = torch.logsumexp(together + weights, 1).mean() - known
        trials[gained.item()] = prior, n_tables, weights
    gain = max(trials)
    # Noise pays as much for a level that it fits to every query.
    if gain < 0.5 * math.log(queries.shape[1]):
        return numpy_state({"log_prior": log_prior})
    prior, n_tables, weights = trials[gain]
    own = weights[len(log_prior) :]
    channel = smooth_tables(_fit(data, prior, n_tables))
    share = scorer.share.to(channel.log_tables)
    base, left, right = factorise(channel.log_tables, share)
    # The tables come in the order of the full fit: they share what the halves' earned.
    log_prior = torch.cat([weights[: len(log_prior)], own.logsumexp(0) + channel[1]])
    state = {"log_prior": log_prior, "tables": channel.log_tables.exp()}
    state |= {"base": base, "left": left, "right": right}
    return numpy_state(state | {"uniform": torch.tensor(0.0, dtype=torch.float64)})


def _explain(scorer: AutoScorer, seen, compared) -> tuple[Tensor, Tensor]:
    """Strict evidences (n, H) of all hypotheses and the memory's log-posterior."""
    n = len(seen.X)
    evidences = seen.X.new_full((n, len(scorer.log_prior)), -1e9, dtype=torch.float64)
    mixture = seen.X.new_full((n, len(scorer.patterns)), -math.inf)
    models = scorer.noise_models.judge(seen, compared)
    for number, hypothesis in scorer.hypotheses(seen, models):
        found = hypothesis.strict_evidence
        evidences[hypothesis.rows, number] = found.double()
        scorer.add(hypothesis, scorer.log_prior[number], mixture)
    return evidences, mixture


def _candidates(scorer, seen, log_posterior) -> _Queries:
    likely = log_posterior.topk(min(CANDIDATES, log_posterior.shape[1]), 1)
    start = torch.softmax(likely.values.double(), 1)
    n_codes = len(scorer.share)
    cells = scorer.stored.bins[likely.indices]
    counts = torch.stack(
        [
            joint_counts(bins, seen.bins, n_codes, seen.histogram.shape[1]).float()
            for bins in cells.unbind(1)
        ],
        1,
    )
    cells = cells * seen.histogram.shape[1] + seen.bins[:, None]
    levels = scorer.patterns.mean(1)[likely.indices].double()
    shift = seen.X.mean(1).double() - (start * levels).sum(1)
    log_weights = scorer.log_weights[likely.indices].double()
    return _Queries(counts, start, log_weights, shift, cells, seen.null.double())


def _common_table(scorer, seen, log_prior) -> Tensor:
    """Mean table (A, K) of the bank's channels, weighed as the queries have it."""
    pi = log_prior.exp()
    tables = scorer.banks[0].tables.double()
    known = pi[-len(tables) :]
    plain = seen.histogram.sum(0) / seen.histogram.sum()
    common = (known[:, None, None] * tables).sum(0) + (1 - known.sum()) * plain
    return common / common.sum(1, keepdim=True)


def _fit(data: _Queries, prior: Tensor, n_tables: int) -> Channel:
    groups = equal_groups(data.shift, n_tables)
    member = data.start[:, :, None] * groups[:, None]
    problem = _problem(data, prior)
    return problem.run(member.to(data.counts), ROUNDS)[0]


def _problem(data: _Queries, prior: Tensor) -> ChannelEM:
    weights = data.counts.new_ones(len(data.counts))
    return ChannelEM(data.counts, data.log_weights.to(data.counts), weights, prior)


def _evidences_of_halves(data: _Queries, prior: Tensor, n_tables: int) -> Tensor:
    """Evidences (n, C) of tables fitted to the other half of the queries."""
    found = data.start.new_empty((len(data.start), n_tables))
    halves = slice(0, None, 2), slice(1, None, 2)
    for fitted, unseen in (halves, halves[::-1]):
        channel = smooth_tables(_fit(data.take(fitted), prior, n_tables))
        found[unseen] = _evidences(data.take(unseen), channel, prior)
    return found


def _evidences(data: _Queries, channel: Channel, prior: Tensor) -> Tensor:
    """Strict evidence (n, C) of every table."""
    scores = _problem(data, prior).scores(channel) - channel.log_prior
    log_total = torch.logsumexp(scores, 1)
    found = torch.empty_like(log_total, dtype=data.null.dtype)
    rows = torch.arange(len(scores), device=scores.device)
    for table, log_table in enumerate(channel.log_tables.flatten(1)):
        best = scores[:, :, table].argmax(1)
        ratio = log_table.exp()[data.cells[rows, best]] / data.null
        doubt = log_total[:, table] - scores[rows, best, table]
        strict = evidence.mix_with_arbitrary(ratio)[:, 0]
        found[:, table] = strict + data.log_weights[rows, best] + doubt
    return found
