"""How rows are named that are to go: by position, by mask, by `row_ids`, by content."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from skuhop.estimators.rows.row_ids import number_ids
from skuhop.retention import (
    lack_copies,
    leave_weights,
    number_rows,
    take_copies,
)
from skuhop.support import check_numbers, on_host


class Request(NamedTuple):
    """Rows that are to go, named in one of three ways, and how much of each."""

    rows: Any
    row_ids: Any
    X: Any
    sample_weight: Any

    @property
    def name(self) -> str:
        """The way in which rows are named.

        Raises
        ------
        ValueError
            If there is none, or more than one.
        """
        ways = ("rows", "row_ids", "X")
        given = [way for way in ways if getattr(self, way) is not None]
        if len(given) != 1:
            raise ValueError(
                "forget takes one of rows (positions or a mask), row_ids and X (rows "
                f"themselves). Got {given or 'none of them'}."
            )
        return given[0]


def name_rows(
    request: Request, patterns: np.ndarray, row_ids, prepare: Callable
) -> tuple[np.ndarray, np.ndarray]:
    """Say which of the distinct things named every stored row is, and how many go.

    Returns
    -------
    groups : ndarray of shape (n_patterns,), integer
        -1 for rows that are not named.
    wanted : ndarray of shape (m,)
        Copies of each that are to go; infinite for all that there are.
    """
    name, n_patterns = request.name, len(patterns)
    if name == "row_ids":
        numbers = number_ids(row_ids, request.row_ids, "row_ids")
        listed = np.atleast_1d(np.asarray(on_host(request.row_ids))).ravel().tolist()
        place = {row_id: i for i, row_id in enumerate(listed)}
        keys = np.array([place[row_id] for row_id in listed], dtype=int)
        return numbers, _add_up(keys, len(listed), request.sample_weight, np.inf)
    if name == "rows":
        keys = _read_positions(request.rows, n_patterns)
        wanted = _add_up(keys, n_patterns, request.sample_weight, np.inf)
        return np.where(wanted > 0, np.arange(n_patterns), -1), wanted
    X = prepare(request.X)
    keys = number_rows(X, X)
    wanted = _add_up(keys, len(X), request.sample_weight, 1.0)
    return number_rows(patterns, X), wanted


def take_away(
    request: Request, weights: np.ndarray, groups, wanted, unit=1.0, arrivals=None
) -> np.ndarray:
    """Weights (n_patterns,) that are left of those of stored rows.

    Parameters
    ----------
    request : Request
        What is to go.
    weights : ndarray of shape (n_patterns,)
        What rows weigh.
    groups, wanted : ndarray
        What `name_rows` says of the request.
    unit : float or ndarray of shape (n_patterns,), default=1
        What a copy weighs.
    arrivals : ndarray of shape (n_patterns,), default=None
        The newest copies go first; None is in the order of the rows.

    Raises
    ------
    ValueError
        If a row is not stored, or not as often.
    """
    held = weights / unit
    if request.sample_weight is None:
        # What has faded, or was never whole, is a copy nevertheless.
        held = np.ceil(held * (1 - 1e-6))
    age = np.arange(len(weights)) if arrivals is None else arrivals
    taken = take_copies(groups, -age, held, wanted)
    lacking = lack_copies(groups, taken, wanted)
    if len(lacking):
        raise ValueError(
            f"forget must be given rows that are stored, no more of each than is. "
            f"Got {len(lacking)} others; positions in {request.name}: "
            f"{lacking[:5].tolist()}."
        )
    return leave_weights(weights, np.minimum(taken * unit, weights))


def _add_up(keys: np.ndarray, n: int, sample_weight, default: float) -> np.ndarray:
    """Add up copies that are wanted of n things, each of which may be named again."""
    copies = np.full(len(keys), default)
    if sample_weight is not None:
        copies = check_numbers(sample_weight, "sample_weight")
        if copies.shape != keys.shape or (copies < 0).any():
            raise ValueError(
                f"sample_weight must be {len(keys)} numbers >= 0, one for each row "
                f"that is to go. Got an array of shape {copies.shape}."
            )
    wanted = np.zeros(n)
    np.add.at(wanted, keys, copies)
    return wanted


def _read_positions(rows, n_patterns: int) -> np.ndarray:
    """Positions of stored rows from positions or a mask.

    Raises
    ------
    ValueError
        If they are neither.
    """
    given = np.atleast_1d(np.asarray(on_host(rows)))
    if given.dtype == bool and given.shape == (n_patterns,):
        return np.flatnonzero(given)
    if given.size == 0:
        return np.empty(0, int)
    whole = given.ndim == 1 and given.dtype.kind in "iu"
    if not whole or (given < 0).any() or (given >= n_patterns).any():
        raise ValueError(
            f"rows must be integers from 0 to {n_patterns - 1}, or a boolean mask of "
            f"shape ({n_patterns},). Got {given.dtype} of shape {given.shape}"
            + (f": {given.tolist()[:5]}." if whole else ".")
        )
    return given.astype(int)
