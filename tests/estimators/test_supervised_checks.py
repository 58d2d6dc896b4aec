"""scikit-learn's estimator checks for classifier and regressor; none may fail."""

from itertools import chain, repeat

import numpy as np
import pytest
import torch
from sklearn.utils.estimator_checks import parametrize_with_checks

from skuhop import CrossFitting, Retention, UHopClassifier, UHopRegressor
from skuhop.learning import LOSSES
from skuhop.learning.members.member_maps import MEMBER_MAPS
from skuhop.retention import RETENTION
from skuhop.retrieval import SEPARATIONS, SIMILARITIES


class SmallNetwork(torch.nn.Sequential):
    """A feature map that a user might write; a class, so that its name is stable."""

    def __init__(self, n_features):
        super().__init__(torch.nn.Linear(n_features, 3), torch.nn.Tanh())


MAPS = (*MEMBER_MAPS, "identity", SmallNetwork)
LINEAR = {"feature_map": "linear", "n_components": 4, "similarity": "dot"}


ESTIMATORS = (UHopClassifier, UHopRegressor)


def grid():
    """Every entry of every table, several axes at a time: a run takes seconds."""
    losses = chain(({"loss": name} for name in LOSSES), repeat({}))
    separations = [name for name in SEPARATIONS if name != "softmax"]
    for separation, loss in zip(separations, losses, strict=False):
        yield {**LINEAR, "separation": separation, **loss}
    for similarity in SIMILARITIES:
        if similarity != "dot":
            yield {"similarity": similarity, "feature_map": "mlp"}
    for retention in RETENTION:
        kept = Retention(retention, max_patterns=5, decay=0.9)
        yield {**LINEAR, "retention": kept}
    for feature_map in ("identity", "periodic", SmallNetwork):
        yield {"feature_map": feature_map}
    yield {"precision": "bf16"}


QUICK = {"max_iter": 3, "training": CrossFitting(n_folds=2)}


@parametrize_with_checks(
    [
        estimator
        for kind in ESTIMATORS
        # The first, which is quick to learn, gets all checks in the fast suite.
        for estimator in (
            kind(**QUICK, **params)
            for params in ({"feature_map": "linear"}, {}, *grid())
        )
    ]
)
def test_estimator_checks(estimator, check):
    check(estimator)


@pytest.mark.slow
@parametrize_with_checks([kind() for kind in ESTIMATORS])
def test_estimator_checks_of_the_defaults(estimator, check):
    check(estimator)


@pytest.mark.parametrize(
    "name, table",
    [
        ("separation", SEPARATIONS),
        ("similarity", SIMILARITIES),
        ("feature_map", MAPS),
        ("loss", LOSSES),
        ("retention", RETENTION),
    ],
)
def test_grid_covers_the_tables(name, table):
    values = [params.get(name) for params in grid()]
    tried = {getattr(value, "rule", value) for value in values}
    assert all({getattr(kind(), name), *tried} >= set(table) for kind in ESTIMATORS)


@pytest.mark.parametrize("kind", ESTIMATORS)
def test_what_is_stored_is_nobody_elses(kind):
    X, weights = np.random.RandomState(0).rand(20, 3), np.arange(1.0, 21.0)
    y = np.arange(20) % 2
    estimator = kind(**QUICK).fit(X, y, sample_weight=weights)
    assert not np.shares_memory(estimator.sample_weight_, weights)
    assert not np.shares_memory(estimator.patterns_, X)
