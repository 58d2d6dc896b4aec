"""The cluster as the caller sees it: questions out, partial results back, merged.

Everything a worker gets is the result of a task, so Dask can make it again when the
worker that held it is gone: shards from their source, queries and model from the graph.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial as bound
from itertools import cycle, repeat
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from skuhop.distributed import _workers
from skuhop.distributed._lessening import split
from skuhop.distributed._shard_rows import Model, kind_of
from skuhop.retrieval import (
    Memory,
    best_partial,
    energies_of,
    finalise,
    finalise_heaviest,
    heaviest_partial,
    merge,
    merge_best,
    merge_heaviest,
    null_of,
    partial,
    row_chunks,
)
from skuhop.support import resolve_device, reuse, to_numpy, to_tensor, working_memory

_MESSAGE = 2**23
"""Bytes of queries in one task; Dask warns from 10 MB on."""


def find_client(client):
    """Return the client to use.

    Raises
    ------
    ImportError
        If dask.distributed is not installed.
    ValueError
        If there is none, or one that cannot be used.
    """
    try:
        from distributed import Client, default_client
    except ImportError as error:
        raise ImportError(
            "ShardedMemory needs dask.distributed: pip install 'skuhop[distributed]'."
        ) from error
    if client is None:
        try:
            client = default_client()
        except ValueError:
            raise ValueError(
                "ShardedMemory found no dask.distributed.Client: make one, such as "
                "Client(n_workers=2) or Client('scheduler-address:8786'), or pass "
                "client=."
            ) from None
    if not isinstance(client, Client):
        raise TypeError(
            "The 'client' parameter of ShardedMemory must be a "
            f"dask.distributed.Client or None. Got {client!r}."
        )
    if client.status != "running" or client.asynchronous:
        raise ValueError(
            "The client of ShardedMemory must be running and not asynchronous; its "
            f"status is {client.status!r}, asynchronous={client.asynchronous}."
        )
    return client


def as_arguments(client, shards) -> list[tuple]:
    """Parts of all shards as arguments of tasks: Dask's own become futures."""
    delayed = [p for shard in shards for p in shard if hasattr(p, "dask")]
    futures = iter(client.compute(delayed))
    return [
        tuple(next(futures) if hasattr(p, "dask") else p for p in shard)
        for shard in shards
    ]


def draw(client, arguments: list[tuple], size: int, rng) -> list[np.ndarray | None]:
    """Draw rows of all shards, at most `size`, in their order: X, y and weights."""
    counts = client.gather(
        [client.submit(_workers.n_rows, X, pure=False) for X, *_ in arguments]
    )
    edges = np.cumsum([0, *counts])
    rows = np.arange(edges[-1])
    if size < len(rows):
        rows = np.sort(rng.choice(edges[-1], size, replace=False))
    cuts = np.searchsorted(rows, edges)
    some = [
        client.submit(_workers.take, rows[a:b] - first, *parts, pure=False)
        for a, b, first, parts in zip(
            cuts[:-1], cuts[1:], edges[:-1], arguments, strict=True
        )
    ]
    columns = zip(*client.gather(some), strict=True)
    return [None if c[0] is None else np.concatenate(c) for c in columns]


def send(client, model: Model):
    """Future of a model, which workers fetch from each other."""
    return client.submit(_workers.give, model, pure=False)


def load(client, model, arguments: list[tuple], lessenings: list) -> list:
    """Futures of the shards, dealt out evenly to the workers that are there now.

    `model` is the future of one, and `lessenings` say what shards are to lack.

    Left to itself Dask gives the next shard to whoever has read the last, which is no
    sign of who answers fast. Other workers may step in for one that is gone.
    """
    workers = [[worker] for worker in client.nthreads()]
    places = cycle(workers) if workers else repeat(None)
    return [
        client.submit(
            _workers.load,
            number,
            model,
            less,
            *parts,
            pure=False,
            workers=place,
            allow_other_workers=place is not None,
        )
        for (number, parts), less, place in zip(
            enumerate(arguments), lessenings, places, strict=False
        )
    ]


def thin(client, shards: list, lessenings: list) -> list:
    """Futures of shards that lack something more; of the others the same ones."""
    pairs = zip(shards, lessenings, strict=True)
    return [
        s if n is None else client.submit(_workers.thin, s, n, pure=False)
        for s, n in pairs
    ]


def summarise(client, model, shards: list) -> tuple[list, list, list]:
    """Numbers of patterns of the shards, their checksums, and what their kind wants."""
    found = client.gather(
        [client.submit(_workers.summary, s, model, pure=False) for s in shards]
    )
    sizes, checksums, summaries = map(list, zip(*found, strict=True))
    return sizes, checksums, summaries


def split_by_completeness(X: np.ndarray, question: Callable) -> tuple[np.ndarray, ...]:
    """Put together ``question(rows, complete)`` for rows without and with NaN."""
    incomplete = np.isnan(X).any(axis=1)
    if not incomplete.any():
        return question(X, True)
    order = np.argsort(incomplete, kind="stable")
    back, known = np.argsort(order), np.count_nonzero(~incomplete)
    parts = [question(X[order[known:]], False)]
    if known:
        parts.insert(0, question(X[order[:known]], True))
    return tuple(np.concatenate(pieces)[back] for pieces in zip(*parts, strict=True))


class Cluster(NamedTuple):
    """A memory in shards, ready to be asked.

    Attributes
    ----------
    client : Client
    model : Model
        What all shards share.
    remote : Future
        The same, for the workers.
    shards : list of Future
    sizes : list of int
        Their numbers of patterns.
    checksums : list of int or None
        What their rows came to when they were stored.
    positions : ndarray of shape (n_patterns,) or None
        Where patterns stand among all that are stored; None is all of them.
    """

    client: Any
    model: Model
    remote: Any
    shards: list
    sizes: list
    checksums: list
    positions: np.ndarray | None = None

    @property
    def firsts(self) -> list:
        """Positions of the first pattern of every shard."""
        return [0, *np.cumsum(self.sizes[:-1]).tolist()]

    def find(self, X: np.ndarray) -> list:
        """Rows of every shard that are rows of X."""
        rows = self.client.submit(_workers.give, X, pure=False)
        return self.client.gather(
            [
                self.client.submit(_workers.find, shard, self.remote, rows, pure=False)
                for shard in self.shards
            ]
        )

    def allow(self, mask: np.ndarray) -> Cluster:
        """Make a cluster of the patterns that a mask allows."""
        hidden = np.flatnonzero(~mask)
        lessenings = split(hidden, np.zeros(len(hidden)), self.sizes)
        pairs = zip(self.shards, self.sizes, lessenings, strict=True)
        some = [(s, n) for s, size, n in pairs if n is None or len(n.places) < size]
        shards = thin(self.client, *map(list, zip(*some, strict=True)))
        sizes, checksums, summaries = summarise(self.client, self.remote, shards)
        kind = kind_of(self.model.estimator)
        common = zip(kind.common, kind.together(summaries), strict=True)
        model = self.model.take_common(dict(common))
        remote, positions = send(self.client, model), np.flatnonzero(mask)
        return Cluster(self.client, model, remote, shards, sizes, checksums, positions)

    def _number(self, found: np.ndarray) -> np.ndarray:
        """Make positions count all stored patterns."""
        return found if self.positions is None else self.positions[found]

    def side(self, dtype, complete: bool) -> Memory:
        """Give a memory of the mean alone, for what does not depend on patterns."""
        estimator, cpu = self.model.estimator, resolve_device("cpu")
        return reuse(
            estimator,
            (complete, np.dtype(dtype).str),
            estimator.patterns_,
            lambda: self.model.memory(estimator, complete, dtype, cpu),
        )

    def ask(
        self, X: np.ndarray, question: Callable, complete: bool, width: int
    ) -> Iterator[tuple[np.ndarray, list]]:
        """Yield some queries at a time, and the partial results of all shards.

        `width` is how many numbers a shard sends back for a query. The next queries
        are out before the results for the last are waited for, so workers do not wait
        for the merge.
        """
        budget = working_memory()
        row = X.itemsize * max(X.shape[1], 1)
        back = X.itemsize * width * len(self.shards)
        chunks = row_chunks(len(X), max(row, -(-back * _MESSAGE // budget)), _MESSAGE)
        before = None
        for rows in [*chunks, None]:
            sent = rows and (X[rows], self._send(X[rows], question, complete, budget))
            if before:
                yield before[0], self._receive(before[1])
            before = sent

    def _send(self, X, question, complete, budget):
        queries = self.client.submit(_workers.give, X, pure=False)
        columns = zip(self.shards, self.sizes, self.firsts, self.checksums, strict=True)
        return [
            self.client.submit(
                _workers.ask,
                shard,
                self.remote,
                queries,
                question,
                complete,
                first,
                checksum,
                budget,
                pure=False,
            )
            for shard, size, first, checksum in columns
            if size
        ]

    def _receive(self, futures):
        cpu = resolve_device("cpu")
        return [
            part._make(None if a is None else to_tensor(a, cpu) for a in part)
            for part in self.client.gather(futures)
        ]

    def answers(self, X: Tensor, complete: bool) -> Tensor:
        """As `skuhop.retrieval.answers`, for queries with or without NaN."""
        memory = self.side(to_numpy(X[:0]).dtype, complete)
        width = memory.patterns.shape[1] + 2
        return torch.cat(
            [
                finalise(*memory.rule, merge(*memory.rule, parts))[0]
                for _, parts in self.ask(to_numpy(X), partial, complete, width)
            ]
        )

    def retrieve(self, X: np.ndarray, complete: bool) -> tuple[np.ndarray]:
        """Stage II, up to `update_steps` times for queries without NaN."""
        estimator, memory = self.model.estimator, self.side(X.dtype, complete)
        start = to_tensor(X, resolve_device("cpu"))

        def update(memory, state, budget):
            return self.answers(state, memory.complete)

        return (to_numpy(estimator._retrieval()(memory, start, 0, update)),)

    def values(self, X: np.ndarray) -> np.ndarray:
        """Answers in values of the patterns; queries with NaN are completed first."""
        X = to_tensor(self.complete(X), resolve_device("cpu"))
        estimator = self.model.estimator
        found = estimator._finish(self.answers(X, True))
        return to_numpy(estimator._with_lines(found, X))

    def complete(self, X: np.ndarray) -> np.ndarray:
        """Fill missing entries of queries, where patterns have values."""
        incomplete = np.isnan(X).any(axis=1)
        if not incomplete.any():
            return X
        X = X.copy()
        X[incomplete] = self._fill(X[incomplete])
        return X

    def _fill(self, X):
        complete = self.side(X.dtype, False).scorer.complete
        rule = complete.memory.rule
        filled = []
        for some, parts in self.ask(X, _workers.ask_completion, False, X.shape[1] + 2):
            found, _ = finalise(*rule, merge(*rule, parts))
            some = to_tensor(some, found.device)
            filled.append(to_numpy(complete.fill(some, found)))
        return np.concatenate(filled)

    def energies(self, X: np.ndarray, complete: bool) -> tuple[np.ndarray]:
        """As `skuhop.retrieval.energies`."""
        memory, found = self.side(X.dtype, complete), []
        for some, conjugate in self._conjugates(X, complete):
            query = memory.scorer.prepare(to_tensor(some, conjugate.device))
            found.append(to_numpy(energies_of(memory, query, conjugate)))
        return (np.concatenate(found),)

    def null(self, X: np.ndarray, complete: bool) -> tuple[np.ndarray]:
        """As `skuhop.retrieval.engine.answers_and_energies.null_weights`."""
        found = [to_numpy(null_of(c)) for _, c in self._conjugates(X, complete)]
        return (np.concatenate(found),)

    def _conjugates(self, X, complete):
        """Yield some queries at a time, and the conjugates of their scores."""
        rule = self.side(X.dtype, complete).rule
        for some, parts in self.ask(X, bound(partial, read=False), complete, 2):
            yield some, finalise(*rule, merge(*rule, parts), read=False)[1]

    def heaviest(
        self, X: np.ndarray, complete: bool, top: int
    ) -> tuple[np.ndarray, ...]:
        """As `skuhop.retrieval.associations`: positions and weights of the heaviest."""
        rule = self.side(X.dtype, complete).rule
        question, found = bound(heaviest_partial, top=top), []
        for _, parts in self.ask(X, question, complete, 3 * top + 2):
            whole = merge_heaviest(*rule, parts, top)
            pair = finalise_heaviest(*rule, whole, sum(self.sizes), top)
            found.append([to_numpy(tensor) for tensor in pair])
        at, weights = (np.concatenate(column) for column in zip(*found, strict=True))
        return self._number(at), weights

    def best(self, X: np.ndarray, complete: bool) -> tuple[np.ndarray]:
        """As `skuhop.retrieval.best_patterns`."""
        found = [
            to_numpy(merge_best(parts).position)
            for _, parts in self.ask(X, best_partial, complete, 3)
        ]
        return (self._number(np.concatenate(found)),)
