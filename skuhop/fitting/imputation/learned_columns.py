"""From rows with holes to all that completes others: one column after the other."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from skuhop.answering import (
    Imputation,
    StoredRows,
    donor_spread,
    expect_spread,
    lines_as_values,
    normalise,
    view_column,
    view_rows,
)
from skuhop.fitting.imputation.importances import learn_importances
from skuhop.learning import (
    Column,
    choose_gaussian,
    choose_sharpness,
    learn_mixture,
    learn_shares,
)
from skuhop.retrieval import Gaussian, blend
from skuhop.support import distinct_rows, ones_unless, to_numpy, to_tensor
from skuhop.tables import Coordinates, learn_coordinates, to_coordinates

MOST_WATCHED = 300
"""Rows of a column that are completed from the others, to choose and to judge by."""
QUANTILES = 101


class _Shared(NamedTuple):
    """What is the same for all columns."""

    stored: StoredRows
    gaussian: Gaussian
    lines: Tensor
    coordinates: Coordinates
    n_values: np.ndarray


class _Learned(NamedTuple):
    """What is learned of a column."""

    precision: np.ndarray
    shares: np.ndarray
    spread: float
    residuals: np.ndarray


def learn_imputation(
    X: np.ndarray,
    n_values: np.ndarray,
    weights: np.ndarray | None,
    rng: np.random.RandomState,
    device: torch.device,
) -> Imputation:
    """Learn from rows of numbers and codes.

    Parameters
    ----------
    X : ndarray of shape (n, d)
        Rows, NaN where missing.
    n_values : ndarray of shape (d,), int
        How many values a nominal column has; 0 for numbers.
    weights : ndarray of shape (n,) or None
        Multiplicities, positive.
    rng : RandomState
        Draws folds and trees.
    device : torch.device
        Where to compute.

    Returns
    -------
    imputation : Imputation
        What has been learned.
    """
    rows, weights, _ = merge_copies(X, weights)
    coordinates = learn_coordinates(rows, n_values > 0, weights)
    Z = to_tensor(to_coordinates(rows, coordinates), device)
    groups = [coordinates.group(column) for column in np.unique(coordinates.columns)]
    generator = torch.Generator().manual_seed(int(rng.randint(2**31 - 1)))
    gaussian, lines = choose_gaussian(Z, to_tensor(weights, device), groups, generator)
    stored = view_rows(rows, weights, coordinates, gaussian, device)
    lines = lines.clamp(stored.low, stored.high)
    shared = _Shared(stored, gaussian, lines, coordinates, n_values)
    columns = [_learn_column(shared, column, rng) for column in range(X.shape[1])]
    return Imputation(
        rows,
        weights,
        n_values,
        coordinates,
        to_numpy(gaussian.mean),
        to_numpy(gaussian.covariance),
        *(np.array(parts) for parts in zip(*columns, strict=True)),
    )


def mark_holes(X: np.ndarray) -> np.ndarray:
    """Rows (n, 2 d) without NaN, which are equal where entries and holes are."""
    missing = np.isnan(X)
    return np.hstack([np.where(missing, 0, X), missing])


def merge_copies(X: np.ndarray, weights: np.ndarray | None):
    """Distinct rows, weights and which is which; holes are a value like others."""
    both = mark_holes(X)
    rows, total, numbers = distinct_rows(both, weights)
    d = X.shape[1]
    X = np.where(rows[:, d:] > 0, np.nan, rows[:, :d])
    return X, ones_unless(total, X), numbers


def _learn_column(shared: _Shared, column: int, rng) -> _Learned:
    """Learn by what donors of a column are compared, and what is made of them."""
    D, n_values = len(shared.coordinates.columns), int(shared.n_values[column])
    view = view_column(
        shared.stored, shared.gaussian, shared.coordinates, column, n_values
    )
    if len(view.known) < 2:
        return _Learned(np.zeros(D), _only_the_centre(), 0.0, np.zeros(QUANTILES))
    importances, folds = learn_importances(
        to_numpy(view.donors.rows),
        to_numpy(view.values),
        to_numpy(view.donors.multiplicity),
        rng,
    )
    watched = to_tensor(_draw_watched(len(view.known), rng), view.known.device)
    group, rows = shared.coordinates.group(column), view.known[watched]
    lines = lines_as_values(
        shared.lines[rows][:, group], shared.coordinates, column, view.centre
    )
    parts = Column(view.donors, view.values, view.lines, view.centre)
    importances = to_tensor(importances, view.known.device)
    folds = to_tensor(folds, view.known.device)
    sharpness, candidates, donors = choose_sharpness(
        parts, importances, folds, watched, lines
    )
    precision = sharpness * importances.mean(0)
    truth, weights = view.values[watched], view.donors.multiplicity[watched]
    if n_values:
        given = (normalise(candidates) * truth).sum(2)
        shares = learn_mixture(given, weights)
        spread, residuals = 0.0, np.zeros(QUANTILES)
    else:
        shares = learn_shares(candidates, truth, weights)
        off = (truth - blend(candidates, shares))[:, 0]
        spread, residuals = _learn_errors(shared, view, watched, column, donors, off)
    return _Learned(to_numpy(precision), to_numpy(shares), spread, residuals)


def _only_the_centre():
    return np.array([1.0, 0.0, 0.0, 0.0])


def _draw_watched(n, rng):
    """Positions of the rows that are completed, all of them where they are few."""
    if n <= MOST_WATCHED:
        return np.arange(n)
    return np.sort(rng.permutation(n)[:MOST_WATCHED])


def _learn_errors(shared, view, watched, column, weights, off):
    """Mean spread of the donors, and quantiles of the errors in expected ones."""
    multiplicity = view.donors.multiplicity[watched]
    spread = float(multiplicity @ donor_spread(weights, view) / multiplicity.sum())
    # Variance of a number that is hidden: 1 / K_jj of the row.
    at, solved = shared.coordinates.group(column).start, shared.stored.solved
    own = 1 / solved.inverses[:, at, at][solved.numbers[view.known[watched]]]
    expected = (own * expect_spread(weights, view, spread)).sqrt()
    return spread, _quantiles(to_numpy(off / expected), to_numpy(multiplicity))


def _quantiles(errors, weights):
    """Quantiles (QUANTILES,) of weighted errors."""
    order = np.argsort(errors, kind="stable")
    shares = weights[order] / weights.sum()
    ranks = np.cumsum(shares) - shares / 2
    steps = (np.arange(QUANTILES) + 0.5) / QUANTILES
    return np.interp(steps, ranks, errors[order])
