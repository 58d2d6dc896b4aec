"""The containers that tables come in: how a column is read, and how holes are filled.

A container is asked for one column at a time, as numbers or as objects, and gives back
a copy of itself in which given entries are others. All else stays as it was, dtypes and
categories too, for nothing else is written.

Rejected: one array of objects for all columns, and frames made from it. Dtypes would
have to be guessed back, and numbers would go through Python one by one.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from scipy.sparse import issparse

from skuhop.tables.missing import is_missing, mark_missing


class Fill(NamedTuple):
    """What is written into a column: positions of rows, and a value for each."""

    rows: np.ndarray
    values: np.ndarray


class Table:
    """A NumPy array of numbers, booleans, text or objects.

    Parameters
    ----------
    X : ndarray of shape (n, d)
        The table.
    """

    is_frame = False

    def __init__(self, X: Any):
        self.X = X
        self.n_rows, self.n_columns = X.shape

    def label(self, column: int):
        """Name of a column in messages."""
        return column

    def objects(self, column: int) -> np.ndarray:
        """Entries (n,) of a column as they are."""
        return self.X[:, column]

    def numbers(self, column: int, missing: np.ndarray) -> np.ndarray:
        """Entries (n,) of a column in float64, NaN where missing."""
        values = self.objects(column)
        if values.dtype.kind == "O":
            values = np.where(missing, np.nan, values)
        numbers = values.astype(np.float64)
        numbers[missing] = np.nan
        return numbers

    def is_nominal(self, column: int, missing_values=np.nan) -> bool:
        """Whether a column is of text, booleans or objects that are no numbers."""
        values = self.objects(column)
        if values.dtype.kind != "O":
            return values.dtype.kind in "USb"
        known = values[~mark_missing(values, missing_values)]
        return any(isinstance(value, (str, bool, np.bool_)) for value in known)

    def is_categorical(self, column: int) -> bool:
        """Whether the dtype itself says that a column is nominal."""
        return False

    def is_integer(self, column: int) -> bool:
        """Whether a column takes whole numbers only."""
        return self.X.dtype.kind in "iu"

    def fill(self, fills: Mapping[int, Fill]):
        """Copy of the container with some entries replaced."""
        X = self.X
        if X.dtype.kind in "US":
            # Text of NumPy has a width, which a value may exceed.
            words = [np.asarray(fill.values).astype(str) for fill in fills.values()]
            X = X.astype(max([X.dtype, *(word.dtype for word in words)]))
        out = X.copy()
        for column, fill in fills.items():
            out[fill.rows, column] = fill.values
        return out

    def take(self, columns: np.ndarray):
        """Container of some of the columns."""
        return self.X[:, columns]

    def append(self, marks: np.ndarray, names: list[str]):
        """Container with columns of booleans at the end."""
        return np.hstack([self.X, marks.astype(self.X.dtype)])

    def restore(self, columns: np.ndarray, missing: np.ndarray, names, missing_values):
        """Container of all d columns, of which these are the first of this one.

        Entries that were missing (n, d) are so again, and columns that are not there.
        """
        dtype = np.result_type(self.X.dtype, np.min_scalar_type(missing_values))
        out = np.full(missing.shape, missing_values, dtype)
        out[:, columns] = self.X[:, : len(columns)]
        out[missing] = missing_values
        return out


class PandasTable(Table):
    """A data frame of pandas; dtypes may be nullable, Arrow's or categories."""

    is_frame = True

    def label(self, column):
        """Name of a column in messages."""
        return self.X.columns[column]

    def _column(self, column):
        return self.X.iloc[:, column]

    def objects(self, column):
        """Entries (n,) of a column as they are."""
        return self._column(column).astype(object).to_numpy()

    def numbers(self, column, missing):
        """Entries (n,) of a column in float64, NaN where missing."""
        values = self._column(column)
        if _kind(values.dtype) in "iufb":
            numbers = values.to_numpy(dtype=np.float64, na_value=np.nan).copy()
        else:
            numbers = np.where(missing, np.nan, self.objects(column)).astype(np.float64)
        numbers[missing] = np.nan
        return numbers

    def is_nominal(self, column, missing_values=np.nan):
        """Whether a column is of text, booleans, categories or other objects."""
        dtype = self._column(column).dtype
        if self.is_categorical(column) or _kind(dtype) == "b":
            return True
        if _kind(dtype) in "iuf":
            return False
        return Table.is_nominal(_Objects(self.objects(column)), 0, missing_values)

    def is_categorical(self, column):
        """Whether the dtype itself says that a column is nominal."""
        return hasattr(self._column(column).dtype, "categories")

    def is_integer(self, column):
        """Whether a column takes whole numbers only."""
        return _kind(self._column(column).dtype) in "iu"

    def fill(self, fills):
        """Copy of the frame with some entries replaced."""
        out = self.X.copy()
        for column, fill in fills.items():
            values = out.iloc[:, column].copy()
            if self.is_categorical(column):
                known = values.cat.categories
                new = [v for v in dict.fromkeys(fill.values) if v not in known]
                values = values.cat.add_categories(new) if new else values
            given = type(values)(fill.values.tolist(), dtype=values.dtype)
            values.iloc[fill.rows] = given.array
            out.isetitem(column, values)
        return out

    def take(self, columns):
        """Frame of some of the columns."""
        return self.X.iloc[:, columns]

    def append(self, marks, names):
        """Frame with columns of booleans at the end."""
        return self.X.assign(**dict(zip(names, marks.T, strict=True)))

    def restore(self, columns, missing, names, missing_values):
        """Frame of all d columns, missing where they were."""
        gap = None if is_missing(missing_values) else missing_values
        out = self.X.iloc[:, : len(columns)].copy()
        for at, column in enumerate(columns):
            values = out.iloc[:, at]
            hidden = missing[:, column]
            marked = values.mask(hidden) if gap is None else values.mask(hidden, gap)
            out.isetitem(at, marked)
        for column in sorted(set(range(missing.shape[1])) - set(columns.tolist())):
            out.insert(column, names[column], gap)
        return out


class PolarsTable(Table):
    """A data frame of polars."""

    is_frame = True

    def label(self, column):
        """Name of a column in messages."""
        return self.X.columns[column]

    def _column(self, column):
        return self.X.get_column(self.X.columns[column])

    def objects(self, column):
        """Entries (n,) of a column as they are."""
        values = np.empty(self.n_rows, object)
        values[:] = self._column(column).to_list()
        return values

    def numbers(self, column, missing):
        """Entries (n,) of a column in float64, NaN where missing."""
        numbers = np.where(missing, np.nan, self.objects(column))
        return numbers.astype(np.float64)

    def is_nominal(self, column, missing_values=np.nan):
        """Whether a column is of text, booleans or categories."""
        dtype = self._column(column).dtype
        return not dtype.is_numeric() and not dtype.is_temporal()

    def is_categorical(self, column):
        """Whether the dtype itself says that a column is nominal."""
        return str(self._column(column).dtype).startswith(("Categorical", "Enum"))

    def is_integer(self, column):
        """Whether a column takes whole numbers only."""
        return self._column(column).dtype.is_integer()

    def fill(self, fills):
        """Copy of the frame with some entries replaced."""
        columns = []
        for column, fill in fills.items():
            before, values = self._column(column), self.objects(column)
            values[fill.rows] = fill.values
            dtype = before.dtype
            if str(dtype).startswith("Enum"):
                known = dtype.categories.to_list()
                new = [v for v in dict.fromkeys(fill.values) if v not in known]
                dtype = type(dtype)([*known, *new])
            columns.append(type(before)(before.name, values.tolist(), dtype=dtype))
        return self.X.with_columns(columns)

    def take(self, columns):
        """Frame of some of the columns."""
        return self.X[[self.X.columns[column] for column in columns]]

    def append(self, marks, names):
        """Frame with columns of booleans at the end."""
        kind = type(self.X.to_series(0))
        columns = zip(names, marks.T.tolist(), strict=True)
        return self.X.with_columns([kind(name, values) for name, values in columns])

    def restore(self, columns, missing, names, missing_values):
        """Frame of all d columns, missing where they were."""
        gap = None if is_missing(missing_values) else missing_values
        series = {}
        for at, column in enumerate(columns):
            values = self.objects(at)
            values[missing[:, column]] = gap
            before = self._column(at)
            series[column] = type(before)(
                before.name, values.tolist(), dtype=before.dtype
            )
        kind = type(self.X.to_series(0))
        empty = [gap] * self.n_rows
        every = range(missing.shape[1])
        return type(self.X)([series.get(j, kind(names[j], empty)) for j in every])


class _Objects(Table):
    """One column of objects."""

    def __init__(self, values):
        super().__init__(values[:, None])


def _kind(dtype) -> str:
    """Kind of a dtype, of NumPy's letters; those of Arrow have it too."""
    return getattr(dtype, "kind", "O")


FRAMES = {"pandas": PandasTable, "polars": PolarsTable}
"""Library to the table that reads its frames. A new library is a row."""


def as_table(X) -> Table:
    """Wrap a frame or an array of two dimensions, which is not copied.

    Raises
    ------
    TypeError
        If X is sparse.
    """
    if issparse(X):
        raise TypeError(
            "Sparse data was passed for X, but dense data is required: a table in "
            "which entries are missing. Use X.toarray() to make it dense."
        )
    library = find_library(X)
    return FRAMES[library](X) if library else Table(np.asarray(X))


def find_library(X) -> str | None:
    """Library whose frame X is, None where it is none."""
    library = type(X).__module__.partition(".")[0]
    return library if library in FRAMES and hasattr(X, "columns") else None


def hold_objects(X):
    """Rows of a list as objects where they mix text or None with numbers.

    NumPy would write the numbers as text. All else comes back as it is.
    """
    if not isinstance(X, (list, tuple)):
        return X
    rows = [row for row in X if isinstance(row, (list, tuple))]
    mixed = any(
        value is None or isinstance(value, str) for row in rows for value in row
    )
    return np.array(X, dtype=object) if mixed else X
