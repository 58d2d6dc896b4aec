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
from functools import cache
from typing import NamedTuple

import torch
from torch import Tensor

from skuhop.learning.corruptions import limit_rows
from skuhop.learning.optimiser import Adam
from skuhop.retrieval import asked, exact, growths, likelihood_ratios, stored

N_WATCHED = 256
"""Patterns on which levels are compared."""
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
    watched = task.draw(generator, limit_rows(N_WATCHED, d), n)
    best, error = task.levelled(torch.zeros_like(task.unit), (COARSE, FINE), watched)
    if d <= MOST_FEATURES:
        learned = _descend(task, best.clone(), generator)
        learned, new_error = task.levelled(learned, (FINE,), watched)
        best = learned if new_error < error else best
    return best.exp().to(patterns) / spread**2


def _descend(task: _Completion, log_precision: Tensor, generator) -> Tensor:
    """Lower the error of completion by gradient."""
    optimiser = Adam([log_precision], LEARNING_RATE)
    for _ in range(STEPS):
        drawn = task.draw(generator, BATCH, CANDIDATES)
        optimiser.step((task.gradient(log_precision, drawn),))
    return log_precision


class _Drawn(NamedTuple):
    """Patterns to complete, and from what.

    Attributes
    ----------
    rows : Tensor of shape (n,)
        The patterns, in the order of how much of them is hidden.
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


class _Compared(NamedTuple):
    """Patterns with hidden entries next to their candidates.

    Attributes
    ----------
    values, observed : Tensor of shape (n, d)
        Scaled patterns, zero where hidden, and one where they are not.
    keys : Tensor of shape (m, 2 d + 1)
        The candidates, as `retrieval.new_rows` likes them.
    growth : Tensor of shape (n, m)
        What it makes of both; infinite for a pattern and itself.
    """

    values: Tensor
    observed: Tensor
    keys: Tensor
    growth: Tensor


class _Completion:
    """Patterns with hidden entries, completed from the others."""

    def __init__(self, patterns: Tensor, weights: Tensor | None):
        self.patterns = patterns
        variance = patterns.square().mean(0)
        self.weights = None if weights is None else weights.to(patterns)
        self.unit = torch.where(variance > 0, variance, torch.inf).rsqrt()

    def draw(self, generator: torch.Generator, n_hidden: int, n_candidates: int):
        """Draw patterns, what is hidden of them, and those to complete them from.

        Of few patterns each is drawn several times: on one choice of what is hidden
        from 160 rows the error depended more than on anything that is learned.
        """
        n, d = self.patterns.shape
        turns = range(-(-n_hidden // n))
        rows = torch.cat([torch.randperm(n, generator=generator) for _ in turns])
        rows = rows[:n_hidden]
        order = torch.randperm(n, generator=generator)
        low, high = SHARES
        share = low + (high - low) * torch.rand((len(rows), 1), generator=generator)
        rank = torch.rand((len(rows), d), generator=generator).argsort(1).argsort(1)
        # At least one entry is hidden, and one is observed.
        hidden = rank < (share * d).round().clamp(1, d - 1)
        # Sorted, because likelihoods of as many entries are computed together.
        by_number = hidden.sum(1).argsort(stable=True)
        rows, hidden = rows[by_number], hidden[by_number]
        place = torch.empty_like(order).scatter_(
            0, order, torch.arange(n, device=order.device)
        )[rows]
        themselves = (place < n_candidates).nonzero()[:, 0]
        drawn = (rows, order[:n_candidates], hidden, themselves, place[themselves])
        return _Drawn(*(t.to(self.patterns.device) for t in drawn))

    def compare(self, log_precision: Tensor, drawn: _Drawn) -> _Compared:
        """Compare patterns with their candidates."""
        scale = (log_precision / 2).exp()
        observed = (~drawn.hidden).to(scale)
        values = self.patterns[drawn.rows] * scale * observed
        keys = stored(self.patterns[drawn.candidates] * scale)
        growth = growths(asked(values, observed), keys)
        growth[drawn.themselves, drawn.places] = torch.inf
        return _Compared(values, observed, keys, growth)

    def complete(self, growth: Tensor, best: Tensor, drawn: _Drawn):
        """Complete patterns, by growths that become shares of the best one, (n, 1).

        Returns weights (n, m), their sums (n, 1), answers (n, d), and what is wrong
        with these where entries were hidden, in standard deviations of the features.
        """
        n_observed = (~drawn.hidden).sum(1, keepdim=True)
        weights = likelihood_ratios(growth, best, n_observed)
        if self.weights is not None:
            weights *= self.weights[drawn.candidates]
        total = weights.sum(1, keepdim=True)
        found = exact(weights, self.patterns[drawn.candidates]) / total
        wrong = (found - self.patterns[drawn.rows]) * self.unit * drawn.hidden
        return weights, total, found, wrong

    def gradient(self, log_precision: Tensor, drawn: _Drawn) -> Tensor:
        """Gradient (d,) of the mean squared error of what was hidden.

        By hand, in half of the steps that autograd takes. With growths g, weights
        ``p ~ g^-n`` and the gradient e by an answer, that by ``g`` is ``-n p e (xi -
        answer) / g``, and g is linear in the squared differences of the features.
        """
        values, observed, keys, growth = self.compare(log_precision, drawn)
        best = growth.amin(1, keepdim=True)
        weights, total, found, wrong = self.complete(growth, best, drawn)
        by_answer = wrong * self.unit * (2 / drawn.hidden.sum())
        own = (by_answer * found).sum(1, keepdim=True)
        pull = exact(by_answer, self.patterns[drawn.candidates].T, -own)
        pull = exact(pull.mul_(weights).mul_(growth), keys) / (total * best)
        first, second, none = pull.tensor_split([len(self.unit), -1], 1)
        by_square = observed * second - 2 * values * first + values.square() * none
        return -by_square.sum(0)

    def levelled(self, log_precision: Tensor, grids, drawn: _Drawn):
        """Multiply the levels by the factor that completes best; its error as well.

        The error has one valley: of every grid of factors, which are multiplied by the
        best of the one before, only those on the way down from the middle are tried.
        """
        growth = self.compare(log_precision, drawn).growth
        scaled, best = torch.empty_like(growth), growth.amin(1, keepdim=True)

        @cache
        def error(factor):
            one, rate = growth.new_tensor(1 - factor**-2), factor**-2
            torch.add(one, growth, alpha=rate, out=scaled)
            *_, wrong = self.complete(scaled, one + rate * best, drawn)
            return (wrong.square().sum() / drawn.hidden.sum()).item()

        factor = 1.0
        for grid in grids:
            tried = [factor * f for f in grid]
            place = len(tried) // 2
            for step in (-1, 1):
                while 0 <= place + step < len(tried) and (
                    error(tried[place + step]) < error(tried[place])
                ):
                    place += step
            factor = tried[place]
        return log_precision - 2 * math.log(factor), error(factor)
