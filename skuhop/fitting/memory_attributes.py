"""What a memory stores: rows checked, learned from, and kept, as fitted attributes."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from sklearn.utils.validation import check_array

from skuhop.answering import pattern_keys
from skuhop.fitting.damage_model import learn_damage_model
from skuhop.fitting.feature_map import StageOne
from skuhop.fitting.incomplete_rows import run_completion
from skuhop.fitting.index_of_keys import fit_index
from skuhop.fitting.sparsity import fit_separation
from skuhop.fitting.streams import followed
from skuhop.learning import Learned
from skuhop.support import (
    DTYPES,
    check_columns,
    check_weights,
    distinct_rows,
    mean_row,
    positive_rows,
    refuse_masked,
    unit_of,
)


class Told(NamedTuple):
    """What `fit` is told, checked.

    Attributes
    ----------
    X : ndarray of shape (M, d)
        Rows to store: those of positive weight.
    weights : ndarray of shape (M,) or None
        Their weights; None if all are one.
    queries : ndarray of shape (n, d) or None
        Damaged rows without NaN, to learn from.
    distinct : ndarray of shape (m, d)
        The distinct ones of X, divided by the unit: on these Stage I works.
    totals : ndarray of shape (m,) or None
        Weights of these.
    unit : float
        Power of two of the size of X.
    """

    X: np.ndarray
    weights: np.ndarray | None
    queries: np.ndarray | None
    distinct: np.ndarray
    totals: np.ndarray | None
    unit: float


def checked(memory, X, sample_weight, queries) -> Told:
    """Check what `fit` of a memory is told.

    Raises
    ------
    ValueError
        If it cannot be stored or learned from.
    """
    refuse_masked(X=X, queries=queries)
    check_columns(X, queries)
    X = check_array(
        X, dtype=DTYPES, order="C", copy=True, estimator=memory, input_name="X"
    )
    X, _, weights = positive_rows(X, X, check_weights(sample_weight, X))
    queries = _checked_queries(memory, queries, X)
    distinct, totals, _ = distinct_rows(X, weights)
    unit = unit_of(X)
    return Told(X, weights, queries, distinct / unit, totals, unit)


def _checked_queries(memory, queries, X):
    """Check the queries that `fit` learns from; None if there are none."""
    if queries is None:
        return None
    if memory.corruption is not None:
        raise ValueError(
            "fit takes queries or the parameter corruption, not both: got "
            f"corruption={memory.corruption!r} and queries."
        )
    queries = check_array(
        queries,
        dtype=X.dtype,
        order="C",
        ensure_all_finite="allow-nan",
        estimator=memory,
        input_name="queries",
    )
    if queries.shape[1] != X.shape[1]:
        raise ValueError(
            f"queries must have the {X.shape[1]} features of X; got {queries.shape[1]}."
        )
    return queries[~np.isnan(queries).any(axis=1)]


def attributes_for(
    memory, told: Told, settings: StageOne, device
) -> Callable[[Learned], dict]:
    """Make a function of what Stage I has learned: all attributes of a fit."""
    inverse = None
    if memory.missing == "new":
        inverse = run_completion(
            told.distinct, told.totals, memory.random_state, device, told.unit
        )

    def attributes(learned):
        damage_model = learn_damage_model(
            settings, learned, told.distinct, told.totals, told.queries, device
        )
        found = _attributes(told.X, told.weights, learned, damage_model, inverse)
        index = fit_index(memory, told.X, found, learned, device)
        separation = fit_separation(memory, found, told.distinct, device)
        return found | separation | {"index_": index, "stream_": {}}

    return attributes


def columns(X) -> dict:
    """Say of rows without column names what `validate_data` would."""
    return {"n_features_in_": X.shape[1], "feature_names_in_": None}


def followed_attributes(memory, new, device) -> dict:
    """Attributes of a fitted memory that keeps what it is to keep of a stream.

    `new` is as for `skuhop.fitting.streams.followed`, whose values are none here.
    """
    no_values = memory.patterns_[:, :0]
    stock, stream = followed(memory, no_values, pattern_keys, device, new)
    X, _, weights, _ = stock
    learned = Learned(
        memory.feature_map_state_,
        memory.alignment_,
        memory.loss_curve_,
        memory.validation_scores_,
        memory.selection_,
    )
    found = _attributes(
        X,
        None if (weights == 1).all() else weights,
        learned,
        memory.damage_model_,
        memory.inverse_noise_variance_,
    )
    index = fit_index(memory, X, found, learned, device)
    return found | {"index_": index, "stream_": stream}


def _attributes(X, weights, learned, damage_model, inverse_noise_variance) -> dict:
    """Fitted attributes, from what is stored and what was learned."""
    attributes = {
        "patterns_": X,
        "sample_weight_": weights,
        "mean_": mean_row(X, weights),
        "unit_": unit_of(X),
        "feature_map_state_": learned.state,
        "alignment_": learned.alignment,
        "loss_curve_": learned.loss_curve,
        "loss_": learned.loss_curve[-1] if learned.loss_curve else float("nan"),
        # scikit-learn wants at least one iteration of whatever has a max_iter.
        "n_iter_": max(1, len(learned.loss_curve)),
        "validation_scores_": learned.validation_scores,
        "selection_": learned.selection,
        "damage_model_": damage_model,
        "inverse_noise_variance_": inverse_noise_variance,
    }
    if "components" in learned.state:
        attributes["components_"] = learned.state["components"]
    return attributes
