"""From columns to floats, nominal ones as codes, and from codes back to values."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from skuhop.tables.containers import Table
from skuhop.tables.missing import mark_missing


class Coding(NamedTuple):
    """How the columns of a table are read.

    Attributes
    ----------
    nominal : ndarray of shape (d,), bool
        Which columns are nominal.
    categories : list of d ndarrays or None
        Values of a nominal column, in order of their codes; None for numbers.
    missing_values : scalar
        What counts as missing besides NaN, None, NA and NaT.
    """

    nominal: np.ndarray
    categories: list
    missing_values: object


def learn_coding(
    table: Table, nominal: np.ndarray, missing_values=np.nan, rows=None
) -> Coding:
    """Find the values of the nominal columns, sorted.

    Parameters
    ----------
    table : Table
        The table.
    nominal : ndarray of shape (d,), bool
        Which columns are nominal.
    missing_values : scalar, default=nan
        What counts as missing besides NaN, None, NA and NaT.
    rows : ndarray of shape (n,), bool, default=None
        Rows whose values count; None is all.

    Raises
    ------
    TypeError
        If a nominal column mixes values that cannot be sorted, text and numbers.
    """
    categories = []
    for column, is_nominal in enumerate(nominal):
        values = None
        if is_nominal:
            given = table.objects(column)
            given = given if rows is None else given[rows]
            known = given[~mark_missing(given, missing_values)]
            values = _sort_values(known, table.label(column))
        categories.append(values)
    return Coding(np.asarray(nominal, bool), categories, missing_values)


def _sort_values(known, label):
    """Distinct values in order, as `OrdinalEncoder` has them."""
    if not len(known):
        return known[:0]
    # Not above: half of scikit-learn comes with it.
    from sklearn.preprocessing import OrdinalEncoder

    encoder = OrdinalEncoder()
    try:
        return encoder.fit(known[:, None]).categories_[0]
    except TypeError as error:
        raise TypeError(f"Column {label!r} of X: {error}") from error


def encode(table: Table, coding: Coding) -> np.ndarray:
    """Floats (n, d) of a table: numbers and codes, NaN where missing or never seen.

    Raises
    ------
    ValueError
        If a column that is not nominal holds something that is no number, or is
        infinite; names the column.
    """
    out = np.empty((table.n_rows, table.n_columns))
    for column, values in enumerate(coding.categories):
        given = table.objects(column)
        missing = mark_missing(given, coding.missing_values)
        if values is not None:
            out[:, column] = _codes(given, missing, values)
        else:
            out[:, column] = _numbers(table, column, missing)
    return out


def _codes(given, missing, values):
    """Codes (n,) of the entries of a nominal column."""
    lookup = {value: code for code, value in enumerate(values.tolist())}
    codes = np.full(len(given), np.nan)
    # By a dict: text of NumPy has a width, to which a cast would cut unseen values.
    codes[~missing] = [lookup.get(value, np.nan) for value in given[~missing].tolist()]
    return codes


def _numbers(table, column, missing):
    """Entries of a column of numbers."""
    try:
        numbers = table.numbers(column, missing)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"Column {table.label(column)!r} of X must be numbers, or be named in "
            f"categorical_features: {error}."
        ) from error
    if np.isinf(numbers).any():
        raise ValueError(
            f"Column {table.label(column)!r} of X must not have infinite entries. Got "
            f"infinity or a value too large for float64."
        )
    return numbers


def decode_column(numbers: np.ndarray, column: int, table: Table, coding: Coding):
    """Values of a column from its numbers or codes, whole where the dtype wants it."""
    values = coding.categories[column]
    if values is not None:
        return values[numbers.astype(int)]
    return np.rint(numbers).astype(np.int64) if table.is_integer(column) else numbers
