"""Supervised Stage I as estimators call it: from rows with values to members."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from sklearn.utils import check_random_state
from torch import Tensor

from skuhop.learning import (
    Kernel,
    Line,
    LineKind,
    Problem,
    Settings,
    choose_inputs,
    common_scale,
    cross_fit,
    divide,
    fit_line,
    kernels_of,
    standardisation,
    take_trend,
)
from skuhop.retrieval import SEPARATIONS, SIMILARITIES, largest_beta
from skuhop.support import (
    check_total,
    count_copies,
    distinct_rows,
    ones_unless,
    to_numpy,
    to_tensor,
    unit_of,
)

_SMALL = 2000
"""Fewer patterns than this are learned with 8 folds, others with 4."""
_STEPS = 100
"""Steps of Stage I for up to 5,000 patterns."""
_SURPRISES = 1.0
"""Rows that nothing stored explains, which are reckoned with where all rows repeat, as
in Laplace's rule of succession: what is stored of a cell is a frequency, and that no
row of a few cells was a surprise does not make the next one impossible. On tables of
cells log-loss is .995 times that of smoothed frequencies, 1.022 without. Where no row
repeats the rows left out know better: there it was 2 % worse."""


def cross_fitted(estimator, lesson, device, progress):
    """Stage I on a lesson: how inputs are scaled, the members, and their lines if any.

    Factors, such as class weights, do not count for the scale: at the extreme one
    class would set it alone.

    Progress hears of the first member, with the rows it has learned from as the stored
    ones and those it has not seen: a row that is stored would find itself.
    """
    totals = ones_unless(lesson.weights, lesson.X)
    check_total(totals * lesson.factors, np.float32, "sample_weight times class_weight")
    # Distinct rows are in float64, whatever was given.
    eps = float(np.finfo(lesson.stored["patterns_"].dtype).eps)
    parts = to_tensor(lesson.X, device), to_tensor(totals, device)
    inputs = standardisation(*parts, eps)
    ways = [way for way in (inputs, common_scale(inputs)) if way is not None]
    kernels = kernels_to_learn(estimator)
    settings = settings_of(estimator, kernels[0], len(lesson.X))
    taught = np.flatnonzero(lesson.factors > 0)
    copies = _count_copies(lesson, totals, taught, estimator._grouped)
    division = _divide(lesson, taught, copies, estimator._target, settings, device)
    rows = taught[to_numpy(division.rows)]
    share = to_numpy(division.copies) / copies[to_numpy(division.rows)]
    multiplicity = (totals[rows] * share).astype(totals.dtype)
    X = to_tensor(lesson.X[rows], device)
    unit = 1.0
    if estimator.feature_map == "identity":
        unit = unit_of(lesson.X)
        origin = inputs.centre if settings.similarity.centred else 0
        tried = [(X - origin) / unit]
    else:
        tried = [way(X) for way in ways]
    tried = [Z.to(torch.float32) for Z in tried]
    size = settings.similarity.in_user_units(unit)
    if settings.beta is not None:
        settings = settings._replace(beta=largest_beta(settings.beta * size))
    weights = multiplicity * lesson.factors[rows]
    problem = Problem(
        tried[0],
        _single(lesson.values[rows], device),
        _single(weights, device),
        division.copies.to(torch.float32),
        estimator._target,
        line=estimator._line,
        groups=None
        if lesson.groups is None
        else to_tensor(lesson.groups[rows], device),
        n_surprises=_SURPRISES * _share_repeated(lesson.X[taught], copies),
    )
    chosen = choose_inputs(tried, problem, division.parts, settings)
    inputs = ways[chosen]
    straight = inputs.unbounded(X).to(torch.float32)
    problem = problem._replace(Z=tried[chosen], straight=straight)
    problem, penalty = take_trend(problem, division.parts, settings)
    learner = LineLearner(
        estimator._line, straight, lesson.whole[rows], weights, penalty
    )

    def report(step, loss, so_far):
        def state():
            member, left_out, kept = so_far()
            stored = rows[kept], multiplicity[kept]
            lines = Lines(trend=learner.trend(kept))
            return inputs, member, lines, stored, rows[left_out]

        return progress(step, loss, state)

    settings = settings._replace(report=report)
    fitted = cross_fit(kernels, problem, division, settings)
    # Rows come sorted, and of many only the first are looked at.
    order = np.random.RandomState(settings.seed).permutation(len(rows))
    beside = learner(fitted.penalty, order) if fitted.linear_share > 0 else None
    found = [k._replace(betas=np.asarray(k.betas) / size) for k in fitted.kernels]
    fitted = fitted._replace(kernels=found)
    return inputs, fitted, Lines(beside, learner.trend(order))


def _count_copies(lesson, totals, taught, grouped):
    """How many rows each that is taught stands for; counts are told class by class."""
    values = lesson.values[taught]
    labels = values.argmax(1) if grouped else np.zeros(len(values))
    return count_copies(totals[taught], labels)


def _divide(lesson, taught, copies, target, settings, device):
    """Divide the rows that are taught among the members."""
    groups = None if lesson.groups is None else lesson.groups[taught]
    return divide(
        target,
        _single(lesson.values[taught], device),
        to_tensor(copies, device),
        None if groups is None else to_tensor(groups, device),
        settings.n_folds,
        settings.seed,
    )


def _share_repeated(X, copies):
    """Share of the rows of which there is another, whatever its value."""
    cell = distinct_rows(X, None)[2]
    n_rows = np.bincount(cell, copies)[cell]
    return (copies @ (n_rows > 1)) / copies.sum()


def _single(array, device):
    """Tensor in single precision, in which members learn."""
    return to_tensor(array.astype(np.float32, copy=False), device)


class LineLearner(NamedTuple):
    """Lines from the rows of a problem.

    Attributes
    ----------
    kind : LineKind
    straight : Tensor of shape (n, d)
        Standardised rows.
    values : ndarray of shape (n, v)
        What answers are made of.
    weights : ndarray of shape (n,)
    penalty : float or None
        Of the line that is taken off the values; None if none is.
    """

    kind: LineKind
    straight: Tensor
    values: np.ndarray
    weights: np.ndarray
    penalty: float | None

    def __call__(self, penalty, rows) -> Line:
        """Learn a line from some of the rows."""
        taught = self.straight[rows], self.values[rows], self.weights[rows]
        return fit_line(self.kind, *taught, penalty)

    def trend(self, rows) -> np.ndarray | None:
        """Learn what is taken off the values, from some of the rows."""
        if self.penalty is None:
            return None
        return self.kind.trend * self(self.penalty, rows).coef


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

    def state(kernel):
        # Callables need not have a hash.
        same = (k.state for k in learned if k.feature_map == kernel.feature_map)
        return next(same, {})

    return [kernel._replace(state=state(kernel)) for kernel in kernels]


def n_steps(estimator, n):
    """Say how many steps Stage I takes for each kernel, of n distinct rows."""
    automatic = int(np.clip(n / 50, _STEPS, 6 * _STEPS))
    return automatic if estimator.max_iter == "auto" else estimator.max_iter


def _linear_share(estimator):
    """Share of a line that is asked for; None is to be found out."""
    if estimator.linear_share != "auto":
        return float(estimator.linear_share)
    return 0.0 if estimator.feature_map == "identity" else None


def settings_of(estimator, kernel, n):
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
    )
