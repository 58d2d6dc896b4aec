"""Supervised Stage I as estimators call it: from rows with values to members."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from sklearn.utils import check_random_state

from skuhop._device import to_tensor
from skuhop._rows import ones_unless
from skuhop.learning.inputs import common_scale, standardisation
from skuhop.learning.kernels import Kernel, kernels_of
from skuhop.learning.supervised import (
    Line,
    Problem,
    Settings,
    choose_inputs,
    cross_fit,
    fit_line,
    take_trend,
)
from skuhop.retrieval import SEPARATIONS, SIMILARITIES

_SMALL = 2000
"""Fewer patterns than this are learned with 8 folds, others with 4."""
_STEPS = 100
"""Steps of Stage I for up to 5,000 patterns."""


def cross_fitted(estimator, lesson, device, progress):
    """Stage I on a lesson: how inputs are scaled, the members, and their lines if any.

    Factors, such as class weights, do not count for the scale: at the extreme one
    class would set it alone.

    Progress hears of the first member, with the rows it has learned from as the stored
    ones and those it has not seen: a row that is stored would find itself.
    """
    weights = ones_unless(lesson.weights, lesson.X)
    inputs = standardisation(to_tensor(lesson.X, device), to_tensor(weights, device))
    ways = [inputs, common_scale(inputs)]
    weights = weights * lesson.factors
    known = np.flatnonzero(weights > 0)
    X, values, weights = lesson.X[known], lesson.values[known], weights[known]
    X, groups = to_tensor(X, device), lesson.groups
    if estimator.feature_map == "identity":
        tried = [X]
    else:
        tried = [way(X) for way in ways if way is not None]
    tried = [Z.to(torch.float32) for Z in tried]
    problem = Problem(
        tried[0],
        to_tensor(values.astype(np.float32, copy=False), device),
        to_tensor(weights.astype(np.float32), device),
        estimator._target,
        line=estimator._line,
        groups=None if groups is None else to_tensor(groups[known], device),
    )

    def report(step, loss, so_far):
        def state():
            member, left_out, kept = so_far()
            lines = Lines(trend=trend(kept))
            return ways[chosen], member, lines, known[kept], known[left_out]

        return progress(step, loss, state)

    kernels = kernels_to_learn(estimator)
    settings = settings_of(estimator, kernels[0], len(X), report)
    chosen = choose_inputs(tried, problem, settings)
    straight = ways[chosen].unbounded(X).to(torch.float32)
    problem = problem._replace(Z=tried[chosen], straight=straight)
    problem, taken = take_trend(problem, settings)

    def line(penalty, rows):
        taught = straight[rows], lesson.whole[known[rows]], weights[rows]
        return fit_line(estimator._line, *taught, penalty)

    def trend(rows):
        return None if taken is None else estimator._line.trend * line(taken, rows).coef

    fitted = cross_fit(kernels, problem, settings)
    # Rows come sorted, and of many only the first are looked at.
    rows = np.random.RandomState(settings.seed).permutation(len(known))
    beside = line(fitted.penalty, rows) if fitted.linear_share > 0 else None
    return ways[chosen], fitted, Lines(beside, trend(rows))


class Lines(NamedTuple):
    """What straight lines have learned.

    Attributes
    ----------
    beside : Line or None
        What has a share of the answers.
    trend : ndarray of shape (v, d) or None
        What is taken off the values, and added to the answers, times the standardised
        row.
    """

    beside: Line | None = None
    trend: np.ndarray | None = None


def kernels_to_learn(estimator) -> list[Kernel]:
    """Kernels that the parameters name, from where a warm start finds them."""
    kernels = kernels_of(estimator.feature_map, estimator.similarity)
    if not estimator.warm_start:
        return kernels
    learned = [Kernel(**kernel) for kernel in getattr(estimator, "kernels_", ())]
    states = {kernel.feature_map: kernel.state for kernel in learned}
    return [k._replace(state=states.get(k.feature_map, {})) for k in kernels]


def n_steps(estimator, n):
    """Say how many steps Stage I takes for each kernel, of n distinct rows."""
    automatic = int(np.clip(n / 50, _STEPS, 6 * _STEPS))
    return automatic if estimator.max_iter == "auto" else estimator.max_iter


def _linear_share(estimator):
    """Share of a line that is asked for; None is to be found out."""
    if estimator.linear_share != "auto":
        return float(estimator.linear_share)
    return 0.0 if estimator.feature_map == "identity" else None


def settings_of(estimator, kernel, n, report):
    """Collect what Stage I needs to know beside the rows, for the first kernel."""
    folds = 8 if n < _SMALL else 4
    return Settings(
        loss=estimator.loss,
        similarity=SIMILARITIES[kernel.similarity],
        separation=SEPARATIONS[estimator.separation],
        separation_params=estimator._separation_params(),
        beta=None if estimator.beta == "auto" else float(estimator.beta),
        n_components=estimator.n_components,
        n_folds=folds if estimator.n_folds == "auto" else estimator.n_folds,
        max_iter=n_steps(estimator, n),
        learning_rate=estimator.learning_rate,
        weight_decay=estimator.weight_decay,
        batch_size=estimator.batch_size,
        label_smoothing=getattr(estimator, "label_smoothing", 0.0),
        early_stopping=estimator.early_stopping,
        linear_share=_linear_share(estimator),
        seed=int(check_random_state(estimator.random_state).randint(2**31 - 4)),
        report=report,
    )
