"""An index over the keys of a very large memory, kept as bytes.

faiss builds it: of the libraries compared in doc/engine.md its graph is built and
searched fastest, it comes as a wheel, and it goes into a NumPy array and back.
"""

from __future__ import annotations

import warnings

import numpy as np
import torch

from skuhop.retrieval import SIMILARITIES
from skuhop.retrieval.approximate import Nearest

INDEXED = tuple(name for name, rule in SIMILARITIES.items() if rule.compare is None)
"""Similarities whose scores an index can rank: distances and inner products."""
PAYS = 200_000
"""Patterns from which ``index="auto"`` builds an index."""
LINKS, WIDTH = 16, 64
"""Links per pattern of the graph, and how widely it is searched while built."""


def _faiss():
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # SWIG's
            import faiss
    except ImportError as error:
        raise ImportError(
            "index='hnsw' needs faiss: pip install 'skuhop[index]'. index=None needs "
            "nothing."
        ) from error
    return faiss


def wanted(index: str | None, similarity: str, n_patterns: int) -> bool:
    """Whether `fit` is to build an index.

    Raises
    ------
    ValueError
        If an index is asked for that would not be right.
    ImportError
        If it is asked for and faiss is not installed.
    """
    if index == "hnsw":
        if similarity not in INDEXED:
            raise ValueError(
                f"index='hnsw' works with similarity in {list(INDEXED)}; got "
                f"similarity={similarity!r}. Use index=None or 'auto'."
            )
        _faiss()
        return True
    if index is None or similarity not in INDEXED or n_patterns < PAYS:
        return False
    try:
        _faiss()
    except ImportError:
        return False
    return True


def build_index(scorer) -> np.ndarray:
    """Index of a kernel scorer's keys, as an array of bytes."""
    faiss = _faiss()
    keys = np.ascontiguousarray(scorer.keys[: scorer.n_patterns].float().cpu().numpy())
    euclidean = scorer.bias is not None
    metric = faiss.METRIC_L2 if euclidean else faiss.METRIC_INNER_PRODUCT
    index = faiss.IndexHNSWFlat(keys.shape[1], LINKS, metric)
    index.hnsw.efConstruction = WIDTH
    index.add(keys)
    return faiss.serialize_index(index)


def open_index(state: np.ndarray, tol: float) -> Nearest:
    """Make the bytes searchable."""
    faiss = _faiss()
    index = faiss.deserialize_index(state)

    def search(vectors, k):
        wide = faiss.SearchParametersHNSW(efSearch=2 * k)
        query = np.ascontiguousarray(vectors.float().cpu().numpy())
        _, found = index.search(query, k, params=wide)
        return torch.from_numpy(found).to(vectors.device)

    return Nearest(search, tol)
