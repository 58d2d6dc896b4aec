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

import torch
from torch import Tensor

from skuhop.learning.optimiser import Adam
from skuhop.retrieval.new_rows import log_shape, mean_distances

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
    equal = torch.zeros_like(task.unit)
    best = task.levelled(task.levelled(equal, COARSE, watched), FINE, watched)
    if d <= MOST_FEATURES:
        learned = _descend(task, best.clone(), generator)
        learned = task.levelled(learned, FINE, watched)
        best = min((best, learned), key=lambda one: task.error(one, watched).item())
    return best.exp().to(patterns) / spread**2


def _descend(task: _Completion, log_precision: Tensor, generator) -> Tensor:
    """Lower the error of completion by gradient."""
    log_precision.requires_grad_()
    optimiser = Adam([log_precision], LEARNING_RATE)
    for _ in range(STEPS):
        loss = task.error(log_precision, task.draw(generator, BATCH, CANDIDATES))
        optimiser.step(torch.autograd.grad(loss, [log_precision]))
    return log_precision.detach()


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
        candidates = torch.randperm(n, generator=generator)[:n_candidates]
        low, high = SHARES
        share = low + (high - low) * torch.rand((len(rows), 1), generator=generator)
        rank = torch.rand((len(rows), d), generator=generator).argsort(1).argsort(1)
        # At least one entry is hidden, and one is observed.
        hidden = rank < (share * d).round().clamp(1, d - 1)
        return tuple(t.to(self.patterns.device) for t in (rows, candidates, hidden))

    def error(self, log_precision: Tensor, drawn) -> Tensor:
        """Mean squared error of the hidden entries, in variances of their features."""
        rows, candidates, hidden = drawn
        scale = (log_precision / 2).exp()
        observed = (~hidden).to(scale)
        truth, others = self.patterns[rows], self.patterns[candidates]
        keys = others * scale
        x = mean_distances(truth * scale * observed, observed, keys, keys.square())
        scores = log_shape(x, observed.sum(1, keepdim=True))
        if self.log_weights is not None:
            scores = scores + self.log_weights[candidates]
        scores = scores.masked_fill(rows[:, None] == candidates, -torch.inf)
        wrong = torch.softmax(scores, 1) @ others - truth
        return (wrong * self.unit)[hidden].square().mean()

    def levelled(self, log_precision: Tensor, factors, drawn) -> Tensor:
        """Multiply the levels by the factor that completes best."""
        tried = [log_precision - 2 * math.log(factor) for factor in factors]
        return min(tried, key=lambda one: self.error(one, drawn).item())
