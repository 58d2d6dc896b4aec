"""A search over a Dask cluster gives what a serial one gives."""

import joblib
import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.model_selection import GridSearchCV

from skuhop import CrossFitting, UHopClassifier, UHopMemory
from skuhop.metrics import StoredPatterns, retrieval_scorer

distributed = pytest.importorskip("distributed", reason="needs the extra distributed")
pytestmark = [
    pytest.mark.slow,
    # Of dask's own making, at the start and the end of a cluster.
    pytest.mark.filterwarnings("default"),
]

X, y = load_digits(return_X_y=True)
X = X[:120] / 16
SEARCHES = {
    "memory": GridSearchCV(
        UHopMemory(similarity="euclidean", max_iter=10, random_state=0),
        {"feature_map": ["identity", "linear"], "beta": ["auto", 1.0]},
        scoring=retrieval_scorer("noise"),
        cv=StoredPatterns(),
    ),
    "classifier": GridSearchCV(
        UHopClassifier(training=CrossFitting(n_folds=2), max_iter=10, random_state=0),
        {"n_components": [4, 16]},
        cv=2,
    ),
}


@pytest.fixture(scope="module")
def client(tmp_path_factory):
    with (
        distributed.LocalCluster(
            n_workers=2,
            threads_per_worker=1,
            dashboard_address=None,
            local_directory=tmp_path_factory.mktemp("dask"),
        ) as cluster,
        distributed.Client(cluster) as client,
    ):
        yield client


@pytest.mark.parametrize("name", SEARCHES)
def test_dask_gives_the_serial_result(client, name):
    search = SEARCHES[name]
    serial = search.fit(X, y[:120]).cv_results_
    best = search.best_params_
    with joblib.parallel_config(backend="dask"):
        found = search.fit(X, y[:120]).cv_results_
    assert search.best_params_ == best
    np.testing.assert_allclose(
        found["mean_test_score"], serial["mean_test_score"], rtol=1e-6
    )
