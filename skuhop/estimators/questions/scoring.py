"""How `score` of the memories judges what was retrieved."""

from __future__ import annotations

import numpy as np
from sklearn.utils.validation import check_array

from skuhop.answering import read_rows
from skuhop.retrieval import row_chunks
from skuhop.support import as_tensor, check_columns, float_dtypes, like, working_memory


def minus_error(memory, retrieved, X, y) -> float:
    """Minus the mean over rows of the squared error.

    Parameters
    ----------
    memory : estimator
        Who has answered.
    retrieved : array of shape (n, d)
        The answers.
    X : array-like of shape (n, d)
        What it was asked: the target where y is None, or one-dimensional, which are
        labels that a search hands on.
    y : array-like of shape (n, d) or None
        What should have been retrieved. Entries that are NaN do not count.

    Raises
    ------
    ValueError
        If y has another shape than the answers, or other columns.
    """
    target = X if y is None or np.ndim(y) == 1 else y
    check_columns(memory, target)
    target = check_array(
        read_rows(memory, target),
        dtype=float_dtypes(target),
        ensure_all_finite="allow-nan",
        input_name="y",
    )
    if target.shape != retrieved.shape:
        raise ValueError(
            f"y must have the shape of X, {tuple(retrieved.shape)}; got "
            f"{tuple(target.shape)}."
        )
    found, right = as_tensor(retrieved), as_tensor(like(as_tensor(target), retrieved))
    row = 4 * found.element_size() * found.shape[1]
    total = 0.0
    for rows in row_chunks(len(found), row, working_memory()):
        error = found[rows] - right[rows]
        # Squares of the parts of the largest error cannot overflow.
        largest = float(error.nan_to_num(0.0).abs().max())
        squares = (error / (largest or 1.0)).square().nansum()
        total += float(squares) * largest * largest
    return -total / len(found)
