"""Streams: stored rows and new ones, and what `partial_fit` keeps of them.

The rules stand in `skuhop.retention`. Here rows come in pieces of about the size of the
memory, so that memory is constant and time linear in the stream, and every row carries
its position in the stream, from which age and the draw of a fair sample follow. A
position is all the state that any rule needs, so a rule may be changed on the way.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from sklearn.utils import check_random_state

from skuhop.choices import Retention
from skuhop.retention import RETENTION, Rows
from skuhop.support import ones_unless, to_numpy, to_tensor

_PIECE = 256
"""Rows that are taken together at least, however small the memory."""


class Stock(NamedTuple):
    """Rows as they are stored, column by column.

    Attributes
    ----------
    patterns : ndarray of shape (n, d)
        The rows.
    values : ndarray of shape (n, ...)
        What belongs to them: numbers, which have means, or codes of classes.
    weights : ndarray of shape (n,)
        Their weights, in the precision of the patterns.
    arrivals : ndarray of shape (n,), integer
        Their positions in the stream.
    """

    patterns: np.ndarray
    values: np.ndarray
    weights: np.ndarray
    arrivals: np.ndarray


def _take(stock, rows):
    return Stock(*(column[rows] for column in stock))


def _join(stock, more):
    return Stock(*map(np.concatenate, zip(stock, more, strict=True)))


class Keeping(NamedTuple):
    """What `partial_fit` is to keep, with the seed of what it draws.

    With `grouped`, rows of different values cannot stand for each other.
    """

    retention: Retention
    random_state: object
    grouped: bool = False


class Stream(NamedTuple):
    """Stored rows, and where they stand in their stream.

    Attributes
    ----------
    patterns, values : ndarray of shape (n, d) and (n, ...)
    weights : ndarray of shape (n,) or None
    state : dict
        What the last call has left, the attribute `stream_`.
    encode : callable
        ``(patterns, device) -> keys``: features whose distances count.
    """

    patterns: np.ndarray
    values: np.ndarray
    weights: np.ndarray | None
    state: dict
    encode: Callable


class Coming(NamedTuple):
    """Rows that are to be stored as well.

    Attributes
    ----------
    patterns, values : ndarray of shape (n, d) and (n, ...)
    weights : ndarray of shape (n,) or None
    places : ndarray of shape (n,) or None
        Positions in a stream of their own, in which they have faded already; None for
        rows that come just now, one after another.
    length : int or None
        Rows of that stream.
    """

    patterns: np.ndarray
    values: np.ndarray
    weights: np.ndarray | None
    places: np.ndarray | None = None
    length: int | None = None


def follow_stream(
    keeping: Keeping, stream: Stream, new: Coming | None, device
) -> tuple[Stock, dict]:
    """Put stored rows and new ones together, and keep what is to be kept.

    Parameters
    ----------
    keeping : Keeping
    stream : Stream
    new : Coming or None
        New rows. None is for the first call: what is stored has come just now.
    device : torch.device
        Where to compare.

    Returns
    -------
    stock : Stock
        What is kept.
    state : dict
        State for the next call.
    """
    patterns, values, weights, state, _ = stream
    if new is None:
        # The first call, too, is a stretch of the stream: its rows age as they come.
        new, state = Coming(patterns, values, weights), {}
        patterns, values, weights = patterns[:0], values[:0], None
    else:
        state = state or {"seen": len(values)}
    seen = state.get("seen", 0)
    arrivals = state.get("arrivals", np.arange(len(patterns)))
    stored = _stock(patterns, values, weights, arrivals)
    places, length, fresh = new.places, new.length, False
    if places is None or length is None:
        length, fresh = len(new.patterns), True
        places = np.arange(length)
    coming = _stock(*new[:3], seen + places)
    seed = state.get("seed")
    if seed is None:
        seed = int(check_random_state(keeping.random_state).randint(2**31 - 1))
    stored = _fade(stored, keeping.retention.decay, length)
    if fresh:
        coming = _fade(coming, keeping.retention.decay, places[::-1])
    size = max(_PIECE, keeping.retention.max_patterns or len(places))
    stock = _keep(stored, keeping, stream.encode, seed, device)
    for start in range(0, len(places), size):
        piece = _take(coming, slice(start, start + size))
        stock = _keep(_join(stock, piece), keeping, stream.encode, seed, device)
    return stock, {"seen": seen + length, "seed": seed, "arrivals": stock.arrivals}


def _keep(stock: Stock, keeping: Keeping, encode, seed: int, device) -> Stock:
    """Leave the rows that the rule chooses, where there are too many."""
    rule, budget = RETENTION[keeping.retention.rule], keeping.retention.max_patterns
    if budget is None or len(stock.weights) <= budget:
        return stock
    if rule.compares:
        keys = encode(stock.patterns, device)
    else:
        keys = to_tensor(stock.patterns[:, :0], device)
    groups = stock.values if keeping.grouped else np.zeros_like(stock.arrivals)
    columns = (stock.weights, stock.arrivals, groups)
    rows = Rows(keys, *(to_tensor(column, device) for column in columns))
    return _fill_slots(stock, rule.plan(rows, budget, seed))


def _stock(patterns, values, weights, arrivals) -> Stock:
    weights = ones_unless(weights, patterns).astype(patterns.dtype, copy=False)
    return Stock(patterns, values, weights, arrivals)


def _fade(stock, decay, age) -> Stock:
    """Weights after so many more rows; rows whose weight has vanished are forgotten."""
    if decay == 1:
        return stock
    weights = (stock.weights * float(decay) ** age).astype(stock.weights.dtype)
    stock = stock._replace(weights=weights)
    return _take(stock, weights > 0)


def _fill_slots(stock, plan) -> Stock:
    """Rows as a plan has them."""
    slots = to_numpy(plan.slots)
    used = np.flatnonzero(slots >= 0)
    used = used[slots[used].argsort(kind="stable")]
    starts = np.flatnonzero(np.diff(slots[used], prepend=-1))
    weights = np.add.reduceat(stock.weights[used], starts)
    heads = _take(stock, to_numpy(plan.heads))._replace(weights=weights)
    if not plan.averaged:
        return heads
    several = np.diff(starts, append=len(used)) > 1

    def means(column, single):
        """Weighted means of the slots of several rows; others stay to the last bit.

        Of what is known in a slot, and NaN where nothing is.
        """
        if column.dtype.kind != "f":
            return single
        mass = stock.weights[used].reshape(-1, *(1,) * (column.ndim - 1))
        known = ~np.isnan(column[used])
        total = np.add.reduceat(mass * known, starts)
        total = np.where(total > 0, total, np.nan)
        share = (mass / total[slots[used]]) * known
        found = np.add.reduceat(np.where(known, column[used] * share, 0), starts)
        found = np.where(np.isnan(total), np.nan, found)
        some = several.reshape(-1, *(1,) * (column.ndim - 1))
        return np.where(some, found, single).astype(column.dtype)

    return heads._replace(
        patterns=means(stock.patterns, heads.patterns),
        values=means(stock.values, heads.values),
    )
