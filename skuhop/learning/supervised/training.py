"""The loop: members learned side by side, each kept as it was at its best.

Members know nothing of each other, so they are learned a few at once, and as many such
groups at a time as there are threads. Threads that share the products of one step wait
for each other thousands of times; these wait once, at the end.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from skuhop.learning.losses import LOSSES
from skuhop.learning.members import MemberMap, is_learned, member_map
from skuhop.learning.optimiser import Adam, Pace
from skuhop.learning.saved_state import numpy_state
from skuhop.learning.supervised.batches import (
    batches,
    drop_entries,
    size_of_batch,
    without_repeats,
)
from skuhop.learning.supervised.calibration import (
    MAX_WATCHED,
    PRIOR_WEIGHTS,
    blocks_of,
    judge_rows,
    judges_of,
)
from skuhop.learning.supervised.member_scores import (
    leave_one_out,
    log_weights,
    member_scores,
    separation_loss,
)
from skuhop.learning.supervised.problem import CrossFitted, Problem, Settings
from skuhop.learning.supervised.spans import find_span
from skuhop.retrieval import tensor_of

DROPPED = 0.3
"""Share of the entries of columns of few values that every other member is spared."""
_LOOKS = 10
"""Looks at the rows left out, if all steps are taken."""
_LAST = 0.2
"""Share of the steps in which the learning rate falls. On 21 tables log-loss was .985
times that of a rate which falls from the first of 100 steps on, at half of the steps.
With 30 or 50 steps for all it was 20 and 10 times as high where a rule is to be found.
"""
_AT_ONCE = 4
"""Members of a group."""
_WORTH_DIVIDING = 2**15
"""Scores of a member in a step from which groups are worth their calls."""


def _begin(
    kind: MemberMap, start, settings: Settings, problem: Problem, places: range
) -> dict[str, Tensor]:
    """Start of the members: that of the kind, or an earlier state of the same shape."""
    size = settings.n_folds, settings.n_components
    tensors = kind.begin(problem.Z, *size, settings.seed, problem.indicators)
    fits = set(start) == set(tensors) and all(
        np.shape(start[name]) == tuple(t.shape) for name, t in tensors.items()
    )
    if fits:
        tensors = {k: tensor_of(start[k]).to(t) for k, t in tensors.items()}
    own = slice(places.start, places.stop)
    return {k: t[own] if t.is_floating_point() else t for k, t in tensors.items()}


def _losses(settings, problem, features, log_betas, n_queries, groups, batch):
    """Loss of every member, shape (K,)."""
    values, weights, copies = batch
    if settings.loss in LOSSES:
        return separation_loss(settings.loss, features, weights, copies > 0)
    scores = member_scores(
        settings.similarity,
        features[:, :n_queries],
        features,
        log_betas.exp(),
        log_weights(weights, copies > 0),
    )
    answers = leave_one_out(scores, values, copies, groups)
    return problem.target.teach(answers, *batch, settings.label_smoothing)


def divide_members(kind: MemberMap, parts, batch_size: int) -> list[range]:
    """Members that are learned at once: all of them where a step is mostly calls."""
    shortest = min(len(kept) for _, kept in parts)
    n_queries, n_candidates = size_of_batch(shortest, batch_size)
    small = n_queries * n_candidates < _WORTH_DIVIDING
    whole = kind.together or small or parts[0][1].device.type != "cpu"
    size = len(parts) if whole else _AT_ONCE
    return [
        range(first, min(first + size, len(parts)))
        for first in range(0, len(parts), size)
    ]


def join_states(states: list[dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """Join what groups of members have learned; what is no number they share."""
    return {
        name: np.concatenate([state[name] for state in states])
        if np.issubdtype(first.dtype, np.floating)
        else first
        for name, first in states[0].items()
    }


class MembersInTraining:
    """Members of a kernel that are learned at once, and what each was at its best look.

    Parameters
    ----------
    kernel : Kernel
        A state is where learning starts, if its shape fits.
    settings : Settings
    problem : Problem
    parts : list of (Tensor, Tensor)
        Rows left out by, and rows of, every member of the kernel.
    places : range
        Which of the members these are.
    beta : float
        Where the inverse temperatures start.
    generators : list of torch.Generator
        One for every member of the kernel.
    levels : Tensor of shape (d,)
        Columns of which entries are dropped, see `find_levels`.
    """

    def __init__(
        self, kernel, settings, problem, parts, places, beta, generators, levels
    ):
        kind, self.levels = member_map(kernel.feature_map), levels
        self.kernel, self.kind, self.settings = kernel, kind, settings
        self.parts = [parts[place] for place in places]
        tensors = _begin(kind, kernel.state, settings, problem, places)
        embeds = "embedded" in tensors
        self.span = find_span(problem.Z, kind.multiply, embeds, levels)
        if self.span is not None:
            problem = problem._replace(Z=self.span.enter(problem.Z))
            tensors = self.span.begin(tensors)
        self.watched = problem
        self.learned = [
            t.requires_grad_() for n, t in tensors.items() if is_learned(n, t)
        ]
        log_betas = problem.Z.new_full((len(places),), math.log(beta))
        self.moving = list(self.learned)
        if settings.loss not in LOSSES and settings.beta is None:
            self.moving.append(log_betas.requires_grad_())
        shown = [kept for _, kept in self.parts]
        if settings.loss in LOSSES:
            problem, shown = without_repeats(problem, shown)
            if min(map(len, shown)) < 2:
                self.moving = []  # There is no pair to part.
        self.problem = problem
        own = [generators[place] for place in places]
        self.droppers = [g if k % 2 else None for k, g in zip(places, own, strict=True)]
        self.batches = batches(shown, settings.batch_size, own)
        self.optimiser = Adam(self.moving, settings.learning_rate)
        share = _LAST if settings.early_stopping else 1
        n_last = max(1, int(share * settings.max_iter))
        self.pace = Pace(settings.learning_rate, settings.max_iter, n_last)
        self.look_every = max(1, settings.max_iter // _LOOKS)
        self.current = {**tensors, "log_betas": log_betas}
        self.best = {k: t.detach().clone() for k, t in self.current.items()}
        self.losses = torch.full((len(places),), math.inf, device="cpu")
        self.steps = [0] * len(places)
        self.judges: list[Callable] | None = None
        self.curve: list[Tensor] = []

    @property
    def goes_on(self) -> bool:
        """Whether there are steps left to take."""
        return bool(self.moving) and len(self.curve) < self.pace.n_steps

    def learn(self, is_wanted: Callable[[], bool]) -> None:
        """Take all steps, as long as they are wanted."""
        while self.goes_on and is_wanted():
            self.move()
        self.end()

    def move(self) -> Tensor:
        """Take a step; give the loss of every member before it."""
        settings, problem, step = self.settings, self.problem, len(self.curve)
        if settings.early_stopping and step % self.look_every == 0:
            loss = self.look(step)
            if step > 0:  # A random start may be better than what first comes of it.
                self.pace.look(step, loss)
        index, valid, n_queries = next(self.batches)
        rows = drop_entries(
            problem.Z[index], self.levels, DROPPED, self.droppers, problem.source
        )
        features = self.kind.features(self.current, rows, True)
        copies = problem.copies[index] * valid
        batch = (problem.values[index], problem.weights[index], copies)
        groups = None if problem.groups is None else problem.groups[index]
        scores_of = (features, self.current["log_betas"], n_queries, groups)
        losses = _losses(settings, problem, *scores_of, batch)
        gradients = torch.autograd.grad(losses.sum(), self.moving, allow_unused=True)
        self.optimiser.learning_rate = self.pace.rate_at(step)
        with torch.no_grad():
            for tensor in self.learned:
                tensor.mul_(1 - self.optimiser.learning_rate * settings.weight_decay)
        self.optimiser.step(gradients)
        self.curve.append(losses.detach())
        return self.curve[-1]

    def end(self) -> None:
        """Look a last time."""
        self.look(len(self.curve), last=not self.settings.early_stopping)

    @property
    def state(self) -> dict[str, np.ndarray]:
        """What the members have learned at their best."""
        return self._export(self.best)

    def _export(self, tensors) -> dict[str, np.ndarray]:
        """Give tensors of members for rows as they are, in NumPy."""
        tensors = {k: t for k, t in tensors.items() if k != "log_betas"}
        return numpy_state(tensors if self.span is None else self.span.leave(tensors))

    def score(self) -> list[tuple[Tensor, Tensor, Tensor]]:
        """Give blocks of scores, times beta, of the rows that each has left out."""
        scored = blocks_of(
            self.settings.similarity, self.features(self.best), self.parts
        )
        betas = self.best["log_betas"].exp()
        return [
            (beta * scores, out, kept)
            for beta, (scores, out, kept) in zip(betas, scored, strict=True)
        ]

    def features(self, tensors):
        """Features (K, n, r) of all patterns."""
        Z = self.watched.Z
        with torch.no_grad():
            pieces = [
                self.kind.features(tensors, rows.expand(len(self.parts), -1, -1), False)
                for rows in Z.split(MAX_WATCHED)
            ]
        return torch.cat(pieces, 1)

    def so_far(self):
        """Give the first member as it is now, not calibrated, and its rows.

        Returns
        -------
        member : CrossFitted
        left_out, kept : ndarray of int
            Rows that it has not seen, and those that it learns from.
        """
        first = {
            k: t.detach()[:1] if t.is_floating_point() else t
            for k, t in self.current.items()
        }
        betas = first["log_betas"].exp().cpu().numpy()
        selection = {"kept": "learned", "reason": "Stage I is not over"}
        kernel = self.kernel._replace(betas=betas, state=self._export(first))
        member = CrossFitted([kernel], PRIOR_WEIGHTS[0], [], selection)
        return member, *(rows.cpu().numpy() for rows in self.parts[0])

    def look(self, step, last=False) -> float:
        """Keep the members that have become better, or at the `last` look all.

        Returns
        -------
        loss : float
            Mean of the members' losses of the rows that they have left out.
        """
        total = 0.0
        betas = self.current["log_betas"].detach().exp().tolist()
        blocks = blocks_of(
            self.settings.similarity, self.features(self.current), self.parts
        )
        problem, n_values = self.watched, self.watched.values.shape[1]
        if self.judges is None:
            self.judges = judges_of(problem, blocks)
        for k, block in enumerate(blocks):
            judged = self.settings, problem, block, self.judges[k], betas[k]
            residue, out = judge_rows(*judged)[0], block[1]
            w = problem.weights[out]
            loss = w @ problem.target.watched(residue, n_values) / w.sum()
            total += loss.item()
            if last or loss < self.losses[k]:
                self.losses[k], self.steps[k] = loss, step
                for name, tensor in self.current.items():
                    if tensor.is_floating_point():
                        self.best[name][k] = tensor.detach()[k]
        return total / len(blocks)
