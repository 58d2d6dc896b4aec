"""What classifier and regressor learn from, and what is kept of it as attributes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np


class Lesson(NamedTuple):
    """What a fit learns from, and what it stores whatever it learns.

    Attributes
    ----------
    X : ndarray of shape (n, d)
        Distinct rows.
    y : ndarray of shape (n,) or (n, n_outputs)
        What belongs to them, in the user's terms.
    values : ndarray of shape (n, v)
        The same, as the target wants it.
    weights : ndarray of shape (n,) or None
        Their multiplicities, which count for the scale of the inputs.
    factors : ndarray of shape (n,)
        What multiplies these in the loss; a row of factor 0 is not learned from.
    whole : ndarray of shape (n, v)
        What answers are made of: `values`, with all columns and in the user's units.
    stored : NamedTuple
        What follows from the rows alone and is stored; has `patterns`.
    store : callable
        ``(X, y, weights) -> stored``, for other rows.
    groups : ndarray of shape (n,) or None
        Groups of the rows, numbers from 0: rows of one group do not teach each other.
    """

    X: np.ndarray
    y: np.ndarray
    values: np.ndarray
    weights: np.ndarray | None
    factors: np.ndarray
    whole: np.ndarray
    stored: Any
    store: Callable[..., Any]
    groups: np.ndarray | None = None


def weights_unless_one(weights: np.ndarray | None) -> np.ndarray | None:
    """Give weights as they are stored: None if all are one."""
    return None if weights is None or (weights == 1).all() else weights
