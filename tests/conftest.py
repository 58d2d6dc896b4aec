"""What all tests share: threads, optional packages, and what the fast suite leaves out.

Grids are crossed with many checks or questions, and most pairs repeat what others say.
The fast suite takes a few of every row and of every column of such a product, the same
in every run; `pytest -m slow` takes the others.
"""

import os
from collections import defaultdict
from functools import partial
from importlib.util import find_spec

import pytest
import torch
from hypothesis import settings

# The same examples in every run, so that a commit passes or fails for good. New ones
# are tried with --hypothesis-profile=default.
settings.register_profile("repeatable", derandomize=True, deadline=None)
settings.load_profile("repeatable")

if "PYTEST_XDIST_WORKER" in os.environ:
    # Workers of a parallel test run get one torch thread each, as loky's do.
    torch.set_num_threads(1)

_NEEDS = {
    "matplotlib": ["*/test_plotting.py"],
    "skops": [
        f"*test_{name}.py"
        for name in (
            "persistence",
            "progress",
            "classifier",
            "regressor",
            "kanerva_memory",
        )
    ],
}
collect_ignore_glob = [
    file
    for package, files in _NEEDS.items()
    if not find_spec(package)
    for file in files
]

_EACH = 16
"""Of so many checks the fast suite takes one, of a class's first estimator all."""
_LONG = {
    "check_class_weight_classifiers",
    "check_estimator_sparse_array",
    "check_estimator_sparse_matrix",
}
"""They fit ten times, or set max_iter to 1,000: the fast suite has them for what learns
no feature map."""


def _name(check):
    """Name of a check of scikit-learn, with or without arguments."""
    return getattr(check.func if isinstance(check, partial) else check, "__name__", "")


def _position(found, value):
    """Position of a value among those met so far, in the order of their coming."""
    return found.setdefault(value, len(found))


def _diagonal(met, test, params):
    """Sum of the positions of a test's parameters, each among its values met so far.

    Not `callspec.indices`, which count combinations, not values, in some versions.
    """
    return sum(_position(met[test, name], id(value)) for name, value in params.items())


def _leave_out_check(rows, columns, test, estimator, check):
    """Whether the fast suite does without a check of one of a grid's estimators."""
    name = _name(check)
    # All checks of one estimator are of the same object.
    row = _position(rows[test, type(estimator)], id(estimator))
    column = _position(columns[test, type(estimator)], name)
    if name in _LONG:
        return getattr(estimator, "feature_map", "identity") != "identity"
    return row and (row + column) % _EACH


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    """Leave most of what is marked thin, and of checks times grids, to slow tests."""
    rows, columns, values = (defaultdict(dict) for _ in range(3))
    for item in items:
        test, thin = item.nodeid.split("[")[0], item.get_closest_marker("thin")
        given = item.callspec.params if hasattr(item, "callspec") else {}
        is_slow = thin and _diagonal(values, test, given) % thin.args[0]
        if {"estimator", "check"} <= set(given):
            pair = given["estimator"], given["check"]
            is_slow = is_slow or _leave_out_check(rows, columns, test, *pair)
        if is_slow:
            item.add_marker(pytest.mark.slow)
