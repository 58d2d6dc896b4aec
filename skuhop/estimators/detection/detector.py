"""UHopDetector: how unlike stored rows others are, and why."""

from __future__ import annotations

from functools import partial
from numbers import Real
from types import MappingProxyType
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator, OutlierMixin
from sklearn.utils.validation import check_is_fitted

from skuhop.answering import ask, check_queries, coding_of, validate_rows
from skuhop.estimators.base import EstimatorMixin
from skuhop.estimators.parameters import MEMORY_RULES
from skuhop.fitting import weights_unless_one
from skuhop.retrieval import (
    Novelty,
    build_novelty,
    judge,
    map_residuals,
    measure,
    usual_distance,
    weigh,
)
from skuhop.support import (
    all_or_nothing,
    cast,
    check_weights,
    choose_device,
    column_means,
    distinct_rows,
    fill_means,
    in_few_threads,
    on_host,
    ones_unless,
    parameter_rules,
    positive_rows,
    standard,
    to_numpy,
    to_tensor,
)
from skuhop.tables import lay_out

_RULES = MappingProxyType(
    {
        "n_neighbors": (parameter_rules.COUNT,),
        "contamination": (
            parameter_rules.Choice(("auto",)),
            parameter_rules.Number(Real, 0, open_low=True, high=0.5),
        ),
        "categorical_features": MEMORY_RULES["categorical_features"],
        "device": (parameter_rules.DEVICE,),
    }
)
_FENCE = 1.5
"""Interquartile ranges above the upper quartile from which a row is an outlier: Tukey's
fence of the box plot."""


class UHopDetector(EstimatorMixin, OutlierMixin, BaseEstimator):
    """Memory that says which rows are unlike what it stores, and which features say so.

    A row is compared in its standardised features and in their conditional residuals,
    what is left of each feature once the others have been heard, so that entries that
    are usual one by one but not together are seen as well. Its surprise is the mean
    city-block distance from the nearest stored rows, and half the mean surprise of its
    entries one by one. Both are sums over features: `explain` gives the terms.

    A row that is stored is judged by the other rows, so that scores of what the
    detector was fitted on mean the same as those of new rows.

    Read more in the user guide.

    Parameters
    ----------
    n_neighbors : int, default=5
        Nearest stored rows that count.

    contamination : "auto" or float, default="auto"
        Share of the rows of `fit` that `predict` calls outliers, at most 0.5. "auto"
        calls those outliers whose surprise is beyond the upper fence of a box plot, 1.5
        interquartile ranges above the upper quartile.

    categorical_features : "from_dtype", None or array-like, default="from_dtype"
        Which columns of X are nominal, as in `UHopClassifier`. Of each value there is
        an indicator.

    device : str, default="auto"
        As in `UHopMemory`.

    Attributes
    ----------
    patterns_ : ndarray of shape (n_patterns, n_inputs)
        The stored rows, means in the place of NaN. Without nominal columns inputs are
        the features.

    sample_weight_ : ndarray of shape (n_patterns,) or None
        Their weights; None if all are one.

    mean_, scale_ : ndarray of shape (n_inputs,)
        Means and standard deviations of the inputs.

    precision_ : ndarray of shape (n_inputs, n_inputs)
        Inverse of the covariance of the standardised features, shrunk after Ledoit and
        Wolf.

    distance_ : float
        Usual distance of a stored row from its neighbours.

    offset_ : float
        Score below which a row is an outlier.

    scores_ : ndarray of shape (n_patterns,)
        Scores of the stored rows, each judged by the others.

    is_categorical_ : ndarray of shape (n_features,), bool
        Which columns are nominal.

    categories_ : list of ndarray or None
        Their values; None for columns of numbers.

    n_features_in_ : int
        Number of features.

    feature_names_in_ : ndarray of shape (n_features,)
        Names of the features, if X had any.

    See Also
    --------
    sklearn.neighbors.LocalOutlierFactor : Densities in parts of those of neighbours.
    sklearn.ensemble.IsolationForest : Random splits that isolate rows.

    Examples
    --------
    >>> import numpy as np
    >>> from skuhop import UHopDetector
    >>> X = np.random.RandomState(0).normal(size=(200, 3))
    >>> X[:, 2] = X[:, 0] - X[:, 1]
    >>> detector = UHopDetector().fit(X)
    >>> detector.predict([[0.5, 0.5, 0.0], [0.5, 0.5, 1.0]])
    array([ 1, -1])
    """

    _rules = _RULES
    _takes = ("allow_nan", "categorical", "string", "sparse")

    def __init__(
        self,
        n_neighbors: int = 5,
        *,
        contamination: str | float = "auto",
        categorical_features: ArrayLike | str | None = "from_dtype",
        device: str = "auto",
    ) -> None:
        self.n_neighbors = n_neighbors
        self.contamination = contamination
        self.categorical_features = categorical_features
        self.device = device

    @all_or_nothing
    @in_few_threads
    def fit(
        self,
        X: ArrayLike,
        y: object | None = None,
        sample_weight: ArrayLike | None = None,
    ) -> Self:
        """Store rows, and learn how they vary, alone and together.

        Parameters
        ----------
        X : array-like or frame of shape (n_samples, n_features)
            Rows, outliers among them or not; NaN becomes the mean of its feature.

        y : None
            Ignored.

        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the rows: k is as good as k copies. None is one each.

        Returns
        -------
        self : UHopDetector
            The fitted detector.

        Raises
        ------
        ValueError
            If a parameter or an input is not allowed.
        """
        self._check_parameters()
        device = choose_device(self.device, X)
        X, sample_weight = on_host(X), on_host(sample_weight)
        X = validate_rows(
            self,
            X,
            reset=True,
            sample_weight=sample_weight,
            copy=True,
            ensure_min_samples=2,
            ensure_all_finite="allow-nan",
        )
        X, _, weights = positive_rows(X, X, check_weights(sample_weight, X))
        self.patterns_ = fill_means(X, column_means(X, weights))
        self.sample_weight_ = weights_unless_one(weights)
        weights = ones_unless(weights, X).astype(np.float64)
        rows = self.patterns_.astype(np.float64)
        self.mean_, scale = standard(rows, weights)
        self.scale_ = np.where(scale > 0, scale, 1)
        Z = (rows - self.mean_) / self.scale_
        self.precision_ = _learn_precision(Z, weights)
        self.distance_ = 1.0
        parts = *ask(self, self.patterns_, measure), weights.astype(X.dtype)
        apart, surprise, counts = (to_tensor(part, device) for part in parts)
        self.distance_ = usual_distance(apart, counts)
        self.scores_ = -to_numpy(weigh(apart, surprise, self.distance_).sum(1))
        self.offset_ = _place_offset(self.scores_, weights, self.contamination)
        return self

    def score_samples(self, X: ArrayLike) -> np.ndarray:
        """How usual rows are: minus their surprise.

        Parameters
        ----------
        X : array-like of shape (n_queries, n_features)
            Rows, stored or not; NaN marks entries that are unknown.

        Returns
        -------
        scores : ndarray of shape (n_queries,)
            Higher for what is more usual.
        """
        return -ask(self, check_queries(self, X), _add_up)

    def decision_function(self, X: ArrayLike) -> np.ndarray:
        """Scores less `offset_`: negative for outliers.

        Parameters
        ----------
        X : array-like of shape (n_queries, n_features)
            Rows.

        Returns
        -------
        decision : ndarray of shape (n_queries,)
            Higher for what is more usual.
        """
        check_is_fitted(self)
        return self.score_samples(X) - self.offset_

    def predict(self, X: ArrayLike) -> np.ndarray:
        """Say which rows are outliers.

        Parameters
        ----------
        X : array-like of shape (n_queries, n_features)
            Rows.

        Returns
        -------
        is_inlier : ndarray of shape (n_queries,)
            1 for inliers, -1 for outliers.
        """
        decision = np.asarray(on_host(self.decision_function(X)))
        return np.where(decision < 0, -1, 1)

    def explain(self, X: ArrayLike) -> np.ndarray:
        """Say what every feature adds to the surprise of rows.

        Parameters
        ----------
        X : array-like of shape (n_queries, n_features)
            Rows.

        Returns
        -------
        terms : ndarray of shape (n_queries, n_features)
            Their sums over features are minus `score_samples`. The larger, the more a
            feature disagrees with the nearest rows and with what is usual; below zero
            for entries that are very usual.
        """
        X = check_queries(self, X)
        columns = lay_out(coding_of(self)).columns
        question = partial(_add_up_inputs, columns=columns)
        return ask(self, X, question)

    def _record(self) -> FittedNovelty:
        """Give all that is read to judge rows."""
        # Copies of a row are one row that weighs more, however they are spelt.
        rows, weights, _ = distinct_rows(self.patterns_, self.sample_weight_)
        return FittedNovelty(
            self.n_neighbors,
            rows,
            ones_unless(weights, rows),
            self.mean_,
            self.scale_,
            self.precision_,
            self.distance_,
        )


class FittedNovelty(NamedTuple):
    """All that is read of a fitted detector to judge rows; names as there."""

    parameters: int
    patterns: np.ndarray
    weights: np.ndarray
    mean: np.ndarray
    scale: np.ndarray
    precision: np.ndarray
    distance: float

    def prepare(self, complete: bool, dtype, device) -> Novelty:
        """Tensors on the device, features and residuals of all stored rows."""
        residuals = map_residuals(to_tensor(self.precision, device))
        arrays = self.mean, self.scale, to_numpy(residuals)
        rows, weights, *learned = (
            to_tensor(cast(array, dtype, "What is stored"), device)
            for array in (self.patterns, self.weights, *arrays)
        )
        mean, scale, residual_map = learned
        numbers = self.parameters, self.distance
        return build_novelty(rows, weights, mean, scale, residual_map, *numbers)


def _add_up(novelty: Novelty, rows, budget: int):
    """Question for the surprise of rows."""
    return judge(novelty, rows, budget).sum(1)


def _add_up_inputs(novelty: Novelty, rows, budget: int, columns: np.ndarray):
    """Question for what every feature adds: its inputs together."""
    terms = judge(novelty, rows, budget)
    at = to_tensor(columns, terms.device)
    return terms.new_zeros((len(terms), columns.max() + 1)).index_add_(1, at, terms)


def _learn_precision(Z: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Inverse covariance of standardised rows; that of noise where nothing varies.

    It is shrunk as by :func:`sklearn.covariance.ledoit_wolf`, which knows no weights.
    """
    d, total = Z.shape[1], weights.sum()
    if not Z.any():
        return np.eye(d)
    covariance = (Z.T * weights) @ Z / total
    level = np.trace(covariance) / d
    apart = ((covariance - level * np.eye(d)) ** 2).sum()
    fourth = weights @ (Z**2).sum(1) ** 2 / total
    noise = max((fourth - (covariance**2).sum()) / total, 0)
    share = min(noise / apart, 1) if apart > 0 else 0
    covariance = (1 - share) * covariance + share * level * np.eye(d)
    # Rows in a plane of which all is known leave directions without variance.
    eps = np.finfo(Z.dtype).eps * np.trace(covariance)
    return np.linalg.inv(covariance + eps * np.eye(d))


def _place_offset(scores, weights, contamination: str | float) -> float:
    """Score below which the wanted share of rows lies, or Tukey's fence."""
    scores = scores.astype(np.float64)
    if contamination != "auto":
        return float(_find_quantile(scores, weights, float(contamination)))
    low, high = (_find_quantile(scores, weights, share) for share in (0.25, 0.75))
    return float(low - _FENCE * (high - low))


def _find_quantile(scores: np.ndarray, weights: np.ndarray, share: float) -> float:
    """`numpy.quantile` of copies: that one takes weights for a step function only."""
    order = scores.argsort()
    ends = weights[order].cumsum()
    place = share * max(ends[-1] - 1, 0)
    at = np.searchsorted(ends, [np.floor(place), np.ceil(place)], "right")
    low, high = scores[order[at.clip(max=len(order) - 1)]]
    return low + (high - low) * (place % 1)
