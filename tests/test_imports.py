"""What importing and using skuhop brings into a process, and what it does not."""

import subprocess
import sys
from functools import cache

import pytest

LAZY = ("matplotlib", "rich", "dask", "distributed", "skops", "pandas", "joblib.test")
USES = {
    # scikit-learn itself looks for pandas and the like in some places: what it loads
    # by itself is not ours.
    "base": "import sklearn.base, sklearn.metrics, sklearn.pipeline, torch",
    "import": "import skuhop",
    "submodules": "import skuhop.metrics, skuhop.plotting, skuhop.exceptions, "
    "skuhop.distributed",
    "memory": (
        "import numpy as np, skuhop;"
        "X = np.random.RandomState(0).normal(size=(12, 9));"
        "skuhop.UHopMemory(max_iter=3).fit(X).transform(X)"
    ),
    "classifier": "skuhop.UHopClassifier(max_iter=3).fit(X, X[:, 0] > 0).predict(X)",
}
"""What is done in one interpreter, one thing after the other: a start takes seconds."""
REPORT = "import sys; print(*sorted(sys.modules))"


@cache
def modules_after(*uses):
    """Names of all modules that a fresh interpreter has loaded after each use."""
    found = subprocess.run(
        [sys.executable, "-c", "\n".join(f"{use}\n{REPORT}" for use in uses)],
        check=True,
        capture_output=True,
        text=True,
    )
    return [set(line.split()) for line in found.stdout.splitlines()]


def loaded():
    return dict(zip(USES, modules_after(*USES.values()), strict=True))


@pytest.mark.parametrize("use", list(USES)[1:])
def test_optional_packages_are_not_imported(use):
    ours = loaded()[use] - loaded()["base"]
    assert "skuhop" in ours
    assert not [name for name in LAZY if name in ours]


def test_little_is_imported_beside_scikit_learn_and_torch():
    """Few modules of others: that is what import time is made of."""
    base, ours = modules_after(
        "import torch, sklearn.base, sklearn.metrics, sklearn.pipeline,"
        "sklearn.utils.parallel, sklearn.model_selection",
        USES["import"],
    )
    foreign = [name for name in ours - base if not name.startswith("skuhop")]
    assert len(foreign) < 15, foreign


def test_torch_compiler_is_not_imported_by_a_fit():
    assert "torch._dynamo" not in loaded()["memory"]
