"""What an estimator gives whose stored rows can be handled one by one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from sklearn.utils.validation import check_is_fitted

from skuhop.choices import Retention
from skuhop.estimators.rows.filters import Allowed, read_filter
from skuhop.estimators.rows.row_ids import read_row_ids
from skuhop.support import reuse_record, reuse_view


class StoresRows:
    """Rows of an estimator that stores them, and views of it that store some alone.

    The estimator gives

    - `_store_fewer(rows, weights, device)`: sets what follows from the rows at rising
      positions alone; without a device no index is built;
    - `_prepare_rows(X)`: rows as they are stored;
    - `_see_values()`: what belongs to the patterns, and `_grouped`, whether rows can
      stand only for others of which it is the same;
    - `_record()` and `_check_settled()`, as every question needs them.
    """

    patterns_: np.ndarray
    sample_weight_: np.ndarray | None
    stream_: dict
    device: str
    retention: str | Retention
    random_state: Any
    _store_fewer: Callable
    _prepare_rows: Callable
    _see_values: Callable[[], np.ndarray]
    _grouped = False
    _record: Callable[..., Any]
    _check_settled: Callable

    def _keep_rows(self, rows: np.ndarray, weights, device=None) -> None:
        """Store the rows at rising positions alone, with these weights."""
        ids, state = read_row_ids(self), self.stream_
        self._store_fewer(rows, weights, device)
        self.row_ids_ = None if ids is None else ids[rows]
        if "arrivals" in state:
            state = {**state, "arrivals": state["arrivals"][rows]}
        self.stream_ = state

    def _choose_rows(self, where) -> Allowed:
        """Find who is to answer: the estimator, or a view of some of its rows."""
        if where is None:
            return Allowed(self)
        check_is_fitted(self)
        record = reuse_record(self, self._check_settled, self._record)
        n_patterns = len(self.patterns_)
        mask = read_filter(where, read_row_ids(self), n_patterns)
        rows = np.flatnonzero(mask)

        def build():
            view, weights = object.__new__(type(self)), self.sample_weight_
            # Not copy, which asks for versions and defaults: a third of making a view.
            vars(view).update(vars(self))
            view._keep_rows(rows, None if weights is None else weights[rows])
            return view

        view = reuse_view(self, record, np.packbits(mask).tobytes(), build)
        return Allowed(view, rows, n_patterns)
