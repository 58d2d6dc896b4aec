"""An index of the keys of a large memory, as fitted state."""

from __future__ import annotations

import warnings

import numpy as np
from sklearn.utils.random import sample_without_replacement

from skuhop.answering import FittedPatterns, build_index, index_kind
from skuhop.learning import choose_kind, restore
from skuhop.retrieval import N_DRAWS, build_scorer
from skuhop.support import to_tensor


def fit_index(record: FittedPatterns, random_state, device) -> dict:
    """Build an index of the keys as fitted state; empty if none is wanted."""
    rule, X, unit = record.parameters.similarity, record.patterns, record.unit
    index = index_kind(record.parameters.index_choice.kind, rule, len(X))
    if index is None:
        return {}
    patterns = to_tensor(X / unit, device)
    kind = choose_kind(record.parameters.feature_map, record.selection)
    state, alignment = record.feature_map_state, record.alignment
    feature_map = restore(kind, state, alignment, patterns, unit)
    mean = to_tensor(record.mean / unit, device)
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
        len(X), min(N_DRAWS, len(X)), random_state=random_state
    )
    return {
        "similarity": rule,
        "kind": index,
        "bytes": state,
        "tail": np.sort(draws).astype(np.int64),
    }
