"""What models keep of their patterns: rows of a shard as fitted attributes.

A further kind of model needs a row in the table at the end.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
from sklearn.utils import check_array, column_or_1d

from skuhop.answering import read_rows
from skuhop.estimators import UHopClassifier, UHopMemory, UHopRegressor
from skuhop.retrieval import SIMILARITIES
from skuhop.support import (
    DTYPES,
    check_columns,
    check_labels,
    check_weights,
    fill_means,
    ones_unless,
    positive_rows,
    refuse_masked,
    resolve_device,
    standard,
    unit_of,
)


class Model(NamedTuple):
    """A fitted estimator without its patterns: what every worker has to know.

    Attributes
    ----------
    estimator : UHopMemory, UHopClassifier or UHopRegressor
        Its only pattern is the mean.
    weighted : bool
        Whether patterns have weights.
    betas : dict
        Inverse temperatures for queries without (True) and with NaN (False), where
        they come from the patterns.
    """

    estimator: Any
    weighted: bool
    betas: Mapping

    def store_rows(self, rows: Mapping):
        """Make an estimator of the same kind that stores these rows."""
        estimator = copy.copy(self.estimator)
        vars(estimator).update(rows)
        return estimator

    def take_common(self, common: Mapping) -> Model:
        """Make a model that knows what all shards have in common."""
        return self._replace(estimator=self.store_rows(common))

    @property
    def common(self) -> tuple:
        """What all shards have in common, as something to compare."""
        names = kind_of(self.estimator).common
        return tuple(getattr(self.estimator, name).tobytes() for name in names)

    def memory(self, estimator, complete, dtype, device):
        """Stage II of an estimator that `store_rows` gave."""
        if self.betas:
            estimator = copy.copy(estimator)
            estimator.beta = self.betas[complete]
        return estimator._prepare(complete, dtype, device)


def model_of(estimator, weighted: bool) -> Model:
    """Take from a fitted estimator all but its patterns.

    A beta that the patterns decide is settled here, on those of the estimator.
    """
    betas = {}
    if (
        isinstance(estimator, UHopMemory)
        and estimator.beta == "auto"
        and SIMILARITIES[estimator.similarity].profile is None
    ):
        cpu, dtype = resolve_device("cpu"), estimator.patterns_.dtype
        exact = copy.copy(estimator)
        exact.index = None
        for complete in (True, False):
            scorer = exact._prepare(complete, dtype, cpu).scorer
            betas[complete] = scorer.beta / scorer.energy_unit
    kind, light = kind_of(estimator), copy.copy(estimator)
    vars(light).update(
        kind.without, patterns_=np.array(estimator.mean_[None]), sample_weight_=None
    )
    if kind.values is None:  # Files of earlier versions have no unit.
        vars(light).setdefault("unit_", unit_of(estimator.patterns_))
    else:
        vars(light)[kind.values] = np.array(getattr(estimator, kind.values)[:1])
    return Model(light, weighted, betas)


def _memory_rows(model: Model, X, y, weights) -> dict:
    X, _, weights = positive_rows(X, X, weights)
    return {"patterns_": X, "sample_weight_": weights}


def _class_rows(model: Model, X, y, weights) -> dict:
    """As `UHopClassifier.partial_fit` stores rows, for labels that are known."""
    estimator = model.estimator
    y = _of_every_row(y, X, "a classifier stores rows with labels")
    y = column_or_1d(check_labels(y, "y"))
    known = estimator.classes_
    codes = np.searchsorted(known, y).clip(max=len(known) - 1)
    if (known[codes] != y).any():
        foreign = np.unique(y[known[codes] != y])[:5]
        raise ValueError(
            f"y has labels that the estimator does not know: {foreign.tolist()}. Name "
            "all classes to it first, with partial_fit(X, y, classes=...)."
        )
    if weights is not None:
        weights = weights * estimator.class_weight_[codes]
    return _rows_with(model, X, codes, weights)


def _number_rows(model: Model, X, y, weights) -> dict:
    """As `UHopRegressor.partial_fit` stores rows."""
    y = model.estimator._check_y(
        _of_every_row(y, X, "a regressor stores rows with values")
    )
    y = check_array(y, ensure_2d=False, ensure_min_samples=0, input_name="y")
    return _rows_with(model, X, model.estimator._check_columns(y), weights)


def _of_every_row(y, X, why):
    """Make values an array, one for every row."""
    if y is None:
        raise ValueError(f"y is missing: {why}.")
    y = np.asarray(y)
    if y.ndim == 0 or len(y) != len(X):
        raise ValueError(f"X has {len(X)} rows and y has the shape {y.shape}.")
    return y


def _rows_with(model, X, values, weights) -> dict:
    estimator = model.estimator
    X, values, weights = positive_rows(X, values, weights)
    return {"patterns_": X, estimator._belonging: values, "sample_weight_": weights}


def _class_totals(estimator) -> np.ndarray:
    """Weight of every class."""
    return np.bincount(
        estimator.pattern_classes_,
        weights=estimator.sample_weight_,
        minlength=len(estimator.classes_),
    )


def _class_frequencies(totals) -> tuple:
    total = np.sum(totals, axis=0)
    return (total / total.sum(),)


def _refuse_loss_of_class(estimator, before: tuple, after: tuple) -> None:
    """Refuse to lose the last row of a class."""
    lost = estimator.classes_[(before[0] > 0) & (after[0] == 0)]
    if len(lost):
        raise ValueError(
            "forget must leave a row of each class: all would go of "
            f"{lost.tolist()[:5]}."
        )


def _column_summary(estimator) -> tuple:
    """Weight of all rows, and mean and standard deviation of every column."""
    values, weights = estimator.values_, estimator.sample_weight_
    if not len(values):
        return 0, estimator.value_mean_, estimator.value_scale_
    columns = values.reshape(len(values), -1)
    total = len(columns) if weights is None else weights.sum(dtype=np.float64)
    return total, *standard(columns, weights)


def _columns_together(summaries) -> tuple:
    total, *columns = map(np.array, zip(*summaries, strict=True))
    centre, scale = (column[total > 0] for column in columns)
    return standard(centre, total[total > 0], scale)


def attributes_of_rows(model: Model, X, y, sample_weight) -> dict:
    """Fitted attributes of an estimator that stores these rows.

    Raises
    ------
    ValueError
        If rows are not what the estimator can store.
    """
    refuse_masked(y=y, sample_weight=sample_weight)
    X = read_patterns(model.estimator, X)
    weights = _weights(sample_weight, X) if model.weighted else None
    return kind_of(model.estimator).rows(model, X, y, weights)


def read_patterns(estimator, X) -> np.ndarray:
    """Rows as shards store them, holes filled where patterns have values.

    Raises
    ------
    ValueError
        If rows are not what the estimator can store.
    """
    kind = kind_of(estimator)
    refuse_masked(X=X)
    check_columns(estimator, X)
    X = check_array(
        read_rows(estimator, X),
        dtype=DTYPES,
        order="C",
        copy=True,
        ensure_all_finite="allow-nan" if kind.values else True,
        ensure_min_samples=0,
        input_name="X",
    )
    n_features = len(estimator.mean_)
    if X.shape[1] != n_features:
        raise ValueError(
            f"X has {X.shape[1]} features, but the estimator was fitted with "
            f"{n_features}."
        )
    if not kind.values:
        return X
    return fill_means(X, estimator.mean_).astype(X.dtype, copy=False)


def _weights(sample_weight, X):
    """Weights of a shard, which may be all zero: other shards may have weight."""
    if sample_weight is not None and np.shape(sample_weight) != (len(X),):
        raise ValueError(
            f"X has {len(X)} rows and sample_weight has the shape "
            f"{np.shape(sample_weight)}."
        )
    if sample_weight is not None and not np.any(sample_weight):
        return np.zeros(len(X), X.dtype)
    return ones_unless(check_weights(sample_weight, X), X)


class Kind(NamedTuple):
    """One kind of model.

    Attributes
    ----------
    rows : callable
        ``(model, X, y, weights) -> attributes`` of checked rows.
    without : mapping
        Parameters and attributes that shards do not have, and what they have instead.
    values : str or None
        Attribute of what belongs to the patterns and is read out; None if that is the
        patterns. Rows with values may have missing entries.
    summary : callable
        ``(estimator) -> object``: what has to be known of a shard for
    common : tuple of str
        Attributes that all shards have in common, beside those of the estimator.
    together : callable
        ``(summaries) -> tuple``: their values.
    refuse : callable
        ``(estimator, before, after)`` raises an error for a loss, by what `together`
        gave, that is too much.
    decide : callable
        ``(estimator, answers) -> predictions`` of what has values.
    """

    rows: Callable
    without: Mapping = MappingProxyType({})
    values: str | None = None
    summary: Callable = lambda estimator: None
    common: tuple[str, ...] = ()
    together: Callable = lambda summaries: ()
    refuse: Callable = lambda estimator, before, after: None
    decide: Callable = lambda estimator, found: found


KINDS = {
    UHopMemory: Kind(_memory_rows, {"index": None, "index_": {}, "damage_model_": {}}),
    UHopClassifier: Kind(
        _class_rows,
        values=UHopClassifier._belonging,
        summary=_class_totals,
        common=("class_prior_",),
        together=_class_frequencies,
        refuse=_refuse_loss_of_class,
        decide=lambda estimator, found: estimator.classes_[found.argmax(axis=1)],
    ),
    UHopRegressor: Kind(
        _number_rows,
        values=UHopRegressor._belonging,
        summary=_column_summary,
        common=("value_mean_", "value_scale_"),
        together=_columns_together,
    ),
}


def kind_of(estimator) -> Kind:
    """Row of the table that an estimator belongs to."""
    return next(row for kind, row in KINDS.items() if isinstance(estimator, kind))
