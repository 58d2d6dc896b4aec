"""A fit that fails or is interrupted, wherever, leaves the estimator as it was."""

import inspect
import pickle
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.exceptions import NotFittedError

import skuhop
from skuhop import (
    CrossFitting,
    Entmax,
    KanervaMemory,
    Retention,
    UHopClassifier,
    UHopMemory,
    UHopRegressor,
)
from skuhop.support.checks.parameter_rules import all_or_nothing

ROOT = str(Path(skuhop.__file__).parent)
RNG = np.random.RandomState(0)
OLD, NEW = RNG.normal(size=(14, 3)), RNG.normal(size=(16, 4))
FEW = {"max_iter": 1, "training": CrossFitting(n_folds=2), "random_state": 0}
FEW["retention"] = Retention(max_patterns=10)


def network(n_features):
    return torch.nn.Sequential(torch.nn.Linear(n_features, 2), torch.nn.Dropout(0.3))


ESTIMATORS = {
    "memory": UHopMemory(
        max_iter=1, random_state=0, retention=Retention(max_patterns=10)
    ),
    "memory that learns more": UHopMemory(
        "mlp",
        separation=Entmax(alpha="auto"),
        similarity="euclidean",
        max_iter=1,
        random_state=0,
    ),
    "classifier": UHopClassifier(**FEW),
    "classifier of a network": UHopClassifier(network, **FEW),
    "regressor": UHopRegressor(**FEW),
    "kanerva": KanervaMemory(4, random_state=0),
}
N_SITES = 6
"""Calls that are interrupted in each of the methods, spread over all there are."""


def labels(X):
    return (X[:, 0] > 0).astype(int)


def fresh(name):
    one = ESTIMATORS[name]
    return type(one)(**one.get_params(deep=False))


def fitted(name):
    return fresh(name).fit(OLD, labels(OLD))


def ask(estimator):
    method = "transform" if hasattr(estimator, "transform") else "predict"
    return getattr(estimator, method)(OLD)


class Interruption:
    """Calls of the package's functions are counted, and one is interrupted."""

    def __init__(self, at=None):
        self.at, self.n_calls = at, 0

    def __call__(self, frame, event, _):
        code = frame.f_code
        # What is raised in a generator that is being closed is lost.
        if event != "call" or code.co_flags & inspect.CO_GENERATOR:
            return
        if code.co_filename.startswith(ROOT):
            self.n_calls += 1
            if self.n_calls == self.at:
                raise KeyboardInterrupt

    def __enter__(self):
        self.before = sys.getprofile()
        sys.setprofile(self)
        return self

    def __exit__(self, *_):
        sys.setprofile(self.before)


def same(one, other):
    """Whether attributes are the same objects, or new ones of equal values."""
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[k], other[k]) for k in one)
    return one is other or np.array_equal(one, other)


def sites(start, method, X):
    """Calls to interrupt in a method of what `start()` gives, first and last ones too.

    The first call is that of the method itself, before anything has happened.
    """
    for _ in range(2):  # The first time is also that of imports and caches.
        estimator = start()
        with Interruption() as all_of_them:
            getattr(estimator, method)(X, labels(X))
    return np.unique(np.linspace(2, all_of_them.n_calls, N_SITES).astype(int))


@pytest.mark.parametrize("method, X", [("fit", NEW), ("partial_fit", OLD[:8] + 1)])
@pytest.mark.parametrize("name", ESTIMATORS)
def test_a_fitted_one_stays_as_it_was(name, method, X):
    estimator = fitted(name)
    before, expected = dict(vars(estimator)), ask(estimator)
    copies = pickle.loads(pickle.dumps(before))
    for site in sites(lambda: fitted(name), method, X):
        with pytest.raises(KeyboardInterrupt), Interruption(site):
            getattr(estimator, method)(X, labels(X))
        assert vars(estimator).keys() == before.keys()
        assert all(vars(estimator)[key] is before[key] for key in before), site
    # Nor has anything been changed in place.
    assert all(same(before[key], copies[key]) for key in before if key[-1] == "_")
    np.testing.assert_array_equal(ask(estimator), expected)
    np.testing.assert_array_equal(ask(pickle.loads(pickle.dumps(estimator))), expected)


@pytest.mark.parametrize("method", ["fit", "partial_fit"])
@pytest.mark.parametrize("name", ESTIMATORS)
def test_one_that_is_not_fitted_is_so_still(name, method):
    estimator = fresh(name)
    before = dict(vars(estimator))
    for site in sites(lambda: fresh(name), method, OLD):
        with pytest.raises(KeyboardInterrupt), Interruption(site):
            getattr(estimator, method)(OLD, labels(OLD))
        assert vars(estimator) == before, site
    with pytest.raises(NotFittedError):
        ask(estimator)


@pytest.mark.parametrize("name", ESTIMATORS)
@pytest.mark.parametrize(
    "wrong", [{"sample_weight": np.zeros(16)}, {"sample_weight": -np.ones(16)}]
)
def test_data_that_are_refused_change_nothing(name, wrong):
    estimator = fitted(name)
    before, expected = dict(vars(estimator)), ask(estimator)
    with pytest.raises(ValueError, match="weight"):
        estimator.fit(NEW, labels(NEW), **wrong)
    assert all(vars(estimator)[key] is before[key] for key in before)
    np.testing.assert_array_equal(ask(estimator), expected)


def test_every_method_that_changes_an_estimator_is_decorated():
    """One mechanism for all of them, those of the future too."""
    kinds = [UHopMemory, UHopClassifier, UHopRegressor, KanervaMemory]
    kinds.append(pytest.importorskip("skuhop.distributed").ShardedMemory)
    for kind in kinds:
        for name in ("fit", "partial_fit"):
            method = getattr(kind, name, None)
            source = method and inspect.unwrap(
                method, stop=lambda f: f.__code__.co_name == "whole"
            )
            assert source is None or source.__code__.co_name == "whole", (kind, name)


def test_what_was_removed_comes_back():
    class Thing:
        @all_or_nothing
        def change(self):
            del self.a
            self.b, self.c = 3, 4
            raise KeyboardInterrupt

    thing = Thing()
    thing.a, thing.b = 1, 2
    with pytest.raises(KeyboardInterrupt):
        thing.change()
    assert vars(thing) == {"a": 1, "b": 2}
