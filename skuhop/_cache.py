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


def prepared(estimator, key: Hashable, fitted, build: Callable):
    """``build()``, or what it gave before for the same `key` and `fitted` state.

    Parameters
    ----------
    estimator : object
        Owner; the entry dies with it.
    key : hashable
        Whatever else the result depends on. An entry under another key goes.
    fitted : object
        Compared by identity: a refit makes a new one.
    build : callable
        Called without arguments when there is nothing to reuse.
    """
    entry = _PREPARED.get(estimator)
    if entry is None or entry[0] != key or entry[1] is not fitted:
        entry = (key, fitted, build())
        _PREPARED[estimator] = entry
    return entry[2]


def release(estimator) -> None:
    """Forget what was prepared for `estimator` and free its device memory."""
    _PREPARED.pop(estimator, None)
