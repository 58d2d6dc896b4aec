"""What importing and using skuhop brings into a process, and what it does not."""

import subprocess
import sys

import pytest

LAZY = ("matplotlib", "rich", "dask", "distributed", "skops", "pandas", "joblib.test")
USE = {
    "import": "import skuhop",
    "submodules": "import skuhop.metrics, skuhop.plotting, skuhop.exceptions, "
    "skuhop.distributed",
    "memory": (
        "import numpy as np, skuhop;"
        "X = np.random.RandomState(0).normal(size=(12, 9));"
        "skuhop.UHopMemory(max_iter=3).fit(X).transform(X)"
    ),
    "classifier": (
        "import numpy as np, skuhop;"
        "X = np.random.RandomState(0).normal(size=(12, 9));"
        "skuhop.UHopClassifier(max_iter=3).fit(X, X[:, 0] > 0).predict(X)"
    ),
}


def modules_after(code):
    """Names of all modules that a fresh interpreter has loaded after `code`."""
    report = "import sys; print(*sorted(sys.modules), sep='\\n')"
    found = subprocess.run(
        [sys.executable, "-c", f"{code}\n{report}"],
        check=True,
        capture_output=True,
        text=True,
    )
    return set(found.stdout.split())


@pytest.mark.parametrize("use", USE)
def test_optional_packages_are_not_imported(use):
    # scikit-learn itself looks for pandas and the like in some places: what it loads
    # by itself is not ours.
    base = modules_after(
        "import sklearn.base, sklearn.metrics, sklearn.pipeline, torch"
    )
    ours = modules_after(USE[use]) - base
    assert not [name for name in LAZY if name in ours]


def test_little_is_imported_beside_scikit_learn_and_torch():
    """Few modules of others: that is what import time is made of."""
    base = modules_after(
        "import torch, sklearn.base, sklearn.metrics, sklearn.pipeline,"
        "sklearn.utils.parallel, sklearn.model_selection"
    )
    ours = modules_after("import skuhop") - base
    foreign = [name for name in ours if not name.startswith("skuhop")]
    assert len(foreign) < 15, foreign


def test_torch_compiler_is_not_imported_by_a_fit():
    loaded = modules_after(USE["memory"])
    assert "torch._dynamo" not in loaded
