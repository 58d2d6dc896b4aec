"""Choices with numbers of their own: shorthand, search, copies, few parameters."""

import copy
import inspect
import pickle

import numpy as np
import pytest
import skops.io
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skuhop import (
    CrossFitting,
    Entmax,
    Index,
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
from skuhop.choices import Choice, NamedSeparation, numbers_of
from skuhop.metrics import StoredPatterns, retrieval_scorer
from skuhop.retrieval import SEPARATIONS

RNG = np.random.default_rng(0)
X = RNG.normal(size=(30, 6))
Y = (X[:, 0] > 0).astype(int)
QUERIES = X + 0.3 * RNG.normal(size=X.shape)
CHANGED = [
    Entmax(1.2),
    Normmax(3.0),
    KSubsets(3),
    Polynomial(2),
    Updates(3, tol=1e-2, answer="l2"),
    Index("ivf", tol=0.1, tail="sample"),
    Retention("fifo", max_patterns=5, decay=0.9),
    Training(learning_rate=0.1, tol=0.1, early_stopping=False, n_iter_no_change=2),
    CrossFitting(n_folds=2, learning_rate=0.1, weight_decay=0.1, batch_size=8),
    LogLoss(0.2),
]
every_choice = pytest.mark.parametrize("choice", CHANGED, ids=repr)
SHORTHAND = [
    ("separation", "entmax", Entmax()),
    ("separation", "normmax", Normmax()),
    ("separation", "ksubsets", KSubsets()),
    ("separation", "polynomial", Polynomial()),
    ("update_steps", 3, Updates(3)),
    ("index", "auto", Index()),
    ("retention", "fifo", Retention("fifo")),
    ("training", None, Training()),
]


def quick(**params):
    default = {"similarity": "dot", "beta": 1.0, "max_iter": 3, "random_state": 0}
    return UHopMemory(**default | params)


@pytest.mark.parametrize(
    "kind, most", [(UHopMemory, 18), (UHopClassifier, 16), (UHopRegressor, 16)]
)
def test_there_are_few_parameters(kind, most):
    parameters = inspect.signature(kind).parameters
    assert len(parameters) <= most
    # Nor is a parameter there that belongs to a choice.
    numbers = {name for choice in CHANGED for name in vars(choice)}
    assert not numbers & set(parameters)


def test_every_choice_is_tried_here():
    assert {type(choice) for choice in CHANGED} == {
        kind for kind in _below(Choice) if not kind.__subclasses__()
    }


def _below(kind):
    return {kind}.union(*map(_below, kind.__subclasses__()))


def test_defaults_are_those_of_the_names():
    objects = {kind.name: kind() for kind in NamedSeparation.__subclasses__()}
    defaults = {name: row.defaults for name, row in SEPARATIONS.items() if row.defaults}
    assert {name: numbers_of(choice) for name, choice in objects.items()} == defaults


@pytest.mark.parametrize("name, shorthand, choice", SHORTHAND)
def test_shorthand_is_the_object_with_its_defaults(name, shorthand, choice):
    short, long = (
        quick(**{name: value}).partial_fit(X[:20]).partial_fit(X[20:])
        for value in (shorthand, choice)
    )
    np.testing.assert_array_equal(short.transform(QUERIES), long.transform(QUERIES))


@pytest.mark.parametrize("kind", [UHopClassifier, UHopRegressor])
def test_shorthand_of_what_classifier_and_regressor_learn_by(kind):
    choices = {"training": CrossFitting()}
    choices |= {"loss": LogLoss()} if kind is UHopClassifier else {}
    short, long = (
        kind(max_iter=3, random_state=0, **params).fit(X, Y) for params in ({}, choices)
    )
    assert short.loss_curve_ == long.loss_curve_
    np.testing.assert_array_equal(short.predict(QUERIES), long.predict(QUERIES))


@pytest.mark.parametrize("n_folds", [2, 3])
def test_numbers_reach_stage_one(n_folds):
    classifier = UHopClassifier("linear", max_iter=3, random_state=0)
    classifier.set_params(training__n_folds=n_folds).fit(X, Y)
    assert len(classifier.kernels_[0]["betas"]) == n_folds
    smooth = clone(classifier).set_params(loss__label_smoothing=0.5).fit(X, Y)
    assert smooth.loss_curve_ != classifier.loss_curve_


@every_choice
def test_choices_are_values(choice):
    for again in (
        clone(choice),
        copy.deepcopy(choice),
        pickle.loads(pickle.dumps(choice)),
        eval(repr(choice)),
    ):
        assert again == choice
        assert again is not choice
    assert choice != type(choice)()
    assert choice not in ("entmax", None, 3)
    assert [other for other in CHANGED if other == choice] == [choice]


@every_choice
def test_numbers_are_parameters(choice):
    for name, value in numbers_of(choice).items():
        changed = type(choice)().set_params(**{name: value})
        assert changed.get_params()[name] == value


def test_a_search_reaches_numbers_from_shorthand_and_objects():
    grid = [
        {"separation": ["entmax"], "separation__alpha": [1.2, 2.0]},
        {"separation": [KSubsets(), KSubsets(3)], "training__learning_rate": [0.1]},
        {"update_steps__steps": [1, 3], "update_steps__answer": ["l2"]},
    ]
    search = GridSearchCV(
        quick(), grid, scoring=retrieval_scorer("noise"), cv=StoredPatterns()
    ).fit(X)
    scores = search.cv_results_["mean_test_score"]
    assert len(scores) == 6
    assert len(np.unique(scores)) == 6
    for params, score in zip(search.cv_results_["params"], scores, strict=True):
        alone = quick().set_params(
            **{k: clone(v, safe=False) for k, v in params.items()}
        )
        assert retrieval_scorer("noise")(alone.fit(X), X) == score


@pytest.mark.parametrize("kind", [UHopClassifier, UHopRegressor])
def test_a_search_through_a_pipeline(kind):
    name = kind.__name__.lower()
    model = make_pipeline(StandardScaler(), kind("linear", max_iter=3, random_state=0))
    grid = {f"{name}__training__n_folds": [2, 3], f"{name}__separation": [Entmax(1.3)]}
    search = GridSearchCV(model, grid, cv=2).fit(X, Y)
    best = search.best_estimator_[-1]
    assert best.training == CrossFitting(n_folds=search.best_params_[next(iter(grid))])
    assert best.separation == Entmax(1.3)


def test_copies_of_an_estimator_have_choices_of_their_own():
    memory = quick(separation=Entmax(1.2))
    for again in (clone(memory), copy.deepcopy(memory)):
        again.set_params(separation__alpha=1.9)
        assert memory.separation == Entmax(1.2)


def test_setting_a_number_of_shorthand_leaves_the_other_numbers():
    memory = quick(retention="fifo").set_params(retention__max_patterns=4)
    assert memory.retention == Retention("fifo", max_patterns=4)
    memory.set_params(separation=KSubsets(5), separation__k=4)
    assert memory.separation == KSubsets(4)


def test_fit_changes_no_choice():
    choices = {"separation": Entmax("auto"), "retention": Retention(max_patterns=9)}
    memory = quick(**choices).partial_fit(X).partial_fit(X)
    assert memory.separation == Entmax("auto")
    assert memory.retention == Retention(max_patterns=9)
    assert memory.separation is choices["separation"]


def test_skops_asks_for_the_choices_of_a_file():
    memory = quick(separation=Entmax(1.2), training=Training(tol=0.1)).fit(X)
    data = skops.io.dumps(memory)
    types = skops.io.get_untrusted_types(data=data)
    assert set(types) == {
        "skuhop.estimators.memory.UHopMemory",
        "skuhop.choices.question_choices.Entmax",
        "skuhop.choices.fit_choices.Training",
    }
    again = skops.io.loads(data, trusted=types)
    assert again.separation == memory.separation
    np.testing.assert_array_equal(again.transform(QUERIES), memory.transform(QUERIES))


def test_a_file_older_than_a_number():
    older = Retention.__new__(Retention)
    older.__setstate__({"rule": "fifo", "max_patterns": 5})
    assert older == Retention("fifo", max_patterns=5)


def test_what_is_printed_is_what_was_said():
    memory = UHopMemory(separation=Entmax(alpha=1.2), index=Index("ivf"))
    assert repr(memory) == (
        "UHopMemory(index=Index(kind='ivf'), separation=Entmax(alpha=1.2))"
    )
    assert "Entmax" in memory._repr_html_()
