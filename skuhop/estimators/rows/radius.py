"""Stored rows within a radius, in scikit-learn's signature."""

from __future__ import annotations

import numpy as np
import torch
from scipy.sparse import csr_matrix
from sklearn.utils.validation import check_is_fitted
from torch import Tensor

from skuhop.answering import ask, check_queries
from skuhop.estimators.rows.filters import Allowed
from skuhop.estimators.rows.kneighbors import MODE, build_graph, complete_first
from skuhop.estimators.rows.stored import StoresRows
from skuhop.retrieval import Memory, patterns_within
from skuhop.support import check_parameters, on_host, parameter_rules, to_numpy

_RADIUS = 1.0
"""Radius by default, as in scikit-learn."""
_RULES = {
    "radius": (parameter_rules.NON_NEGATIVE,),
    "return_distance": (parameter_rules.FLAG,),
    "sort_results": (parameter_rules.FLAG,),
    "mode": (MODE,),
}


class RadiusNeighborsMixin(StoresRows):
    """`radius_neighbors` and its graph of an estimator that stores its rows."""

    def radius_neighbors(
        self,
        X=None,
        radius=None,
        return_distance: bool = True,
        sort_results: bool = False,
        where=None,
    ):
        """Find all stored rows within a radius, in scikit-learn's signature.

        Distances are those of `kneighbors`. Rows on the boundary are within.

        Parameters
        ----------
        X : array-like of shape (n_queries, n_features), default=None
            Queries; NaN marks entries that are unknown. None is the stored rows, none
            of which is its own neighbour.

        radius : float, default=None
            How far; None is 1.

        return_distance : bool, default=True
            Whether to return the distances as well.

        sort_results : bool, default=False
            Whether the nearest come first; otherwise positions rise. Needs
            `return_distance`.

        where : array-like, default=None
            Which stored rows may answer: a mask of shape (n_patterns,), or their
            `row_ids`.

        Returns
        -------
        neigh_dist : ndarray of shape (n_queries,) of arrays
            Distances; only if `return_distance`.

        neigh_ind : ndarray of shape (n_queries,) of arrays
            Positions in `patterns_`.

        Raises
        ------
        ValueError
            If a parameter is not allowed.
        """
        check_is_fitted(self)
        radius = _RADIUS if radius is None else radius
        values = {"return_distance": return_distance, "sort_results": sort_results}
        check_parameters("radius_neighbors", {"radius": radius, **values}, _RULES)
        if sort_results and not return_distance:
            raise ValueError("return_distance must be True if sort_results is True.")
        asked = self._choose_rows(where)
        queries = self.patterns_ if X is None else check_queries(self, X)
        found = _ask_within(asked, queries, float(radius))
        if X is None:
            found = [_leave_out(row, *pair) for row, pair in enumerate(found)]
        if sort_results:
            found = [_sort(*pair) for pair in found]
        positions, apart = (_as_objects(part) for part in zip(*found, strict=True))
        return (apart, positions) if return_distance else positions

    def radius_neighbors_graph(
        self,
        X=None,
        radius=None,
        mode: str = "connectivity",
        sort_results: bool = False,
        where=None,
    ) -> csr_matrix:
        """Graph of all stored rows within a radius, in scikit-learn's signature.

        Parameters
        ----------
        X, radius, where
            As in `radius_neighbors`.

        mode : {"connectivity", "distance"}, default="connectivity"
            Whether edges are ones or distances.

        sort_results : bool, default=False
            Whether edges of a row come by distance, for ``mode="distance"``.

        Returns
        -------
        A : sparse matrix of shape (n_queries, n_patterns)
            In CSR format.
        """
        check_parameters("radius_neighbors_graph", {"mode": mode}, _RULES)
        by_distance = mode == "distance" and sort_results
        apart, found = self.radius_neighbors(X, radius, True, by_distance, where)
        return build_graph(mode, apart, found, len(self.patterns_))


def _ask_within(asked: Allowed, queries, radius: float) -> list:
    """Positions and distances, a pair for each query, of all rows within a radius.

    Answers have a row for each query, but here rows differ in length: they are put
    aside, and the answer is their number.
    """
    aside: list = []

    def question(memory: Memory, rows: Tensor, budget: int) -> Tensor:
        memory, rows = complete_first(memory, rows)
        pairs = patterns_within(memory, rows, budget, radius)
        aside.extend(tuple(map(to_numpy, pair)) for pair in pairs)
        return torch.arange(len(aside) - len(pairs), len(aside), device=rows.device)

    order = np.asarray(on_host(ask(asked.estimator, queries, question, True)))
    stands = asked.positions
    pairs = (aside[number] for number in order.tolist())
    return [(at if stands is None else stands[at], apart) for at, apart in pairs]


def _leave_out(row: int, positions: np.ndarray, apart: np.ndarray):
    """Take a row out of its own neighbours."""
    others = positions != row
    return positions[others], apart[others]


def _sort(positions: np.ndarray, apart: np.ndarray):
    """Put the nearest first."""
    order = apart.argsort(kind="stable")
    return positions[order], apart[order]


def _as_objects(parts) -> np.ndarray:
    """Array of arrays, also where all are of the same length."""
    found = np.empty(len(parts), dtype=object)
    found[:] = parts
    return found
