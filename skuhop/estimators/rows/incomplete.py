"""Stored rows with holes: forgotten, merged, and asked in part.

An imputer keeps distinct rows and says of every row of `fit` which it is. All that can
be done with rows is another weight for each: zero is as good as never stored.
"""

from __future__ import annotations

from collections.abc import Callable
from copy import copy
from typing import Any, Self

import numpy as np
from sklearn.utils.validation import check_is_fitted

from skuhop.estimators.rows.filters import read_filter
from skuhop.estimators.rows.merging import check_same_columns
from skuhop.estimators.rows.naming import Request, name_rows, take_away
from skuhop.estimators.rows.row_ids import join_row_ids, read_row_ids
from skuhop.fitting import mark_holes, merge_copies
from skuhop.support import all_or_nothing, in_few_threads, resolve_device


class IncompleteRowsMixin:
    """`forget`, `merge` and `where` of an estimator that stores rows with holes.

    The estimator gives

    - `_learn(codes, weights, device)`: learns anew from rows of numbers and codes;
    - `_codes(X)`: what is read of rows, the codes third;
    - `_check_parameters()`: checks the parameters.
    """

    rows_: np.ndarray
    multiplicity_: np.ndarray
    row_numbers_: np.ndarray
    sample_weight_: np.ndarray
    row_ids_: np.ndarray | None
    coordinates_: dict
    n_features_in_: int
    _learn: Callable
    _codes: Callable[..., tuple]
    _check_parameters: Callable
    device: str

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
        """Forget stored rows: they are then no donors, as if they had never been any.

        What `fit` has learned from them stays: the values of nominal columns, the
        Gaussian, precisions and shares. ``relearn=True`` learns it anew from what is
        left, but for the values of nominal columns.

        Parameters
        ----------
        rows : array-like of int or of bool, default=None
            Positions of rows in `sample_weight_`, which are those of `fit`, or a mask.

        row_ids : array-like, default=None
            Names of rows, as `fit` was given them: of each all rows that have it.

        X : array-like or frame of shape (n_rows, n_features), default=None
            Rows themselves, with holes where those have some: of each one copy.

        sample_weight : array-like of shape (n_rows,), default=None
            How much weight each loses. None is all of it for positions and names, and
            one copy for rows in X.

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
            nothing that knows a column; the estimator is then as it was.
        """
        check_is_fitted(self)
        self._check_parameters()
        device = resolve_device(self.device)
        request = Request(rows, row_ids, X, sample_weight)
        stored, ids, weights = (
            self._read_codes(),
            read_row_ids(self),
            self.sample_weight_,
        )
        named = name_rows(request, mark_holes(stored), ids, self._mark_rows)
        left = take_away(request, weights, *named)
        kept = (left > 0) | (weights == 0)
        self._refuse_gaps(stored[left > 0], "forget must leave")
        self._store(stored[kept], left[kept])
        self.row_ids_ = None if ids is None else ids[kept]
        if relearn:
            self._learn(stored[kept], left[kept], device)
        return self

    @all_or_nothing
    @in_few_threads
    def merge(self, other) -> Self:
        """Store the rows of another fitted estimator as well, as donors.

        Nothing is learned: what the other has learned is not taken over. Where both
        have learned the same it does not matter, up to the order of rows, which is
        merged into which.

        Parameters
        ----------
        other : estimator
            Of the same class, fitted to the same columns with the same categories. It
            stays as it is.

        Returns
        -------
        self : estimator
            The estimator with the rows of both, their weights and names.

        Raises
        ------
        ValueError
            If the two do not match, or only one has `row_ids`; the estimator is then as
            it was.
        """
        check_is_fitted(self)
        self._check_parameters()
        check_same_columns(self, other)
        ids = join_row_ids(read_row_ids(self), read_row_ids(other))
        both = self._read_codes(), other._read_codes()
        weights = self.sample_weight_, other.sample_weight_
        self._store(np.concatenate(both), np.concatenate(weights))
        self.row_ids_ = ids
        return self

    def _store(self, codes: np.ndarray, weights: np.ndarray) -> None:
        """Store rows of numbers and codes; none of weight 0."""
        used = weights > 0
        self.rows_, self.multiplicity_, numbers = merge_copies(
            codes[used], weights[used]
        )
        self.row_numbers_ = np.full(len(codes), -1)
        self.row_numbers_[used] = numbers
        self.sample_weight_ = weights

    def _read_codes(self) -> np.ndarray:
        """Numbers and codes of all rows; of those of weight 0 nothing is known."""
        unknown = (self.row_numbers_ < 0)[:, None]
        return np.where(unknown, np.nan, self.rows_[self.row_numbers_])

    def _mark_rows(self, X) -> np.ndarray:
        """Rows that are given, as they are compared with stored ones."""
        return mark_holes(self._codes(X)[2])

    def _choose_donors(self, where) -> Any:
        """Find who is to answer: the estimator, or a view in which others weigh 0."""
        if where is None:
            return self
        check_is_fitted(self)
        weights = self.sample_weight_
        mask = read_filter(where, read_row_ids(self), len(weights))
        codes, weights = self._read_codes(), np.where(mask, weights, 0)
        self._refuse_gaps(codes[weights > 0], "where must allow")
        view = copy(self)
        view._store(codes, weights)
        return view

    def _refuse_gaps(self, codes: np.ndarray, must: str) -> None:
        """Refuse to be without a row that knows a column which `fit` has known."""
        if not len(codes):
            raise ValueError(f"{must} a stored row at least. Got a request for none.")
        columns = np.unique(self.coordinates_["columns"])
        lost = columns[np.isnan(codes[:, columns]).all(axis=0)]
        if len(lost):
            names = getattr(self, "feature_names_in_", np.arange(self.n_features_in_))
            raise ValueError(
                f"{must} a row that knows each column. Without one would be "
                f"{names[lost].tolist()}."
            )
