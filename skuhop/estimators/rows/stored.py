"""What can be done with stored rows: forget them, merge them, let few answer."""

from __future__ import annotations

from collections.abc import Callable
from copy import copy
from numbers import Integral
from typing import Any, Self

import numpy as np
from scipy.sparse import csr_matrix
from sklearn.utils.validation import check_is_fitted

from skuhop.answering import ask, check_queries
from skuhop.choices import Retention
from skuhop.estimators.rows.filters import Allowed, read_filter
from skuhop.estimators.rows.merging import check_same_columns
from skuhop.estimators.rows.naming import Request, name_rows
from skuhop.estimators.rows.row_ids import follow_row_ids, join_row_ids
from skuhop.fitting import Coming, Keeping, Stream, follow_stream
from skuhop.retention import lack_copies, leave_weights, take_copies
from skuhop.retrieval import nearest_patterns
from skuhop.support import (
    all_or_nothing,
    cast,
    check_parameters,
    choose_device,
    in_few_threads,
    ones_unless,
    parameter_rules,
    reuse_record,
    reuse_view,
)

_NEIGHBOURS = 5
"""Neighbours by default, as in scikit-learn."""
_MODES = ("connectivity", "distance")


class StoredRowsMixin:
    """Rows of an estimator that stores them: `forget`, `merge`, `where`, `kneighbors`.

    The estimator gives

    - `_store_fewer(rows, weights, device)`: sets what follows from the rows at rising
      positions alone; without a device no index is built;
    - `_prepare_rows(X)`: rows as they are stored;
    - `_see_values()`: what belongs to the patterns, and `_grouped`, whether rows can
      stand only for others of which it is the same;
    - `_store_stock(stock, device)`: sets what follows from other rows;
    - `_read_stored()`: stored rows, values and weights as `fit` takes them, and
      `_adopt(other)`: those of another estimator as they are to be stored here;
    - `_fit_again()`: learns anew from what is stored;
    - `_weigh_copies()`: what a row of weight one weighs where it is stored;
    - `_refuse_loss(left)`: refuses to lose what it cannot be without.
    """

    patterns_: np.ndarray
    sample_weight_: np.ndarray | None
    stream_: dict
    device: str
    retention: str | Retention
    _store_fewer: Callable
    _prepare_rows: Callable
    _see_values: Callable[[], np.ndarray]
    _store_stock: Callable
    _adopt: Callable[..., tuple]
    _grouped = False
    random_state: Any
    _fit_again: Callable
    _check_settled: Callable
    _record: Callable[..., Any]

    @all_or_nothing
    @in_few_threads
    def forget(
        self,
        rows=None,
        *,
        row_ids=None,
        X=None,
        sample_weight=None,
        relearn: bool = False,
    ) -> Self:
        """Forget stored rows: answers are then as if they had never been stored.

        What Stage I learned stays, and some of it came from these rows: the feature
        map, beta, what is known of damage. ``relearn=True`` learns it anew, from what
        is left.

        Parameters
        ----------
        rows : array-like of int or of bool, default=None
            Positions in `patterns_`, or a mask of shape (n_patterns,).

        row_ids : array-like, default=None
            Names of rows, as `fit` was given them: of each all rows that have it.

        X : array-like of shape (n_rows, n_features), default=None
            Rows themselves: of each one copy, which may be a part of the weight of a
            row, the newest first. Adding rows and forgetting them changes nothing.

        sample_weight : array-like of shape (n_rows,), default=None
            How much weight each loses, as `fit` and `partial_fit` take it. None is all
            of it for positions and names, and one copy for rows in X.

        relearn : bool, default=False
            Whether to learn anew, as `fit` does, from the rows that are left.

        Returns
        -------
        self : estimator
            The estimator without the rows.

        Raises
        ------
        ValueError
            If a row is not stored, or not as often, or if nothing would be left, or
            nothing of a class; the estimator is then as it was.
        """
        check_is_fitted(self)
        self._check_settled()
        device = choose_device(self.device, self.patterns_)
        request = Request(rows, row_ids, X, sample_weight)
        left = self._leave_weights(request)
        kept = np.flatnonzero(left)
        if not len(kept):
            raise ValueError(
                f"forget must leave a stored row at least: all {len(left)} would go."
            )
        self._refuse_loss(left > 0)
        self._keep_rows(kept, left[kept], device)
        if relearn:
            self._learn_again()
        return self

    @all_or_nothing
    @in_few_threads
    def merge(self, other) -> Self:
        """Store the rows of another fitted estimator as well, under Phi as it is here.

        Nothing is learned: what Stage I has learned from the rows of the other, and its
        parameters, are not taken over. Where both have the same Phi it does not matter,
        up to the order of rows, which is merged into which. `retention` chooses what
        stays, as if the stream of the other had come after that of this one; only with
        `decay` that makes the other's rows the newer ones.

        Parameters
        ----------
        other : estimator
            Of the same class, fitted to the same features with the same categories. It
            stays as it is.

        Returns
        -------
        self : estimator
            The estimator with the rows of both, their weights and names. Of a
            classifier classes are united; one that both have weighs what it does here.

        Raises
        ------
        ValueError
            If the two do not match, or only one has `row_ids`; the estimator is then as
            it was.
        """
        check_is_fitted(self)
        self._check_settled()
        check_same_columns(self, other)
        device = choose_device(self.device, self.patterns_)
        state, names = other.stream_, getattr(other, "row_ids_", None)
        X, values, weights = self._adopt(other)
        left = slice(None) if weights is None else weights > 0
        places, length = state.get("arrivals"), state.get("seen")
        places = None if places is None else places[left]
        X = cast(X, self.patterns_.dtype, "What is stored")
        weights = None if weights is None else weights[left]
        new = Coming(X[left], values[left], weights, places, length)
        ids = getattr(self, "row_ids_", None)
        ids = join_row_ids(ids, None if names is None else names[left])
        self._take_in(new, ids, device)
        return self

    def _take_in(self, new: Coming | None, ids: np.ndarray | None, device) -> None:
        """Store new rows as well; `ids` are names of the stored ones, then of these."""
        encode, values = self._record().encode, self._see_values()
        stored = self.patterns_, values, self.sample_weight_, self.stream_
        retention = Retention.of(self.retention)
        keeping = Keeping(retention, self.random_state, self._grouped)
        stock, state = follow_stream(keeping, Stream(*stored, encode), new, device)
        places = None if new is None else new.places
        arrived = self.stream_, len(self.patterns_), stock.arrivals, places
        self.row_ids_ = follow_row_ids(ids, *arrived)
        self._store_stock(stock, device)
        self.stream_ = state

    def _leave_weights(self, request: Request) -> np.ndarray:
        """Weights (n_patterns,) of what is stored after a request."""
        weights = ones_unless(self.sample_weight_, self.patterns_)
        names = getattr(self, "row_ids_", None)
        groups, wanted = name_rows(request, self.patterns_, names, self._prepare_rows)
        unit = self._weigh_copies() * self._fade()
        held = weights / unit
        if request.sample_weight is None:
            # What has faded, or was never whole, is a copy nevertheless.
            held = np.ceil(held * (1 - 1e-6))
        age = self.stream_.get("arrivals", np.arange(len(weights)))
        taken = take_copies(groups, -age, held, wanted)
        lacking = lack_copies(groups, taken, wanted)
        if len(lacking):
            raise ValueError(
                f"forget must be given rows that are stored, no more of each than is. "
                f"Got {len(lacking)} others; positions in {request.name}: "
                f"{lacking[:5].tolist()}."
            )
        return leave_weights(weights, np.minimum(taken * unit, weights))

    def _weigh_copies(self):
        """Give what a row of weight one weighs where it is stored."""
        return 1.0

    def _fade(self):
        """Give what is left of the weight of rows that came when these did."""
        decay = Retention.of(self.retention).decay
        if decay == 1 or "arrivals" not in self.stream_:
            return 1.0
        age = self.stream_["seen"] - 1 - self.stream_["arrivals"]
        return np.maximum(float(decay) ** age, np.finfo(self.patterns_.dtype).tiny)

    def _refuse_loss(self, left: np.ndarray) -> None:
        """Refuse to lose what the estimator cannot be without: nothing in general."""

    def _keep_rows(self, rows: np.ndarray, weights, device=None) -> None:
        """Store the rows at rising positions alone, with these weights."""
        ids, state = getattr(self, "row_ids_", None), self.stream_
        self._store_fewer(rows, weights, device)
        self.row_ids_ = None if ids is None else ids[rows]
        if "arrivals" in state:
            state = {**state, "arrivals": state["arrivals"][rows]}
        self.stream_ = state

    def _learn_again(self) -> None:
        """Learn anew from what is stored, under the same names and in the same stream.

        What is stored has been read already, so that it is given as plain numbers.
        """
        names, state = getattr(self, "feature_names_in_", None), self.stream_
        self._fit_again()
        self.stream_ = state
        if names is not None:
            self.feature_names_in_ = names

    def _choose_rows(self, where) -> Allowed:
        """Find who is to answer: the estimator, or a view of some of its rows."""
        if where is None:
            return Allowed(self)
        check_is_fitted(self)
        record = reuse_record(self, self._check_settled, self._record)
        names, n_patterns = getattr(self, "row_ids_", None), len(self.patterns_)
        mask = read_filter(where, names, n_patterns)
        rows = np.flatnonzero(mask)

        def build():
            view, weights = copy(self), self.sample_weight_
            view._keep_rows(rows, None if weights is None else weights[rows])
            return view

        view = reuse_view(self, record, np.packbits(mask).tobytes(), build)
        return Allowed(view, rows, n_patterns)

    def kneighbors(
        self, X=None, n_neighbors=None, return_distance: bool = True, where=None
    ):
        """Find the nearest stored rows, in scikit-learn's signature.

        Distances are those of the features in which the estimator compares: Euclidean
        for the similarities "euclidean", "dot" and "auto", of directions for "cosine"
        and "correlation", and city-block for "manhattan". Weights do not count.

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

        def question(memory, rows, budget):
            if not memory.complete and hasattr(memory.scorer, "complete"):
                rows = memory.scorer.complete(rows)
                memory = memory._replace(scorer=memory.scorer.scorer, complete=True)
            return nearest_patterns(memory, rows, budget, more)

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
        rule = {"mode": (parameter_rules.Choice(_MODES),)}
        check_parameters("kneighbors_graph", {"mode": mode}, rule)
        apart, found = map(np.asarray, self.kneighbors(X, n_neighbors, where=where))
        edges = apart if mode == "distance" else np.ones_like(apart)
        starts = np.arange(0, found.size + 1, found.shape[1])
        shape = len(found), len(self.patterns_)
        return csr_matrix((edges.ravel(), found.ravel(), starts), shape)


def _leave_out_each(found: np.ndarray, apart: np.ndarray, k: int):
    """Take every row out of its own neighbours, or the last where it is not there.

    It may not be: of more copies than neighbours, or where it may not answer.
    """
    own = found == np.arange(len(found))[:, None]
    own[~own.any(axis=1), -1] = True
    shape = len(found), k
    return found[~own].reshape(shape), apart[~own].reshape(shape)
