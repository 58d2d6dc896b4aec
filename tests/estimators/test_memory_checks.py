"""scikit-learn's estimator checks over a grid of parameters; none may fail."""

from functools import partial

import numpy as np
import pytest
import torch
from sklearn.utils import get_tags
from sklearn.utils.estimator_checks import (
    estimator_checks_generator,
    parametrize_with_checks,
)

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


class StrictMemory(UHopMemory):
    """UHopMemory without the tag that hides checks where holes are refused."""

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.no_validation = False
        return tags


REFUSED = "check_estimators_nan_inf"
"""It wants NaN refused in queries as well."""


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


def names_of(checks):
    """Names of the checks among pairs of estimator and check, and the checks."""
    found = {}
    for estimator, check in checks:
        plain = check.func if isinstance(check, partial) else check
        found.setdefault(plain.__name__, []).append((estimator, check))
    return found


def hidden_checks():
    """Checks that the tag switches off, of every estimator of the grid that has it."""
    for strict in instances(StrictMemory):
        hiding = UHopMemory(**strict.get_params(deep=False))
        if not get_tags(hiding).no_validation:
            continue
        shown = names_of(estimator_checks_generator(hiding))
        for name, pairs in names_of(estimator_checks_generator(strict)).items():
            # Some run with the tag, but return early: all of them for one estimator.
            if name != REFUSED and (name not in shown or repr(strict) in ALL_FOR):
                for estimator, check in pairs:
                    yield pytest.param(estimator, check, id=f"{strict!r}-{name}")


ALL_FOR = {repr(StrictMemory(max_iter=3, similarity="dot", beta=2.0))}


@pytest.mark.parametrize("estimator, check", list(hidden_checks()))
def test_hidden_estimator_checks(estimator, check):
    check(estimator)


def test_holes_are_taken_where_the_tag_says_so():
    X = np.random.RandomState(0).normal(size=(20, 4))
    X[3, 1] = np.nan
    for memory in instances(UHopMemory):
        if get_tags(memory).input_tags.allow_nan:
            memory.set_params(max_iter=1).fit(X).transform(X)
        else:
            with pytest.raises(ValueError, match="NaN"):
                memory.fit(X)


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
