"""Copies of rows: which stored rows a list of rows takes away, and how much of each.

A row of weight k is k copies. Who names a row takes one copy of it, the newest first,
so that forgetting what has just been added leaves what was there before.
"""

from __future__ import annotations

import numpy as np

_ROUNDING = 1e-5
"""Share of a copy that may be lacking: weights are sums in single precision."""


def number_rows(rows: np.ndarray, names: np.ndarray) -> np.ndarray:
    """Positions (n,) of rows (n, d) among distinct ones (m, d), or -1."""
    names, rows = _as_keys(names), _as_keys(rows)
    order = names.argsort()
    place = np.searchsorted(names, rows, sorter=order).clip(max=len(names) - 1)
    found = order[place]
    return np.where(names[found] == rows, found, -1)


def _as_keys(rows: np.ndarray) -> np.ndarray:
    """Rows as single things that compare equal where all entries do."""
    # Equal bits: -0.0 becomes 0.0, and NaN of any kind the same.
    rows = np.ascontiguousarray(np.where(np.isnan(rows), np.nan, rows) + 0.0)
    return rows.view(np.dtype((np.void, rows.itemsize * rows.shape[1]))).ravel()


def take_copies(
    groups: np.ndarray, age: np.ndarray, held: np.ndarray, wanted: np.ndarray
) -> np.ndarray:
    """Take copies (n,) from stored rows so that groups give what is wanted.

    Parameters
    ----------
    groups : ndarray of shape (n,), integer
        The distinct row that each stored row is, or -1.
    age : ndarray of shape (n,)
        The smaller, the sooner a row of a group gives.
    held : ndarray of shape (n,)
        Copies that a stored row has.
    wanted : ndarray of shape (m,)
        Copies of every distinct row that are to go.

    Returns
    -------
    taken : ndarray of shape (n,)
        Their sum over a group falls short of `wanted` where there are too few.
    """
    order = np.lexsort((age, groups))
    order = order[groups[order] >= 0]
    group, copies = groups[order], held[order].astype(np.float64)
    before = copies.cumsum() - copies
    first = np.flatnonzero(np.diff(group, prepend=-1))
    start = np.repeat(before[first], np.diff(first, append=len(group)))
    taken = np.zeros(len(groups))
    taken[order] = (wanted[group] - (before - start)).clip(0, copies)
    return taken


def lack_copies(
    groups: np.ndarray, taken: np.ndarray, wanted: np.ndarray
) -> np.ndarray:
    """Positions of distinct rows of which fewer copies were taken than wanted."""
    inside = groups >= 0
    got = np.bincount(groups[inside], taken[inside], len(wanted))
    # Of what is to go whole there is enough if there is any.
    least = np.where(np.isinf(wanted), np.finfo(float).tiny, wanted * (1 - _ROUNDING))
    return np.flatnonzero(got < least)


def leave_weights(weights: np.ndarray, lost: np.ndarray) -> np.ndarray:
    """Weights less what is lost; what rounding leaves of a row is nothing."""
    left = weights.astype(np.float64) - lost
    return np.where(left > _ROUNDING * weights, left, 0).astype(weights.dtype)
