"""What a memory stores: rows checked and learned from, as the record of Stage II."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from sklearn.utils.validation import check_array

from skuhop.answering import (
    FittedPatterns,
    RecallParameters,
    check_incomplete,
    thin_index,
)
from skuhop.fitting.damage_model import learn_damage_model
from skuhop.fitting.feature_map import StageOne
from skuhop.fitting.index_of_keys import fit_index
from skuhop.fitting.sparsity import SeparationInUse, choose_separation
from skuhop.learning import Learned
from skuhop.support import (
    DTYPES,
    check_columns,
    check_weights,
    distinct_rows,
    fill_means,
    has_nan,
    mean_row,
    positive_rows,
    unit_of,
)


class GivenRows(NamedTuple):
    """What `fit` of a memory is given, checked.

    Attributes
    ----------
    X : ndarray of shape (M, d)
        Rows to store: those of positive weight; NaN where unknown.
    weights : ndarray of shape (M,) or None
        Their weights; None if all are one.
    queries : ndarray of shape (n, d) or None
        Damaged rows without NaN, to learn from.
    distinct : ndarray of shape (m, d)
        The distinct ones of X, with means for NaN, divided by the unit: on these Stage
        I works.
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


def check_given_rows(owner: str, X, sample_weight, queries, corruption) -> GivenRows:
    """Check what `fit` of a memory is given.

    Raises
    ------
    ValueError
        If it cannot be stored or learned from.
    """
    check_columns(X, queries)
    X = check_array(
        X,
        dtype=DTYPES,
        order="C",
        copy=True,
        ensure_all_finite="allow-nan",
        estimator=owner,
        input_name="X",
    )
    X, _, weights = positive_rows(X, X, check_weights(sample_weight, X))
    queries = _check_shown_queries(owner, queries, X, corruption)
    completed = fill_means(X, mean_row(X, weights)) if has_nan(X) else X
    distinct, totals, _ = distinct_rows(completed, weights)
    unit = unit_of(X)
    return GivenRows(X, weights, queries, distinct / unit, totals, unit)


def _check_shown_queries(owner, queries, X, corruption):
    """Check the queries that `fit` learns from; None if there are none."""
    if queries is None:
        return None
    if corruption is not None:
        raise ValueError(
            "fit takes queries or the parameter corruption, not both: got "
            f"corruption={corruption!r} and queries."
        )
    queries = check_array(
        queries,
        dtype=X.dtype,
        order="C",
        ensure_all_finite="allow-nan",
        estimator=owner,
        input_name="queries",
    )
    if queries.shape[1] != X.shape[1]:
        raise ValueError(
            f"queries must have the {X.shape[1]} features of X; got {queries.shape[1]}."
        )
    return queries[~np.isnan(queries).any(axis=1)]


class FitOfPatterns(NamedTuple):
    """What `fit` of a memory comes to.

    Attributes
    ----------
    learned : Learned
        The feature map.
    record : FittedPatterns
        What Stage II will read, the index with it.
    separation : SeparationInUse
    """

    learned: Learned
    record: FittedPatterns
    separation: SeparationInUse


def finish_fit(
    parameters: RecallParameters,
    given: GivenRows,
    settings: StageOne,
    device,
    learned: Learned,
) -> FitOfPatterns:
    """Learn all that hangs on the feature map: damage, an index, how sparse."""
    is_auto = settings.similarity == "auto"
    if has_nan(given.X):
        lessons = settings.corruption, given.queries
        taught = any(lesson is not None for lesson in lessons)
        check_incomplete(parameters, is_auto and taught)
        damage_model = {"rule": "euclidean"} if is_auto else {}
    else:
        damage_model = learn_damage_model(
            settings, learned, given.distinct, given.totals, given.queries, device
        )
    record = FittedPatterns(
        parameters,
        given.X,
        given.weights,
        mean_row(given.X, given.weights),
        given.unit,
        learned.state,
        learned.alignment,
        learned.selection,
        damage_model,
        built_index={},
    )
    record = record._replace(
        built_index=fit_index(record, settings.random_state, device)
    )
    separation = choose_separation(record, settings, given.distinct, device)
    return FitOfPatterns(learned, record, separation)


def store_others(
    record: FittedPatterns, patterns, weights, random_state, device
) -> FittedPatterns:
    """Record of a memory that stores other rows under what it has learned."""
    weights = None if (weights == 1).all() else weights
    if has_nan(patterns):
        check_incomplete(record.parameters, record.is_taught)
    record = record._replace(
        patterns=patterns,
        weights=weights,
        mean=mean_row(patterns, weights),
        unit=unit_of(patterns),
    )
    return record._replace(built_index=fit_index(record, random_state, device))


def store_fewer(
    record: FittedPatterns, rows, weights, random_state, device
) -> FittedPatterns:
    """Record of a memory that stores some of its rows alone, at rising positions.

    An index is built anew where most of it has gone; without a device there is none.
    """
    refused = {"refused": record.parameters.index_choice.kind}
    patterns = record.patterns[rows]
    weights = None if weights is None or (weights == 1).all() else weights
    n_patterns, built = len(record.patterns), record.built_index
    record = record._replace(
        patterns=patterns,
        weights=weights,
        mean=mean_row(patterns, weights),
        unit=unit_of(patterns),
        built_index={},
    )
    index = thin_index(built, rows, n_patterns)
    if index is None:
        rebuilds = device is not None and built != refused
        index = fit_index(record, random_state, device) if rebuilds else refused
    return record._replace(built_index=index)
