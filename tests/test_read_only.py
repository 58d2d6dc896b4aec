"""Fitted arrays may be read-only, as those of a file that is mapped are."""

import copy

import joblib
import numpy as np
import pytest
import torch
from sklearn.base import clone

from skuhop import (
    CrossFitting,
    Entmax,
    KanervaMemory,
    UHopClassifier,
    UHopMemory,
    UHopRegressor,
)

RNG = np.random.RandomState(0)
X = RNG.randn(20, 9)
Y = X[:, 0] + np.sin(3 * X[:, 1])
WEIGHTS = RNG.randint(1, 4, size=20)
QUERIES = X[:5] + 0.1
GAPS = np.where(RNG.rand(5, 9) < 0.2, np.nan, QUERIES)


class Module(torch.nn.Sequential):
    def __init__(self, n_features):
        super().__init__(torch.nn.Linear(n_features, 4), torch.nn.BatchNorm1d(4))


SHORT = {"max_iter": 2, "random_state": 0}
MEMORIES = {
    "default": {},
    "posterior": {"loss": "posterior", "corruption": "mask"},
    "mlp": {"feature_map": "mlp", "similarity": "cosine", "beta": 2.0},
    "module": {"feature_map": Module, "similarity": "euclidean"},
    "told": {"corruption": "both", "feature_map": "identity"},
    "few features": {"feature_map": "identity"},
    "entmax": {"separation": Entmax(alpha="auto")},
}
VALUES = {
    "default": {},
    "mlp": {"feature_map": "mlp"},
    "linear": {"feature_map": "linear", "training__linear_share": 0.5},
    "module": {"feature_map": Module},
    "identity": {"feature_map": "identity"},
}
CASES = {
    **{f"memory, {name}": UHopMemory(**SHORT, **v) for name, v in MEMORIES.items()},
    **{
        f"{kind.__name__}, {name}": kind(
            training=CrossFitting(n_folds=2), **SHORT
        ).set_params(**v)
        for kind in (UHopClassifier, UHopRegressor)
        for name, v in VALUES.items()
    },
    "Kanerva": KanervaMemory(6, random_state=0),
    "Kanerva, fourier": KanervaMemory(6, addressing="fourier", random_state=0),
}
QUESTIONS = (
    "transform",
    "predict",
    "predict_proba",
    "association",
    "energy",
    "address",
)


def values_for(estimator):
    labels = (Y > 0).astype(int)
    return {UHopClassifier: (labels,), UHopRegressor: (Y,)}.get(type(estimator), ())


def fitted(case):
    rows = X[:, :3] if "few" in case else X
    estimator = clone(CASES[case])
    more = {"queries": rows[::-1] + 0.1} if case == "memory, default" else {}
    values = values_for(estimator)
    return estimator.fit(rows, *values, sample_weight=WEIGHTS, **more)


def answers(estimator):
    queries = [Q[:, : estimator.n_features_in_] for Q in (QUERIES, GAPS)]
    if isinstance(estimator, KanervaMemory):
        queries = queries[:1]
    return [
        np.asarray(getattr(estimator, name)(Q.astype(dtype)))
        for name in QUESTIONS
        if hasattr(estimator, name)
        for Q in queries
        for dtype in ("f4", "f8")
    ]


def mapped(estimator, path):
    joblib.dump(estimator, path / "file")
    return joblib.load(path / "file", mmap_mode="r")


def locked(estimator, path):
    """A copy whose arrays, however deep, are all read-only."""
    estimator = copy.deepcopy(estimator)
    nests = [vars(estimator)]
    while nests:
        nest = nests.pop()
        for value in nest.values() if isinstance(nest, dict) else nest:
            if isinstance(value, np.ndarray):
                value.flags.writeable = False
            elif isinstance(value, (dict, list, tuple)):
                nests.append(value)
    return estimator


@pytest.mark.parametrize("case", CASES)
def test_read_only_arrays(case, tmp_path):
    """Warnings are errors here, and torch warns of arrays that it may not write to."""
    estimator = fitted(case)
    expected, copies = answers(estimator), [mapped(estimator, tmp_path)]
    copies.append(locked(estimator, tmp_path))
    rows = X[:3, : estimator.n_features_in_] + 1
    values = [v[:3] for v in values_for(estimator)]
    later = answers(estimator.partial_fit(rows, *values))
    for memory in copies:
        for one, other in zip(answers(memory), expected, strict=True):
            np.testing.assert_array_equal(one, other)
        memory.partial_fit(rows, *values)
        for one, other in zip(answers(memory), later, strict=True):
            np.testing.assert_array_equal(one, other)
    if hasattr(memory, "warm_start"):
        memory.set_params(warm_start=True)
        memory.fit(X[:, : estimator.n_features_in_], *values_for(memory))
