"""What estimators share whose stored patterns carry values: classifier and regressor.

Such an estimator is two rows of tables: the kind of its values in `learning`, and here
a `Lesson`, which says what a fit is to learn from and what it stores. The rest, from
the checks to the answer, is the same for both.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from sklearn.utils.validation import validate_data
from torch import Tensor

from skuhop.answering import inputs_of, value_keys, value_memory
from skuhop.estimators.queries import StageTwoMixin
from skuhop.fitting import (
    Lesson,
    cross_fitted,
    followed,
    kernels_to_learn,
    learned_attributes,
    n_steps,
)
from skuhop.learning import Line, LineKind, Target
from skuhop.retrieval import answers
from skuhop.support import (
    DTYPES,
    CallbackSupportMixin,
    StageOneProgress,
    VersionedStateMixin,
    cast,
    check_weights,
    choose_device,
    filled,
    on_host,
    positive_rows,
    refuse_masked,
    with_callbacks,
)


class HeteroMemory(CallbackSupportMixin, StageTwoMixin, VersionedStateMixin):
    """Stage I and Stage II of an estimator whose stored patterns carry values.

    The estimator gives

    - `_lesson(X, y, weights, **more)`: its `Lesson` on valid rows;
    - `_joining(X, y, weights, **more)`: valid rows that come later, as they are stored;
    - `_kept(X, values, weights)`: the attributes of all rows that are kept;
    - `_read_out()`: the values (n_patterns, v) that Stage II reads out;
    - `_finished(found)`: its answers from their weighted sums;
    - `_target`, the kind of its values, and `_line`, a linear model for them, and
      `trend_coef_` where that may be taken off the values;
    - `_check_y(y)`, and `_rules`, which stand in `skuhop.estimators.parameters`;
    - `_belonging`: the attribute that belongs to the patterns, and `_grouped`, whether
      rows can stand only for others of which it is the same.
    """

    _lesson: Callable[..., Lesson]
    _joining: Callable[..., tuple]
    _kept: Callable[..., dict]
    _read_out: Callable[[], np.ndarray]
    _finished: Callable[[Tensor], Tensor]
    _check_y: Callable
    _target: Target
    _line: LineKind
    _belonging: str
    _grouped = False
    trend_coef_: np.ndarray | None = None
    _multi_output = False

    def __sklearn_tags__(self):
        """Tags of scikit-learn."""
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        return tags

    @with_callbacks
    def _fit(self, X, y, sample_weight, **more):
        """Validate, learn, store."""
        self._check_parameters()
        device = choose_device(self.device, X)
        lesson = self._lesson(*self._check_rows(X, y, sample_weight, True), **more)

        def rebuild(state):
            *learned, (kept, weights), left_out = state
            stored = lesson.store(lesson.X[kept], lesson.y[kept], weights)
            attributes = (
                lesson.stored | stored | learned_attributes(self._line, *learned)
            )
            return attributes, {"X": lesson.X[left_out], "y": lesson.y[left_out]}

        n_iter = n_steps(self, len(lesson.X)) * len(kernels_to_learn(self))
        progress = StageOneProgress(self, n_iter, lesson.X, lesson.y, rebuild)
        learned = cross_fitted(self, lesson, device, progress)
        vars(self).update(lesson.stored | learned_attributes(self._line, *learned))
        # Without data: every row is stored by now and would find itself.
        progress.end()
        return self

    def _check_rows(self, X, y, sample_weight, reset):
        """Validate rows, values and weights."""
        X, y, sample_weight = map(on_host, (X, y, sample_weight))
        refuse_masked(X=X)
        X, y = validate_data(
            self,
            X,
            None if y is None else self._check_y(y),
            dtype=DTYPES,
            order="C",
            copy=True,
            reset=reset,
            ensure_all_finite="allow-nan",
            multi_output=self._multi_output,
        )
        return X, y, check_weights(sample_weight, X)

    def _partial_fit(self, X, y, sample_weight, **more):
        """Store rows under Phi as it is; the first call is `_fit`."""
        new, device = None, choose_device(self.device, X)
        if not hasattr(self, "patterns_"):
            self._fit(X, y, sample_weight, **more)
        else:
            self._check_parameters()
            rows = self._check_rows(X, y, sample_weight, False)
            X, *rest = positive_rows(*self._joining(*rows, **more))
            new = cast(filled(X, self.mean_), self.patterns_.dtype, "X"), *rest
        values = getattr(self, self._belonging)
        stock, stream = followed(self, values, value_keys, device, new, self._grouped)
        vars(self).update(self._kept(*stock[:3]), stream_=stream)
        return self

    def _answers(self, memory, rows, budget):
        if not memory.complete:
            # Here, as the line is to see complete rows too.
            rows = memory.scorer.complete(rows)
            memory = memory._replace(scorer=memory.scorer.scorer, complete=True)
        return self._with_lines(self._finished(answers(memory, rows, budget)), rows)

    def _with_lines(self, found, rows):
        """Add what lines have to say to answers of the memory, for complete rows."""
        if self.linear_share_ == 0 and self.trend_coef_ is None:
            return found
        Z = self._straight(rows)
        if self.trend_coef_ is not None:
            found = found + self._trend(Z).reshape(found.shape)
        if self.linear_share_ == 0:
            return found
        scores = Line(self.linear_coef_, self.linear_intercept_)(Z)
        other = self._line.link(scores).reshape(found.shape)
        return found + self.linear_share_ * (other - found)

    def _straight(self, rows):
        """Standardise complete rows as lines see them."""
        return inputs_of(self, rows.new_tensor).unbounded(rows)

    def _trend(self, Z):
        """Say what is taken off the values of standardised rows."""
        return Z @ Z.new_tensor(self.trend_coef_).T

    def _prepare(self, complete, dtype, device):
        return value_memory(self, self._read_out(), complete, dtype, device)
