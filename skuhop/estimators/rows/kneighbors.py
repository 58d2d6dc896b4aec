"""Neighbours: the stored rows nearest to others, as scikit-learn asks for them."""

from __future__ import annotations

from functools import partial
from numbers import Integral

import numpy as np
from scipy.sparse import csr_matrix
from sklearn.utils.validation import check_is_fitted

from skuhop.answering import ask, check_queries
from skuhop.estimators.rows.stored import StoresRows
from skuhop.retrieval import nearest_patterns
from skuhop.support import check_parameters, parameter_rules

_NEIGHBOURS = 5
"""Neighbours by default, as in scikit-learn."""
MODE = parameter_rules.Choice(("connectivity", "distance"))
"""What the edges of a graph say."""


class KNeighborsMixin(StoresRows):
    """`kneighbors` and `kneighbors_graph` of an estimator that stores its rows."""

    def kneighbors(
        self, X=None, n_neighbors=None, return_distance: bool = True, where=None
    ):
        """Find the nearest stored rows, in scikit-learn's signature.

        Distances are those of the features in which the estimator compares: Euclidean
        for the similarities "euclidean", "dot" and "auto", of directions for "cosine"
        and "correlation", and city-block for "manhattan". Weights do not count. What
        lacks entries has no distance: stored rows may not hold NaN here.

        Parameters
        ----------
        X : array-like of shape (n_queries, n_features), default=None
            Queries; NaN marks entries that are unknown. None is the stored rows, none
            of which is its own neighbour.

        n_neighbors : int, default=None
            How many; None is 5.

        return_distance : bool, default=True
            Whether to return the distances as well.

        where : array-like, default=None
            Which stored rows may answer: a mask of shape (n_patterns,), or their
            `row_ids`.

        Returns
        -------
        neigh_dist : ndarray of shape (n_queries, n_neighbors)
            Distances, the nearest first; only if `return_distance`.

        neigh_ind : ndarray of shape (n_queries, n_neighbors)
            Positions in `patterns_`.
        """
        check_is_fitted(self)
        asked = self._choose_rows(where)
        k = _NEIGHBOURS if n_neighbors is None else n_neighbors
        most = len(asked.estimator.patterns_) - (X is None)
        allowed = {"n_neighbors": (parameter_rules.Number(Integral, 1, high=most),)}
        check_parameters("kneighbors", {"n_neighbors": k}, allowed)
        more = k + (X is None)
        queries = self.patterns_ if X is None else check_queries(self, X)
        question = partial(_find_neighbours, k=more)
        found, apart = ask(asked.estimator, queries, asked.number(question), True)
        if X is None:
            found, apart = _leave_out_each(found, apart, k)
        return (apart, found) if return_distance else found

    def kneighbors_graph(
        self, X=None, n_neighbors=None, mode: str = "connectivity", where=None
    ) -> csr_matrix:
        """Graph of the nearest stored rows, in scikit-learn's signature.

        Parameters
        ----------
        X, n_neighbors, where
            As in `kneighbors`.

        mode : {"connectivity", "distance"}, default="connectivity"
            Whether edges are ones or distances.

        Returns
        -------
        A : sparse matrix of shape (n_queries, n_patterns)
            In CSR format.
        """
        check_parameters("kneighbors_graph", {"mode": mode}, {"mode": (MODE,)})
        apart, found = map(np.asarray, self.kneighbors(X, n_neighbors, where=where))
        return build_graph(mode, apart, found, len(self.patterns_))


def build_graph(mode: str, apart, found, n_patterns: int) -> csr_matrix:
    """Graph of neighbours, from distances and positions row by row."""
    edges = np.concatenate(apart)
    edges = edges if mode == "distance" else np.ones_like(edges)
    starts = np.cumsum([0, *map(len, found)])
    shape = len(found), n_patterns
    return csr_matrix((edges, np.concatenate(found), starts), shape)


def _find_neighbours(memory, rows, budget, k):
    """Question for the nearest patterns, for rows with NaN as they are completed."""
    return nearest_patterns(*complete_first(memory, rows), budget, k)


def complete_first(memory, rows):
    """Fill rows that lack entries where the memory compares filled ones."""
    if memory.complete or not hasattr(memory.scorer, "complete"):
        return memory, rows
    filled = memory.scorer.complete(rows)
    return memory._replace(scorer=memory.scorer.scorer, complete=True), filled


def _leave_out_each(found: np.ndarray, apart: np.ndarray, k: int):
    """Take every row out of its own neighbours, or the last where it is not there.

    It may not be: of more copies than neighbours, or where it may not answer.
    """
    own = found == np.arange(len(found))[:, None]
    own[~own.any(axis=1), -1] = True
    shape = len(found), k
    return found[~own].reshape(shape), apart[~own].reshape(shape)
