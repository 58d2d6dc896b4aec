"""Names of stored rows: checked, dropped with their rows, and followed in a stream."""

from __future__ import annotations

import numpy as np

from skuhop.support import check_labels, on_host


def check_row_ids(row_ids, n_rows: int) -> np.ndarray | None:
    """Check names of rows, one for each; None if there are none.

    Raises
    ------
    ValueError
        If one is missing, or their number is not that of the rows.
    """
    if row_ids is None:
        return None
    ids = np.asarray(check_labels(on_host(row_ids), "row_ids"))
    if ids.shape != (n_rows,):
        raise ValueError(
            f"row_ids must have one entry for each of the {n_rows} rows. Got an array "
            f"of shape {ids.shape}."
        )
    return ids.copy()


def read_row_ids(estimator) -> np.ndarray | None:
    """Names of stored rows, which files of earlier versions do not have."""
    return getattr(estimator, "row_ids_", None)


def drop_weightless(
    ids: np.ndarray | None, weights: np.ndarray | None
) -> np.ndarray | None:
    """Names of the rows that are stored: those of positive weight."""
    return ids if ids is None or weights is None else ids[weights > 0]


def join_row_ids(known: np.ndarray | None, new: np.ndarray | None):
    """Names of stored rows and of new ones, if rows have names.

    Raises
    ------
    ValueError
        If only some of the rows have names, or of another kind than the others.
    """
    if (known is None) != (new is None):
        had, got = ("without" if ids is None else "with" for ids in (known, new))
        raise ValueError(
            f"row_ids must be given for all rows or for none: the estimator was fitted "
            f"{had} row_ids. Got rows {got} them."
        )
    if known is None or new is None:
        return None
    kinds = [_kind(ids) for ids in (known, new)]
    if kinds[0] != kinds[1]:
        raise ValueError(
            f"row_ids must be of the kind they had in fit, {known.dtype}. Got "
            f"{new.dtype}."
        )
    return np.concatenate([known, new])


def _kind(ids: np.ndarray) -> str:
    """Numbers are of one kind, whole or not, signed or not; text of another."""
    return "number" if ids.dtype.kind in "iuf" else ids.dtype.kind


def follow_row_ids(
    ids: np.ndarray | None,
    stream: dict,
    n_stored: int,
    arrivals: np.ndarray,
    places: np.ndarray | None = None,
) -> np.ndarray | None:
    """Names of the rows that a stream has left, by the positions at which they came.

    Parameters
    ----------
    ids : ndarray of shape (n_stored + n_new,) or None
        Names of what was stored, then of new rows.
    stream : dict
        State of the stream before the new rows.
    n_stored : int
        Number of rows before them.
    arrivals : ndarray of shape (n,)
        Positions in the stream of the rows that are stored now.
    places : ndarray of shape (n_new,) or None
        Positions of the new rows among those that came then; None is one after another.
    """
    if ids is None:
        return None
    before = stream.get("arrivals", np.arange(n_stored))
    places = np.arange(len(ids) - n_stored) if places is None else places
    coming = stream.get("seen", n_stored) + places
    every = np.concatenate([before, coming])
    order = every.argsort()
    return ids[order[np.searchsorted(every, arrivals, sorter=order)]]


def number_ids(stored: np.ndarray | None, wanted, name: str) -> np.ndarray:
    """Position (n,) of every stored row's name among those wanted, -1 for the others.

    Raises
    ------
    ValueError
        If rows have no names, or none has one of those wanted.
    """
    if stored is None:
        raise ValueError(
            f"{name} needs names of rows, which fit was not given: pass "
            "fit(..., row_ids=...) first, or name rows by a boolean mask."
        )
    wanted = np.atleast_1d(np.asarray(on_host(wanted)))
    place = {row_id: i for i, row_id in enumerate(wanted.ravel().tolist())}
    numbers = np.array([place.get(row_id, -1) for row_id in stored.tolist()])
    lost = set(place.values()) - set(numbers.tolist())
    if lost:
        unknown = wanted.ravel()[sorted(lost)[:5]].tolist()
        raise ValueError(f"{name} must be row_ids of stored rows. Got {unknown!r}.")
    return numbers
