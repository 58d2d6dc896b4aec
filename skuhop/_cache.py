"""Prepared memories, kept between calls outside the estimator's ``__dict__``.

What Stage II derives from a fitted estimator (tensors on a device, encoded keys) is
neither a parameter nor fitted state: it must not be pickled, cloned or shown. It
lives here for as long as the estimator does, and a refit or a changed parameter
makes it anew.

Rejected: an attribute dropped in ``__getstate__``. scikit-learn holds that
``transform`` must leave ``__dict__`` as it was, and threads would race for it.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from weakref import WeakKeyDictionary

_PREPARED: WeakKeyDictionary = WeakKeyDictionary()
_LIMIT = 4
"""Memories kept per estimator: float32 and float64, with and without NaN."""


def prepared(estimator, key: Hashable, fitted, build: Callable):
    """``build()``, or what it gave before for the same `key` and `fitted` state.

    Parameters
    ----------
    estimator : object
        Owner; its entries die with it.
    key : hashable
        Whatever else the result depends on.
    fitted : object
        Compared by identity: a refit makes a new one, and the old entries go.
    build : callable
        Called without arguments when there is nothing to reuse.
    """
    last, entries = _PREPARED.get(estimator, (None, {}))
    if last is not fitted:
        entries = {}
        _PREPARED[estimator] = (fitted, entries)
    if key not in entries:
        value = build()
        while len(entries) >= _LIMIT:
            entries.pop(next(iter(entries)))
        entries[key] = value
    return entries[key]


def release(estimator) -> None:
    """Forget what was prepared for `estimator` and free its device memory."""
    _PREPARED.pop(estimator, None)
