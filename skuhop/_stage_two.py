"""Stage II as the estimators call it: NumPy queries in, NumPy answers out."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from sklearn import get_config

from skuhop._cache import prepared
from skuhop._device import to_numpy, to_tensor
from skuhop.retrieval import Memory


def ask(
    estimator,
    X: np.ndarray,
    question: Callable,
    prepare: Callable[[bool, np.dtype], Memory],
    key: tuple,
    device,
):
    """Put a question to a fitted estimator's memory; rows with NaN go apart.

    Parameters
    ----------
    estimator : object
        Owner of the prepared memories; `patterns_` tells one fit from the next.
    X : ndarray of shape (n, d)
        Queries; NaN where unknown.
    question : callable
        ``(memory, queries, budget) -> tensor``, or a tuple of tensors, with a row
        for every query; the budget is in bytes.
    prepare : callable
        ``(complete, dtype) -> Memory``, for queries without or with NaN.
    key : tuple
        Parameters the memory depends on.
    device : torch.device
        Where to compute.
    """
    budget = int(get_config()["working_memory"] * 2**20)
    incomplete = np.isnan(X).any(axis=1)
    parts = []
    for complete in (True, False):
        rows = np.flatnonzero(incomplete != complete)
        if len(rows) == 0 and not (complete and len(X) == 0):
            continue
        memory = prepared(
            estimator,
            (complete, X.dtype.str, str(device), *key),
            estimator.patterns_,
            lambda complete=complete: prepare(complete, X.dtype),
        )
        queries = X if len(rows) == len(X) else X[rows]
        parts.append((rows, question(memory, to_tensor(queries, device), budget)))
    return _merge(parts, len(X))


def _merge(parts, n_rows):
    """Put the answers for parts of the rows together again, as NumPy arrays."""
    if isinstance(parts[0][1], tuple):
        rows = [rows for rows, _ in parts]
        pieces = zip(*(found for _, found in parts), strict=True)
        return tuple(_merge(list(zip(rows, p, strict=True)), n_rows) for p in pieces)
    if len(parts) == 1:
        return to_numpy(parts[0][1])
    first = to_numpy(parts[0][1])
    out = np.empty((n_rows, *first.shape[1:]), dtype=first.dtype)
    for rows, found in parts:
        out[rows] = to_numpy(found)
    return out
