"""Columns of numbers for a table with nominal columns, and back.

A nominal column becomes one indicator for each of its values, side by side. Rows with
the same value are at distance 0 in it, and all others equally far from each other: a
match, or a mismatch.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from skuhop.tables.coding import Coding


class Layout(NamedTuple):
    """What stands in which place of a row of numbers.

    Attributes
    ----------
    columns : ndarray of shape (D,), int
        Column of the table; the places of a column stand side by side.
    codes : ndarray of shape (D,)
        Code that is indicated, NaN for a number.
    """

    columns: np.ndarray
    codes: np.ndarray


def lay_out(coding: Coding) -> Layout:
    """Give every number a place, and every value of a nominal column."""
    codes = [
        np.array([np.nan]) if values is None else np.arange(len(values), dtype=float)
        for values in coding.categories
    ]
    columns = np.repeat(np.arange(len(codes)), [len(part) for part in codes])
    return Layout(columns, np.concatenate([*codes, np.empty(0)]))


def indicate(X: np.ndarray, layout: Layout) -> np.ndarray:
    """Rows (n, D) of numbers and indicators, 0 and 1; NaN where X (n, d) has NaN."""
    values = X[:, layout.columns]
    indicators = np.where(np.isnan(values), np.nan, values == layout.codes)
    return np.where(np.isnan(layout.codes), values, indicators)


def read_off(rows: np.ndarray, layout: Layout, n_columns: int) -> np.ndarray:
    """Numbers and codes (n, d) of rows (n, D): the code of the largest indicator.

    The first of equally large ones; NaN of a column that has no place.
    """
    out = np.full((len(rows), n_columns), np.nan)
    for column in np.unique(layout.columns):
        start, stop = np.searchsorted(layout.columns, [column, column + 1])
        nominal = not np.isnan(layout.codes[start])
        part = rows[:, start:stop]
        out[:, column] = part.argmax(axis=1) if nominal else part[:, 0]
    return out
