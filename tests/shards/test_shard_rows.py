"""Rows of shards one by one: forgotten, merged, asked in part, read again."""

import copy
import pickle

import numpy as np
import pytest

from skuhop import CrossFitting, UHopClassifier, UHopMemory, UHopRegressor

distributed = pytest.importorskip("distributed", reason="needs the extra distributed")

from skuhop.distributed import ShardedMemory  # noqa: E402

# Of dask's own making, at the start and the end of a cluster.
pytestmark = pytest.mark.filterwarnings("default")

rng = np.random.RandomState(0)
X = rng.rand(300, 6)
X[250:253] = X[:3]  # Some patterns come twice, in different shards.
Y = np.array(["a", "b", "c"])[(X[:, 0] > 0.4) * 1 + (X[:, 1] > 0.6)]
VALUES = np.column_stack([np.sin(5 * X[:, 0]), X[:, 1] * X[:, 2]])
WEIGHTS = rng.randint(0, 4, size=len(X)).astype(float)
QUERIES = X[:30] + 0.05 * rng.randn(30, 6)
QUERIES[::3, 2] = np.nan
GONE = np.zeros(300, bool)
GONE[90:190:3] = GONE[100:200] = True  # All of a shard, and some of those beside it.
FEW = {"training": CrossFitting(n_folds=2), "max_iter": 3, "random_state": 0}
MODELS = {
    "softmax": UHopMemory(similarity="euclidean", beta=8.0, max_iter=2, random_state=0),
    "entmax": UHopMemory(
        similarity="cosine", beta=9.0, separation="entmax", max_iter=2
    ),
    "classifier": UHopClassifier(**FEW),
    "balanced": UHopClassifier(class_weight="balanced", **FEW),
    "regressor": UHopRegressor(**FEW),
}
VALUES_OF = {"classifier": Y, "balanced": Y, "regressor": VALUES}
CLOSE = {"rtol": 1e-6, "atol": 1e-6}
CASES = [(name, weights) for name in MODELS for weights in (None, "weights")]


@pytest.fixture(scope="module")
def client():
    """A cluster in this process: as good as any for what is computed."""
    with (
        distributed.LocalCluster(
            processes=False, n_workers=2, threads_per_worker=1, dashboard_address=":0"
        ) as cluster,
        distributed.Client(cluster) as client,
    ):
        yield client


LEARNED: dict = {}


def learn(name, weights=None):
    """An estimator of all patterns, learned once for all tests."""
    if (name, weights) not in LEARNED:
        given = {} if weights is None else {"sample_weight": WEIGHTS}
        estimator = copy.deepcopy(MODELS[name])
        LEARNED[name, weights] = estimator.fit(X, VALUES_OF.get(name), **given)
    return copy.deepcopy(LEARNED[name, weights])


def shard(name, weights=None, rows=slice(None)):
    """The same in shards, and the rows that it stores; some of weight 0 are not."""
    values = VALUES_OF.get(name)
    given = None if weights is None else WEIGHTS[rows]
    values = None if values is None else values[rows]
    sharded = ShardedMemory(learn(name, weights), shard_size=100)
    return sharded.fit(X[rows], values, sample_weight=given)


def assert_same(sharded, whole, **where):
    method = "transform" if isinstance(whole, UHopMemory) else "predict"
    if hasattr(whole, "predict_proba"):
        method = "predict_proba"
    found = getattr(sharded, method)(QUERIES, **where)
    np.testing.assert_allclose(found, getattr(whole, method)(QUERIES, **where), **CLOSE)
    at, weights = sharded.association(QUERIES, top=4, **where)
    dense = whole.association(QUERIES, **where)
    np.testing.assert_allclose(weights, -np.sort(-dense, axis=1)[:, :4], **CLOSE)
    np.testing.assert_allclose(np.take_along_axis(dense, at, 1), weights, **CLOSE)
    if method == "transform":
        np.testing.assert_array_equal(
            sharded.predict(QUERIES, **where), whole.predict(QUERIES, **where)
        )
        if hasattr(whole, "energy"):
            np.testing.assert_allclose(
                sharded.energy(QUERIES, **where),
                whole.energy(QUERIES, **where),
                **CLOSE,
            )


def stored(weights):
    return slice(None) if weights is None else WEIGHTS > 0


@pytest.mark.thin(3)
@pytest.mark.parametrize("name, weights", CASES)
def test_forgetting_is_that_of_one_machine(client, name, weights):
    sharded, whole = shard(name, weights), learn(name, weights)
    gone = GONE[stored(weights)]
    before = sharded.association(QUERIES, 4)
    assert sharded.forget(gone) is sharded
    assert sharded.n_patterns_ == (~gone).sum() == sharded.shard_sizes_.sum()
    whole.forget(gone)
    assert_same(sharded, whole)
    assert not np.array_equal(before[0], sharded.association(QUERIES, 4)[0])
    # More go, by positions among those that are left; and the sources are read again.
    positions = [0, 5, sharded.n_patterns_ - 1]
    sharded.forget(positions)
    whole.forget(positions)
    for again in (sharded, sharded.release(), pickle.loads(pickle.dumps(sharded))):
        assert_same(again, whole)


@pytest.mark.thin(3)
@pytest.mark.parametrize("name, weights", CASES)
def test_rows_are_found_by_what_they_hold(client, name, weights):
    sharded, whole = shard(name, weights), learn(name, weights)
    kept = np.flatnonzero(np.ones(300) if weights is None else WEIGHTS > 0)
    named = X[kept[[1, 2, 150, 150 if weights is None else 151]]]
    if weights is None:
        named = X[[1, 2, 1, 150]]
    for memory in (sharded, whole):
        memory.forget(X=named)
    assert sharded.n_patterns_ == len(whole.patterns_)
    assert_same(sharded, whole)
    assert_same(sharded.release(), whole)
    with pytest.raises(
        ValueError, match=r"rows that are stored.*positions in X: \[1\]"
    ):
        sharded.forget(X=[X[5], X[5] + 1])


def test_copies_go_one_by_one(client):
    sharded, whole = shard("softmax", "weights"), learn("softmax", "weights")
    at = int(np.flatnonzero(WEIGHTS[3:] == 3)[0]) + 3
    for left in (2, 1, 0):
        sharded.forget(X=X[[at]])
        whole.forget(X=X[[at]])
        assert_same(sharded.release(), whole)
        assert sharded.n_patterns_ == (WEIGHTS > 0).sum() - (left == 0)
    with pytest.raises(ValueError, match="rows that are stored"):
        sharded.forget(X=X[[at]])


@pytest.mark.thin(3)
@pytest.mark.parametrize("name, weights", CASES)
def test_a_filter_is_that_of_one_machine(client, name, weights):
    sharded, whole = shard(name, weights), learn(name, weights)
    before = dict(vars(sharded))
    for mask in (~GONE, rng.rand(300) < 0.5):
        assert_same(sharded, whole, where=mask[stored(weights)])
    assert_same(sharded, whole)
    assert vars(sharded) == before
    gone = GONE[stored(weights)]
    sharded.forget(gone)
    mask = np.arange(sharded.n_patterns_) % 2 == 0
    assert_same(sharded, whole.forget(gone), where=mask)


def test_shards_that_may_not_answer_are_not_asked(client):
    sharded = shard("softmax")
    mask = np.arange(300) // 100 == 1
    found = sharded.predict(X[100:200], where=mask)
    np.testing.assert_array_equal(found, np.arange(100, 200))
    cluster = sharded._shards(mask)
    assert cluster.shards == sharded._shards().shards[1:2]
    assert sharded._shards(mask) is cluster


@pytest.mark.thin(3)
@pytest.mark.parametrize("name, weights", CASES)
def test_merging_is_storing_both(client, name, weights):
    one, two = (shard(name, weights, rows) for rows in (slice(130), slice(130, None)))
    whole = learn(name, weights)
    before = two.association(QUERIES, 4)
    one.merge(two)
    assert_same(one, whole)
    np.testing.assert_array_equal(two.association(QUERIES, 4), before)
    # What each of them has forgotten stays so, and what they forget together goes.
    one, gone = shard(name, weights, slice(130)), GONE[stored(weights)]
    n = one.n_patterns_
    assert_same(one.forget(gone[:n]).merge(two.forget(gone[n:])), whole.forget(gone))
    whole.forget([3, 150])
    assert_same(one.forget([3, 150]), whole)
    assert_same(one.release(), whole)


def test_weights_come_in_with_the_other(client):
    estimator = learn("softmax", "weights")
    one = ShardedMemory(estimator, shard_size=70).fit(X[:130])
    two = ShardedMemory(estimator).fit(X[130:], sample_weight=WEIGHTS[130:])
    both = np.r_[np.ones(130), WEIGHTS[130:]]
    expected = ShardedMemory(estimator).fit(X, sample_weight=both)
    for found in (copy.copy(one).merge(two), copy.copy(one).forget(X=X[:1])):
        if found.n_patterns_ < 130:
            found.merge(two)
            expected.forget([0])
        assert_same_answers(found, expected)


def assert_same_answers(one, two):
    np.testing.assert_allclose(one.transform(QUERIES), two.transform(QUERIES), **CLOSE)


BAD = {
    "nothing": ({}, "one of rows"),
    "both": ({"rows": [0], "X": X[:1]}, "one of rows.*'rows', 'X'"),
    "position": ({"rows": [300]}, "integers from 0 to 299"),
    "mask": ({"rows": [True]}, r"shape \(300,\)"),
    "columns": ({"X": X[:1, :3]}, "3 features"),
    "not stored": ({"X": QUERIES[1:2]}, "rows that are stored"),
    "all": ({"rows": range(300)}, "leave a stored row"),
}


@pytest.mark.parametrize("case", BAD)
@pytest.mark.parametrize("name", ["softmax", "classifier"])
def test_what_cannot_be_forgotten_leaves_all_as_it_was(client, name, case):
    request, message = BAD[case]
    sharded = shard(name)
    before, cluster = dict(vars(sharded)), sharded._shards()
    with pytest.raises(ValueError, match=message):
        sharded.forget(**request)
    assert vars(sharded) == before
    assert sharded._shards() is cluster


def test_the_last_row_of_a_class_stays(client):
    sharded = shard("classifier")
    before = dict(vars(sharded))
    with pytest.raises(ValueError, match=r"row of each class.*\['c'\]"):
        sharded.forget(Y == "c")
    assert vars(sharded) == before


def test_what_does_not_match_is_not_merged(client):
    sharded = shard("softmax")
    before = dict(vars(sharded))
    narrow = UHopMemory(similarity="euclidean", beta=1.0).fit(X[:, :4])
    for other, message in (
        (learn("softmax"), "another ShardedMemory. Got UHopMemory"),
        (shard("classifier"), "another UHopMemory. Got UHopClassifier"),
        (ShardedMemory(narrow).fit(X[:, :4]), "same n_features_in_: 6. Got 4"),
        (ShardedMemory(narrow), "not fitted"),
    ):
        with pytest.raises(ValueError, match=message):
            sharded.merge(other)
    assert vars(sharded) == before


def test_bad_filters(client):
    sharded = shard("softmax")
    for where, message in (
        (np.zeros(300, bool), "allow a stored row"),
        ([True], "boolean mask"),
        ([1, 2], "where needs names of rows"),
    ):
        with pytest.raises(ValueError, match=message):
            sharded.transform(QUERIES, where=where)


def test_a_source_that_has_lost_rows(client, tmp_path):
    path = tmp_path / "X.npy"
    np.save(path, X)
    sharded = ShardedMemory(learn("softmax"), shard_size=300).fit(path)
    sharded.forget([299, 3]).release()
    np.save(path, X[:200])
    with pytest.raises(ValueError, match=r"has changed since|mmap"):
        sharded.transform(X[:5])
