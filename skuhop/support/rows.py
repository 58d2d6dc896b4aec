"""Rows with weights and values: what is dropped, filled and balanced before fitting."""

from __future__ import annotations

import numpy as np
from sklearn.utils.class_weight import compute_class_weight

from skuhop.retrieval import power_of_two


def unit_of(X: np.ndarray) -> float:
    """Power of two near the largest entry, in which rows are compared."""
    # Of two numbers one of which is NaN these give the other.
    largest = np.fmax.reduce(X, axis=None, initial=0)
    least = np.fmin.reduce(X, axis=None, initial=0)
    size = max(float(largest), -float(least))
    return power_of_two(size, float(np.finfo(X.dtype).tiny))


def column_units(X: np.ndarray) -> np.ndarray:
    """Powers of two near the largest entries of columns; 1 where all are zero."""
    size = np.abs(X).max(axis=0, initial=0)
    mantissa, exponent = np.frexp(np.where(size > 0, size, 1))
    most = -np.finfo(X.dtype).minexp
    return np.ldexp(X.dtype.type(1), (exponent - (mantissa == 0.5)).clip(-most, most))


def has_nan(X: np.ndarray) -> bool:
    """Whether an entry is NaN, without a mask of them all."""
    return bool(np.isnan(X.min(initial=0)))


def mean_row(X: np.ndarray, weights: np.ndarray | None) -> np.ndarray:
    """Weighted mean of rows, of any size; that of a constant column to the last bit.

    Of what is known where rows have NaN, and 0 where nothing is.
    """
    unit = unit_of(X)
    if has_nan(X):
        return (column_means(X / unit, weights) * unit).astype(X.dtype)
    mean = (np.average(X / unit, axis=0, weights=weights) * unit).astype(X.dtype)
    return np.where((X == X[0]).all(axis=0), X[0], mean)


def ones_unless(weights, X):
    """Weights, ones where there are none."""
    return np.ones(len(X), X.dtype) if weights is None else weights


def product(weights, factors):
    """Weights times factors, None if all are one."""
    total = factors if weights is None else weights * factors
    return None if (total == 1).all() else total


_MOST_COPIES = 100
"""Most copies that the lightest rows of a stratum are taken for."""
_WHOLE = 1e-5
"""How far from a whole number a quotient of weights may be."""


def count_copies(weights, strata):
    """How many rows of its own every distinct row stands for, shape (n,).

    Whole weights are counts. Others are where they are multiples of one number within
    their stratum, as counts are that somebody has divided by their sum or balanced
    over classes. The rest count as often as they are whole.

    Parameters
    ----------
    weights : ndarray of shape (n,)
        Positive.
    strata : ndarray of shape (n,)
        Classes, or any other numbers.
    """
    if _are_whole(weights):
        return weights.round()
    copies = np.floor(weights).clip(1)
    for stratum in np.unique(strata):
        here = strata == stratum
        ratio = weights[here] / weights[here].min()
        for lightest in range(1, _MOST_COPIES):
            if _are_whole(lightest * ratio):
                copies[here] = (lightest * ratio).round()
                break
    return copies


def _are_whole(numbers):
    """Whether all are whole numbers, to rounding."""
    return bool((np.abs(numbers - numbers.round()) <= _WHOLE * numbers).all())


def positive_rows(X, values, weights):
    """Rows of positive weight."""
    if weights is None or (weights > 0).all():
        return X, values, weights
    kept = weights > 0
    return X[kept], values[kept], weights[kept]


def column_means(X, weights):
    """Weighted means of what is known, shape (d,); 0 where nothing is.

    Sums are over distinct values, in order, where something is missing: copies and
    weights then give the same mean to the last bit, and with it the same rows.
    """
    known, w = ~np.isnan(X), ones_unless(weights, X)
    means = (w[:, None] * np.where(known, X, 0)).sum(axis=0) / w.sum()
    for column in np.flatnonzero(~known.all(axis=0)):
        here = known[:, column]
        values, place = np.unique(X[here, column], return_inverse=True)
        totals = np.bincount(place, weights=w[here])
        means[column] = (totals * values).sum() / max(totals.sum(), 1e-300)
    return means.astype(X.dtype)


def fill_means(X, mean):
    """Means in the place of NaN."""
    return np.where(np.isnan(X), mean, X)


def standard(values, weights, within=0.0):
    """Weighted mean and standard deviation of every column.

    Parameters
    ----------
    values : ndarray of shape (n, v)
        Rows, or means of groups of rows.
    weights : ndarray of shape (n,) or None
        Their weights.
    within : ndarray of shape (n, v), default=0
        Standard deviations of the groups inside; of a row it is 0.

    Returns
    -------
    centre, scale : ndarray of shape (v,)
        The scale of a constant column is 0.
    """
    share = ones_unless(weights, values)
    share = share / share.sum()
    centre = share @ values
    # Squares of the shares of the largest deviation cannot overflow.
    largest = np.maximum(np.abs(values - centre), within).max(axis=0)
    unit = np.where(largest > 0, largest, 1)
    squares = ((values - centre) / unit) ** 2 + (within / unit) ** 2
    scale = largest * np.sqrt(share @ squares)
    # What is left of a constant column is the rounding of its mean.
    noise = 16 * np.finfo(values.dtype).eps * np.abs(values).max(axis=0)
    return centre, np.where(scale > noise, scale, 0)


def standardise(values, centre, scale):
    """Deviations from the mean in standard deviations; 0 in a constant column."""
    varies = scale > 0
    return np.where(varies, values - centre, 0) / np.where(varies, scale, 1)


def class_weights(class_weight, classes, codes, weights):
    """Weight of every class; "balanced" makes the classes weigh the same."""
    if isinstance(class_weight, dict):
        y = classes if codes is None else classes[codes]
        return compute_class_weight(class_weight, classes=classes, y=y)
    if class_weight is None or codes is None:
        return np.ones(len(classes))
    counts = np.bincount(codes, weights=weights, minlength=len(classes))
    present = counts > 0
    share = counts.sum() / present.sum() / np.where(present, counts, 1)
    return np.where(present, share, 1.0)


def distinct_rows(X: np.ndarray, weights: np.ndarray | None):
    """Distinct rows in an order of their own, their weights, and which row is which.

    Stage I works on these, so that neither the order of the patterns nor the way a
    weight is spelt (a number, or copies) can change what is learned, not by a bit. Nor
    does the order change with a power of two that multiplies a column.
    """
    X = np.ascontiguousarray(X + 0.0)  # -0.0 becomes 0.0: equal bits for equal rows
    rows = (X / column_units(X)).view(np.dtype((np.void, X.itemsize * X.shape[1])))
    _, first, inverse = np.unique(rows.ravel(), return_index=True, return_inverse=True)
    inverse = inverse.ravel()
    total = np.bincount(inverse, weights=weights).astype(X.dtype)
    return X[first], None if (total == 1).all() else total, inverse
