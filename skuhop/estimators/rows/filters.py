"""Who may answer: filters on stored rows, for one question.

A question with ``where=`` goes to a view: a copy of the estimator that has forgotten
the other rows, so that its answers are those of a memory that has never stored them, by
construction. Views share all that is learned, and are kept for as long as the memory
is as it was.

Rejected: weights of minus infinity in the whole memory. What else follows from the
stored rows (the mean pattern that stands for "nothing stored", class frequencies, the
evidence of damage models) would still know of rows that may not answer, and one row in
a hundred would cost what all of them do.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from torch import Tensor

from skuhop.estimators.rows.row_ids import number_ids
from skuhop.support import to_tensor


class Allowed(NamedTuple):
    """An estimator that is to answer, and its rows among all that are stored.

    Attributes
    ----------
    estimator : estimator
        The one that was asked, or a view of it.
    positions : ndarray of shape (n_allowed,) or None
        Of the rows of a view; None where all may answer.
    n_patterns : int
        Rows that are stored.
    """

    estimator: Any
    positions: np.ndarray | None = None
    n_patterns: int = 0

    def number(self, question: Callable) -> Callable:
        """Make positions that a question comes to count all stored rows."""
        stands = self.positions
        if stands is None:
            return question

        def numbered(memory, rows: Tensor, budget: int):
            found = question(memory, rows, budget)
            positions = to_tensor(stands, rows.device)
            if isinstance(found, tuple):
                return positions[found[0]], *found[1:]
            return positions[found]

        return numbered

    def spread(self, question: Callable) -> Callable:
        """Give rows that may not answer a column of zeros in what a question has."""
        stands = self.positions
        if stands is None:
            return question

        def spread(memory, rows: Tensor, budget: int):
            weights = question(memory, rows, budget)
            positions = to_tensor(stands, rows.device)
            whole = weights.new_zeros((len(weights), self.n_patterns))
            return whole.index_copy_(1, positions, weights)

        return spread


def read_filter(where, row_ids: np.ndarray | None, n_patterns: int) -> np.ndarray:
    """Mask (n_patterns,) of the rows that may answer.

    Raises
    ------
    ValueError
        If it is no mask of the stored rows, and no `row_ids` of them, or allows none.
    """
    given = np.asarray(where)
    if given.dtype != bool:
        mask = number_ids(row_ids, given, "where") >= 0
    elif given.shape == (n_patterns,):
        mask = given
    else:
        raise ValueError(
            f"where must be a boolean mask of shape ({n_patterns},), one entry for "
            f"each stored row, or row_ids. Got a mask of shape {given.shape}."
        )
    if not mask.any():
        raise ValueError(
            "where must allow a stored row at least. Got a filter that allows none."
        )
    return mask
