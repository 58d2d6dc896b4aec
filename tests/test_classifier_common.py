"""scikit-learn's estimator checks for the classifier; none may fail."""

from itertools import cycle

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


MAPS = (*MEMBER_MAPS, "identity", SmallNetwork)


def grid():
    """Every entry of every table; with each separation another map and similarity."""
    others = zip(cycle(MAPS), cycle(SIMILARITIES), strict=False)
    for separation, (feature_map, similarity) in zip(SEPARATIONS, others, strict=False):
        yield {
            "separation": separation,
            "feature_map": feature_map,
            "similarity": similarity,
        }
    for loss in LOSSES:
        yield {"loss": loss, "feature_map": "linear", "n_components": 2}
    yield {"feature_map": "linear", "beta": 8.0}


QUICK = {"max_iter": 3, "n_folds": 2}


@parametrize_with_checks(
    [UHopClassifier(), *(UHopClassifier(**QUICK, **params) for params in grid())]
)
def test_estimator_checks(estimator, check):
    check(estimator)


@pytest.mark.parametrize(
    "name, table",
    [
        ("separation", SEPARATIONS),
        ("similarity", SIMILARITIES),
        ("feature_map", MAPS),
        ("loss", LOSSES),
    ],
)
def test_grid_covers_the_tables(name, table):
    assert {params[name] for params in grid() if name in params} >= set(table)
