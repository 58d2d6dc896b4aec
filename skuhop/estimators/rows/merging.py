"""Merging: the rows of another estimator are stored as well."""

from __future__ import annotations

from collections.abc import Callable
from typing import Self

import numpy as np
from sklearn.utils.validation import check_is_fitted

from skuhop.choices import Retention
from skuhop.estimators.rows.row_ids import follow_row_ids, join_row_ids, read_row_ids
from skuhop.estimators.rows.stored import StoresRows
from skuhop.exceptions import InvalidParameterError
from skuhop.fitting import Coming, Keeping, Stream, follow_stream
from skuhop.support import all_or_nothing, cast, choose_device, in_few_threads


class MergingMixin(StoresRows):
    """`merge` of an estimator that stores its rows, and rows that come later.

    The estimator gives, beside what `StoresRows` needs,

    - `_store_stock(stock, device)`: sets what follows from other rows;
    - `_adopt(other)`: stored rows, values and weights of another estimator as they are
      to be stored here.
    """

    _store_stock: Callable
    _adopt: Callable[..., tuple]

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
        state, names = other.stream_, read_row_ids(other)
        X, values, weights = self._adopt(other)
        left = slice(None) if weights is None else weights > 0
        places, length = state.get("arrivals"), state.get("seen")
        places = None if places is None else places[left]
        X = cast(X, self.patterns_.dtype, "What is stored")
        weights = None if weights is None else weights[left]
        new = Coming(X[left], values[left], weights, places, length)
        ids = read_row_ids(self)
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


def check_same_columns(estimator, other) -> None:
    """Refuse to merge what is of another class, or has other columns.

    Raises
    ------
    InvalidParameterError
        Names what differs. It is a ValueError and a TypeError.
    NotFittedError
        If `other` stores nothing.
    """
    name = type(estimator).__name__
    if not isinstance(other, type(estimator)):
        raise InvalidParameterError(
            f"merge must be given another {name}. Got {type(other).__name__}."
        )
    check_is_fitted(other)
    for attribute in ("n_features_in_", "feature_names_in_"):
        here, there = (getattr(e, attribute, None) for e in (estimator, other))
        if here is None or there is None:
            continue
        if not np.array_equal(here, there):
            raise InvalidParameterError(
                f"merge must be given a {name} with the same {attribute}: "
                f"{_as_text(here)}. Got {_as_text(there)}."
            )
    pairs = zip(_list_values(estimator), _list_values(other), strict=True)
    for column, (here, there) in enumerate(pairs):
        if here != there:
            raise InvalidParameterError(
                f"merge must be given a {name} with the same categories_: column "
                f"{column} has {here} here. Got {there}."
            )


def _list_values(estimator) -> list:
    """Values of every column, None for columns of numbers."""
    categories = getattr(estimator, "categories_", [None] * estimator.n_features_in_)
    return [None if c is None else np.asarray(c).tolist() for c in categories]


def _as_text(thing) -> str:
    return str(np.asarray(thing).tolist())
