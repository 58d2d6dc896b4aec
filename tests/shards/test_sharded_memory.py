"""A memory in shards on a cluster answers like one that holds everything."""

import copy
import gc
import os
import pickle
import signal
import sys
import threading
import time

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LinearRegression
from sklearn.utils.estimator_checks import parametrize_with_checks

from skuhop import (
    CrossFitting,
    Entmax,
    UHopClassifier,
    UHopMemory,
    UHopRegressor,
    Updates,
)
from skuhop.estimators.parameters import NEXT_CALL, SHARDED_EFFECTS
from skuhop.retrieval import SEPARATIONS, SIMILARITIES

distributed = pytest.importorskip("distributed", reason="needs the extra distributed")
da = pytest.importorskip("dask.array")

from skuhop.distributed import ShardedMemory, _cluster  # noqa: E402
from skuhop.distributed._cluster import Cluster  # noqa: E402

# Of dask's own making, at the start and the end of a cluster.
pytestmark = pytest.mark.filterwarnings("default")

rng = np.random.RandomState(0)
X = rng.rand(300, 8)
Y = np.array(["a", "b", "c"])[(X[:, 0] > 0.4) * 1 + (X[:, 1] > 0.6)]
VALUES = 100 + np.column_stack([np.sin(5 * X[:, 0]), X[:, 1] * X[:, 2], X[:, 3] > 0.5])
WEIGHTS = rng.randint(0, 3, size=len(X)).astype(float)
QUERIES = X[:40] + 0.05 * rng.randn(40, 8)
QUERIES[::3, 2] = np.nan
CLOSE = {"rtol": 1e-6, "atol": 1e-6}


@pytest.fixture(scope="module")
def client():
    """A cluster in this process: as good as any for what is computed."""
    with (
        distributed.LocalCluster(
            processes=False,
            n_workers=2,
            threads_per_worker=1,
            dashboard_address=":0",
        ) as cluster,
        distributed.Client(cluster) as client,
    ):
        yield client


def memory(**params):
    params = {"similarity": "euclidean", "max_iter": 3, "random_state": 0, **params}
    return UHopMemory(**params)


def classifier(**params):
    params = {
        "training": CrossFitting(n_folds=2),
        "max_iter": 5,
        "random_state": 0,
        **params,
    }
    return UHopClassifier(**params)


def regressor(**params):
    params = {
        "training": CrossFitting(n_folds=2),
        "max_iter": 5,
        "random_state": 0,
        **params,
    }
    return UHopRegressor(**params)


def assert_same_memory(sharded, whole, queries=QUERIES):
    np.testing.assert_allclose(
        sharded.transform(queries), whole.transform(queries), **CLOSE
    )
    np.testing.assert_array_equal(sharded.predict(queries), whole.predict(queries))
    if hasattr(whole, "energy"):
        np.testing.assert_allclose(
            sharded.energy(queries), whole.energy(queries), **CLOSE
        )
    assert_same_association(sharded, whole, queries)


def assert_same_association(sharded, whole, queries=QUERIES):
    dense = whole.association(queries)
    indices, weights = sharded.association(queries, top=7)
    np.testing.assert_allclose(weights, -np.sort(-dense, axis=1)[:, :7], **CLOSE)
    np.testing.assert_allclose(np.take_along_axis(dense, indices, 1), weights, **CLOSE)


def assert_same_classifier(sharded, whole, queries=QUERIES):
    np.testing.assert_allclose(
        sharded.predict_proba(queries), whole.predict_proba(queries), **CLOSE
    )
    np.testing.assert_array_equal(sharded.predict(queries), whole.predict(queries))
    assert_same_association(sharded, whole, queries)


def assert_same_regressor(sharded, whole, queries=QUERIES):
    expected = whole.predict(queries)
    found = sharded.predict(queries)
    assert found.shape == expected.shape
    assert found.dtype == expected.dtype
    np.testing.assert_allclose(found, expected, **CLOSE)
    for name in ("value_mean_", "value_scale_"):
        np.testing.assert_allclose(
            getattr(sharded, name), getattr(whole, name), rtol=1e-12
        )
    assert_same_association(sharded, whole, queries)


@pytest.mark.parametrize(
    "similarity, separation",
    [("euclidean", name) for name in SEPARATIONS]
    + [(name, "entmax") for name in SIMILARITIES if name != "euclidean"]
    + [(name, "softmax1") for name in SIMILARITIES if name != "euclidean"],
)
def test_answers_of_one_machine(client, similarity, separation):
    whole = memory(similarity=similarity, separation=separation).fit(X)
    assert_same_memory(ShardedMemory(whole, shard_size=90).fit(X), whole)


@pytest.mark.parametrize(
    "params",
    [
        {"beta": 3.0, "update_steps": 4},
        {"beta": 3.0, "separation": Entmax(alpha=1.2)},
        {"feature_map": "mlp", "loss": "posterior"},
        {"feature_map": "identity", "similarity": "dot"},
        {"similarity": "dot", "update_steps": Updates(3, answer="l2")},
        {"update_steps": Updates(answer="layernorm"), "separation": "sparsemax"},
        {"separation": Entmax(alpha="auto")},
    ],
    ids=str,
)
def test_answers_of_one_machine_with_other_parameters(client, params):
    whole = memory(**params).fit(X)
    assert_same_memory(ShardedMemory(whole, shard_size=90).fit(X), whole)


def test_float32(client):
    queries = QUERIES.astype(np.float32)
    whole = memory(beta=2.0).fit(X.astype(np.float32))
    sharded = ShardedMemory(whole, shard_size=90).fit(X.astype(np.float32))
    found = sharded.transform(queries)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, whole.transform(queries), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("separation", ["softmax", "entmax"])
def test_weights(client, separation):
    whole = memory(separation=separation).fit(X, sample_weight=WEIGHTS)
    sharded = ShardedMemory(whole, shard_size=90).fit(X, sample_weight=WEIGHTS)
    assert sharded.n_patterns_ == len(whole.patterns_)
    assert_same_memory(sharded, whole)


def test_shards_without_weight(client):
    weights = np.repeat([0.0, 2.0, 1.0], 100)
    whole = memory().fit(X, sample_weight=weights)
    sharded = ShardedMemory(whole, shard_size=100).fit(X, sample_weight=weights)
    assert sharded.shard_sizes_.tolist() == [0, 100, 100]
    assert_same_memory(sharded, whole)
    with pytest.raises(ValueError, match="All weights are zero"):
        ShardedMemory(whole).fit(X, sample_weight=np.zeros(300))


@pytest.mark.thin(2)
@pytest.mark.parametrize(
    "params",
    [
        {},
        {"class_weight": "balanced"},
        {"separation": "softmax1"},
        {"separation": "sparsemax"},
        {"feature_map": "identity", "similarity": "euclidean"},
    ],
    ids=str,
)
@pytest.mark.parametrize("weights", [None, WEIGHTS], ids=["plain", "weighted"])
def test_classifier(client, params, weights):
    rows = X.copy()
    rows[::7, 3] = np.nan
    whole = classifier(**params).fit(rows, Y, sample_weight=weights)
    rows = np.where(np.isnan(rows), whole.mean_, rows)
    whole.patterns_ = rows if weights is None else rows[weights > 0]
    sharded = ShardedMemory(whole, shard_size=90).fit(rows, Y, sample_weight=weights)
    assert_same_classifier(sharded, whole)
    np.testing.assert_array_equal(sharded.classes_, whole.classes_)
    np.testing.assert_allclose(sharded.class_prior_, whole.class_prior_)
    assert sharded.score(X, Y) == whole.score(X, Y)


@pytest.mark.thin(3)
@pytest.mark.parametrize(
    "params",
    [
        {},
        {"separation": "softmax1"},
        {"separation": "sparsemax"},
        {"feature_map": "identity", "similarity": "euclidean"},
    ],
    ids=str,
)
@pytest.mark.parametrize("weights", [None, WEIGHTS], ids=["plain", "weighted"])
@pytest.mark.parametrize("columns", [0, slice(1, 2), slice(3)], ids=str)
def test_regressor(client, params, weights, columns):
    values, rows = VALUES[:, columns], X.copy()
    rows[::7, 3] = np.nan
    whole = regressor(**params).fit(rows, values, sample_weight=weights)
    rows = np.where(np.isnan(rows), whole.mean_, rows)
    whole.patterns_ = rows if weights is None else rows[weights > 0]
    sharded = ShardedMemory(whole, shard_size=90)
    sharded.fit(rows, values, sample_weight=weights)
    assert_same_regressor(sharded, whole)
    assert sharded.score(X, values, WEIGHTS) == pytest.approx(
        whole.score(X, values, WEIGHTS)
    )
    restored = pickle.loads(pickle.dumps(sharded))
    assert_same_regressor(restored, whole)


def test_stores_more_than_it_learned_on(client):
    """The reference is `partial_fit`, which stores under Phi as it is."""
    learned = classifier().fit(X[:100], Y[:100])
    whole = copy.deepcopy(learned).partial_fit(X[100:], Y[100:])
    assert_same_classifier(ShardedMemory(learned, shard_size=90).fit(X, Y), whole)


@pytest.mark.parametrize("separation", ["softmax", "softmax1"])
def test_values_that_fit_has_not_seen(client, separation):
    """Mean and spread are those of all shards, also of a column constant until now."""
    values = np.column_stack([np.linspace(-3, 5, 300), np.arange(300) >= 100])
    values = np.column_stack([values, np.full(300, 0.1)])
    learned = regressor(separation=separation).fit(X[:100], values[:100])
    assert learned.value_scale_[1] == 0
    whole = copy.deepcopy(learned).partial_fit(X[100:], values[100:])
    sharded = ShardedMemory(learned, shard_size=70).fit(X, values)
    assert_same_regressor(sharded, whole)
    np.testing.assert_allclose(sharded.predict(X)[:, 2], 0.1, rtol=1e-14)


def test_values_that_move_along_a_trend(client):
    values = 3 * X[:, 0] + np.sin(3 * X[:, 1])
    learned = regressor().fit(X[:200], values[:200])
    assert learned.trend_coef_ is not None
    whole = copy.deepcopy(learned).partial_fit(X[200:], values[200:])
    assert_same_regressor(ShardedMemory(learned, shard_size=90).fit(X, values), whole)


def test_shards_of_a_regressor_without_weight(client):
    weights = np.repeat([0.0, 2.0, 1.0], 100)
    whole = regressor().fit(X, VALUES, sample_weight=weights)
    sharded = ShardedMemory(whole, shard_size=100)
    assert_same_regressor(sharded.fit(X, VALUES, sample_weight=weights), whole)


def test_regressor_float32(client):
    """The mean of the values is kept in float64, whatever the queries are."""
    queries = QUERIES.astype(np.float32)
    whole = regressor().fit(X.astype(np.float32), VALUES)
    sharded = ShardedMemory(whole, shard_size=90).fit(X.astype(np.float32), VALUES)
    found = sharded.predict(queries)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, whole.predict(queries), rtol=1e-6)


@pytest.mark.parametrize("method", ["predict", "score_samples"])
@pytest.mark.parametrize("beta", ["auto", 30.0])
@pytest.mark.parametrize("weights", [None, WEIGHTS], ids=["plain", "weighted"])
def test_null(client, method, beta, weights):
    whole = memory(separation="softmax1", beta=beta).fit(X, sample_weight=weights)
    sharded = ShardedMemory(whole, shard_size=90).fit(X, sample_weight=weights)
    queries = np.vstack([QUERIES, 3 + QUERIES[1:3]])
    pairs = zip(
        getattr(sharded, method)(queries, return_null=True),
        getattr(whole, method)(queries, return_null=True),
        strict=True,
    )
    for found, expected in pairs:
        np.testing.assert_allclose(found, expected, **CLOSE)


def test_learns_on_a_sample(client):
    sharded = ShardedMemory(memory(), subsample=50, shard_size=90, random_state=0)
    sharded.fit(da.from_array(X, chunks=(90, 8)))
    assert sharded.estimator_.patterns_.shape == (50, 8)
    assert {row.tobytes() for row in sharded.estimator_.patterns_} <= {
        row.tobytes() for row in X
    }
    assert sharded.n_patterns_ == len(X)
    np.testing.assert_array_equal(sharded.predict(X), np.arange(len(X)))
    again = clone(sharded).fit(X)
    np.testing.assert_array_equal(
        again.estimator_.patterns_, sharded.estimator_.patterns_
    )


def test_names_of_features(client):
    pd = pytest.importorskip("pandas")
    names = [f"x{i}" for i in range(8)]
    table = pd.DataFrame(X, columns=names)
    whole = memory().fit(table)
    sharded = ShardedMemory(whole).fit(da.from_array(X))
    assert sharded.feature_names_in_.tolist() == names
    assert sharded.predict(table).tolist() == list(range(300))
    with pytest.raises(ValueError, match="feature names"):
        sharded.predict(table[names[::-1]])


def test_a_classifier_after_a_regressor(client):
    sharded = ShardedMemory(regressor().fit(X, VALUES)).fit(X, VALUES)
    assert sharded.score(X, VALUES) > 0.5
    sharded.set_params(estimator=classifier().fit(X, Y)).fit(X, Y)
    assert not hasattr(sharded, "value_mean_")
    assert_same_classifier(sharded, sharded.estimator_)


def test_a_memory_after_a_classifier(client):
    sharded = ShardedMemory(classifier().fit(X, Y)).fit(X, Y)
    assert sharded.score(X, Y, np.arange(300)) > 0.5
    sharded.set_params(estimator=memory().fit(X)).fit(X)
    assert not hasattr(sharded, "classes_")
    assert sharded.score(QUERIES, X[:40]) == sharded.estimator_.score(QUERIES, X[:40])
    np.testing.assert_array_equal(sharded.predict(X), np.arange(300))


def test_all_rows_are_the_sample_if_they_fit(client):
    whole = classifier().fit(X, Y, sample_weight=WEIGHTS)
    sharded = ShardedMemory(classifier(), shard_size=90)
    assert_same_classifier(sharded.fit(X, Y, sample_weight=WEIGHTS), whole)


def npy(folder, name, array):
    np.save(folder / name, array)
    return folder / name


def raw(folder, name, array):
    mapped = np.memmap(folder / name, array.dtype, "w+", shape=array.shape)
    mapped[:] = array
    mapped.flush()
    return np.memmap(folder / name, array.dtype, "r", shape=array.shape)


def zarr(folder, name, array):
    return pytest.importorskip("zarr").array(array, chunks=(70, *array.shape[1:]))


SOURCES = {
    "path": npy,
    "string": lambda *args: str(npy(*args)),
    "mapped npy": lambda *args: np.load(npy(*args), mmap_mode="r"),
    "memmap": raw,
    "part of a memmap": lambda folder, name, a: raw(
        folder, name, np.concatenate([a[:10], a, a[:10]])
    )[10:][:-10],
    "copied on write": lambda *args: np.load(npy(*args), mmap_mode="c"),
    "zarr": zarr,
    "dask": lambda folder, name, a: da.from_array(a, chunks=(130, *a.shape[1:])),
    "dask, columns": lambda folder, name, a: da.from_array(a, (40, 3)[: a.ndim]),
    "list of paths": lambda folder, name, a: [
        npy(folder, f"0{name}", a[:101]),
        npy(folder, f"1{name}", a[101:]),
    ],
    "futures": lambda folder, name, a: distributed.default_client().map(
        np.array, [a[:101], a[101:]], pure=False
    ),
    "array": lambda folder, name, a: a,
}


CODES = np.unique(Y, return_inverse=True)[1]


@pytest.fixture(scope="module")
def whole_classifier():
    return classifier().fit(X, CODES, sample_weight=WEIGHTS)


@pytest.fixture(scope="module")
def whole_regressor():
    return regressor().fit(X, VALUES)


@pytest.mark.parametrize("source", SOURCES)
def test_sources(client, source, tmp_path, whole_classifier):
    def make(name, array):
        return SOURCES[source](tmp_path, f"{name}.npy", array)

    sharded = ShardedMemory(whole_classifier, shard_size=90)
    sharded.fit(make("X", X), make("y", CODES), sample_weight=make("w", WEIGHTS))
    assert len(sharded.shard_sizes_) > 1
    assert_same_classifier(sharded, whole_classifier)


@pytest.mark.parametrize("source", SOURCES)
def test_sources_of_values(client, source, tmp_path, whole_regressor):
    def make(name, array):
        return SOURCES[source](tmp_path, f"{name}.npy", array)

    sharded = ShardedMemory(regressor(), shard_size=90)
    sharded.fit(make("X", X), make("y", VALUES))
    assert_same_regressor(sharded, whole_regressor)


@pytest.mark.parametrize("source", ["path", "memmap", "dask", "list of paths"])
def test_labels_of_this_process(client, source, tmp_path):
    whole = classifier().fit(X, Y)
    sharded = ShardedMemory(whole, shard_size=90)
    assert_same_classifier(sharded.fit(SOURCES[source](tmp_path, "X.npy", X), Y), whole)


def test_dask_array_of_unknown_chunks(client):
    array = da.from_array(X, chunks=(130, 8))
    array, y = array[array[:, 0] > 0.2], Y[X[:, 0] > 0.2]
    whole = classifier().fit(X[X[:, 0] > 0.2], y)
    labels = da.from_array(Y, chunks=130)[da.from_array(X[:, 0], chunks=130) > 0.2]
    assert_same_classifier(ShardedMemory(whole).fit(array, labels), whole)
    with pytest.raises(ValueError, match="compute_chunk_sizes"):
        ShardedMemory(whole).fit(array, y)


class Sent:
    """Counts the numbers in what every shard sends back."""

    def __init__(self, monkeypatch):
        self.numbers, receive = [], Cluster._receive

        def counted(cluster, futures):
            parts = receive(cluster, futures)
            self.numbers += [
                sum(t.numel() for t in part if t is not None) for part in parts
            ]
            return parts

        monkeypatch.setattr(Cluster, "_receive", counted)


def test_what_crosses_the_network(client, monkeypatch):
    whole = memory(feature_map="identity", beta=50.0).fit(X)
    sharded = ShardedMemory(whole, shard_size=100).fit(X)
    sent = Sent(monkeypatch)
    complete = X[:40]
    sharded.transform(complete)
    assert sent.numbers == 3 * [40 * (8 + 2)]
    sent.numbers.clear()
    sharded.energy(complete)
    assert sent.numbers == 3 * [40 * 2]
    sent.numbers.clear()
    sharded.association(complete, top=2)
    assert sent.numbers == 3 * [40 * (2 * 2 + 2)]
    whole.separation = "sparsemax"
    sharded.fit(X)
    sent.numbers.clear()
    sharded.transform(complete)
    assert max(sent.numbers) < 40 * 5 * (3 + 8)


def test_queries_go_in_pieces_that_fit(client, monkeypatch):
    whole = memory().fit(X)
    sharded = ShardedMemory(whole, shard_size=90).fit(X)
    monkeypatch.setattr(_cluster, "_MESSAGE", 7 * 8 * 8)
    sent = Sent(monkeypatch)
    assert_same_memory(sharded, whole)
    assert max(sent.numbers) <= 7 * (3 * 7 + 2)


def tasks_of(client):
    """Names of the functions whose results the cluster holds."""
    found = client.run_on_scheduler(
        lambda dask_scheduler: [str(key) for key in dask_scheduler.tasks]
    )
    return sorted(key.split("-")[0] for key in found)


def wait_for(condition):
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_shards_are_held_and_released(client, monkeypatch):
    gc.collect()
    sharded = ShardedMemory(memory().fit(X), shard_size=100).fit(X)
    wait_for(lambda: tasks_of(client).count("load") >= 3)
    prepared = []
    prepare = UHopMemory._prepare
    monkeypatch.setattr(
        UHopMemory,
        "_prepare",
        lambda self, *args: (
            prepared.append(len(self.patterns_)) or prepare(self, *args)
        ),
    )
    first = sharded.transform(X[:5])
    assert prepared.count(100) == 3
    sharded.transform(X[5:10])
    assert prepared.count(100) == 3, "keys were prepared again"
    wait_for(lambda: "ask" not in tasks_of(client))
    assert tasks_of(client).count("load") == 3
    assert sharded.release() is sharded
    wait_for(lambda: not tasks_of(client))
    np.testing.assert_array_equal(sharded.transform(X[:5]), first)
    del sharded
    gc.collect()
    wait_for(lambda: not tasks_of(client))


def test_shards_come_back_after_a_restart(client):
    whole = memory().fit(X)
    sharded = ShardedMemory(whole, shard_size=100).fit(X)
    client.cancel(sharded._shards().shards)
    assert_same_memory(sharded, whole)


def test_labels_in_a_list(client):
    whole = classifier().fit(X, Y)
    assert_same_classifier(ShardedMemory(whole, shard_size=90).fit(X, list(Y)), whole)


def test_pickle_and_clone(client, tmp_path):
    whole = memory().fit(X)
    sharded = ShardedMemory(whole, client=client, shard_size=90)
    sharded.fit(npy(tmp_path, "X.npy", X))
    state = pickle.dumps(sharded)
    assert len(state) < len(pickle.dumps(whole)) + 10_000
    restored = pickle.loads(state)
    assert restored.client is None
    assert_same_memory(restored, whole)
    copied = clone(sharded)
    assert copied.client is client
    assert copied.shard_size == 90
    with pytest.raises(NotFittedError):
        copied.transform(X)
    frozen = clone(ShardedMemory(FrozenEstimator(whole), shard_size=90))
    assert_same_memory(frozen.fit(X), whole)


def test_methods_are_those_of_the_estimator():
    sharded = ShardedMemory(memory())
    assert hasattr(sharded, "transform")
    assert hasattr(sharded, "energy")
    assert not hasattr(sharded, "predict_proba")
    assert not hasattr(ShardedMemory(memory(separation="polynomial")), "energy")
    sharded = ShardedMemory(classifier())
    assert hasattr(sharded, "predict_proba")
    assert not hasattr(sharded, "transform")
    assert not hasattr(sharded, "energy")
    sharded = ShardedMemory(regressor())
    assert not hasattr(sharded, "predict_proba")
    assert not hasattr(sharded, "energy")


def nan_in_the_last(array):
    array = array.copy()
    array[-1, 0] = np.nan
    return array


BAD = {
    "auto": (
        lambda: ShardedMemory(UHopMemory()).fit(X),
        "got similarity='auto'",
    ),
    "NaN": (
        lambda: ShardedMemory(memory().fit(X), shard_size=100).fit(nan_in_the_last(X)),
        "Shard 2: .*NaN",
    ),
    "infinite": (
        lambda: ShardedMemory(memory().fit(X)).fit(X + np.inf),
        "Shard 0: .*infinity",
    ),
    "columns": (
        lambda: ShardedMemory(memory().fit(X)).fit(X[:, :5]),
        "X has 5 features, but .* 8",
    ),
    "columns of a shard": (
        lambda: ShardedMemory(memory().fit(X)).fit(
            distributed.default_client().map(np.array, [X, X[:, :5]])
        ),
        "Shard 1: X has 5 features, but .* 8",
    ),
    "one-dimensional": (lambda: ShardedMemory(memory().fit(X)).fit(X[0]), "2D"),
    "scalar": (lambda: ShardedMemory(memory().fit(X)).fit(3.0), "array with rows"),
    "no rows": (lambda: ShardedMemory(memory().fit(X)).fit(X[:0]), "no rows"),
    "no labels": (
        lambda: ShardedMemory(classifier().fit(X, Y)).fit(X),
        "y is missing: a classifier",
    ),
    "no values": (
        lambda: ShardedMemory(regressor().fit(X, VALUES)).fit(X),
        "y is missing: a regressor",
    ),
    "columns of values": (
        lambda: ShardedMemory(regressor().fit(X, VALUES)).fit(X, VALUES[:, :2]),
        r"Shard 0: y must have the columns .* \(3,\)\. Got .* \(2,\)",
    ),
    "words for values": (
        lambda: ShardedMemory(regressor().fit(X, VALUES)).fit(X, Y),
        "Shard 0: y must be numbers",
    ),
    "NaN in values": (
        lambda: ShardedMemory(regressor().fit(X, VALUES), shard_size=100).fit(
            X, nan_in_the_last(VALUES)
        ),
        "Shard 2: Input y contains NaN",
    ),
    "null of a classifier": (
        lambda: ShardedMemory(classifier().fit(X, Y)).fit(X, Y).predict(X, True),
        "return_null=True is for a UHopMemory in shards; got a UHopClassifier",
    ),
    "null of softmax": (
        lambda: ShardedMemory(memory().fit(X)).fit(X).predict(X, return_null=True),
        r"separation in \['softmax1'\].*got separation='softmax'",
    ),
    "new label": (
        lambda: ShardedMemory(classifier().fit(X[Y != "b"], Y[Y != "b"])).fit(X, Y),
        "does not know: .*'b'",
    ),
    "length": (
        lambda: ShardedMemory(classifier().fit(X, Y)).fit(X, Y[:-1]),
        "y must have the 300 rows of X; got 299",
    ),
    "weight": (
        lambda: ShardedMemory(memory().fit(X)).fit(X, sample_weight=-WEIGHTS),
        "Shard 0: .*[Nn]egative",
    ),
    "shard_size": (
        lambda: ShardedMemory(memory(), shard_size=0).fit(X),
        "'shard_size' parameter of ShardedMemory must be an integer >= 1. Got 0",
    ),
    "estimator": (
        lambda: ShardedMemory(LinearRegression()).fit(X),
        "must be a UHopMemory, UHopClassifier or UHopRegressor, fitted or not",
    ),
    "client": (
        lambda: ShardedMemory(memory(), client="tcp://nowhere").fit(X),
        "must be a dask.distributed.Client or None. Got 'tcp://nowhere'",
    ),
    "top": (
        lambda: ShardedMemory(memory().fit(X)).fit(X).association(X, 301),
        "'top' parameter of association must be an integer >= 1 and <= 300. Got 301",
    ),
    "column order": (
        lambda: ShardedMemory(memory().fit(X)).fit(
            [da.from_array(X), da.from_array(X[:, :5])]
        ),
        "Shard 1: X has 5 features",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input(client, case):
    ask, message = BAD[case]
    with pytest.raises((ValueError, TypeError), match=message):
        ask()


def test_files_stored_by_column(client, tmp_path):
    path = npy(tmp_path, "X.npy", np.asfortranarray(X))
    with pytest.raises(ValueError, match="C order"):
        ShardedMemory(memory().fit(X)).fit(path)


def test_a_failed_fit_changes_nothing(client):
    sharded = ShardedMemory(memory().fit(X), shard_size=100).fit(X)
    before = sharded.transform(QUERIES)
    with pytest.raises(ValueError, match="NaN"):
        sharded.fit(nan_in_the_last(X))
    np.testing.assert_array_equal(sharded.transform(QUERIES), before)


@parametrize_with_checks(
    [
        ShardedMemory(memory(feature_map="identity"), shard_size=15),
        ShardedMemory(classifier(max_iter=2), shard_size=15),
        ShardedMemory(regressor(max_iter=2), shard_size=15),
    ]
)
def test_estimator_checks(client, estimator, check):
    check(estimator)


def test_no_client(monkeypatch):
    def none():
        raise ValueError("No clients found")

    monkeypatch.setattr(distributed, "default_client", none)
    with pytest.raises(ValueError, match=r"no dask.distributed.Client: make one"):
        ShardedMemory(memory()).fit(X)


def test_not_installed(monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(ImportError, match=r"skuhop\[distributed\]"):
        ShardedMemory(memory()).fit(X)


def kill_one_at_work(client, killed):
    """Kill the first worker that questions have come to, in the middle of them."""
    processes = client.run(os.getpid)

    def kill():
        def busy():
            return [w for w, keys in client.processing().items() if "ask" in str(keys)]

        wait_for(lambda: killed.extend(busy()[:1]) or killed)
        os.kill(processes[killed[0]], signal.SIGKILL)

    thread = threading.Thread(target=kill)
    thread.start()
    return thread


@pytest.mark.slow
def test_a_worker_killed_in_the_middle(tmp_path):
    """Its shards are read again elsewhere, and the answers are right."""
    patterns = np.random.RandomState(1).rand(40_000, 16)
    queries = patterns[:2000] + 0.01
    path = npy(tmp_path, "X.npy", patterns)
    mapped = da.from_array(np.load(path, mmap_mode="r"), chunks=(5000, 16))
    whole = memory(feature_map="identity", beta=100.0).fit(patterns)
    expected = whole.transform(queries)
    with (
        distributed.LocalCluster(
            n_workers=2,
            threads_per_worker=1,
            dashboard_address=":0",
            local_directory=tmp_path,
        ) as cluster,
        distributed.Client(cluster) as client,
    ):
        for source in (path, mapped):
            sharded = ShardedMemory(whole, client=client, shard_size=5000).fit(source)
            killed = []
            thread = kill_one_at_work(client, killed)
            np.testing.assert_allclose(sharded.transform(queries), expected, **CLOSE)
            thread.join()
            assert len(killed) == 1
            wait_for(lambda: len(client.scheduler_info()["workers"]) == 2)
            assert killed[0] not in client.scheduler_info()["workers"]
            np.testing.assert_allclose(
                sharded.transform(queries[:50]), expected[:50], **CLOSE
            )


# --- sources that are none, or have changed ------------------------------------------


def written(path, kind):
    if kind == "npz":
        np.savez(path, X)
    elif kind == "object":
        with path.open("wb") as file:
            np.save(file, X.astype(object))
    elif kind == "directory":
        path.mkdir()
    else:
        content = {"text": b"1,2\n3,4\n", "empty": b"", "cut": b"\x93NUMPY"}
        path.write_bytes(content[kind])
    return path


@pytest.mark.parametrize("kind", ["npz", "text", "empty", "cut", "object", "directory"])
def test_files_that_are_no_arrays(client, tmp_path, kind):
    path = written(tmp_path / "rows.npz", kind)
    for source in (path, str(path)):
        with pytest.raises(ValueError, match=r"X must be.*\.npy file.*rows\.npz"):
            ShardedMemory(memory()).fit(source)
    with pytest.raises(ValueError, match=r"y must be.*\.npy file"):
        ShardedMemory(regressor()).fit(X, path)


@pytest.mark.parametrize("change", ["value", "rows", "order"])
def test_a_source_that_has_changed(client, tmp_path, change):
    path = tmp_path / "X.npy"
    np.save(path, X)
    sharded = ShardedMemory(memory(feature_map="identity"), shard_size=100).fit(path)
    expected = sharded.predict(X[:20])
    os.utime(path)  # a copy of the file, or a touch, is no change
    np.testing.assert_array_equal(sharded.release().predict(X[:20]), expected)
    changed = X.copy()
    changed[150, 3] += 1
    np.save(path, {"value": changed, "rows": X[:, :] * 2, "order": X[::-1]}[change])
    again = pickle.loads(pickle.dumps(sharded.release()))
    for model in (sharded, again):
        with pytest.raises(ValueError, match=r"has changed since.*call fit again"):
            model.transform(X[:5])
    np.testing.assert_array_equal(sharded.fit(path).predict(X[:5]).shape, (5,))


def test_shards_of_an_older_file_have_no_checksums(client):
    sharded = ShardedMemory(memory(), shard_size=100).fit(X)
    expected = sharded.predict(X[:20])
    del sharded.shard_checksums_
    np.testing.assert_array_equal(sharded.release().predict(X[:20]), expected)


def test_what_shards_may_hold(client):
    wrong = VALUES.astype(object)
    wrong[7, 1] = None
    with pytest.raises(ValueError, match="Input y contains NaN"):
        ShardedMemory(regressor().fit(X, VALUES), shard_size=100).fit(X, wrong)
    labels = Y.astype(object)
    labels[7] = None
    with pytest.raises(ValueError, match="y must not have missing labels"):
        ShardedMemory(classifier().fit(X, Y), shard_size=100).fit(X, labels)
    masked = np.ma.masked_greater(X, 0.9)
    with pytest.raises(ValueError, match="X must not have masked entries"):
        ShardedMemory(memory()).fit(masked)
    near = memory(feature_map="identity").fit(X)
    far = ShardedMemory(near, shard_size=100).fit(1e39 * X)
    with pytest.raises(ValueError, match="within the range of float32"):
        far.transform(X[:3].astype("f4"))


def test_frames_of_other_columns(client):
    pd = pytest.importorskip("pandas")
    frame = pd.DataFrame(X, columns=list("abcdefgh"))
    other = frame[list("bacdefgh")]
    fitted = memory().fit(frame)
    with pytest.raises(ValueError, match="feature names should match"):
        ShardedMemory(fitted).fit(other)
    with pytest.raises(ValueError, match="feature names should match"):
        ShardedMemory(fitted).fit(frame).score(frame, other)


@pytest.mark.parametrize("first", [True, False], ids=["fitted", "not fitted"])
@pytest.mark.parametrize(
    "parameter, value",
    [
        ("estimator", UHopClassifier()),
        ("estimator__similarity", "dot"),
        ("estimator__separation", "polynomial"),
        ("estimator__separation__alpha", 2.0),
        ("estimator__update_steps__steps", 5),
        ("shard_size", 7),
        ("random_state", 3),
    ],
)
def test_what_is_set_after_fit_waits_for_the_next(client, first, parameter, value):
    inner = memory(beta=3.0, separation=Entmax(1.2), update_steps=Updates(2))
    sharded = ShardedMemory(FrozenEstimator(inner.fit(X)) if first else inner)
    sharded.fit(X)
    if first:
        sharded.estimator = inner
    before = sharded.transform(QUERIES), sharded.energy(QUERIES)
    sharded.set_params(**{parameter: value})
    for _ in range(2):
        np.testing.assert_array_equal(sharded.transform(QUERIES), before[0])
        np.testing.assert_array_equal(sharded.energy(QUERIES), before[1])
        sharded.release()
    if parameter.startswith("estimator__") and not first:
        again = clone(sharded).fit(X)
        found = again.transform(QUERIES)
        assert not np.allclose(found, before[0])


def test_every_parameter_has_an_effect(client):
    parameters = set(ShardedMemory(memory()).get_params(deep=False))
    assert parameters == set(SHARDED_EFFECTS)
    sharded = ShardedMemory(memory()).fit(X)
    before = sharded.transform(QUERIES)
    assert SHARDED_EFFECTS["client"] == NEXT_CALL
    sharded.set_params(client="nobody")
    with pytest.raises(TypeError, match="client"):
        sharded.transform(QUERIES)
    found = sharded.set_params(client=client).transform(QUERIES)
    np.testing.assert_array_equal(found, before)
