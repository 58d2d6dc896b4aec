"""Which columns are nominal: `categorical_features`, as scikit-learn has it."""

from __future__ import annotations

from numbers import Integral

import numpy as np

from skuhop.tables.containers import Table

_ALLOWED = (
    "'from_dtype', None, or an array-like of bool (one for each column), of int "
    "(positions of columns) or of str (names of columns)"
)


def resolve_categorical(
    categorical_features, table: Table, names, missing_values=np.nan
) -> np.ndarray:
    """Say of every column whether it is nominal.

    Parameters
    ----------
    categorical_features : "from_dtype", None or array-like
        "from_dtype": columns of categories, text, booleans, and of objects that are not
        all numbers. None: no column. Otherwise a mask, positions or names.
    table : Table
        The table.
    names : ndarray of shape (d,) or None
        Names of the columns, where X has any.
    missing_values : scalar, default=nan
        What counts as missing, and so says nothing of a column.

    Returns
    -------
    nominal : ndarray of shape (d,), bool

    Raises
    ------
    ValueError
        If it is none of these, or names a column that is not there.
    """
    d = table.n_columns
    if categorical_features is None:
        return np.zeros(d, bool)
    if isinstance(categorical_features, str):
        if categorical_features != "from_dtype":
            raise _refuse(categorical_features)
        return np.array(
            [table.is_nominal(column, missing_values) for column in range(d)], bool
        )
    given = np.atleast_1d(np.asarray(categorical_features))
    if given.ndim > 1:
        raise _refuse(categorical_features)
    if given.size == 0:
        return np.zeros(d, bool)
    kinds = {_kind(value) for value in given.tolist()}
    marks = _MARKS.get(kinds.pop()) if len(kinds) == 1 else None
    if marks is None:
        raise _refuse(categorical_features)
    return marks(given, d, names)


def _refuse(given) -> ValueError:
    return ValueError(f"categorical_features must be {_ALLOWED}. Got {given!r}.")


def _kind(value) -> str:
    kinds = (("mask", bool), ("positions", Integral), ("names", str))
    return next((name for name, kind in kinds if isinstance(value, kind)), "")


def _mark_mask(given, d, names):
    if len(given) != d:
        raise ValueError(
            f"categorical_features as a mask must have one bool for each of the {d} "
            f"columns. Got {len(given)}."
        )
    return given.astype(bool)


def _mark_positions(given, d, names):
    positions = given.astype(int)
    if positions.min() < 0 or positions.max() >= d:
        raise ValueError(
            f"categorical_features as positions must be in [0, {d - 1}]. Got "
            f"{given.tolist()}."
        )
    return np.isin(np.arange(d), positions)


def _mark_names(given, d, names):
    if names is None:
        raise ValueError(
            "categorical_features may be names only where X has names of columns. Got "
            f"{given.tolist()}."
        )
    unknown = sorted(set(given.tolist()) - set(names))
    if unknown:
        raise ValueError(
            f"categorical_features must be names of columns of X, {list(names)}. Got "
            f"{unknown}."
        )
    return np.isin(np.asarray(names, dtype=object), given.astype(object))


_MARKS = {"mask": _mark_mask, "positions": _mark_positions, "names": _mark_names}
