"""Write the files that later versions have to be able to load.

Run ``python tests/saved/write.py`` once for every release, after its version is set,
and commit the folder it makes. Folders of releases are never written again: a test
loads them all, and what they hold is what users have on their disks.
"""

import pickle
import zipfile
from pathlib import Path

import joblib
import numpy as np
from sklearn.datasets import load_iris

import skuhop
from skuhop import CrossFitting, Training, UHopClassifier, UHopMemory, UHopRegressor

FOLDER = Path(__file__).parent / skuhop.__version__
RNG = np.random.RandomState(0)
X = RNG.normal(size=(10, 9))
QUERIES = X[:6] + 0.2 * RNG.normal(size=(6, 9))
QUERIES[4:, :2] = np.nan
IRIS, SPECIES = load_iris(return_X_y=True)
METHODS = {"classifier": "predict_proba", "regressor": "predict"}
"""How the estimators answer that are no memories."""


def estimators():
    """Name, fitted estimator and queries."""
    seeded = {"random_state": 0, "max_iter": 10}
    memories = {
        "default": UHopMemory(**seeded),
        "euclidean": UHopMemory(similarity="euclidean", **seeded),
        "mlp": UHopMemory(
            "mlp",
            similarity="cosine",
            training=Training(early_stopping=False),
            **seeded,
        ),
        "told": UHopMemory(corruption="noise", **seeded),
    }
    for name, memory in memories.items():
        weights = np.arange(1, 11) if name == "mlp" else None
        yield name, memory.fit(X, sample_weight=weights), QUERIES
    classifier = UHopClassifier(training=CrossFitting(n_folds=2), **seeded).fit(
        IRIS[::5], SPECIES[::5]
    )
    yield "classifier", classifier, IRIS[1::10]
    regressor = UHopRegressor(training=CrossFitting(n_folds=2), **seeded).fit(
        IRIS[::5, :2], IRIS[::5, 2:]
    )
    yield "regressor", regressor, IRIS[1::10, :2]


def main():
    """Write every estimator, queries and its answers."""
    import skops.io

    FOLDER.mkdir(exist_ok=True)
    saved = {}
    for name, estimator, queries in estimators():
        saved[f"{name}_queries"] = queries
        saved[f"{name}_answers"] = getattr(estimator, METHODS.get(name, "transform"))(
            queries
        )
        if name in ("default", *METHODS):
            skops.io.dump(
                estimator, FOLDER / f"{name}.skops", compression=zipfile.ZIP_DEFLATED
            )
        if name != "default":
            (FOLDER / f"{name}.pkl").write_bytes(pickle.dumps(estimator, protocol=4))
        if name == "default":
            joblib.dump(estimator, FOLDER / f"{name}.joblib", compress=3)
    np.savez_compressed(FOLDER / "answers.npz", **saved)


if __name__ == "__main__":
    main()
