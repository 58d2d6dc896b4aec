"""A parameter that is changed after `fit` takes effect, or is refused, or waits.

Which of them it is stands in one table. Whatever was asked before the change and is
kept in a cache, an object answers as its unpickled copy does.
"""

import inspect
import pickle
import re
from pathlib import Path

import numpy as np
import pytest
import torch

from skuhop import KanervaMemory, UHopClassifier, UHopMemory, UHopRegressor
from skuhop.estimators.parameters import (
    FIT_AGAIN,
    HETERO_EFFECTS,
    KANERVA_EFFECTS,
    MEMORY_EFFECTS,
    NEXT_CALL,
    NEXT_FIT,
)
from skuhop.exceptions import InvalidParameterError

RNG = np.random.RandomState(0)
X = RNG.normal(size=(20, 4))
Y = (X[:, 0] + 0.5 * X[:, 1] > 0).astype(int)
QUERIES = X + 0.5 * RNG.normal(size=X.shape)
HOLES = np.where(RNG.rand(*X.shape) < 0.2, np.nan, QUERIES)


def network(n_features):
    return torch.nn.Linear(n_features, n_features)


COMMON = {
    "feature_map": ["mlp", "linear", "identity", network],
    "n_components": [2],
    "loss": ["max"],
    "similarity": ["auto", "channel", "euclidean", "dot", "cosine", "correlation"],
    "separation": ["sparsemax", "entmax", "softmax1", "ksubsets", "max"],
    "separation_params": [{"alpha": 1.2}, {"alpha": "auto"}, {"k": 3}],
    "beta": [0.5, "auto"],
    "learning_rate": [0.3],
    "early_stopping": [True],
    "warm_start": [True],
    "verbose": [0],
    "max_iter": [3],
    "max_patterns": [5],
    "retention": ["fifo"],
    "decay": [0.5],
    "precision": ["bf16"],
    "device": ["cpu"],
    "random_state": [7],
}
OF_MEMORY = {
    "corruption": ["mask"],
    "missing": ["new", "copy"],
    "answer": ["l2"],
    "update_steps": [3],
    "tol": [10.0],
    "n_iter_no_change": [3],
    "index": ["auto", "ivf"],
    "index_tol": [0.5],
    "index_tail": ["sample"],
}
OF_VALUES = {
    "feature_map": ["auto", "periodic", *COMMON["feature_map"]],
    "similarity": ["auto", "euclidean", "dot"],
    "class_weight": ["balanced"],
    "n_folds": [3],
    "weight_decay": [0.1],
    "batch_size": [5],
    "label_smoothing": [0.2],
    "linear_share": [0.3, "auto"],
}
OF_SLOTS = {
    "n_slots": [3],
    "addressing": ["softmax", "fourier"],
    "beta": [0.5, "auto"],
    "alpha": [0.5],
    "corruption": ["noise"],
    "device": ["cpu"],
    "random_state": [7],
}
LEARNED = {"max_iter": 2, "early_stopping": False, "random_state": 0}
FEW = {**LEARNED, "n_folds": 2, "linear_share": 0.0}
ESTIMATORS = {
    "memory": (UHopMemory(**LEARNED), MEMORY_EFFECTS, COMMON | OF_MEMORY),
    "memory by distance": (
        UHopMemory("mlp", similarity="euclidean", separation="entmax", **LEARNED),
        MEMORY_EFFECTS,
        COMMON | OF_MEMORY,
    ),
    "memory of new rows": (
        UHopMemory("identity", similarity="dot", missing="new", beta=2.0),
        MEMORY_EFFECTS,
        COMMON | OF_MEMORY,
    ),
    "classifier": (UHopClassifier(**FEW), HETERO_EFFECTS, COMMON | OF_VALUES),
    "regressor": (
        UHopRegressor(network, separation="entmax", beta=1.0, **FEW),
        HETERO_EFFECTS,
        COMMON | OF_VALUES,
    ),
    "kanerva": (KanervaMemory(5, random_state=0), KANERVA_EFFECTS, OF_SLOTS),
}
CASES = [
    (name, parameter, value)
    for name, (estimator, _, values) in ESTIMATORS.items()
    for parameter in estimator.get_params()
    for value in values[parameter]
    if value is not estimator.get_params()[parameter]
]
_FITTED: dict = {}


def fitted(name):
    """A fitted estimator, a copy of its own for every test."""
    if name not in _FITTED:
        _FITTED[name] = pickle.dumps(
            type(ESTIMATORS[name][0])(**ESTIMATORS[name][0].get_params(deep=False)).fit(
                X, Y
            )
        )
    return pickle.loads(_FITTED[name])


def answers(estimator):
    """Answers to complete queries and to others, or the error there is instead."""
    found = []
    for queries in (QUERIES, HOLES, QUERIES.astype("f4")):
        for method in ("transform", "predict", "predict_proba", "association"):
            try:
                found.append(getattr(estimator, method)(queries))
            except (AttributeError, ValueError) as error:
                found.append(f"{type(error).__name__}: {error}")
    return found


def assert_same(found, expected):
    for one, other in zip(found, expected, strict=True):
        if isinstance(one, str) or isinstance(other, str):
            assert one == other
        else:
            np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("name", ESTIMATORS)
def test_every_parameter_has_a_row(name):
    estimator, effects, values = ESTIMATORS[name]
    parameters = inspect.signature(type(estimator)).parameters
    assert set(parameters) <= set(effects) and set(parameters) <= set(values)
    assert set(effects.values()) <= {NEXT_FIT, NEXT_CALL, FIT_AGAIN}


def name_case(part):
    """Name a part of a case, the same in every process."""
    return getattr(part, "__name__", str(part))


@pytest.mark.parametrize("name, parameter, value", CASES, ids=name_case)
def test_an_object_answers_as_its_unpickled_copy(name, parameter, value):
    estimator = fitted(name)
    before = answers(estimator)
    estimator.set_params(**{parameter: value})
    found = answers(estimator)
    assert_same(found, answers(pickle.loads(pickle.dumps(estimator))))
    effect = ESTIMATORS[name][1][parameter]
    if effect == NEXT_FIT:
        assert_same(found, before)
    if effect == FIT_AGAIN:
        asked = [one for one in found if "has no attribute" not in str(one)]
        assert all(f"{parameter}=" in one and "fit again" in one for one in asked)
    estimator.set_params(**{parameter: ESTIMATORS[name][0].get_params()[parameter]})
    assert_same(answers(estimator), before)


@pytest.mark.parametrize("name", ESTIMATORS)
def test_what_fit_has_settled_holds_for_more_rows_too(name):
    estimator, effects, values = ESTIMATORS[name]
    for parameter in (p for p in estimator.get_params() if effects[p] == FIT_AGAIN):
        changed, now = fitted(name), getattr(estimator, parameter)
        other = next(v for v in values[parameter] if v != now)
        changed.set_params(**{parameter: other})
        with pytest.raises(InvalidParameterError, match="fit again"):
            changed.partial_fit(X, Y)
        changed.fit(X, Y).partial_fit(X, Y)


def test_a_dict_that_is_changed_in_place_takes_effect():
    memory = UHopMemory("identity", similarity="euclidean", separation="entmax")
    memory.set_params(separation_params={"alpha": 1.1}).fit(X)
    before = memory.transform(QUERIES)
    memory.separation_params["alpha"] = 2.0
    found = memory.transform(QUERIES)
    assert not np.allclose(found, before)
    expected = pickle.loads(pickle.dumps(memory)).transform(QUERIES)
    np.testing.assert_array_equal(found, expected)


def test_the_user_guide_has_the_same_table():
    guide = Path(__file__).parents[1] / "doc" / "user_guide.md"
    table = guide.read_text().split("## Parameters after fit")[1].split("\n## ")[0]
    rows = [line.split("|")[2:5] for line in table.splitlines() if line[:1] == "|"]
    for column, effects in enumerate((MEMORY_EFFECTS, HETERO_EFFECTS, KANERVA_EFFECTS)):
        for effect, row in ((NEXT_CALL, rows[2]), (FIT_AGAIN, rows[3])):
            expected = {name for name, its in effects.items() if its == effect}
            assert set(re.findall("`(.+?)`", row[column])) == expected
