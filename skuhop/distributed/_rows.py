"""What models keep of their patterns: rows of a shard as fitted attributes.

A further kind of model needs a row in the table at the end.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
from sklearn.utils import check_array, column_or_1d

from skuhop import UHopClassifier, UHopMemory
from skuhop._device import resolve_device
from skuhop._rows import filled, ones_unless, positive_rows
from skuhop._stage_two import DTYPES
from skuhop._validation import check_weights
from skuhop.retrieval import SIMILARITIES


class Model(NamedTuple):
    """A fitted estimator without its patterns: what every worker has to know.

    Attributes
    ----------
    estimator : UHopMemory or UHopClassifier
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

    def holding(self, rows: Mapping):
        """Make an estimator of the same kind that stores these rows."""
        estimator = copy.copy(self.estimator)
        vars(estimator).update(rows)
        return estimator

    def memory(self, estimator, complete, dtype, device):
        """Stage II of an estimator that `holding` gave."""
        if self.betas:
            estimator = copy.copy(estimator)
            estimator.beta = self.betas[complete]
        return estimator._prepare(complete, dtype, device)


def model_of(estimator, weighted: bool) -> Model:
    """Take from a fitted estimator all but its patterns.

    A beta that the patterns decide is settled here, on those of the estimator.
    """
    betas = {}
    profile = SIMILARITIES[estimator.similarity].profile
    if isinstance(estimator, UHopMemory) and estimator.beta == "auto" and not profile:
        cpu, dtype = resolve_device("cpu"), estimator.patterns_.dtype
        exact = copy.copy(estimator)
        exact.index = None
        for complete in (True, False):
            betas[complete] = exact._prepare(complete, dtype, cpu).scorer.beta
    light = copy.copy(estimator)
    vars(light).update(
        kind_of(estimator).nothing,
        patterns_=np.array(estimator.mean_[None]),
        sample_weight_=None,
    )
    return Model(light, weighted, betas)


def _memory_rows(model: Model, X, y, weights) -> dict:
    X, _, weights = positive_rows(X, X, weights)
    return {"patterns_": X, "sample_weight_": weights}


def _class_rows(model: Model, X, y, weights) -> dict:
    """As `UHopClassifier.partial_fit` stores rows, for labels that are known."""
    estimator = model.estimator
    if y is None:
        raise ValueError("y is missing: a classifier stores rows with labels.")
    y = column_or_1d(y)
    if len(y) != len(X):
        raise ValueError(f"X has {len(X)} rows and y has {len(y)}.")
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
    X, codes, weights = positive_rows(X, codes, weights)
    return {
        "patterns_": filled(X, estimator.mean_).astype(X.dtype, copy=False),
        "pattern_classes_": codes,
        "sample_weight_": weights,
    }


def stored_rows(model: Model, X, y, sample_weight) -> dict:
    """Fitted attributes of an estimator that stores these rows.

    Raises
    ------
    ValueError
        If rows are not what the estimator can store.
    """
    kind = kind_of(model.estimator)
    X = check_array(
        X,
        dtype=DTYPES,
        order="C",
        copy=True,
        ensure_all_finite="allow-nan" if kind.nan else True,
        ensure_min_samples=0,
        input_name="X",
    )
    n_features = model.estimator.n_features_in_
    if X.shape[1] != n_features:
        raise ValueError(
            f"X has {X.shape[1]} features, but the estimator was fitted with "
            f"{n_features}."
        )
    weights = _weights(sample_weight, X) if model.weighted else None
    return kind.rows(model, X, y, weights)


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
    nothing : mapping
        Attributes, beside the patterns, of a model that stores nothing.
    nan : bool
        Whether stored rows may have missing entries.
    """

    rows: Callable
    nothing: Mapping
    nan: bool


KINDS = {
    UHopMemory: Kind(
        _memory_rows, {"index": None, "index_": {}, "damage_model_": {}}, False
    ),
    UHopClassifier: Kind(_class_rows, {"pattern_classes_": np.zeros(1, int)}, True),
}


def kind_of(estimator) -> Kind | None:
    """Row of the table that an estimator belongs to; None if there is none."""
    return next(
        (row for kind, row in KINDS.items() if isinstance(estimator, kind)), None
    )
