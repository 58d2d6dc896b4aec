"""What runs on the workers: shards that are loaded, counted and asked."""

from __future__ import annotations

from collections.abc import Callable
from zlib import crc32

import numpy as np

from skuhop.distributed._lessening import Candidates, Less, find_candidates, lessen
from skuhop.distributed._shard_rows import Model, attributes_of_rows, kind_of
from skuhop.distributed._sources import read
from skuhop.retrieval import partial
from skuhop.support import (
    resolve_device,
    reuse,
    shrinking_budgets,
    to_numpy,
    to_tensor,
)


class Shard:
    """Rows of a memory on a worker.

    What asking them needs beside (tensors on the device, encoded keys) is prepared at
    the first question and kept by `skuhop.support.cache` for as long as the shard is
    held, at most four times over; it does not travel with the shard.
    """

    def __init__(self, rows: dict):
        self.rows, self.checksum = rows, _checksum(rows)

    def __sizeof__(self):
        """Bytes of the rows: Dask decides by it what to move and what to spill."""
        return 1024 + sum(a.nbytes for a in self.rows.values() if a is not None)


def _checksum(rows: dict) -> int:
    """CRC-32 of the bytes of all arrays."""
    value = 0
    for name in sorted(rows):
        if rows[name] is not None:
            value = crc32(np.ascontiguousarray(rows[name]).data, value)
    return value


def give(value):
    """Give the value: a task that holds what many others need, and survives workers."""
    return value


def load(number: int, model: Model, less: Less | None, X, y, sample_weight) -> Shard:
    """Read a shard from its source, check it, and take away what it is to lack."""
    try:
        rows = attributes_of_rows(model, read(X), read(y), read(sample_weight))
    except (TypeError, ValueError) as error:
        raise ValueError(f"Shard {number}: {error}") from error
    return Shard(lessen(rows, less))


def thin(shard: Shard, less: Less) -> Shard:
    """Make a shard of which some rows weigh less; what has been prepared is left."""
    return Shard(lessen(shard.rows, less))


def find(shard: Shard, model: Model, X: np.ndarray) -> Candidates:
    """Find stored rows that are rows of X."""
    return find_candidates(shard.rows, model, X)


def summary(shard: Shard, model: Model) -> tuple[int, int, object]:
    """Give the number of patterns, their checksum, and what its kind wants to know."""
    estimator = model.store_rows(shard.rows)
    more = kind_of(estimator).summary(estimator)
    return len(estimator.patterns_), shard.checksum, more


def n_rows(X) -> int:
    """Give the number of rows of a part."""
    return len(read(X))


def take(rows: np.ndarray, *parts) -> list[np.ndarray | None]:
    """Take some rows of every part."""
    return [None if part is None else np.array(read(part)[rows]) for part in parts]


def ask(
    shard: Shard,
    model: Model,
    X: np.ndarray,
    question: Callable,
    complete: bool,
    first: int,
    checksum: int | None,
    budget: int,
):
    """Partial result of a shard, as NumPy arrays.

    Parameters
    ----------
    shard : Shard
    model : Model
        What all shards share.
    X : ndarray of shape (n, d)
        Queries, all without NaN (`complete`) or all with.
    question : callable
        ``(memory, queries, budget, first) -> NamedTuple`` of tensors or None.
    complete : bool
    first : int
        Position of the shard's first pattern in the whole memory.
    checksum : int or None
        That of the rows when they were stored, if it is known.
    budget : int
        Bytes.

    Raises
    ------
    ValueError
        If the source of the shard has changed since.
    """
    if checksum not in (None, shard.checksum):
        raise ValueError(
            f"The source of the shard that begins with pattern {first} has changed "
            "since ShardedMemory.fit has read it; call fit again."
        )
    estimator = model.store_rows(shard.rows)
    device = resolve_device(estimator.device)

    for attempt in shrinking_budgets(budget, device):
        with attempt:
            memory = reuse(
                shard,
                (complete, X.dtype.str, str(device), model.common),
                estimator.patterns_,
                lambda: model.memory(estimator, complete, X.dtype, device),
            )
            part = question(memory, to_tensor(X, device), attempt.budget, first)
    return type(part)(*(None if t is None else to_numpy(t) for t in part))


def ask_completion(memory, X, budget, first):
    """Partial result of what fills missing entries where patterns have values."""
    complete = memory.scorer.complete
    return partial(complete.memory, complete.scale_queries(X), budget, first)
