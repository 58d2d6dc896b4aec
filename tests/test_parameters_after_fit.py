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
from sklearn.base import clone

from skuhop import (
    CrossFitting,
    Entmax,
    Index,
    KanervaMemory,
    KSubsets,
    LogLoss,
    Normmax,
    Polynomial,
    Retention,
    Training,
    UHopClassifier,
    UHopMemory,
    UHopRegressor,
    Updates,
)
from skuhop.estimators.parameters import (
    CLASSIFIER_RULES,
    FIT_AGAIN,
    HETERO_EFFECTS,
    KANERVA_EFFECTS,
    MEMORY_EFFECTS,
    MEMORY_RULES,
    NEXT_CALL,
    NEXT_FIT,
    REGRESSOR_RULES,
    SHARDED_EFFECTS,
)
from skuhop.exceptions import InvalidParameterError

RNG = np.random.RandomState(0)
X = RNG.normal(size=(20, 4))
Y = (X[:, 0] + 0.5 * X[:, 1] > 0).astype(int)
QUERIES = X + 0.5 * RNG.normal(size=X.shape)
HOLES = np.where(RNG.rand(*X.shape) < 0.2, np.nan, QUERIES)


def network(n_features):
    return torch.nn.Linear(n_features, n_features)


OBJECTS = [Entmax(1.2), Entmax("auto"), KSubsets(3), Normmax(3), Polynomial(2)]
NUMBERS = {"alpha": [1.2, "auto"], "k": [3], "gamma": [3.0], "degree": [2]}
COMMON = {
    "feature_map": ["mlp", "linear", "identity", network],
    "n_components": [2],
    "loss": ["max"],
    "similarity": ["auto", "euclidean", "dot", "cosine", "correlation"],
    "separation": ["sparsemax", "entmax", "softmax1", "max", *OBJECTS],
    **{f"separation__{name}": values for name, values in NUMBERS.items()},
    "beta": [0.5, "auto"],
    "training__learning_rate": [0.3],
    "training__early_stopping": [True],
    "warm_start": [True],
    "verbose": [0],
    "max_iter": [3],
    "retention": ["fifo", Retention("fifo", max_patterns=5)],
    "retention__rule": ["reservoir"],
    "retention__max_patterns": [5],
    "retention__decay": [0.5],
    "precision": ["bf16"],
    "device": ["cpu"],
    "random_state": [7],
}
OF_MEMORY = {
    "categorical_features": [None],
    "corruption": ["mask"],
    "update_steps": [3, Updates(3, tol=10.0)],
    "update_steps__steps": [3],
    "update_steps__tol": [10.0],
    "update_steps__answer": ["l2"],
    "training": [None],
    "training__tol": [0.1],
    "training__n_iter_no_change": [3],
    "index": [None, "auto", "ivf"],
    "index__kind": ["ivf"],
    "index__tol": [0.5],
    "index__tail": ["sample"],
}
OF_VALUES = {
    "feature_map": ["auto", "periodic", *COMMON["feature_map"]],
    "similarity": ["auto", "euclidean", "dot"],
    "class_weight": ["balanced"],
    "training": [None],
    "training__n_folds": [3],
    "training__weight_decay": [0.1],
    "training__batch_size": [5],
    "loss__label_smoothing": [0.2],
    "training__linear_share": [0.3],
    "categorical_features": [None],
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
KEPT = Retention("merge")
LEARNED = {"max_iter": 2, "retention": KEPT, "random_state": 0}
FEW = {**LEARNED}
FEW["training"] = CrossFitting(n_folds=2, early_stopping=False, linear_share=0.0)
LEARNED |= {
    "training": Training(early_stopping=False),
    "update_steps": Updates(),
    "index": Index("auto"),
}
ESTIMATORS = {
    "memory": (UHopMemory(**LEARNED), MEMORY_EFFECTS, COMMON | OF_MEMORY),
    "memory by distance": (
        UHopMemory("mlp", similarity="euclidean", separation=Entmax(), **LEARNED),
        MEMORY_EFFECTS,
        COMMON | OF_MEMORY,
    ),
    "memory of few": (
        UHopMemory("identity", similarity="dot", separation=KSubsets(), beta=1.0),
        MEMORY_EFFECTS,
        COMMON | OF_MEMORY,
    ),
    "memory of powers": (
        UHopMemory("identity", similarity="dot", separation=Polynomial(), beta=1.0),
        MEMORY_EFFECTS,
        COMMON | OF_MEMORY,
    ),
    "classifier": (
        UHopClassifier(loss=LogLoss(), **FEW),
        HETERO_EFFECTS,
        COMMON | OF_VALUES,
    ),
    "regressor": (
        UHopRegressor(network, separation=Normmax(), beta=1.0, **FEW),
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
        _FITTED[name] = pickle.dumps(clone(ESTIMATORS[name][0]).fit(X, Y))
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
    assert set(parameters) <= set(effects)
    assert set(parameters) <= set(values)
    assert set(getattr(estimator, "_rules", {})) <= set(values)
    assert set(effects.values()) <= {NEXT_FIT, NEXT_CALL, FIT_AGAIN}


def name_case(part):
    """Name a part of a case, the same in every process."""
    return getattr(part, "__name__", str(part))


@pytest.mark.thin(2)
@pytest.mark.parametrize("name, parameter, value", CASES, ids=name_case)
def test_an_object_answers_as_its_unpickled_copy(name, parameter, value):
    estimator = fitted(name)
    before = answers(estimator)
    estimator.set_params(**{parameter: value})
    found = answers(estimator)
    assert_same(found, answers(pickle.loads(pickle.dumps(estimator))))
    effect = ESTIMATORS[name][1][parameter.partition("__")[0]]
    if effect == NEXT_FIT:
        assert_same(found, before)
    if effect == FIT_AGAIN:
        asked = [one for one in found if "has no attribute" not in str(one)]
        assert all(f"{parameter}=" in one and "fit again" in one for one in asked)
    estimator.set_params(**{parameter: ESTIMATORS[name][0].get_params()[parameter]})
    assert_same(answers(estimator), before)


def test_the_cases_reach_every_number_of_every_choice():
    for kind, rules in (
        ("memory", MEMORY_RULES),
        ("classifier", CLASSIFIER_RULES),
        ("regressor", REGRESSOR_RULES),
    ):
        tried = {
            parameter
            for name, parameter, _ in CASES
            if kind in name or "separation" in parameter  # It is the same for all.
        }
        assert {name for name in rules if "__" in name} <= tried


@pytest.mark.parametrize("name", ESTIMATORS)
def test_what_fit_has_settled_holds_for_more_rows_too(name):
    estimator, effects, values = ESTIMATORS[name]
    for parameter in (p for p in effects if effects[p] == FIT_AGAIN):
        changed, now = fitted(name), getattr(estimator, parameter)
        other = next(v for v in values[parameter] if v != now)
        changed.set_params(**{parameter: other})
        with pytest.raises(InvalidParameterError, match="fit again"):
            changed.partial_fit(X, Y)
        changed.fit(X, Y).partial_fit(X, Y)


def test_a_choice_that_is_changed_in_place_takes_effect():
    memory = UHopMemory("identity", similarity="euclidean", separation=Entmax(1.1))
    before = memory.fit(X).transform(QUERIES)
    memory.separation.alpha = 2.0
    found = memory.transform(QUERIES)
    assert not np.allclose(found, before)
    expected = pickle.loads(pickle.dumps(memory)).transform(QUERIES)
    np.testing.assert_array_equal(found, expected)


def test_the_user_guide_has_the_same_table():
    guide = Path(__file__).parents[1] / "doc" / "user_guide.md"
    table = guide.read_text().split("## Parameters after fit")[1].split("\n## ")[0]
    rows = [line.split("|")[2:6] for line in table.splitlines() if line[:1] == "|"]
    columns = MEMORY_EFFECTS, HETERO_EFFECTS, KANERVA_EFFECTS, SHARDED_EFFECTS
    for column, effects in enumerate(columns):
        for effect, row in ((NEXT_CALL, rows[2]), (FIT_AGAIN, rows[3])):
            expected = {name for name, its in effects.items() if its == effect}
            assert set(re.findall("`(.+?)`", row[column])) == expected
