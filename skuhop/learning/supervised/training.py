"""The loop: members learned side by side, each kept as it was at its best."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from skuhop.learning.losses import LOSSES
from skuhop.learning.members import Kernel, MemberMap, is_learned, member_map
from skuhop.learning.optimiser import Adam
from skuhop.learning.saved_state import numpy_state
from skuhop.learning.supervised.batches import (
    batches,
    drop_entries,
    few_valued,
    without_repeats,
)
from skuhop.learning.supervised.calibration import (
    MAX_WATCHED,
    PRIOR_WEIGHTS,
    blocks_of,
    judges_of,
    weigh,
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
LOOK_EVERY = 10
"""Steps between two looks at the rows left out."""


def _begin(
    kind: MemberMap, start, settings: Settings, problem: Problem
) -> dict[str, Tensor]:
    """Start of the members: that of the kind, or an earlier state of the same shape."""
    size = settings.n_folds, settings.n_components
    tensors = kind.begin(problem.Z, *size, settings.seed, problem.indicators)
    fits = set(start) == set(tensors) and all(
        np.shape(start[name]) == tuple(t.shape) for name, t in tensors.items()
    )
    if fits:
        tensors = {k: tensor_of(start[k]).to(t) for k, t in tensors.items()}
    return tensors


def train(kernel: Kernel, settings: Settings, problem: Problem, parts, beta, rng):
    """Learn the members side by side; keep each as it was at its best look.

    Parameters
    ----------
    kernel : Kernel
        A state is where learning starts, if its shape fits.
    settings : Settings
    problem : Problem
    parts : list of (Tensor, Tensor)
        Rows left out by, and rows of, every member.
    beta : float
        Where the inverse temperatures start.
    rng : torch.Generator

    Returns
    -------
    watch : Watch
        The members at their best, and their features.
    curve : list of float
        Mean loss of the members before every step.
    """
    kind = member_map(kernel.feature_map)
    tensors = _begin(kind, kernel.state, settings, problem)
    levels, source = few_valued(problem.Z), problem.source
    if problem.indicators is not None:
        levels |= problem.indicators
    span = find_span(problem.Z, kind.multiply, "embedded" in tensors, levels)
    if span is not None:
        problem = problem._replace(Z=span.enter(problem.Z))
        tensors = span.begin(tensors)
    learned = [t.requires_grad_() for n, t in tensors.items() if is_learned(n, t)]
    log_betas = problem.Z.new_full((len(parts),), math.log(beta))
    if settings.loss not in LOSSES and settings.beta is None:
        moving = [*learned, log_betas.requires_grad_()]
    else:
        moving = learned
    optimiser = Adam(moving, settings.learning_rate)
    watch = Watch(kernel, kind, settings, problem, parts, tensors, log_betas, span)
    shown = [kept for _, kept in parts]
    if settings.loss in LOSSES:
        problem, shown = without_repeats(problem, shown)
        if min(map(len, shown)) < 2:
            moving = []  # There is no pair to part.
    draw = batches(shown, settings.batch_size, rng)
    curve = []
    for step in range(settings.max_iter if moving else 0):
        if settings.early_stopping and step % LOOK_EVERY == 0:
            watch.look(step)
        index, valid, n_queries = next(draw)
        rows = drop_entries(problem.Z[index], levels, DROPPED, rng, source)
        features = kind.features(tensors, rows, True)
        copies = problem.copies[index] * valid
        batch = (problem.values[index], problem.weights[index], copies)
        groups = None if problem.groups is None else problem.groups[index]
        scores_of = (features, log_betas, n_queries, groups)
        losses = _losses(settings, problem, *scores_of, batch)
        gradients = torch.autograd.grad(losses.sum(), moving, allow_unused=True)
        optimiser.learning_rate = _anneal(settings, step)
        with torch.no_grad():
            for tensor in learned:
                tensor.mul_(1 - optimiser.learning_rate * settings.weight_decay)
        optimiser.step(gradients)
        curve.append(losses.mean().item())
        if settings.report and settings.report(step + 1, curve[-1], watch.so_far):
            break
    watch.look(len(curve), last=not settings.early_stopping)
    return watch, curve


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


def _anneal(settings: Settings, step: int) -> float:
    """Learning rate that falls to zero along a cosine."""
    return (
        settings.learning_rate * (1 + math.cos(math.pi * step / settings.max_iter)) / 2
    )


class Watch:
    """Looks at the rows left out, and what each member was at its best look."""

    def __init__(
        self, kernel, kind, settings, problem, parts, tensors, log_betas, span
    ):
        self.kernel, self.kind, self.settings = kernel, kind, settings
        self.problem, self.parts, self.span = problem, parts, span
        self.current = {**tensors, "log_betas": log_betas}
        self.best = {k: t.detach().clone() for k, t in self.current.items()}
        self.losses = torch.full((len(parts),), math.inf, device="cpu")
        self.steps = [0] * len(parts)
        self.judges: list[Callable] | None = None

    def export(self, tensors) -> dict[str, np.ndarray]:
        """Give tensors of members for rows as they are, in NumPy."""
        return numpy_state(tensors if self.span is None else self.span.leave(tensors))

    def features(self, tensors):
        """Features (K, n, r) of all patterns."""
        Z = self.problem.Z
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
        state = self.export(first)
        betas = np.exp(state.pop("log_betas"))
        selection = {"kept": "learned", "reason": "Stage I is not over"}
        kernel = self.kernel._replace(betas=betas, state=state)
        member = CrossFitted([kernel], PRIOR_WEIGHTS[0], [], selection)
        return member, *(rows.cpu().numpy() for rows in self.parts[0])

    def look(self, step, last=False):
        """Keep the members that have become better, or at the `last` look all."""
        tensors = {k: t for k, t in self.current.items() if k != "log_betas"}
        betas = self.current["log_betas"].detach().exp().tolist()
        blocks = blocks_of(self.settings.similarity, self.features(tensors), self.parts)
        problem, n_values = self.problem, self.problem.values.shape[1]
        if self.judges is None:
            self.judges = judges_of(problem, blocks)
        for k, (scores, out, kept) in enumerate(blocks):
            weights = weigh(self.settings, scores, betas[k], problem, kept)
            residue, _ = self.judges[k](weights)
            w = problem.weights[out]
            loss = w @ problem.target.watched(residue, n_values) / w.sum()
            if last or loss < self.losses[k]:
                self.losses[k], self.steps[k] = loss, step
                for name, tensor in self.current.items():
                    if tensor.is_floating_point():
                        self.best[name][k] = tensor.detach()[k]
