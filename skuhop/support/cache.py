"""Prepared memories, kept between calls outside the estimator's ``__dict__``.

What Stage II derives from a fitted estimator (tensors on a device, encoded keys) is
neither a parameter nor fitted state: it must not be pickled, cloned or shown. It
lives here for as long as the estimator does, and is made anew when the record that it
was made of is no longer that of the estimator: a list of names kept by hand goes wrong.

Rejected: an attribute dropped in ``__getstate__``. scikit-learn holds that
``transform`` must leave ``__dict__`` as it was, and threads would race for it.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from operator import is_
from typing import NamedTuple
from weakref import WeakKeyDictionary

_PREPARED: WeakKeyDictionary = WeakKeyDictionary()
_LIMIT = 4
"""Memories kept per estimator: float32 and float64, with and without NaN."""
_RECORDS: WeakKeyDictionary = WeakKeyDictionary()
_VIEWS: WeakKeyDictionary = WeakKeyDictionary()


def reuse(
    estimator,
    key: Hashable,
    fitted,
    build: Callable,
    among: WeakKeyDictionary = _PREPARED,
):
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
    among : WeakKeyDictionary
        Where to look.
    """
    last, entries = among.get(estimator, (None, {}))
    if last is not fitted:
        entries = {}
        among[estimator] = (fitted, entries)
    if key not in entries:
        value = build()
        while len(entries) >= _LIMIT:
            entries.pop(next(iter(entries)))
        entries[key] = value
    return entries[key]


class _Snapshot(NamedTuple):
    """What an estimator held, to see at next to no cost that nothing has changed."""

    names: tuple
    values: tuple
    contents: list
    """Parameters that may be changed in place, and copies of what is in them."""

    @classmethod
    def take(cls, estimator) -> _Snapshot:
        """Note all that an estimator holds now."""
        state = vars(estimator)
        contents = [
            (value, dict(_look_inside(value)))
            for name, value in state.items()
            if name[-1] != "_" and _is_changeable(value)
        ]
        return cls(tuple(state), tuple(state.values()), contents)

    def holds(self, estimator) -> bool:
        """Whether an estimator still holds the same."""
        state = vars(estimator)
        return (
            tuple(state) == self.names
            and all(map(is_, state.values(), self.values))
            and all(_look_inside(value) == before for value, before in self.contents)
        )


def _is_changeable(value) -> bool:
    """Whether a parameter is a dict, or an object with parameters of its own."""
    return isinstance(value, dict) or hasattr(type(value), "get_params")


def _look_inside(value) -> dict:
    """Give what may change within a parameter."""
    return value if isinstance(value, dict) else vars(value)


def reuse_record(estimator, check: Callable, make: Callable | None = None):
    """``make()`` after ``check()``; what it gave before where nothing has changed."""
    last = _RECORDS.get(estimator)
    if last is None or not last[0].holds(estimator):
        snapshot = _Snapshot.take(estimator)
        check()
        last = _RECORDS[estimator] = snapshot, make and make()
    return last[1]


def reuse_derived(estimator, record, *way):
    """``record.prepare(*way)``, or what a record that is the same gave before.

    Parameters
    ----------
    record : NamedTuple
        All that is read to prepare: `patterns`, other fitted attributes and tuples of
        them, which are the same if they are the same objects, and `parameters`, which
        may be equal.
    *way : hashable
        Whatever else the result depends on.
    """

    def make():
        return record.prepare(*way), record

    value, source = reuse(estimator, way, record.patterns, make)
    if source is not record and not _is_same(source, record):
        _PREPARED.get(estimator, (None, {}))[1].pop(way, None)
        value, _ = reuse(estimator, way, record.patterns, make)
    return value


def _is_same(record, other) -> bool:
    """Whether two records would be made the same thing of."""
    if record is other:
        return True
    if not isinstance(record, tuple) or type(record) is not type(other):
        return False
    names = getattr(record, "_fields", range(len(record)))
    return len(record) == len(other) and all(
        x == y if name == "parameters" else _is_same(x, y)
        for name, x, y in zip(names, record, other, strict=True)
    )


def reuse_view(estimator, record, key: Hashable, build: Callable):
    """``build()``, a view of some of an estimator's rows, while its record is the same.

    `record` is what `reuse_record` gives, which is another object after any change.
    """
    return reuse(estimator, key, record, build, _VIEWS)


def release(estimator) -> None:
    """Forget what was prepared for `estimator` and free its device memory."""
    _PREPARED.pop(estimator, None)
    _VIEWS.pop(estimator, None)
    _RECORDS.pop(estimator, None)
