"""Rows as estimators are given them: tables become numbers, then all are checked.

A table is what has nominal columns: a frame, an array of objects or text, or any array
whose columns `categorical_features` names. Of each value of a nominal column there is
an indicator, and whatever is missing or has not been met in `fit` is NaN in all of
them. Arrays of numbers go their way as if there were no tables.
"""

from __future__ import annotations

import numpy as np
import torch
from sklearn.utils import check_array, check_X_y
from sklearn.utils.validation import validate_data

from skuhop.support import (
    DTYPES,
    check_weights,
    densify,
    is_dispatched,
    like,
    on_host,
    refuse_masked,
)
from skuhop.tables import (
    Coding,
    Fill,
    Table,
    as_table,
    decode_column,
    encode,
    find_library,
    hold_objects,
    indicate,
    lay_out,
    learn_coding,
    read_off,
    resolve_categorical,
)

MOST_VALUES = 255
"""Values of a nominal column, at most, as in scikit-learn's gradient boosting: each has
an indicator, and what has more is a name, or a number."""


def validate_rows(
    estimator,
    X,
    y="no_validation",
    *,
    reset: bool,
    sample_weight=None,
    dtype=DTYPES,
    **how,
):
    """Do what `validate_data` of scikit-learn does, for tables too.

    Parameters
    ----------
    estimator : estimator
        With ``reset=True`` it gets `is_categorical_` and `categories_`, besides what
        scikit-learn sets; otherwise it has them.
    X, y : array-like or frame of shape (n, d), and values
        What it is given.
    reset : bool
        Whether to learn what the columns are, or to keep to that.
    sample_weight : array-like of shape (n,), default=None
        Values of rows without weight are not learned.
    dtype : dtype or list of them, default=DTYPES
        What rows may be, or are to be.
    **how : dict
        Further arguments of `check_array`.

    Returns
    -------
    rows : array of shape (n, D)
        Indicators in the place of nominal columns; D = d where there are none.
    y : ndarray
        Only if it is given.

    Raises
    ------
    ValueError
        If a column is neither numbers nor nominal, or has too many values; names it.
    """
    refuse_masked(X=X)
    how |= {"dtype": dtype, "order": "C"}
    X = densify(X)
    table = open_table(X) if _may_be_table(estimator, X, reset) else None
    if table is not None and reset:
        # Names of the columns, which `categorical_features` may mention.
        validate_data(estimator, X, y, reset=True, skip_check_array=True)
        coding = _learn_columns(estimator, table, sample_weight)
        table = table if coding.nominal.any() else None
    if table is None:
        checked = validate_data(estimator, X, y, reset=reset, **how)
        if reset:
            estimator.is_categorical_ = np.zeros(estimator.n_features_in_, bool)
            estimator.categories_ = [None] * estimator.n_features_in_
        return checked
    if reset:
        estimator.is_categorical_ = coding.nominal
        estimator.categories_ = coding.categories
    else:
        validate_data(estimator, X, y, reset=False, skip_check_array=True)
    rows = read_rows(estimator, X)
    if isinstance(y, str) and y == "no_validation":
        how.pop("multi_output", None)
        return check_array(rows, estimator=estimator, input_name="X", **how)
    return check_X_y(rows, y, estimator=estimator, **how)


def _may_be_table(estimator, X, reset) -> bool:
    """Whether X may have nominal columns: all that is known before looking at them."""
    if not reset:
        return bool(np.any(getattr(estimator, "is_categorical_", False)))
    wanted = estimator.categorical_features
    if wanted is None or is_dispatched(X):
        return False
    if not isinstance(wanted, str) or wanted != "from_dtype" or find_library(X):
        return True
    kind = getattr(getattr(X, "dtype", None), "kind", None)
    return (kind or np.asarray(hold_objects(X)).dtype.kind) in "OUS"


def open_table(X) -> Table | None:
    """Table of X; None where it has no rows and columns, of which others complain."""
    if find_library(X):
        table = as_table(X)
        return table if table.n_rows and table.n_columns else None
    X = np.asarray(hold_objects(on_host(X)))
    return as_table(X) if X.ndim == 2 and X.size else None


def _learn_columns(estimator, table: Table, sample_weight) -> Coding:
    """Say which columns are nominal, and find their values."""
    names = getattr(estimator, "feature_names_in_", None)
    nominal = resolve_categorical(estimator.categorical_features, table, names)
    if not nominal.any():
        return Coding(nominal, [None] * len(nominal), np.nan)
    weights = check_weights(sample_weight, np.empty((table.n_rows, 1)))
    used = None if weights is None else weights > 0
    coding = learn_coding(table, nominal, rows=used)
    for column, values in enumerate(coding.categories):
        if values is not None and len(values) > MOST_VALUES:
            raise ValueError(
                f"Column {table.label(column)!r} of X is nominal and must have at most "
                f"{MOST_VALUES} values: leave it out, group its values, or make it "
                f"numbers. Got {len(values)} values."
            )
    return coding


def validate_numbers(estimator, X, **how):
    """Do what `validate_data` does, and say which column holds words if there are any.

    Raises
    ------
    ValueError
        Names the column, and says what to do.
    """
    try:
        return validate_data(estimator, X, **how)
    except ValueError as error:
        table = open_table(X) if find_library(X) or np.ndim(X) == 2 else None
        words = resolve_categorical("from_dtype", table, None) if table else ()
        if not np.any(words):
            raise
        owner = type(estimator).__name__
        raise ValueError(
            f"Column {table.label(int(np.argmax(words)))!r} of X is nominal, and "
            f"{owner} stores numbers: encode it first, as with OneHotEncoder in a "
            f"ColumnTransformer, or take UHopMemory. {error}"
        ) from error


def write_rows(estimator, rows, X):
    """Rows of numbers as a table like X, in the place of what X holds.

    What has no nominal columns are the rows themselves.
    """
    table = open_table(X) if _may_be_table(estimator, X, reset=False) else None
    if table is None:
        return rows
    if not table.is_frame and table.X.dtype.kind in "biuf":
        table = as_table(table.X.astype(rows.dtype))
    coding = coding_of(estimator)
    codes = read_off(on_host(rows), lay_out(coding), table.n_columns)
    every = np.arange(table.n_rows)
    fills = {
        column: Fill(every, decode_column(codes[:, column], column, table, coding))
        for column in np.flatnonzero(~np.isnan(codes).all(axis=0)).tolist()
    }
    return table.fill(fills)


def coding_of(estimator) -> Coding:
    """Give the columns of what a fitted estimator was given, and their values."""
    return Coding(estimator.is_categorical_, estimator.categories_, np.nan)


def describe_numbers(n: int) -> dict:
    """Attributes of an estimator that is given n columns of numbers."""
    return {
        "n_features_in_": n,
        "is_categorical_": np.zeros(n, bool),
        "categories_": [None] * n,
    }


def read_rows(estimator, X):
    """Rows of numbers of a table, as a fitted estimator knows its columns.

    An array stays one of its library, and what has no nominal columns is X itself.
    """
    table = open_table(X) if _may_be_table(estimator, X, reset=False) else None
    if table is None:
        return X
    if table.n_columns != len(estimator.categories_):
        raise ValueError(
            f"X has {table.n_columns} features, but the estimator was fitted with "
            f"{len(estimator.categories_)}."
        )
    coding = coding_of(estimator)
    rows = indicate(encode(table, coding), lay_out(coding))
    if is_dispatched(X):
        return like(torch.from_numpy(rows), X)
    single = getattr(X, "dtype", None) == np.float32
    return rows.astype(np.float32) if single else rows
