"""How patterns complete each other: the prior noise level of every feature.

No query and no label is needed: entries of stored patterns are hidden at random and
completed from the other patterns. First one level for all features, then, where they
are few, one for each, by gradient; kept only if it completes better. Gradients see a
sample of the patterns, in which neighbours are farther apart, so that they decide how
the levels compare, and all patterns decide how large they are.

Everything is in single precision: a prior needs no more, and it is twice as fast.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from skuhop.learning.optimiser import Adam
from skuhop.retrieval.new_rows import asked, log_shape, mean_distances, stored

N_WATCHED = 256
"""Patterns on which levels are compared, at most."""
BATCH, CANDIDATES = 256, 1024
"""Patterns in a gradient step, and patterns that they are completed from, at most."""
STEPS, LEARNING_RATE = 50, 0.05
MOST_FEATURES = 64
"""With more features than this one level serves all: they outvote each other, and
gradients would cost more than they bring."""
SHARES = (0.1, 0.5)
"""Range of the share of entries that are hidden from a pattern."""
COARSE, FINE = (0.03, 0.1, 0.3, 1.0, 3.0), (0.4, 0.6, 1.0, 1.6, 2.5)
"""Factors of the level that are tried, first of the standard deviation of the patterns
and then of the best of these."""


def learn_precision(patterns: Tensor, weights: Tensor | None, seed: int) -> Tensor:
    """Learn what incomplete new rows are compared by.

    Parameters
    ----------
    patterns, weights : Tensor of shape (M, d) and (M,), or None for weights
        Distinct patterns.
    seed : int
        Seed of what is hidden, and of the batches.

    Returns
    -------
    precision : Tensor of shape (d,)
        Inverse of the squared prior noise level of every feature. Where there is
        nothing to learn from (a single feature, or fewer than three patterns) the level
        is the standard deviation of the patterns, or 1 if they do not vary.
    """
    n, d = patterns.shape
    X = patterns - patterns.mean(0)
    spread = X.square().mean().sqrt().item()
    if not 0 < spread < math.inf:
        return torch.ones_like(patterns[0])
    if d < 2 or n < 3:
        return torch.full_like(patterns[0], spread**-2)
    task = _Completion((X / spread).to(torch.float32), weights)
    generator = torch.Generator().manual_seed(seed)
    watched = task.draw(generator, N_WATCHED, n)
    rough, _ = task.levelled(torch.zeros_like(task.unit), COARSE, watched)
    best, error = task.levelled(rough, FINE, watched)
    if d <= MOST_FEATURES:
        learned = _descend(task, best.clone(), generator)
        learned, new_error = task.levelled(learned, FINE, watched)
        best = learned if new_error < error else best
    return best.exp().to(patterns) / spread**2


def _descend(task: _Completion, log_precision: Tensor, generator) -> Tensor:
    """Lower the error of completion by gradient."""
    log_precision.requires_grad_()
    optimiser = Adam([log_precision], LEARNING_RATE)
    for _ in range(STEPS):
        drawn = task.draw(generator, BATCH, CANDIDATES)
        loss = task.error(task.distances(log_precision, drawn), drawn)
        optimiser.step(torch.autograd.grad(loss, [log_precision]))
    return log_precision.detach()


class _Drawn(NamedTuple):
    """Patterns to complete, and from what.

    Attributes
    ----------
    rows : Tensor of shape (n,)
        The patterns.
    candidates : Tensor of shape (m,)
        Those that complete them.
    hidden : Tensor of shape (n, d)
        Which entries are.
    themselves, places : Tensor
        Which of the patterns are candidates, and where: none completes itself.
    """

    rows: Tensor
    candidates: Tensor
    hidden: Tensor
    themselves: Tensor
    places: Tensor


class _Completion:
    """Patterns with hidden entries, completed from the others."""

    def __init__(self, patterns: Tensor, weights: Tensor | None):
        self.patterns = patterns
        variance = patterns.square().mean(0)
        self.log_weights = None if weights is None else weights.log().to(patterns)
        self.unit = torch.where(variance > 0, variance, torch.inf).rsqrt()

    def draw(self, generator: torch.Generator, n_hidden: int, n_candidates: int):
        """Draw patterns, what is hidden of them, and those to complete them from."""
        n, d = self.patterns.shape
        rows = torch.randperm(n, generator=generator)[:n_hidden]
        order = torch.randperm(n, generator=generator)
        low, high = SHARES
        share = low + (high - low) * torch.rand((len(rows), 1), generator=generator)
        rank = torch.rand((len(rows), d), generator=generator).argsort(1).argsort(1)
        # At least one entry is hidden, and one is observed.
        hidden = rank < (share * d).round().clamp(1, d - 1)
        place = torch.empty_like(order).scatter_(0, order, torch.arange(n))[rows]
        themselves = (place < n_candidates).nonzero()[:, 0]
        drawn = (rows, order[:n_candidates], hidden, themselves, place[themselves])
        return _Drawn(*(t.to(self.patterns.device) for t in drawn))

    def distances(self, log_precision: Tensor, drawn: _Drawn) -> Tensor:
        """Squared distances per observed entry, times the precisions."""
        scale = (log_precision / 2).exp()
        observed = (~drawn.hidden).to(scale)
        queries = asked(self.patterns[drawn.rows] * scale * observed, observed)
        keys = stored(self.patterns[drawn.candidates] * scale)
        return mean_distances(queries, keys)

    def error(self, distances: Tensor, drawn: _Drawn) -> Tensor:
        """Mean squared error of the hidden entries, in variances of their features.

        The distances are overwritten.
        """
        n_observed = (~drawn.hidden).sum(1, keepdim=True).to(distances)
        scores = log_shape(distances, n_observed)
        if self.log_weights is not None:
            scores += self.log_weights[drawn.candidates]
        scores[drawn.themselves, drawn.places] = -torch.inf
        # Softmax in place: fresh memory would take longer than the arithmetic.
        p = scores.sub_(scores.detach().amax(1, keepdim=True)).exp_()
        found = p @ self.patterns[drawn.candidates] / p.sum(1, keepdim=True)
        wrong = found - self.patterns[drawn.rows]
        return (wrong * self.unit)[drawn.hidden].square().mean()

    def levelled(self, log_precision: Tensor, factors, drawn: _Drawn):
        """Multiply the levels by the factor that completes best; its error as well."""
        distances = self.distances(log_precision, drawn)
        scaled = torch.empty_like(distances)
        errors = [
            self.error(torch.mul(distances, f**-2, out=scaled), drawn).item()
            for f in factors
        ]
        best = min(range(len(factors)), key=errors.__getitem__)
        return log_precision - 2 * math.log(factors[best]), errors[best]
