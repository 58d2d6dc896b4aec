"""Nearest rows by their differences, at the price of a matrix product."""

from __future__ import annotations

import numpy as np
from scipy.spatial.distance import cdist

from skuhop.retrieval import row_chunks
from skuhop.support.memory_budget import working_memory

_ROUNDING = 64 * np.finfo(np.float64).eps
"""Error of an expanded square, in parts of the squared lengths, taken generously."""


def nearest_rows(rows: np.ndarray, stored: np.ndarray) -> np.ndarray:
    """Position of the stored row at the least distance from every row, the first one.

    Expanded squares, ``|a|^2 - 2 a b + |b|^2``, are fast and lose the difference of
    rows far from zero. So they only say which stored rows can be the nearest at all,
    and where these are several their differences decide.

    Parameters
    ----------
    rows, stored : ndarray of shape (n, d) and (M, d)
        Finite, in float64.
    """
    centre = stored.mean(axis=0)
    rows, stored = rows - centre, stored - centre
    unit = max(np.abs(rows).max(), np.abs(stored).max()) or 1.0
    rows, stored = rows / unit, stored / unit
    length = np.square(stored).sum(axis=1)
    chunks = row_chunks(len(rows), 32 * len(stored), working_memory())
    return np.concatenate([_nearest(rows[some], stored, length) for some in chunks])


def _nearest(rows, stored, length):
    distances = length - 2 * rows @ stored.T
    doubt = _ROUNDING * (np.square(rows).sum(axis=1, keepdims=True) + length.max())
    possible = distances <= distances.min(axis=1, keepdims=True) + doubt
    nearest = possible.argmax(axis=1)
    for row in np.flatnonzero(possible.sum(axis=1) > 1):
        several = np.flatnonzero(possible[row])
        exact = cdist(rows[row : row + 1], stored[several], "sqeuclidean")
        nearest[row] = several[exact.argmin()]
    return nearest
