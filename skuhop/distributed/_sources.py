"""Where the rows of shards come from, and how they are cut.

A part is what a worker needs to get its rows, and to get them again if another worker
that held them is gone: the place in a file, a task of a Dask array, a future, or rows
of an array in memory.

Rejected: ``client.scatter``. What it has spread is lost with the worker that holds it,
because no task can make it again.
"""

from __future__ import annotations

import os
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

from skuhop.support import refuse_masked


class FileRows(NamedTuple):
    """Rows of a C-ordered array in a file that all workers can read."""

    path: str
    dtype: np.dtype
    offset: int
    shape: tuple[int, ...]

    def read(self) -> np.ndarray:
        """Map them into memory."""
        return np.memmap(self.path, self.dtype, "r", self.offset, self.shape)


class LazyRows:
    """Rows from `start` to `stop` of an array that reads when sliced: Zarr."""

    def __init__(self, array, start: int, stop: int):
        self.array, self.start, self.stop = array, start, stop

    def read(self) -> np.ndarray:
        """Read them."""
        return np.asarray(self.array[self.start : self.stop])

    def __getitem__(self, rows: slice) -> LazyRows:
        """Slice without reading."""
        start, stop, _ = rows.indices(self.stop - self.start)
        return LazyRows(self.array, self.start + start, self.start + stop)

    def __len__(self):
        """Give the number of rows."""
        return self.stop - self.start


def read(part) -> Any:
    """Rows of a part, on a worker; futures have become arrays there."""
    return part.read() if isinstance(part, (FileRows, LazyRows)) else part


def is_task(source) -> bool:
    """Whether a source is a future of dask.distributed, or a Delayed."""
    module = type(source).__module__
    return module.split(".")[0] == "distributed" or module == "dask.delayed"


def is_dask(source) -> bool:
    """Whether a source is a Dask array."""
    return (
        not is_task(source)
        and hasattr(source, "to_delayed")
        and hasattr(source, "chunks")
    )


def in_memory(source) -> bool:
    """Whether a source is an array or a table of this process."""
    elsewhere = (str, os.PathLike, np.memmap, LazyRows)
    if isinstance(source, elsewhere) or _is_list(source) or is_task(source):
        return False
    return not hasattr(source, "to_delayed") and not _is_zarr(source)


def _is_zarr(source):
    return type(source).__module__.split(".")[0] == "zarr"


def _is_list(source):
    """Whether it is a list of sources rather than an array spelt as a list."""
    return isinstance(source, (list, tuple)) and any(
        not in_memory(item) for item in source
    )


def _map_file(path, name):
    """Map an ``.npy`` file; other files, archives of arrays too, are refused."""
    try:
        return np.lib.format.open_memmap(path, mode="r")
    except (ValueError, IsADirectoryError) as error:
        raise ValueError(
            f"{name} must be the path of an .npy file, as np.save writes it. Got "
            f"{os.fspath(path)!r}: {error}."
        ) from error


def _open_source(source, name):
    """Make a source something with a length that slices without reading."""
    if isinstance(source, (str, os.PathLike)):
        source = _map_file(source, name)
    if _is_zarr(source):
        return LazyRows(source, 0, source.shape[0])
    if is_dask(source):
        return source if source.ndim == 1 else source.rechunk({1: -1})
    if is_task(source) or isinstance(source, LazyRows):
        return source
    if hasattr(source, "to_delayed"):
        raise TypeError(
            f"{name} must be a Dask array, not a {type(source).__name__}. Dask's data "
            "frames have to_dask_array(lengths=True)."
        )
    refuse_masked(**{name: source})
    source = source if isinstance(source, np.memmap) else np.asarray(source)
    if source.ndim == 0:
        raise ValueError(f"{name} must be an array with rows; got {source!r}.")
    return source


def _edges(source, size):
    """Row numbers at which a source is cut; NaN where Dask does not know them."""
    if is_dask(source):
        return [0, *np.cumsum(source.chunks[0]).tolist()]
    return [*range(0, len(source), size), len(source)]


def cut(X, y, sample_weight, size: int) -> list[tuple]:
    """Parts (X, y, sample_weight) of every shard, y and weights cut as X is.

    Parameters
    ----------
    X : source or list of sources
        Dask arrays and futures are cut already; others are cut every `size` rows.
    y, sample_weight : source, list of sources or None
        Lists go with a list of X, item by item.
    size : int
        Rows of a shard.

    Raises
    ------
    ValueError
        If lengths differ, or are not known where they are needed.
    """
    companions = {"y": y, "sample_weight": sample_weight}
    if _is_list(X):
        items = [_open_source(item, "X") for item in X]
        labels = _per_item(y, "y", items)
        weights = _per_item(sample_weight, "sample_weight", items)
        return [
            shard
            for item in zip(items, labels, weights, strict=True)
            for shard in cut(*item, size)
        ]
    X = _open_source(X, "X")
    others = [None if v is None else _open_source(v, n) for n, v in companions.items()]
    if is_task(X):
        return [tuple(map(_portable, (X, *others)))]
    edges = _edges(X, size)
    if np.isnan(edges).any():
        return _unknown_chunks(X, dict(zip(companions, others, strict=True)))
    for name, other in zip(companions, others, strict=True):
        if other is not None and (is_task(other) or len(other) != edges[-1]):
            got = "a future" if is_task(other) else f"{len(other)} rows"
            raise ValueError(f"{name} must have the {edges[-1]} rows of X; got {got}.")
    return [
        tuple(_portable(v if v is None else v[a:b]) for v in (X, *others))
        for a, b in pairwise(edges)
        if b > a
    ]


def _per_item(source, name, items):
    """Cut `y` or weights as the items of a list are."""
    if source is None:
        return [None] * len(items)
    if _is_list(source):
        if len(source) != len(items):
            raise ValueError(
                f"{name} must be a list of {len(items)} arrays, as X is; got "
                f"{len(source)}."
            )
        return source
    if any(is_task(item) for item in items):
        raise ValueError(
            f"{name} must be a list of futures or arrays, one for each of X, whose "
            f"lengths are not known here; got {type(source).__name__}."
        )
    source, edges = _open_source(source, name), np.cumsum([0, *map(len, items)])
    if len(source) != edges[-1]:
        raise ValueError(
            f"{name} must have the {edges[-1]} rows of X; got {len(source)} rows."
        )
    return [source[a:b] for a, b in pairwise(edges.tolist())]


def _unknown_chunks(X, companions):
    """Shards of a Dask array that does not know how many rows its chunks have."""
    columns = [_blocks(X)]
    for name, other in companions.items():
        if other is None:
            columns.append([None] * len(columns[0]))
        elif is_dask(other) and other.numblocks[0] == X.numblocks[0]:
            columns.append(_blocks(other))
        else:
            raise ValueError(
                f"{name} must be a Dask array with the {X.numblocks[0]} chunks of X, "
                "whose sizes are not known; X.compute_chunk_sizes() finds them."
            )
    return list(zip(*columns, strict=True))


def _blocks(array):
    return array.to_delayed().ravel().tolist()


def _portable(part):
    """Turn rows into what travels to a worker and can be read there again."""
    if is_dask(part):
        return _blocks(part.rechunk(-1))[0]
    if not isinstance(part, np.memmap):
        return part
    root = part
    while isinstance(root.base, np.memmap):
        root = root.base
    if part.filename is None or part.mode == "c":
        return np.array(part)  # The file does not have what the array has.
    if not part.flags.c_contiguous:
        raise ValueError(
            "Arrays on disk must be stored row by row (C order), without gaps."
        )
    start = part.__array_interface__["data"][0] - root.__array_interface__["data"][0]
    path = os.path.abspath(part.filename)
    return FileRows(path, part.dtype, root.offset + start, part.shape)
