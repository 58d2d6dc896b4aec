"""Prepared memories, kept between calls outside the estimator's ``__dict__``.

What Stage II derives from a fitted estimator (tensors on a device, encoded keys) is
neither a parameter nor fitted state: it must not be pickled, cloned or shown. It
lives here for as long as the estimator does, and is made anew when anything has changed
that was read of the estimator to make it: a list of names kept by hand goes wrong.

Rejected: an attribute dropped in ``__getstate__``. scikit-learn holds that
``transform`` must leave ``__dict__`` as it was, and threads would race for it.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from copy import copy
from weakref import WeakKeyDictionary

from sklearn.base import BaseEstimator

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


class Reading:
    """Stands for an estimator, in its own methods too, and notes what is read of it."""

    def __init__(self, estimator):
        self._estimator, self._values = estimator, {}

    # As `super` asks for it in the estimator's methods.
    __class__ = property(lambda self: type(self._estimator))  # type: ignore[assignment]

    def __getattr__(self, name):
        """Note what is read, and hand it on."""
        attributes = vars(self._estimator)
        if name not in attributes:
            found = getattr(type(self._estimator), name)
            return found.__get__(self) if hasattr(found, "__get__") else found
        value = attributes[name]
        # A choice may be changed in place.
        self._values[name] = copy(value) if _is_changeable(name, value) else value
        return value


def _is_outdated(values: dict, estimator) -> bool:
    """Whether anything that was read of an estimator is no longer what it was."""
    now = vars(estimator)
    return not all(
        now.get(name) is value or (name[-1] != "_" and now.get(name) == value)
        for name, value in values.items()
    )


def _is_changeable(name, value) -> bool:
    return name[-1] != "_" and isinstance(value, (dict, BaseEstimator))


def derived(estimator, key: Hashable, build: Callable):
    """``build(estimator)``, or what it gave before if it would read the same again.

    Fitted attributes are the same if they are the same objects, parameters if they are
    equal.
    """

    def make():
        reading = Reading(estimator)
        return build(reading), reading._values  # not itself, which holds the estimator

    value, values = prepared(estimator, key, estimator.patterns_, make)
    if _is_outdated(values, estimator):
        _PREPARED.get(estimator, (None, {}))[1].pop(key, None)
        value, _ = prepared(estimator, key, estimator.patterns_, make)
    return value


def release(estimator) -> None:
    """Forget what was prepared for `estimator` and free its device memory."""
    _PREPARED.pop(estimator, None)
