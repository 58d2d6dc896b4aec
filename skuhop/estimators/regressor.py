"""UHopRegressor: retrieval with numbers as the values, in a learned kernel."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, Self

import numpy as np
import torch
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator, RegressorMixin

from skuhop.answering import StoredNumbers, ask, check_queries
from skuhop.choices import CrossFitting, NamedSeparation, Retention
from skuhop.estimators.parameters import REGRESSOR_RULES, choices_of
from skuhop.estimators.supervised import HeteroMemory
from skuhop.exceptions import InvalidParameterError
from skuhop.fitting import RIDGE, Lesson, weights_unless_one
from skuhop.learning import NUMBERS
from skuhop.support import (
    all_or_nothing,
    check_labels,
    check_numbers,
    column_means,
    distinct_rows,
    fill_means,
    in_few_threads,
    on_host,
    ones_unless,
    positive_rows,
    standard,
    standardise,
)

_MANY_COLUMNS = 16
"""More columns of y than this are learned by their principal axes."""
_NEGLIGIBLE = 1e-3
"""Share of the variance that these may leave out."""


class UHopRegressor(RegressorMixin, HeteroMemory, BaseEstimator):
    """Regressor that retrieves patterns with values in a learned kernel.

    Hetero-association: rows of X are keys, rows of y what belongs to them. Stage I, in
    `fit`, learns a feature map Phi by leave-one-out retrieval: every key is to retrieve
    its own values from the others, the loss is the squared error. Stage II, in
    `predict`, answers with the weighted mean of stored values,
    ``y(x) = sum_i Sep(beta s(Phi(Xi), Phi(x)))_i y_i``, so every prediction comes with
    the stored rows that it is made of (`association`).

    A linear model may help (see `CrossFitting`). Where the kernel, before it has
    learned, does clearly better so, values are first moved along half of a ridge
    regression, from their rows to the query: ``y_i + trend(x) - trend(Xi)``. And a
    ridge regression may have a share of the answers. Without both they never leave the
    range of the values.

    Phi is cross-fitted as in `UHopClassifier`: one member for each fold, which stops on
    the rows it has not seen. Those rows also calibrate beta and the shrinkage to the
    mean of the values, share the scores between two kinds of Phi, and drop Phi where it
    does not help.

    Read more in the user guide.

    Parameters
    ----------
    feature_map : {"auto", "periodic", "mlp", "linear", "identity"} or callable, \
            default="auto"
        Phi, as in `UHopClassifier`.

    n_components : int, default=64
        Number of features of each member.

    loss : {"squared_error", "average", "max", "logsumexp"}, default="squared_error"
        Loss of Stage I: the squared error of leave-one-out retrieval, in the mean over
        the columns of y, each divided by its standard deviation; or one of U-Hop's
        separation losses, which know no values (see `UHopMemory`).

    similarity : {"auto", "cosine", "euclidean", "dot", "correlation", "manhattan"}, \
            default="auto"
        The score s of a query and a pattern, as in `UHopClassifier`.

    separation : {"softmax", "sparsemax", "entmax", "normmax", "ksubsets", \
            "softmax1", "polynomial", "max"} or object, default="softmax"
        Weights from scores, as in `UHopMemory`, but without ``alpha="auto"``. Stage I
        always learns with softmax. What "softmax1" leaves to "nothing stored" goes to
        the mean of the values.

    beta : "auto" or float, default="auto"
        Inverse temperature, as in `UHopClassifier`.

    max_iter : int or "auto", default="auto"
        Most steps of Stage I, as in `UHopClassifier`.

    training : CrossFitting, default=None
        How Stage I learns, as in `UHopClassifier`.

    categorical_features : "from_dtype", None or array-like, default="from_dtype"
        Which columns of X are nominal, as in `UHopClassifier`.

    warm_start, verbose : bool and int, default=False and 0
        As in `UHopMemory`.

    retention : {"merge", "coverage", "innovation", "fifo", "reservoir"} or Retention, \
            default="merge"
        What `partial_fit` keeps, as in `UHopMemory`.

    precision, device : str, default="float32" and "auto"
        As in `UHopMemory`.

    random_state : int, RandomState instance or None, default=None
        Seed of the folds, the start and the batches of Stage I.

    Attributes
    ----------
    patterns_ : ndarray of shape (n_patterns, n_inputs)
        The stored keys: rows of X with a positive weight, missing entries filled, and
        indicators in the place of nominal columns, as in `UHopClassifier`.

    values_ : ndarray of shape (n_patterns,) or (n_patterns, n_outputs)
        What belongs to them: the same rows of y.

    sample_weight_ : ndarray of shape (n_patterns,) or None
        Their weights; None if all are one.

    row_ids_ : ndarray of shape (n_patterns,) or None
        Their names, if `fit` was given any.

    value_mean_, value_scale_ : ndarray of shape (n_outputs,)
        Weighted mean and standard deviation of the columns of `values_`.

    is_categorical_, categories_, kernels_, mean_, scale_, loss_curve_, loss_, \
            n_iter_, selection_
        As in `UHopClassifier`. Losses are shares of the variance of y.

    prior_weight_ : float
        Share of `value_mean_` in the answers of the memory, less their trend: how far
        they are shrunk.

    linear_share_ : float
        Share of the linear model in the answers; 0 if there is none.

    linear_coef_, linear_intercept_ : ndarray of shape (n_outputs, n_inputs) and \
            (n_outputs,), or None
        It answers ``coef (x - mean_) / scale_ + intercept``.

    trend_coef_ : ndarray of shape (n_outputs, n_inputs) or None
        The memory answers for ``y - trend``, ``trend(x) = coef (x - mean_) / scale_``,
        and adds ``trend(x)``; None if it answers for y.

    stream_ : dict
        Empty, or after `partial_fit` the rows `seen`, the `arrivals` (n_patterns,),
        positions in the stream of the patterns, and the `seed` of the fair sample.

    n_features_in_ : int
        Number of features seen during `fit`.

    feature_names_in_ : ndarray of shape (n_features,)
        Names of the features, if X had any.

    See Also
    --------
    UHopClassifier : The same with labels as values.
    UHopMemory : The memory itself: the values are the keys.
    sklearn.neighbors.KNeighborsRegressor : Mean of neighbours, nothing learned.

    Notes
    -----
    Missing entries, weights and copies of rows are dealt with as in `UHopClassifier`.
    A y of more than 16 columns is learned by its principal axes, which hold at least
    99.9 % of its variance; answers are made of all of it.

    References
    ----------
    Wu, Hu, Hsiao, Liu, "Uniform memory retrieval with larger capacity for modern
    Hopfield models", ICML 2024 (arXiv 2404.03827). Millidge, Salvatori, Song,
    Lukasiewicz, Bogacz, "Universal Hopfield networks", ICML 2022 (arXiv 2202.04557):
    other values than the keys. Ye, Yin, Zhan, Chao, "Revisiting nearest neighbor for
    tabular data", ICLR 2025 (arXiv 2407.03257). Weinberger, Tesauro, "Metric learning
    for kernel regression", AISTATS 2007: the squared leave-one-out error.

    Examples
    --------
    >>> from sklearn.datasets import make_friedman1
    >>> from skuhop import UHopRegressor
    >>> X, y = make_friedman1(400, random_state=0)
    >>> regressor = UHopRegressor(random_state=0).fit(X[:300], y[:300])
    >>> regressor.score(X[300:], y[300:]) > 0.8
    True
    >>> rows, weights = regressor.association(X[300:301], top=3)
    >>> regressor.values_[rows].shape
    (1, 3)
    """

    _rules = REGRESSOR_RULES
    _choices = choices_of(REGRESSOR_RULES)
    _belonging = "values_"
    _target = NUMBERS
    _line = RIDGE
    _multi_output = True

    def __init__(
        self,
        feature_map: str | Callable = "auto",
        *,
        n_components: int = 64,
        loss: str = "squared_error",
        similarity: str = "auto",
        separation: str | NamedSeparation = "softmax",
        beta: str | float = "auto",
        max_iter: int | str = "auto",
        training: CrossFitting | None = None,
        categorical_features: ArrayLike | str | None = "from_dtype",
        warm_start: bool = False,
        verbose: bool | int = 0,
        retention: str | Retention = "merge",
        precision: str = "float32",
        device: str = "auto",
        random_state: int | np.random.RandomState | None = None,
    ) -> None:
        self.feature_map = feature_map
        self.n_components = n_components
        self.loss = loss
        self.similarity = similarity
        self.separation = separation
        self.beta = beta
        self.max_iter = max_iter
        self.training = training
        self.categorical_features = categorical_features
        self.warm_start = warm_start
        self.verbose = verbose
        self.retention = retention
        self.precision = precision
        self.device = device
        self.random_state = random_state

    def __sklearn_tags__(self):
        """Tags of scikit-learn."""
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags

    @all_or_nothing
    @in_few_threads
    def fit(
        self,
        X: ArrayLike,
        y: ArrayLike,
        sample_weight: ArrayLike | None = None,
        groups: ArrayLike | None = None,
        row_ids: ArrayLike | None = None,
    ) -> Self:
        """Store the rows and learn the feature map on them (Stage I).

        Parameters
        ----------
        X : array-like or frame of shape (n_samples, n_features)
            Keys: numbers, words, categories, with holes.

        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            Values of the keys.

        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the rows; None is one each.

        groups : array-like of shape (n_samples,), default=None
            Rows of one group do not teach each other: each is left out with all of
            its group. Give it wherever rows are near copies of each other and queries
            will not be, such as overlapping windows of a series; beta is far too sharp
            otherwise.

        row_ids : array-like of shape (n_samples,), default=None
            Names of the rows, as in `UHopMemory`.

        Returns
        -------
        self : UHopRegressor
            The fitted regressor.

        Raises
        ------
        ValueError
            If a parameter or an input is not allowed.
        """
        return self._fit(X, y, sample_weight, row_ids, groups=groups)

    @all_or_nothing
    @in_few_threads
    def partial_fit(
        self,
        X: ArrayLike,
        y: ArrayLike,
        sample_weight: ArrayLike | None = None,
        row_ids: ArrayLike | None = None,
    ) -> Self:
        """Store more rows under the feature map as it is.

        The first call is `fit`. Later ones do not learn: Phi, beta and the shrinkage
        stay, and the new rows take part in every answer from then on. `retention`
        chooses what is kept.

        Parameters
        ----------
        X : array-like or frame of shape (n_samples, n_features)
            Keys to store.

        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            Values of the keys, with the columns of the first call.

        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the rows; None is one each.

        row_ids : array-like of shape (n_samples,), default=None
            Names of the rows, as in `UHopMemory`.

        Returns
        -------
        self : UHopRegressor
            The regressor with the rows added.
        """
        return self._partial_fit(X, y, sample_weight, row_ids, groups=None)

    def _joining(self, X, y, weights, groups):
        return X, self._check_columns(y), weights

    def _check_columns(self, y):
        """Refuse values of other columns than the stored ones have."""
        given, known = y.shape[1:], self.values_.shape[1:]
        if given != known:
            raise InvalidParameterError(
                f"y must have the columns that it had in fit, rows of shape {known}. "
                f"Got rows of shape {given}."
            )
        return y

    def _describe(self, patterns, values, weights):
        return NumberedRows.of(patterns, values, weights)

    def _store(self, stored: NumberedRows):
        """Set what is stored."""
        self.patterns_ = stored.patterns
        self.sample_weight_ = stored.weights
        self.values_ = stored.values
        self.value_mean_ = stored.centre
        self.value_scale_ = stored.scale

    def predict(self, X: ArrayLike, where: ArrayLike | None = None) -> np.ndarray:
        """Retrieve values: the weighted mean of those of the stored rows (Stage II).

        Parameters
        ----------
        X : array-like or frame of shape (n_queries, n_features)
            Queries; NaN or None marks entries that are unknown.

        where : array-like, default=None
            Which stored rows may answer, as in `association`.

        Returns
        -------
        y : ndarray of shape (n_queries,) or (n_queries, n_outputs)
            Retrieved values, in the precision of X.
        """
        asked = self._choose_rows(where).estimator
        return ask(asked, check_queries(self, X), asked._answers)

    def _check_size(self, info):
        """Refuse to answer in a precision that has no numbers of the size of y."""
        size = np.abs(self.values_).max(initial=0)
        if size > info.max or 0 < size < info.tiny:
            raise ValueError(
                f"y is of the size {size:.0e}, which {info.dtype} cannot hold: pass "
                "queries in float64, or scale y."
            )

    def _finish(self, found):
        self._check_size(torch.finfo(found.dtype))
        # Values are read out as deviations from their mean, so that whatever weight is
        # not given to them is at the mean.
        exact = found if found.device.type == "mps" else found.double()
        centre, scale = map(exact.new_tensor, (self.value_mean_, self.value_scale_))
        answer = centre + (1 - self.prior_weight_) * exact * scale
        narrow = answer.reshape(len(answer), *self.values_.shape[1:]).to(found)
        if narrow.isinf().any():
            raise ValueError(
                f"y is beyond the range of {str(found.dtype).split('.')[1]}, the "
                "precision of X; ask with X in float64."
            )
        return narrow

    def _lesson(self, X, y, weights, groups):
        """Numbers, standardised column by column."""
        groups = _check_groups(groups, len(X))
        X, values, weights = positive_rows(X, np.column_stack([y, groups]), weights)
        X = fill_means(X, column_means(X, weights))
        y, d = values[:, :-1].copy().reshape(len(X), *y.shape[1:]), X.shape[1]
        rows, totals, _ = distinct_rows(np.column_stack([X, values]), weights)
        centre, scale = standard(rows[:, d:-1], totals)
        _, groups = np.unique(rows[:, -1], return_inverse=True)
        return Lesson(
            np.ascontiguousarray(rows[:, :d]),
            rows[:, d:-1].reshape(len(rows), *y.shape[1:]),
            _turn_to_leading_axes(standardise(rows[:, d:-1], centre, scale), totals),
            totals,
            np.ones(len(rows)),
            rows[:, d:-1],
            NumberedRows.of(X, y, weights),
            NumberedRows.of,
            groups if groups.any() else None,
        )

    def _check_y(self, y):
        return check_numbers(y, "y")

    def _read_stored(self):
        return self.patterns_, self.values_, self.sample_weight_

    def _adopt(self, other):
        return self._joining(*other._read_stored(), groups=None)

    def _fit_again(self):
        stored = *self._read_stored(), self.row_ids_
        self._fit(*stored, is_stored=True, groups=None)

    def _values(self) -> StoredNumbers:
        return StoredNumbers(
            self.values_,
            self.patterns_,
            self._trend(),
            self.value_mean_,
            self.value_scale_,
        )


class NumberedRows(NamedTuple):
    """What a regressor stores: all that follows from the rows alone."""

    patterns: np.ndarray
    weights: np.ndarray | None
    values: np.ndarray
    centre: np.ndarray
    scale: np.ndarray

    @classmethod
    def of(cls, patterns, values, weights) -> NumberedRows:
        """Describe rows with values."""
        centre, scale = standard(values.reshape(len(values), -1), weights)
        return cls(patterns, weights_unless_one(weights), values, centre, scale)


def _check_groups(groups, n_samples):
    """Give groups numbers from 0; without any, all rows are of one."""
    if groups is None:
        return np.zeros(n_samples)
    groups = np.asarray(check_labels(on_host(groups), "groups"))
    if groups.shape not in ((n_samples,), (n_samples, 1)):
        raise ValueError(
            f"groups must have one label for each row of X. Got inconsistent numbers: "
            f"groups of shape {groups.shape}, {n_samples} rows."
        )
    try:
        return np.unique(groups.ravel(), return_inverse=True)[1]
    except TypeError as error:
        raise ValueError(f"groups must be labels of one kind: {error}.") from error


def _turn_to_leading_axes(values, weights):
    """Fewer columns of the same squared distances, where there are many.

    The squared error is the same in any orthonormal basis, so that of the principal
    axes will do, without those that hold next to nothing.
    """
    n_columns = values.shape[1]
    if n_columns <= _MANY_COLUMNS or not values.any():
        return values
    share = ones_unless(weights, values)
    spread, axes = np.linalg.eigh((values.T * share) @ values / share.sum())
    rest = np.cumsum(spread.clip(0)) / spread.clip(0).sum()
    axes = axes[:, rest > _NEGLIGIBLE]
    return values @ axes * np.sqrt(axes.shape[1] / n_columns)
