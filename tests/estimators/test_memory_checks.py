"""scikit-learn's estimator checks over a grid of parameters; none may fail."""

import pytest
import torch
from sklearn.utils.estimator_checks import parametrize_with_checks

from skuhop import Entmax, Retention, UHopMemory, Updates
from skuhop.answering.precision import PRODUCTS
from skuhop.choices import name_of, numbers_of
from skuhop.learning import CORRUPTIONS, FEATURE_MAPS, LOSSES
from skuhop.retention import RETENTION
from skuhop.retrieval import SEPARATIONS, SIMILARITIES
from skuhop.retrieval.read_outs import READ_OUTS


class SmallModule(torch.nn.Sequential):
    """A feature map that a user might write; a class, so that its name is stable."""

    def __init__(self, n_features):
        super().__init__(torch.nn.Linear(n_features, 3), torch.nn.Tanh())


def grid():
    """One axis at a time around the defaults, each axis read from its table."""
    yield {}
    for separation in SEPARATIONS:
        yield {"separation": separation}
        yield {"separation": separation, "similarity": "dot"}
        yield {"separation": separation, "similarity": "manhattan"}
    for similarity in ("auto", *SIMILARITIES):
        yield {"similarity": similarity, "beta": "auto"}
        yield {"similarity": similarity, "beta": 2.0}
    for loss in (*LOSSES, "posterior"):
        yield {"loss": loss}
    told = {"loss": "posterior", "similarity": "euclidean"}
    for corruption in CORRUPTIONS:
        yield {"corruption": corruption, **told}
    yield {"corruption": "mask"}  # From which "auto" learns, which takes its time.
    for feature_map in (*FEATURE_MAPS, "identity", SmallModule):
        yield {"feature_map": feature_map}
    for answer in READ_OUTS:
        yield {"update_steps": Updates(answer=answer)}
    yield {"separation": Entmax(alpha="auto")}
    yield {"update_steps": 3}
    yield {"n_components": 2}
    for retention in RETENTION:
        yield {"retention": Retention(retention, max_patterns=5, decay=0.9)}
    for precision in PRODUCTS:
        yield {"precision": precision, "similarity": "euclidean", "beta": 2.0}


def instances(cls):
    """Every distinct estimator of the grid."""
    made = (cls(max_iter=3).set_params(**params) for params in grid())
    return list({repr(instance): instance for instance in made}.values())


# scikit-learn 1.6 hands over a generator, of which pytest 9 warns.
_CHECKS = parametrize_with_checks(instances(UHopMemory))


@pytest.mark.parametrize(
    _CHECKS.args[0], list(_CHECKS.args[1]), ids=_CHECKS.kwargs["ids"]
)
def test_estimator_checks(estimator, check):
    check(estimator)


def test_grid_covers_the_tables():
    grids = list(grid())
    for name, table in (
        ("separation", SEPARATIONS),
        ("similarity", SIMILARITIES),
        ("loss", LOSSES),
        ("feature_map", FEATURE_MAPS),
        ("corruption", CORRUPTIONS),
    ):
        chosen = {name_of(params[name]) for params in grids if name in params}
        assert chosen >= set(table)
    for name, number, table in (
        ("update_steps", "answer", READ_OUTS),
        ("retention", "rule", RETENTION),
    ):
        chosen = [numbers_of(params[name]) for params in grids if name in params]
        assert {numbers.get(number) for numbers in chosen} >= set(table)
