"""An index of the keys of a large memory, as fitted state."""

from __future__ import annotations

import warnings

import numpy as np
from sklearn.utils.random import sample_without_replacement

from skuhop.answering import build_index, wanted
from skuhop.choices import Index
from skuhop.learning import kept_kind, restore
from skuhop.retrieval import N_DRAWS, build_scorer
from skuhop.support import to_tensor


def fit_index(estimator, X, attributes, learned, device) -> dict:
    """Build an index of the keys as fitted state; empty if none is wanted."""
    rule = estimator.similarity
    kind = None if estimator.index is None else Index.of(estimator.index).kind
    index = wanted(kind, rule, len(X))
    if index is None:
        return {}
    unit = attributes["unit_"]
    patterns = to_tensor(X / unit, device)
    kind = kept_kind(estimator.feature_map, learned.selection)
    feature_map = restore(kind, learned.state, learned.alignment, patterns, unit)
    mean = to_tensor(attributes["mean_"] / unit, device)
    scorer = build_scorer(rule, 1.0, patterns, mean, None, feature_map)
    state = build_index(index, scorer)
    if state is None:
        warnings.warn(
            f"index={index!r} loses neighbours of these patterns however it is built: "
            "queries are compared with all of them instead.",
            UserWarning,
            stacklevel=2,
        )
        return {"refused": index}
    draws = sample_without_replacement(
        len(X), min(N_DRAWS, len(X)), random_state=estimator.random_state
    )
    return {
        "similarity": rule,
        "kind": index,
        "bytes": state,
        "tail": np.sort(draws).astype(np.int64),
    }
