"""A warm start begins at the map of the last fit if its shape fits, else afresh."""

import itertools

import numpy as np
import pytest
import torch
from sklearn.base import clone

from skuhop import CrossFitting, Training, UHopClassifier, UHopMemory, UHopRegressor

RNG = np.random.RandomState(0)
TABLES = {"plain": (16, 6), "wider": (20, 9), "narrower": (12, 3), "few": (5, 6)}
DATA = {name: RNG.normal(size=shape) for name, shape in TABLES.items()}
N_CLASSES = {"plain": 2, "wider": 3, "narrower": 2, "few": 2}


def network(n_features):
    return torch.nn.Sequential(torch.nn.Linear(n_features, 4), torch.nn.Tanh())


class Factory:
    """A callable that has no hash, as one that compares its fields."""

    __hash__ = None

    def __eq__(self, other):
        return type(self) is type(other)

    def __call__(self, n_features):
        return torch.nn.Linear(n_features, 5)


LEARNED = {"max_iter": 2, "random_state": 0}
UNWATCHED = Training(early_stopping=False)
FEW = CrossFitting(n_folds=2, early_stopping=False)
FITS = {
    UHopMemory: [
        *({"feature_map": f} for f in ("linear", "mlp", "identity", network)),
        {"feature_map": Factory()},
        {"n_components": 2},
        {"feature_map": "mlp", "n_components": 2},
    ],
    UHopClassifier: [
        *({"feature_map": f} for f in ("auto", "mlp", "identity", network)),
        {"feature_map": Factory()},
        {
            "feature_map": "linear",
            "n_components": 3,
            "training": clone(FEW).set_params(n_folds=3),
        },
        {"feature_map": "periodic", "n_components": 3},
    ],
}
FITS[UHopRegressor] = FITS[UHopClassifier]


def fit(estimator, table):
    X = DATA[table]
    if isinstance(estimator, UHopMemory):
        return estimator.fit(X)
    if isinstance(estimator, UHopRegressor):
        return estimator.fit(X, X.sum(1))
    return estimator.fit(X, np.arange(len(X)) % N_CLASSES[table])


def make(kind, params, **more):
    if kind is UHopMemory:
        few = {"training": clone(UNWATCHED)}
    else:
        few = {"training": clone(FEW).set_params(linear_share=0.0)}
    # Copies: what is set inside a choice is set in every estimator that has it.
    params = {name: clone(value, safe=False) for name, value in params.items()}
    return kind(**LEARNED | few | more | params)


def learned(estimator):
    """Numbers that Stage I has learned, in one flat array."""
    if isinstance(estimator, UHopMemory):
        states = [estimator.feature_map_state_]
    else:
        states = [kernel["state"] for kernel in estimator.kernels_]
    arrays = [array.ravel() for state in states for array in state.values()]
    return np.concatenate([np.zeros(0), *arrays])


@pytest.mark.parametrize("kind", FITS)
def test_it_never_fails_and_starts_afresh_where_shapes_differ(kind):
    """From every fit to every other one: maps, widths, folds, features, classes."""
    defaults = kind().get_params()
    for one, other in itertools.pairwise([*FITS[kind], FITS[kind][0], FITS[kind][0]]):
        warm = fit(make(kind, one, warm_start=True), "plain")
        again = make(kind, other, warm_start=True).get_params(deep=False)
        warm.set_params(**defaults | again)
        fit(warm, "wider")
        expected = learned(fit(make(kind, other), "wider"))
        np.testing.assert_array_equal(learned(warm), expected, err_msg=f"{one} {other}")


@pytest.mark.parametrize("kind", FITS)
@pytest.mark.parametrize("params", range(5))
def test_every_table_after_every_other(kind, params):
    warm = make(kind, FITS[kind][params], warm_start=True)
    for table in ("plain", "narrower", "few", "plain"):
        assert np.isfinite(learned(fit(warm, table))).all()
    assert len(warm.patterns_) == len(DATA["plain"])


@pytest.mark.parametrize("kind", FITS)
@pytest.mark.parametrize("params", [0, 1, 3, 4, 5])
def test_it_goes_on_where_shapes_fit(kind, params):
    cold = fit(make(kind, FITS[kind][params]), "plain")
    warm = fit(clone(cold).set_params(warm_start=True), "plain")
    first = learned(warm)
    np.testing.assert_array_equal(first, learned(cold))
    fit(warm.set_params(training__learning_rate=1e-12), "plain")
    np.testing.assert_allclose(learned(warm), first, atol=1e-4)
    assert not np.allclose(
        learned(
            fit(
                make(kind, FITS[kind][params], max_iter=1).set_params(
                    training__learning_rate=1e-12
                ),
                "plain",
            )
        ),
        first,
        atol=1e-4,
    )
