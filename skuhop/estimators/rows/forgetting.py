"""Forgetting: stored rows go, as if they had never come."""

from __future__ import annotations

from collections.abc import Callable
from typing import Self

import numpy as np
from sklearn.utils.validation import check_is_fitted

from skuhop.choices import Retention
from skuhop.estimators.rows.naming import Request, name_rows, take_away
from skuhop.estimators.rows.row_ids import read_row_ids
from skuhop.estimators.rows.stored import StoresRows
from skuhop.support import all_or_nothing, choose_device, in_few_threads, ones_unless


class ForgettingMixin(StoresRows):
    """`forget` of an estimator that stores its rows.

    The estimator gives, beside what `StoresRows` needs,

    - `_fit_again()`: learns anew from what is stored;
    - `_weigh_copies()`: what a row of weight one weighs where it is stored;
    - `_refuse_loss(left)`: refuses to lose what it cannot be without.
    """

    _fit_again: Callable

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

    def _leave_weights(self, request: Request) -> np.ndarray:
        """Weights (n_patterns,) of what is stored after a request."""
        weights = ones_unless(self.sample_weight_, self.patterns_)
        named = self.patterns_, read_row_ids(self), self._prepare_rows
        groups, wanted = name_rows(request, *named)
        unit = self._weigh_copies() * self._fade()
        arrivals = self.stream_.get("arrivals")
        return take_away(request, weights, groups, wanted, unit, arrivals)

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

    def _learn_again(self) -> None:
        """Learn anew from what is stored, under the same names and in the same stream.

        What is stored has been read already, so that it is given as plain numbers.
        """
        names, state = getattr(self, "feature_names_in_", None), self.stream_
        self._fit_again()
        self.stream_ = state
        if names is not None:
            self.feature_names_in_ = names
