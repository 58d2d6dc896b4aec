"""An index over the keys of a very large memory, kept as bytes.

faiss builds it: of the libraries compared in doc/engine.md it builds and searches
fastest, it comes as a wheel, and it goes into a NumPy array and back.

Two kinds. "ivf" sorts the keys into lists around 2 sqrt(M) centroids and reads the
nearest lists in four bits for every two features; what it gains in size and speed pays
for looking at more of the memory and for more candidates, which the engine ranks
exactly anyway. "hnsw" walks a graph of neighbours, in full precision.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch

from skuhop.retrieval import SIMILARITIES
from skuhop.retrieval.approximate import Nearest

INDEXED = tuple(name for name, rule in SIMILARITIES.items() if rule.compare is None)
"""Similarities whose scores an index can rank: distances and inner products."""
PAYS = 200_000
"""Patterns from which ``index="auto"`` builds an index."""
SMALLEST = 1024
"""Fewer patterns than this are looked at one and all, whatever index is asked for."""
LINKS, WIDTH = 16, 64
"""Links per pattern of the graph, and how widely it is searched while built."""
LIST_SHARE = 1 / 5120
"""Share of the lists that is read for every candidate asked for."""
AT_LEAST = 8
"""Patterns in the lists that are read for every candidate asked for."""
TRAINING = 32
"""Patterns per list from which its centroid is learned."""


def _faiss():
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # SWIG's
            import faiss
    except ImportError as error:
        raise ImportError(
            "an index needs faiss: pip install 'skuhop[index]'. index=None needs "
            "nothing."
        ) from error
    return faiss


def _build_ivf(faiss, keys, metric):
    """Inverted lists of product-quantised keys, after a random rotation.

    The rotation spreads what varies over all features, so that every pair of them has
    the same right to its four bits: on principal components the quantisation would
    otherwise lose single queries. It also pads features to an even number.
    """
    n, d = keys.shape
    n_lists = max(1, min(2 * math.isqrt(n), n // TRAINING))
    width = d + d % 2
    name = f"RR{width},IVF{n_lists},PQ{width // 2}x4fs"
    index = faiss.index_factory(d, name, metric)
    lists = faiss.extract_index_ivf(index)
    lists.cp.max_points_per_centroid = TRAINING
    lists.cp.min_points_per_centroid = 1
    index.train(keys)
    return index


def _search_ivf(faiss, index, k):
    lists = faiss.extract_index_ivf(index)
    share = k * max(LIST_SHARE, AT_LEAST / index.ntotal)
    n_read = max(1, math.ceil(min(1, share) * lists.nlist))
    inner = faiss.SearchParametersIVF(nprobe=n_read)
    return faiss.SearchParametersPreTransform(index_params=inner)


def _build_hnsw(faiss, keys, metric):
    index = faiss.IndexHNSWFlat(keys.shape[1], LINKS, metric)
    index.hnsw.efConstruction = WIDTH
    return index


def _search_hnsw(faiss, index, k):
    return faiss.SearchParametersHNSW(efSearch=2 * k)


class _Kind(NamedTuple):
    """A kind of index.

    Attributes
    ----------
    build : callable
        ``(faiss, keys, metric) -> index``, trained and empty.
    search : callable
        ``(faiss, index, k) -> parameters`` of a search for the k best.
    candidates : tuple of int
        How many to ask for, and to ask for again where the bound is too large.
    """

    build: Callable
    search: Callable
    candidates: tuple[int, int]


KINDS = {
    "ivf": _Kind(_build_ivf, _search_ivf, (256, 2048)),
    "hnsw": _Kind(_build_hnsw, _search_hnsw, (64, 512)),
}
AUTO = "ivf"
"""Kind that ``index="auto"`` builds."""


def wanted(index: str | None, similarity: str, n_patterns: int) -> str | None:
    """Kind of index that `fit` is to build, if any.

    Raises
    ------
    ValueError
        If an index is asked for that would not be right.
    ImportError
        If it is asked for and faiss is not installed.
    """
    if index in KINDS:
        if similarity not in INDEXED:
            raise ValueError(
                f"index={index!r} works with similarity in {list(INDEXED)}; got "
                f"similarity={similarity!r}. Use index=None or 'auto'."
            )
        _faiss()
        return index if n_patterns >= SMALLEST else None
    if index is None or similarity not in INDEXED or n_patterns < PAYS:
        return None
    try:
        _faiss()
    except ImportError:
        return None
    return AUTO


def build_index(kind: str, scorer) -> np.ndarray:
    """Index of a kernel scorer's keys, as an array of bytes."""
    faiss = _faiss()
    keys = np.ascontiguousarray(scorer.keys[: scorer.n_patterns].float().cpu().numpy())
    euclidean = scorer.bias is not None
    metric = faiss.METRIC_L2 if euclidean else faiss.METRIC_INNER_PRODUCT
    index = KINDS[kind].build(faiss, keys, metric)
    index.add(keys)
    return faiss.serialize_index(index)


def open_index(kind: str, state: np.ndarray, tol: float) -> Nearest:
    """Make the bytes searchable."""
    faiss = _faiss()
    index = faiss.deserialize_index(state)
    row = KINDS[kind]

    def search(vectors, k):
        query = np.ascontiguousarray(vectors.float().cpu().numpy())
        _, found = index.search(query, k, params=row.search(faiss, index, k))
        return torch.from_numpy(found).to(vectors.device)

    return Nearest(search, tol, row.candidates)
