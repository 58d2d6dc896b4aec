"""UHopDetector: how unlike stored rows others are, and why."""

from __future__ import annotations

from numbers import Real
from types import MappingProxyType
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator, OutlierMixin
from sklearn.utils.validation import check_is_fitted, validate_data

from skuhop.answering import ask, check_queries
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
    DTYPES,
    VersionedStateMixin,
    all_or_nothing,
    cast,
    check_parameters,
    choose_device,
    column_means,
    fill_means,
    in_few_threads,
    on_host,
    parameter_rules,
    refuse_masked,
    standard,
    to_numpy,
    to_tensor,
)

_RULES = MappingProxyType(
    {
        "n_neighbors": (parameter_rules.COUNT,),
        "contamination": (
            parameter_rules.Choice(("auto",)),
            parameter_rules.Number(Real, 0, open_low=True, high=0.5),
        ),
        "device": (parameter_rules.DEVICE,),
    }
)
_FENCE = 1.5
"""Interquartile ranges above the upper quartile from which a row is an outlier: Tukey's
fence of the box plot."""


class UHopDetector(OutlierMixin, VersionedStateMixin, BaseEstimator):
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

    device : str, default="auto"
        As in `UHopMemory`.

    Attributes
    ----------
    patterns_ : ndarray of shape (n_patterns, n_features)
        The stored rows, means in the place of NaN.

    mean_, scale_ : ndarray of shape (n_features,)
        Means and standard deviations of the features.

    precision_ : ndarray of shape (n_features, n_features)
        Inverse of the covariance of the standardised features, shrunk after Ledoit and
        Wolf.

    distance_ : float
        Usual distance of a stored row from its neighbours.

    offset_ : float
        Score below which a row is an outlier.

    scores_ : ndarray of shape (n_patterns,)
        Scores of the stored rows, each judged by the others.

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

    def __init__(
        self,
        n_neighbors: int = 5,
        *,
        contamination: str | float = "auto",
        device: str = "auto",
    ) -> None:
        self.n_neighbors = n_neighbors
        self.contamination = contamination
        self.device = device

    def __sklearn_tags__(self):
        """Tags of scikit-learn."""
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        return tags

    @all_or_nothing
    @in_few_threads
    def fit(self, X: ArrayLike, y: object | None = None) -> Self:
        """Store rows, and learn how they vary, alone and together.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows, outliers among them or not; NaN becomes the mean of its feature.

        y : None
            Ignored.

        Returns
        -------
        self : UHopDetector
            The fitted detector.

        Raises
        ------
        ValueError
            If a parameter or an input is not allowed.
        """
        self._check_settled()
        device = choose_device(self.device, X)
        X = on_host(X)
        refuse_masked(X=X)
        X = validate_data(
            self,
            X,
            dtype=DTYPES,
            order="C",
            copy=True,
            ensure_min_samples=2,
            ensure_all_finite="allow-nan",
        )
        self.patterns_ = fill_means(X, column_means(X, None))
        rows = self.patterns_.astype(np.float64)
        self.mean_, scale = standard(rows, None)
        self.scale_ = np.where(scale > 0, scale, 1)
        self.precision_ = _learn_precision((rows - self.mean_) / self.scale_)
        self.distance_ = 1.0
        parts = ask(self, self.patterns_, measure)
        apart, surprise = (to_tensor(part, device) for part in parts)
        self.distance_ = usual_distance(apart)
        self.scores_ = -to_numpy(weigh(apart, surprise, self.distance_).sum(1))
        self.offset_ = _place_offset(self.scores_, self.contamination)
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
        return ask(self, check_queries(self, X), judge)

    def _check_settled(self):
        """Check all parameters against their rules."""
        values = {name: getattr(self, name) for name in _RULES}
        check_parameters(type(self).__name__, values, _RULES)

    def _record(self) -> FittedNovelty:
        """Give all that is read to judge rows."""
        return FittedNovelty(
            self.n_neighbors,
            self.patterns_,
            self.mean_,
            self.scale_,
            self.precision_,
            self.distance_,
        )


class FittedNovelty(NamedTuple):
    """All that is read of a fitted detector to judge rows; names as there."""

    parameters: int
    patterns: np.ndarray
    mean: np.ndarray
    scale: np.ndarray
    precision: np.ndarray
    distance: float

    def prepare(self, complete: bool, dtype, device) -> Novelty:
        """Tensors on the device, features and residuals of all stored rows."""
        residuals = map_residuals(to_tensor(self.precision, device))
        rows, mean, scale, residual_map = (
            to_tensor(cast(array, dtype, "What is stored"), device)
            for array in (self.patterns, self.mean, self.scale, to_numpy(residuals))
        )
        learned = mean, scale, residual_map
        return build_novelty(rows, *learned, self.parameters, self.distance)


def _add_up(novelty: Novelty, rows, budget: int):
    """Question for the surprise of rows."""
    return judge(novelty, rows, budget).sum(1)


def _learn_precision(Z: np.ndarray) -> np.ndarray:
    """Inverse covariance of standardised rows; that of noise where nothing varies."""
    if not Z.any():
        return np.eye(Z.shape[1])
    # Imported late: it brings much that nothing else needs.
    from sklearn.covariance import ledoit_wolf

    covariance, _ = ledoit_wolf(Z, assume_centered=True)
    # Rows in a plane of which all is known leave directions without variance.
    eps = np.finfo(Z.dtype).eps * np.trace(covariance)
    return np.linalg.inv(covariance + eps * np.eye(len(covariance)))


def _place_offset(scores: np.ndarray, contamination: str | float) -> float:
    """Score below which the wanted share of rows lies, or Tukey's fence."""
    if contamination != "auto":
        return float(np.percentile(scores, 100.0 * float(contamination)))
    low, high = np.percentile(scores.astype(np.float64), [25, 75])
    return float(low - _FENCE * (high - low))
