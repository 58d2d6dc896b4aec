"""Channels as hypotheses: which of many tables explains a query, and as which pattern.

The bank that Stage I makes from the patterns is one set of them, the tables that
unlabelled queries taught are another.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from skuhop.retrieval.damage import evidence
from skuhop.retrieval.damage.evidence import Hypothesis, Seen

SELECTED = 8
"""Channels scored per query at most, by their predicted histograms."""
MARGIN = 60.0
"""A channel whose histogram is so many nats worse than the best is not scored."""
SHORTLIST = 16
"""Best patterns of a channel that are scored again without factorisation."""
PROTOTYPES = 256
"""Patterns whose damaged histograms are predicted at most."""
_GATHERED = 2**17
"""Table entries looked up at once: what the processor's cache holds."""


class StoredBins(NamedTuple):
    """Distinct patterns as channels see them.

    Attributes
    ----------
    bins : Tensor of shape (M, d), integer
        Bins of the features, 0 to A - 1.
    log_weights : Tensor of shape (M,)
        Log of the patterns' shares in all weight.
    order : Tensor of shape (M,)
        The patterns by their mean: every so many of them stand for all.
    """

    bins: Tensor
    log_weights: Tensor
    order: Tensor


class ChannelBank:
    """Posteriors and evidences of channels, for the queries that may be theirs.

    Parameters
    ----------
    state : mapping of str to Tensor
        `tables` (F, A, K), rows summing to one; the factors `base` (F, K), `left`
        (A, r) and `right` (F, r, K) of the logarithms of what is scored; and
        `uniform`, the share of a uniform mixed into that.
    stored : StoredBins
        The patterns.
    """

    def __init__(self, state: Mapping[str, Tensor], stored: StoredBins):
        self.stored = stored
        like = stored.log_weights
        tables = state["tables"]
        self.n_channels, _, self.n_bins = tables.shape
        mixed = torch.lerp(tables, tables.new_tensor(1 / self.n_bins), state["uniform"])
        self.tables, self.log_tables = tables.to(like), mixed.log().to(like)
        self.base, self.right = state["base"].to(like), state["right"].to(like)
        left = state["left"].to(like)
        self.keys = left[stored.bins].reshape(len(stored.bins), -1)
        self.predicted = self._predict_histograms(mixed)

    def _predict_histograms(self, tables: Tensor) -> Tensor:
        """Log of the histograms (F, m, K) that channels would make of patterns."""
        order = self.stored.order
        bins = self.stored.bins[order[:: -(-len(order) // PROTOTYPES)]]
        histograms = evidence.histogram(bins, tables.shape[1]).to(tables)
        histograms /= bins.shape[1]
        predicted = torch.einsum("ma,fab->fmb", histograms, tables)
        return predicted.log().to(self.stored.log_weights)

    def hypotheses(self, seen: Seen) -> Iterator[tuple[int, Hypothesis]]:
        """Yield the number and the hypothesis of every channel in question."""
        selected = self._select(seen.histogram)
        log_weights = self.stored.log_weights
        for channel in range(self.n_channels):
            rows = selected[:, channel].nonzero()[:, 0]
            if len(rows) == 0:
                continue
            bins = seen.bins[rows]
            scores = self._scores(channel, bins)
            log_posterior = torch.log_softmax(scores + log_weights, 1)
            top, winner = log_posterior.max(1)
            ratio = self.tables[channel][self.stored.bins[winner], bins]
            found = evidence.mix_with_arbitrary(ratio / seen.null[rows])
            found += (log_weights[winner] - top)[:, None]
            yield channel, Hypothesis(rows, log_posterior, found)

    def _select(self, histogram: Tensor) -> Tensor:
        """Which queries (n, F) have a histogram that a channel could have made."""
        fit = histogram.to(self.predicted) @ self.predicted.flatten(0, 1).T
        fit = fit.view(len(histogram), self.n_channels, -1).amax(2)
        selected = torch.zeros_like(fit, dtype=torch.bool)
        best = fit.topk(min(SELECTED, self.n_channels), 1).indices
        selected.scatter_(1, best, True)
        return selected & (fit > fit.amax(1, keepdim=True) - MARGIN)

    def _scores(self, channel: int, bins: Tensor) -> Tensor:
        """Log-likelihoods (n, M): factorised, then exact for the best."""
        scores = self.right[channel].T[bins].reshape(len(bins), -1) @ self.keys.T
        scores += self.base[channel][bins].sum(1, keepdim=True)
        near = scores.topk(min(SHORTLIST, scores.shape[1]), 1).indices
        flat = self.log_tables[channel].flatten()
        shape = (-1, near.shape[1], bins.shape[1])
        exact = torch.empty_like(near, dtype=scores.dtype)
        step = max(1, _GATHERED // (shape[1] * shape[2]))
        for start in range(0, len(bins), step):
            rows = slice(start, start + step)
            # index_select is several times faster than an index in brackets.
            cells = self.stored.bins.index_select(0, near[rows].flatten()).view(shape)
            cells = cells.mul_(self.n_bins).add_(bins[rows, None]).flatten()
            exact[rows] = flat.index_select(0, cells).view(shape).sum(2)
        return scores.scatter(1, near, exact)
