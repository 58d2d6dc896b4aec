"""What estimators share whose stored patterns carry values: classifier and regressor.

Such an estimator is two rows of tables: the kind of its values in `learning`, and here
a `Lesson`, which says what a fit is to learn from and what it stores. The rest, from
the checks to the answer, is the same for both.
"""

from __future__ import annotations

from collections.abc import Callable
from copy import copy
from functools import partial
from typing import NamedTuple

import numpy as np
from torch import Tensor

from skuhop.answering import (
    FittedValues,
    Standards,
    StoredLabels,
    StoredNumbers,
    Trend,
    ValueParameters,
    describe_numbers,
    validate_rows,
)
from skuhop.choices import name_of
from skuhop.estimators.base import EstimatorMixin
from skuhop.estimators.questions import StageTwoMixin
from skuhop.estimators.rows import (
    check_row_ids,
    drop_weightless,
    join_row_ids,
    read_row_ids,
)
from skuhop.fitting import (
    Coming,
    Lesson,
    cross_fitted,
    kernels_to_learn,
    n_steps,
)
from skuhop.learning import Line, LineKind, Target
from skuhop.retrieval import answers
from skuhop.support import (
    CallbackSupportMixin,
    StageOneProgress,
    cast,
    check_weights,
    choose_device,
    fill_means,
    on_host,
    positive_rows,
    to_numpy,
    with_callbacks,
)


class HeteroMemory(CallbackSupportMixin, EstimatorMixin, StageTwoMixin):
    """Stage I and Stage II of an estimator whose stored patterns carry values.

    The estimator gives

    - `_lesson(X, y, weights, **more)`: its `Lesson` on valid rows;
    - `_joining(X, y, weights, **more)`: valid rows that come later, as they are stored;
    - `_describe(X, values, weights)`: what is stored of all rows that are kept, and
      `_store(stored)`, which sets it;
    - `_values()`: a record of the values that Stage II reads out;
    - `_finish(found)`: its answers from their weighted sums;
    - `_target`, the kind of its values, and `_line`, a linear model for them, and
      `trend_coef_` where that may be taken off the values;
    - `_check_y(y)`, and `_rules`, which stand in `skuhop.estimators.parameters`;
    - `_belonging`: the attribute that belongs to the patterns, and `_grouped`, whether
      rows can stand only for others of which it is the same.
    """

    _lesson: Callable[..., Lesson]
    _joining: Callable[..., tuple]
    _describe: Callable[..., NamedTuple]
    _store: Callable[..., None]
    _values: Callable[[], StoredLabels | StoredNumbers]
    _finish: Callable[[Tensor], Tensor]
    _check_y: Callable
    _target: Target
    _line: LineKind
    _belonging: str
    trend_coef_: np.ndarray | None = None
    _multi_output = False
    _takes = ("allow_nan", "categorical", "string", "sparse")

    @with_callbacks
    def _fit(self, X, y, sample_weight, row_ids=None, is_stored=False, **more):
        """Validate, learn, store; what has been stored before is valid."""
        self._check_parameters()
        device = choose_device(self.device, X)
        rows = X, y, sample_weight
        rows = rows if is_stored else self._check_rows(*rows, True)
        ids = check_row_ids(row_ids, len(rows[0]))
        lesson = self._lesson(*rows, **more)

        n_iter = n_steps(self, len(lesson.X)) * len(kernels_to_learn(self))
        progress = StageOneProgress(
            self, n_iter, lesson.X, lesson.y, partial(self._rebuild, lesson)
        )
        learned = cross_fitted(self, lesson, device, progress)
        self._store(lesson.stored)
        self._store_learned(*learned)
        self.row_ids_ = drop_weightless(ids, self._weigh_rows(*rows[1:]))
        # Without data: every row is stored by now and would find itself.
        progress.end()
        return self

    def _store_learned(self, inputs, fitted, lines):
        """Set what Stage I has learned."""
        self.mean_ = to_numpy(inputs.centre)
        with np.errstate(divide="ignore"):
            self.scale_ = 1 / to_numpy(inputs.scale)
        self.kernels_ = [kernel._asdict() for kernel in fitted.kernels]
        self.prior_weight_ = fitted.prior_weight
        self.linear_share_ = fitted.linear_share
        coef, intercept = (None, None) if lines.beside is None else lines.beside
        self.linear_coef_ = coef
        self.linear_intercept_ = intercept
        if self._line.trend > 0:
            self.trend_coef_ = lines.trend
        self.loss_curve_ = fitted.loss_curve
        self.loss_ = fitted.loss_curve[-1] if fitted.loss_curve else float("nan")
        # scikit-learn wants at least one iteration of whatever has a max_iter.
        self.n_iter_ = max(1, len(fitted.loss_curve))
        self.selection_ = fitted.selection
        self.stream_ = {}

    def _rebuild(self, lesson, state):
        """Attributes as if Stage I had ended here, and other rows, for callbacks."""
        *learned, (rows, weights), left_out = state
        copied = copy(self)
        copied._store(lesson.store(lesson.X[rows], lesson.y[rows], weights))
        copied._store_learned(*learned)
        attributes = {n: v for n, v in vars(copied).items() if n[-1] == "_"}
        attributes |= describe_numbers(lesson.X.shape[1])
        return attributes, {"X": lesson.X[left_out], "y": lesson.y[left_out]}

    def _check_rows(self, X, y, sample_weight, reset):
        """Validate rows, values and weights."""
        X, y, sample_weight = map(on_host, (X, y, sample_weight))
        X, y = validate_rows(
            self,
            X,
            None if y is None else self._check_y(y),
            sample_weight=sample_weight,
            copy=True,
            reset=reset,
            ensure_all_finite="allow-nan",
            multi_output=self._multi_output,
        )
        return X, y, check_weights(sample_weight, X)

    def _partial_fit(self, X, y, sample_weight, row_ids=None, **more):
        """Store rows under Phi as it is; the first call is `_fit`."""
        new, device = None, choose_device(self.device, X)
        if not hasattr(self, "patterns_"):
            self._fit(X, y, sample_weight, row_ids, **more)
            ids = self.row_ids_
        else:
            self._check_parameters()
            rows = self._check_rows(X, y, sample_weight, False)
            rows = self._joining(*rows, **more)
            ids = drop_weightless(check_row_ids(row_ids, len(rows[0])), rows[2])
            ids = join_row_ids(read_row_ids(self), ids)
            X, *rest = positive_rows(*rows)
            X = cast(fill_means(X, self.mean_), self.patterns_.dtype, "X")
            new = Coming(X, *rest)
        self._take_in(new, ids, device)
        return self

    def _see_values(self):
        """Give what belongs to the patterns."""
        return getattr(self, self._belonging)

    def _store_stock(self, stock, device):
        """Set what follows from other rows, under what has been learned."""
        self._store(self._describe(*stock[:3]))

    def _weigh_rows(self, y, weights):
        """Weights of checked rows as they are stored, None if all are one."""
        return weights

    def _store_fewer(self, rows, weights, device):
        """Set what follows from some of the stored rows alone."""
        values = self._see_values()[rows]
        self._store(self._describe(self.patterns_[rows], values, weights))

    def _prepare_rows(self, X):
        """Read rows as they are stored."""
        how = {"reset": False, "ensure_all_finite": "allow-nan"}
        X = validate_rows(self, on_host(X), **how)
        return cast(fill_means(X, self.mean_), self.patterns_.dtype, "X")

    def _answers(self, memory, rows, budget, read=None):
        """Question for values, what lines say included; `read` makes of them."""
        if not memory.complete:
            # Here, as the line is to see complete rows too.
            rows = memory.scorer.complete(rows)
            memory = memory._replace(scorer=memory.scorer.scorer, complete=True)
        found = self._finish(answers(memory, rows, budget))
        found = self._with_lines(found, rows)
        return found if read is None else read(found)

    def _with_lines(self, found, rows):
        """Add what lines have to say to answers of the memory, for complete rows."""
        trend = self._trend()
        if trend is None and self.linear_share_ == 0:
            return found
        straight = self._standards().straighten(rows)
        if trend is not None:
            found = found + trend.follow(straight).reshape(found.shape)
        if self.linear_share_ == 0:
            return found
        scores = Line(self.linear_coef_, self.linear_intercept_)(straight)
        other = self._line.link(scores).reshape(found.shape)
        return found + self.linear_share_ * (other - found)

    def _standards(self) -> Standards:
        """How rows are standardised."""
        return Standards(self.mean_, self.scale_)

    def _trend(self) -> Trend | None:
        """Give what is taken off the values of the stored rows, if anything is."""
        if self.trend_coef_ is None:
            return None
        return Trend(self.trend_coef_, self._standards())

    def _record(self) -> FittedValues:
        """Give all that Stage II reads."""
        parameters = ValueParameters(
            name_of(self.separation), self._separation_params(), self.precision
        )
        return FittedValues(
            parameters,
            self.patterns_,
            self.sample_weight_,
            self._standards(),
            self.kernels_,
            self._values(),
            bool(np.any(getattr(self, "is_categorical_", False))),
        )
