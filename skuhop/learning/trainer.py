"""The Stage I loop: full batches where they fit, Adam, a stopping rule."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

import torch
from torch import Tensor, nn

from skuhop.learning.feature_maps import FeatureMapKind, State

FULL_BATCH = 2048
"""Most patterns whose pairs are all compared in every step."""


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Let a user's module draw from torch's global state, put back after."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        yield


class Schedule(NamedTuple):
    """How long and how fast to learn; the names are scikit-learn's."""

    max_iter: int
    learning_rate: float
    tol: float
    early_stopping: bool
    n_iter_no_change: int


def _batches(n: int, generator: torch.Generator) -> Iterator[Tensor | slice]:
    """Endless batches: everything, or shuffled parts of at most FULL_BATCH."""
    while n <= FULL_BATCH:
        yield slice(None)
    while True:
        order = torch.randperm(n, generator=generator)
        yield from order[: n - n % FULL_BATCH].split(FULL_BATCH)


def train(
    module: nn.Module,
    inputs: Tensor,
    weights: Tensor | None,
    loss: Callable[[Tensor, Tensor | None], Tensor],
    schedule: Schedule,
    generator: torch.Generator,
    report: Callable[[int, float], None] | None,
) -> list[float]:
    """Minimise ``loss(module(inputs), weights)`` in place; return the loss curve.

    The curve holds the loss before every step. With `early_stopping` the loop ends
    once `n_iter_no_change` steps in a row have not lowered the best loss by `tol`.
    """
    parameters = [p for p in module.parameters() if p.requires_grad]
    if len(inputs) < 2 or not parameters:
        return []
    optimiser = torch.optim.Adam(parameters, lr=schedule.learning_rate)
    batches = _batches(len(inputs), generator)
    curve: list[float] = []
    best, idle = float("inf"), 0
    for step in range(schedule.max_iter):
        batch = next(batches)
        value = loss(module(inputs[batch]), None if weights is None else weights[batch])
        optimiser.zero_grad()
        value.backward()
        optimiser.step()
        curve.append(value.item())
        if report is not None:
            report(step + 1, curve[-1])
        idle = 0 if curve[-1] < best - schedule.tol else idle + 1
        best = min(best, curve[-1])
        if schedule.early_stopping and idle >= schedule.n_iter_no_change:
            break
    return curve


def learn(
    kind: FeatureMapKind,
    patterns: Tensor,
    weights: Tensor | None,
    *,
    loss: Callable[[Tensor, Tensor | None], Tensor],
    n_components: int | None,
    start: State | None,
    schedule: Schedule,
    seed: int,
    report: Callable[[int, float], None] | None,
) -> tuple[dict, list[float]]:
    """Stage I from patterns to the learned state and the loss curve."""
    with seeded(seed):
        trainable = kind.begin(patterns, n_components, start)
        curve = train(
            trainable.module,
            trainable.inputs,
            weights,
            loss,
            schedule,
            torch.Generator().manual_seed(seed),
            report,
        )
    return trainable.export(), curve
