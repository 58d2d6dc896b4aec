"""The Stage I loop: full batches up to a size, Adam, a rule that watches retrieval.

Separation is not robustness: minimised hard enough, every separation loss amplifies
directions that hold nothing but noise. So with early stopping the loop does not watch
its own loss but retrieval of held-out corrupted copies, keeps the best feature map it
has seen, and that may be the one it started from.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from skuhop.learning.feature_maps import FeatureMapKind, State
from skuhop.learning.losses import LOSSES, posterior
from skuhop.learning.mini_batches import HardPairs, RunningLogMean
from skuhop.learning.optimiser import Adam
from skuhop.learning.saved_state import numpy_state
from skuhop.retrieval import FeatureMap

FULL_BATCH = 1024
"""Most patterns whose pairs are all compared in every step."""
WATCH_EVERY = 5
"""Steps of Stage I between two looks at held-out retrieval."""


class Schedule(NamedTuple):
    """How long and how fast to learn; the names are scikit-learn's."""

    max_iter: int
    learning_rate: float
    tol: float
    early_stopping: bool
    n_iter_no_change: int


class Learned(NamedTuple):
    """What Stage I leaves behind.

    Attributes
    ----------
    state : dict of str to ndarray
        State of the feature map.
    alignment : dict of str to ndarray
        `scale` and `shift` of queries where the posterior loss learned them.
    loss_curve : list of float
        Loss before every step.
    validation_scores : list of float
        Held-out retrieval scores, the first one of the start.
    selection : dict
        Which feature map was kept, and why, in plain values.
    """

    state: dict
    alignment: dict
    loss_curve: list
    validation_scores: list
    selection: dict


class Alignment(nn.Module):
    """``scale * x + shift``: what damage does to every query alike."""

    def __init__(self, like: Tensor):
        super().__init__()
        self.scale = nn.Parameter(like.new_ones(()))
        self.shift = nn.Parameter(like.new_zeros(like.shape[1]))

    def forward(self, X):
        """Align queries with patterns."""
        return X * self.scale + self.shift


def _batches(n: int, generator: torch.Generator) -> Iterator[Tensor]:
    """Endless batches: everything, or shuffled parts of at most FULL_BATCH."""
    while n <= FULL_BATCH:
        yield torch.arange(n, device=generator.device)
    while True:
        order = torch.randperm(n, generator=generator)
        yield from order[: n - n % FULL_BATCH].split(FULL_BATCH)


def train(
    model: nn.Module,
    objective: Callable[[Tensor], Tensor],
    n_patterns: int,
    schedule: Schedule,
    generator: torch.Generator,
    watch: Callable[[], float] | None,
    report: Callable[[int, float], bool] | None,
) -> tuple[list[float], list[float], int]:
    """Minimise ``objective(batch)`` over the parameters of `model`, in place.

    What is watched, the loss or with `watch` the held-out score, has to improve by
    `tol` within `n_iter_no_change` steps or the loop ends, as it does when `report`,
    called after every step, says so. With `watch` the model is left as it was at its
    best look, the start included.

    Returns
    -------
    loss_curve, validation_scores, best_step
    """
    parameters = [p for p in model.parameters() if p.requires_grad]
    curve: list[float] = []
    if n_patterns < 2 or not parameters:
        return curve, [], 0
    optimiser = Adam(parameters, schedule.learning_rate)
    scores = [watch()] if watch else []
    best, best_step, last = (scores[0] if watch else -np.inf), 0, 0
    kept = copy.deepcopy(model.state_dict())
    for step, batch in enumerate(_batches(n_patterns, generator), start=1):
        loss = objective(batch)
        optimiser.step(torch.autograd.grad(loss, parameters, allow_unused=True))
        curve.append(loss.item())
        stop = report is not None and report(step, curve[-1])
        stop = stop or step == schedule.max_iter
        looks = watch is None or step % WATCH_EVERY == 0 or stop
        if looks:
            score = watch() if watch else -curve[-1]
            scores += [score] if watch else []
            if score > best:
                last = step if score > best + schedule.tol else last
                best, best_step = score, step
                kept = copy.deepcopy(model.state_dict()) if watch else kept
        if stop or step - last >= schedule.n_iter_no_change:
            break
    if watch:
        model.load_state_dict(kept)
        return curve, scores, best_step
    return curve, scores, len(curve)


def learn(
    kind: FeatureMapKind,
    patterns: Tensor,
    weights: Tensor | None,
    *,
    loss: str,
    damage: Callable[[Tensor], Tensor],
    watch: Callable[[FeatureMap], float] | None,
    n_components: int | None,
    start: State | None,
    schedule: Schedule,
    seed: int,
    report: Callable[[int, float, Callable], bool] | None,
) -> Learned:
    """Stage I, from patterns to the learned state.

    Parameters
    ----------
    kind : FeatureMapKind
        Row of the table of feature maps.
    patterns, weights : Tensor of shape (M, d) and (M,), or None for weights
        Distinct patterns.
    loss : str
        Name of a separation loss, or "posterior".
    damage : callable
        ``(indices) -> corrupted copies`` of these patterns; for the posterior loss.
    watch : callable or None
        ``(feature map) -> score``: retrieval of held-out corrupted copies.
    n_components, start, schedule, seed
        As in the estimators.
    report : callable or None
        ``(step, loss, state) -> stop`` after every step; ``state()`` gives what is
        learned so far, as a `Learned` of the state and the alignment.
    """
    module, project, export = kind.begin(patterns, n_components, start, seed)
    aligner = Alignment(patterns) if loss == "posterior" else nn.Identity()
    inputs = project(patterns)

    def cross_entropy(batch):
        batch_weights = None if weights is None else weights[batch]
        queries = module(project(aligner(damage(batch))))
        return posterior(module(inputs[batch]), queries, batch_weights)

    def look():
        training = module.training
        module.eval()
        with torch.no_grad():
            score = watch(
                FeatureMap(
                    lambda X: module(project(X)),
                    lambda X: module(project(aligner(X))),
                )
            )
        module.train(training)
        return score

    def so_far():
        selection = {"kept": "learned", "reason": "Stage I is not over"}
        alignment = numpy_state(aligner.state_dict())
        return Learned(export(), alignment, [], [], selection)

    def tell(step, loss):
        return report(step, loss, so_far)

    curve, scores, best_step = train(
        nn.ModuleList([module, aligner]),
        cross_entropy
        if loss == "posterior"
        else _separation(loss, module, inputs, weights, seed),
        len(patterns),
        schedule,
        torch.Generator().manual_seed(seed),
        look if watch and schedule.early_stopping else None,
        None if report is None else tell,
    )
    selection = _select(curve, scores, best_step)
    alignment = numpy_state(aligner.state_dict())
    return Learned(export(), alignment, curve, scores, selection)


def _separation(loss, module, inputs, weights, seed) -> Callable[[Tensor], Tensor]:
    """Make the objective of a separation loss: all pairs, or an estimate of it."""

    def features(rows):
        return module(inputs[rows])

    if len(inputs) <= FULL_BATCH:
        return lambda batch: LOSSES[loss](features(batch), weights)
    estimate: HardPairs | RunningLogMean
    if loss == "max":
        estimate = HardPairs(inputs, torch.Generator().manual_seed(seed))
    else:
        estimate = RunningLogMean(loss, inputs, weights)
    return lambda batch: estimate(features, batch)


def _select(curve: list, scores: list, best_step: int) -> dict:
    """Say in plain values which feature map was kept, and why."""
    if not curve:
        return {"kept": "start", "step": 0, "reason": "there is nothing to learn"}
    if not scores:
        reason = "early_stopping=False: the last step is kept unseen"
        return {"kept": "learned", "step": best_step, "reason": reason}
    kept = "learned" if best_step else "start"
    reason = (
        "best retrieval of held-out corrupted copies"
        if best_step
        else "learning did not raise retrieval of held-out corrupted copies"
    )
    return {
        "kept": kept,
        "step": best_step,
        "start_score": scores[0],
        "kept_score": max(scores),
        "reason": reason,
    }
