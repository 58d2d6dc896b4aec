"""What unlabelled queries teach: which damage is common, and a channel of its own.

The bank's families get the weights with which they explain the queries (EM on their
evidences). Beyond that one table is fitted to the queries by EM, with the posterior
over patterns that the memory has without it as a start: E-step, which pattern each
query came from; M-step, expected counts of (pattern's bin, query's bin). It is kept
only if it raises the likelihood of queries that it has not seen.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from skuhop.learning.channels import factorise
from skuhop.learning.export import numpy_state
from skuhop.retrieval.auto_scorer import AutoScorer

MOST_QUERIES = 1000
CANDIDATES = 6
"""Likeliest patterns of a query among which EM shares it out."""
ROUNDS = 8
FAMILY_ROUNDS = 50
PRIOR_STRENGTHS = (2.0, 100.0, 2000.0)
"""Prior counts per table row; the strength is chosen by held-out likelihood."""
_FLAT = 0.5
_SIGNIFICANT = 2.0
"""Standard errors by which the held-out gain must exceed zero."""


def family_weights(evidences: Tensor) -> Tensor:
    """Maximise ``sum_n log sum_f pi_f exp(e_nf)`` with one prior count, by EM."""
    n, n_families = evidences.shape
    log_pi = evidences.new_full((n_families,), -np.log(n_families))
    for _ in range(FAMILY_ROUNDS):
        member = torch.softmax(evidences + log_pi, 1)
        log_pi = ((member.sum(0) + 1 / n_families) / (n + 1)).log()
    return log_pi


class TableEM:
    """EM for one table on queries of unknown origin.

    Parameters
    ----------
    pattern_bins : Tensor of shape (n, C, d)
        Bins of the candidate patterns of every query.
    query_bins : Tensor of shape (n, d)
        Bins of the queries.
    log_weights : Tensor of shape (n, C)
        Log-weights of the candidates.
    prior : Tensor of shape (A, K)
        Prior counts.
    """

    def __init__(self, pattern_bins, query_bins, log_weights, prior):
        self.cells = pattern_bins * prior.shape[1] + query_bins[:, None]
        self.log_weights, self.prior = log_weights, prior

    def table(self, posterior: Tensor) -> Tensor:
        """M-step: the table (A, K) from posteriors (n, C)."""
        mass = posterior[:, :, None].expand(self.cells.shape).reshape(-1)
        counts = self.prior.new_zeros(self.prior.numel())
        counts.scatter_add_(0, self.cells.reshape(-1), mass)
        table = counts.view_as(self.prior) + self.prior
        return table / table.sum(1, keepdim=True)

    def scores(self, table: Tensor) -> Tensor:
        """Log of weight times likelihood (n, C) of the candidates."""
        return table.log().flatten()[self.cells].sum(2) + self.log_weights

    def objective(self, table: Tensor) -> Tensor:
        """Log-posterior of the table, up to a constant: no round lowers it."""
        fit = torch.logsumexp(self.scores(table), 1).sum()
        return fit + (self.prior * table.log()).sum()

    def run(self, posterior: Tensor) -> tuple[Tensor, list[float]]:
        """Alternate M- and E-steps; the table and the objective after every M-step."""
        curve = []
        for _ in range(ROUNDS):
            table = self.table(posterior)
            curve.append(self.objective(table).item())
            posterior = torch.softmax(self.scores(table), 1)
        return table, curve


def learn_from_queries(scorer: AutoScorer, queries: Tensor) -> dict[str, np.ndarray]:
    """Learn family weights, and a table if it proves itself.

    Parameters
    ----------
    scorer : AutoScorer
        The memory told nothing.
    queries : Tensor of shape (n, d)
        Complete queries, in any order, of unknown origin.

    Returns
    -------
    state : dict of str to ndarray
        `log_families` (F + 1,), relative to the most common one; `gain`, the table's
        held-out gain in nats per query; and, if it is kept, `table` (A, K) with its
        factors `table_base`, `table_left`, `table_right`.
    """
    queries = queries[:: -(-len(queries) // MOST_QUERIES)]
    bins, log_posterior, evidences, null = scorer.explain(queries)
    log_pi = family_weights(evidences.double().clamp_min(-1e9))
    state = {"log_families": log_pi - log_pi.max()}
    if len(queries) < 4:
        return numpy_state(state)

    pi = log_pi.exp()
    tables = scorer.bank["tables"]
    common = (pi[1:, None, None] * tables).sum(0) + pi[0] * _mean_histogram(
        bins, tables.shape[2]
    )
    common = common / common.sum(1, keepdim=True)
    likely = log_posterior.topk(min(CANDIDATES, log_posterior.shape[1]), 1)
    start = torch.softmax(likely.values.double(), 1)
    log_weights = scorer.log_weights.double()[likely.indices]
    known = torch.logsumexp(evidences.double() + log_pi, 1)

    def problem(rows, strength):
        prior = strength * common + _FLAT / common.shape[1]
        candidates = scorer.bins[likely.indices[rows]]
        return TableEM(candidates, bins[rows], log_weights[rows], prior)

    def held_out_gains(strength):
        gains = torch.empty(len(queries), dtype=torch.float64, device=queries.device)
        halves = slice(0, None, 2), slice(1, None, 2)
        for seen, unseen in (halves, halves[::-1]):
            table, _ = problem(seen, strength).run(start[seen])
            scores = problem(unseen, strength).scores(table)
            found = torch.logsumexp(scores, 1) - null.double()[unseen]
            gains[unseen] = found - known[unseen]
        return gains

    all_gains = [held_out_gains(strength) for strength in PRIOR_STRENGTHS]
    best = int(np.argmax([gains.mean().item() for gains in all_gains]))
    gains = all_gains[best]
    state["gain"] = gains.mean()
    error = gains.std() / len(gains) ** 0.5
    if state["gain"] > _SIGNIFICANT * error:
        table, _ = problem(slice(None), PRIOR_STRENGTHS[best]).run(start)
        share = scorer.bank["share"].to(table)
        base, left, right = factorise(table.log()[None], share)
        state |= {"table": table, "table_base": base[0]}
        state |= {"table_left": left, "table_right": right[0]}
    return numpy_state(state)


def _mean_histogram(bins: Tensor, n_bins: int) -> Tensor:
    counts = torch.bincount(bins.flatten(), minlength=n_bins).double()
    return counts / counts.sum()
