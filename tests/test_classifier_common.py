"""scikit-learn's estimator checks for the classifier; none may fail."""

import pytest
import torch
from sklearn.utils.estimator_checks import parametrize_with_checks

from skuhop import UHopClassifier
from skuhop.learning import LOSSES
from skuhop.learning.embeddings import MEMBER_MAPS
from skuhop.retrieval import SEPARATIONS, SIMILARITIES


class SmallNetwork(torch.nn.Sequential):
    """A feature map that a user might write; a class, so that its name is stable."""

    def __init__(self, n_features):
        super().__init__(torch.nn.Linear(n_features, 3), torch.nn.Tanh())


def grid():
    """One axis at a time around the defaults, each axis read from its table."""
    for similarity in SIMILARITIES:
        yield {"similarity": similarity}
    for separation in SEPARATIONS:
        yield {"separation": separation}
        yield {"separation": separation, "similarity": "dot", "feature_map": "linear"}
    for loss in LOSSES:
        yield {"loss": loss, "feature_map": "linear"}
    for feature_map in (*MEMBER_MAPS, "identity", SmallNetwork):
        yield {"feature_map": feature_map}
    yield {"beta": 8.0}
    yield {"n_components": 2}


QUICK = {"max_iter": 10, "n_folds": 2}
INSTANCES = {repr(e): e for e in (UHopClassifier(**QUICK, **p) for p in grid())}


@parametrize_with_checks([UHopClassifier(), *INSTANCES.values()])
def test_estimator_checks(estimator, check):
    check(estimator)


@pytest.mark.parametrize(
    "name, table",
    [
        ("separation", SEPARATIONS),
        ("similarity", SIMILARITIES),
        ("feature_map", MEMBER_MAPS),
        ("loss", LOSSES),
    ],
)
def test_grid_covers_the_tables(name, table):
    assert {params[name] for params in grid() if name in params} >= set(table)
