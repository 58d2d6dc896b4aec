"""Supervised Stage I as estimators call it: from rows with values to members."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from sklearn.utils import check_random_state
from torch import Tensor

from skuhop.answering import coding_of
from skuhop.choices import CrossFitting, LogLoss, name_of
from skuhop.learning import (
    Division,
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
    ones_unless,
    run_side_by_side,
    to_numpy,
    to_tensor,
    unit_of,
)
from skuhop.tables import lay_out

_SMALL = 2000
"""Fewer patterns than this are learned with 8 folds, others with 4."""
_BATCHES = 128, 256
"""Patterns in a batch, of up to 5,000 and of more: 128 cost banking77 (10,003 rows of
77 classes) 3 % of log-loss, and smaller tables nothing, in .7 of the time."""
_LARGE = 5000
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

    Progress hears of the first member, with the rows it has learned from as the stored
    ones and those it has not seen: a row that is stored would find itself.
    """
    kernels = kernels_to_learn(estimator)
    settings = settings_of(estimator, kernels[0], len(lesson.X))
    taught = _divide(lesson, estimator, settings, device)
    ways = _ways_to_scale(lesson, device)
    identity = estimator.feature_map == "identity"
    unit = unit_of(lesson.X) if identity else 1.0
    size = settings.similarity.in_user_units(unit)
    if settings.beta is not None:
        settings = settings._replace(beta=largest_beta(settings.beta * size))
    X = to_tensor(lesson.X[taught.rows], device)
    if identity:
        origin = ways[0].centre if settings.similarity.centred else 0
        tried = [(X - origin) / unit]
    else:
        tried = [way(X) for way in ways]
    tried = [Z.to(torch.float32) for Z in tried]
    problem = _problem(lesson, taught, tried[0], estimator, device)
    parts = taught.division.parts
    chosen = choose_inputs(tried, problem, parts, settings)
    inputs = ways[chosen]
    straight = inputs.standardise_only(X).to(torch.float32)
    problem = problem._replace(Z=tried[chosen], straight=straight)
    problem, penalty = take_trend(problem, parts, settings)
    values = lesson.whole[taught.rows]
    learner = LineLearner(estimator._line, straight, values, taught.weights, penalty)

    def report(step, loss, so_far):
        def state():
            member, left_out, kept = so_far()
            stored = taught.rows[kept], taught.multiplicity[kept]
            lines = Lines(trend=learner.trend(kept))
            return inputs, member, lines, stored, taught.rows[left_out]

        return progress(step, loss, state)

    settings = settings._replace(report=report if progress.is_heard else None)
    fitted = cross_fit(kernels, problem, taught.division, settings)
    # Rows come sorted, and of many only the first are looked at.
    order = np.random.RandomState(settings.seed).permutation(len(taught.rows))
    beside = learner(fitted.penalty, order) if fitted.linear_share > 0 else None
    kernels = [k._replace(betas=np.asarray(k.betas) / size) for k in fitted.kernels]
    lines = Lines(beside, learner.trend(order))
    return inputs, fitted._replace(kernels=kernels), lines


class Taught(NamedTuple):
    """Rows of a lesson as they are divided among the members.

    Attributes
    ----------
    division : Division
    rows : ndarray of shape (n,)
        Positions in the lesson.
    multiplicity, weights : ndarray of shape (n,)
        What rows weigh, without and with the factors of the lesson.
    share_repeated : float
        Share of the rows of which there is another, whatever its value.
    """

    division: Division
    rows: np.ndarray
    multiplicity: np.ndarray
    weights: np.ndarray
    share_repeated: float


def _divide(lesson, estimator, settings, device) -> Taught:
    """Divide the rows that are taught among the members, copy by copy."""
    totals = ones_unless(lesson.weights, lesson.X)
    check_total(totals * lesson.factors, np.float32, "sample_weight times class_weight")
    taught = np.flatnonzero(lesson.factors > 0)
    values = lesson.values[taught]
    # Counts are told class by class.
    labels = values.argmax(1) if estimator._grouped else np.zeros(len(values))
    copies = count_copies(totals[taught], labels)
    division = divide(
        estimator._target,
        _single(values, device),
        to_tensor(copies, device),
        _groups(lesson, taught, device),
        settings.n_folds,
        settings.seed,
    )
    part = to_numpy(division.rows)
    rows, share = taught[part], to_numpy(division.copies) / copies[part]
    multiplicity = (totals[rows] * share).astype(totals.dtype)
    weights = multiplicity * lesson.factors[rows]
    repeated = _share_repeated(lesson.X[taught], copies)
    return Taught(division, rows, multiplicity, weights, repeated)


def _share_repeated(X, copies):
    """Share of the rows of which there is another; equal rows stand together in X."""
    cell = np.append(0, (X[1:] != X[:-1]).any(axis=1).cumsum())
    n_rows = np.bincount(cell, copies)[cell]
    return (copies @ (n_rows > 1)) / copies.sum()


def _groups(lesson, rows, device):
    """Take the groups of some rows, None if there are none."""
    return None if lesson.groups is None else to_tensor(lesson.groups[rows], device)


def _ways_to_scale(lesson, device):
    """Ways to scale the inputs.

    Factors, such as class weights, do not count: at the extreme one class would set the
    scale alone.
    """
    totals = ones_unless(lesson.weights, lesson.X)
    # Distinct rows are in float64, whatever was given.
    eps = float(np.finfo(lesson.stored.patterns.dtype).eps)
    parts = to_tensor(lesson.X, device), to_tensor(totals, device)
    inputs = standardisation(*parts, eps)
    return [way for way in (inputs, common_scale(inputs)) if way is not None]


def _problem(lesson, taught, Z, estimator, device) -> Problem:
    """Put together what the members learn from."""
    source, indicators = _find_indicators(estimator, device)
    return Problem(
        Z,
        _single(lesson.values[taught.rows], device),
        _single(taught.weights, device),
        taught.division.copies.to(torch.float32),
        estimator._target,
        line=estimator._line,
        groups=_groups(lesson, taught.rows, device),
        n_surprises=_SURPRISES * taught.share_repeated,
        source=source,
        indicators=indicators,
    )


def _find_indicators(estimator, device):
    """Columns of the table that inputs are of, and which are indicators; or None."""
    if not estimator.is_categorical_.any():
        return None, None
    layout = lay_out(coding_of(estimator))
    indicators = ~np.isnan(layout.codes)
    return to_tensor(layout.columns, device), to_tensor(indicators, device)


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


def _batch_size(size, n):
    """Patterns in a batch, of n distinct rows."""
    return _BATCHES[n > _LARGE] if size == "auto" else size


def _linear_share(feature_map, share):
    """Share of a line that is asked for; None is to be found out."""
    if share != "auto":
        return float(share)
    return 0.0 if feature_map == "identity" else None


def _label_smoothing(loss):
    """Share of the target that is spread over the classes, where there are some."""
    smooths = name_of(loss) == LogLoss.name
    return LogLoss.of(loss).label_smoothing if smooths else 0.0


def settings_of(estimator, kernel, n):
    """Collect what Stage I needs to know beside the rows, for the first kernel."""
    folds = 8 if n < _SMALL else 4
    training, loss = CrossFitting.of(estimator.training), name_of(estimator.loss)
    return Settings(
        loss=loss,
        similarity=SIMILARITIES[kernel.similarity],
        separation=SEPARATIONS[name_of(estimator.separation)],
        separation_params=estimator._separation_params(),
        beta=None if estimator.beta == "auto" else float(estimator.beta),
        n_components=estimator.n_components,
        n_folds=folds if training.n_folds == "auto" else training.n_folds,
        max_iter=n_steps(estimator, n),
        learning_rate=training.learning_rate,
        weight_decay=training.weight_decay,
        batch_size=_batch_size(training.batch_size, n),
        label_smoothing=_label_smoothing(estimator.loss),
        early_stopping=training.early_stopping,
        linear_share=_linear_share(estimator.feature_map, training.linear_share),
        seed=int(check_random_state(estimator.random_state).randint(2**31 - 4)),
        run=run_side_by_side,
    )
