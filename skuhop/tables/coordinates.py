"""Columns side by side on one scale: numbers standardised, nominal ones as indicators.

A rare value of a nominal column has no indicator: it would be a coordinate that hardly
ever varies. Rows that have it differ from the others in what the others are.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from skuhop.tables.indicators import Layout, indicate

MOST_INDICATORS, FEWEST_ROWS = 10, 5
"""Indicators of a column at most, and rows that a value needs for one; the most
frequent value always has one."""


class Coordinates(NamedTuple):
    """How rows of numbers and codes become coordinates.

    Attributes
    ----------
    columns : ndarray of shape (D,), int
        Column that a coordinate is of; those of a column stand side by side.
    codes : ndarray of shape (D,)
        Code that it indicates, NaN for a number.
    mean, scale : ndarray of shape (D,)
        What is subtracted, and then divided by.
    low, high : ndarray of shape (D,)
        Range of the coordinate.
    """

    columns: np.ndarray
    codes: np.ndarray
    mean: np.ndarray
    scale: np.ndarray
    low: np.ndarray
    high: np.ndarray

    def group(self, column: int) -> slice:
        """Coordinates of a column."""
        start, stop = np.searchsorted(self.columns, [column, column + 1])
        return slice(int(start), int(stop))


def learn_coordinates(
    X: np.ndarray, nominal: np.ndarray, weights: np.ndarray
) -> Coordinates:
    """Learn the scale of the columns that have an entry.

    Parameters
    ----------
    X : ndarray of shape (n, d)
        Numbers and codes, NaN where missing.
    nominal : ndarray of shape (d,), bool
        Which columns hold codes.
    weights : ndarray of shape (n,)
        Multiplicities of the rows.
    """
    columns, codes = [], []
    for column in np.flatnonzero(~np.isnan(X).all(axis=0)):
        found = (
            _codes_with_indicator(X[:, column], weights)
            if nominal[column]
            else [np.nan]
        )
        columns += [column] * len(found)
        codes += list(found)
    columns, codes = np.array(columns, int), np.array(codes, float)
    raw = indicate(X, Layout(columns, codes))
    known = ~np.isnan(raw)
    share = known * weights[:, None]
    share = share / share.sum(axis=0)
    # In parts of the largest entry, whose square may be too large.
    unit = np.abs(np.where(known, raw, 0)).max(axis=0)
    unit = np.where(unit > 0, unit, 1)
    parts = np.where(known, raw / unit, 0)
    mean = (share * parts).sum(axis=0)
    spread = np.sqrt((share * np.where(known, parts - mean, 0) ** 2).sum(axis=0))
    scale = np.where(spread > 16 * np.finfo(float).eps, spread, 1)
    parts = np.where(known, (parts - mean) / scale, np.nan)
    low, high = np.nanmin(parts, axis=0), np.nanmax(parts, axis=0)
    return Coordinates(columns, codes, mean * unit, scale * unit, low, high)


def _codes_with_indicator(codes, weights):
    """Codes of a column that get an indicator: not what is implied by the others."""
    known = ~np.isnan(codes)
    values, position = np.unique(codes[known], return_inverse=True)
    counts = np.bincount(position, weights=weights[known])
    often = np.argsort(-counts, kind="stable")[:MOST_INDICATORS]
    often = often[(counts[often] >= FEWEST_ROWS) | (often == often[0])]
    return sorted(values[often[: max(1, len(values) - 1)]])


def to_coordinates(X: np.ndarray, coordinates: Coordinates) -> np.ndarray:
    """Coordinates (n, D) of rows (n, d), NaN where missing."""
    raw = indicate(X, Layout(coordinates.columns, coordinates.codes))
    return (raw - coordinates.mean) / coordinates.scale
