"""Stored rows one by one: forgotten, filtered, named, and as neighbours."""

import copy
import pickle
from functools import cache
from itertools import product

import numpy as np
import pandas as pd
import pytest
from scipy.special import softmax
from sklearn import config_context
from sklearn.cluster import DBSCAN
from sklearn.neighbors import NearestNeighbors

from skuhop import CrossFitting, Index, Retention, UHopClassifier, UHopMemory
from skuhop import UHopRegressor as Regressor
from skuhop.retention import RETENTION
from skuhop.retrieval import SEPARATIONS, SIMILARITIES

RNG = np.random.RandomState(0)
X, MORE = RNG.normal(size=(40, 9)), RNG.normal(size=(7, 9))
MORE[1] = X[3]  # What comes may be stored already,
MORE[5] = MORE[4]  # and may come twice.
QUERIES = np.concatenate([X[:6] + 0.2, RNG.normal(size=(3, 9))])
QUERIES[2, 4] = np.nan
Y = (X[:, 0] > 0).astype(int)
FEW = {"max_iter": 2, "training": CrossFitting(n_folds=2), "random_state": 0}


def fit_memory(**params):
    return UHopMemory(**{"max_iter": 2, "random_state": 0, **params})


ESTIMATORS = {
    **{name: fit_memory(similarity=name) for name in ("auto", *SIMILARITIES)},
    **{
        f"dot, {name}": fit_memory(
            similarity="dot", separation=name, feature_map="identity"
        )
        for name in SEPARATIONS
    },
    "classifier": UHopClassifier(**FEW),
    "balanced": UHopClassifier(class_weight="balanced", **FEW),
    "regressor": Regressor(**FEW),
}
WEIGHTS = {
    "ones": (None, None),
    "weights": (1 + np.arange(40) % 3, [2, 1, 3, 1, 1, 2, 1]),
}
CASES = list(product(ESTIMATORS, WEIGHTS))


def values_of(estimator, rows):
    if isinstance(estimator, UHopMemory):
        return None
    if isinstance(estimator, Regressor):
        return rows[:, :2]
    return (rows[:, 0] > 0).astype(int)


def fit(name, rows=X, **more):
    estimator = copy.deepcopy(ESTIMATORS[name])
    return estimator.fit(rows, values_of(estimator, rows), **more)


@cache
def learn(name, weights):
    return fit(name, sample_weight=WEIGHTS[weights][0], row_ids=np.arange(40))


def fit_once(name, weights="ones"):
    """As `fit`, with names, but learned once for all tests."""
    return copy.deepcopy(learn(name, weights))


def add(estimator, rows=MORE, **more):
    values = values_of(estimator, rows)
    return estimator.partial_fit(rows, values, **more)


def answer(estimator, **where):
    if isinstance(estimator, UHopMemory):
        parts = [estimator.transform(QUERIES, **where)]
        if hasattr(estimator, "energy"):
            parts.append(estimator.score_samples(QUERIES, **where)[:, None])
        return np.concatenate(parts, axis=1)
    method = "predict_proba" if hasattr(estimator, "classes_") else "predict"
    return getattr(estimator, method)(QUERIES, **where)


def assert_same(estimator, other, rtol=1e-10):
    """The same answers, and the same of all that follows from the rows."""
    np.testing.assert_allclose(answer(estimator), answer(other), rtol, 1e-12)
    for name in vars(other):
        if name[-1] == "_" and isinstance(getattr(other, name), np.ndarray):
            one, two = getattr(estimator, name), getattr(other, name)
            assert one.dtype == two.dtype, name
            if one.dtype.kind == "f":
                np.testing.assert_allclose(one, two, rtol, 1e-12, err_msg=name)
            else:
                np.testing.assert_array_equal(one, two, err_msg=name)


# --- forget ---------------------------------------------------------------------------


@pytest.mark.parametrize("name, weights", CASES)
def test_forgetting_what_was_added_changes_nothing(name, weights):
    _, then = WEIGHTS[weights]
    before, ids = fit_once(name, weights), np.arange(40, 47)
    after = add(copy.deepcopy(before), sample_weight=then, row_ids=ids)
    assert not np.allclose(answer(before), answer(after))
    after.forget(X=MORE, sample_weight=then)
    assert_same(after, before)


@pytest.mark.parametrize("rule", RETENTION)
@pytest.mark.parametrize("decay", [1.0, 0.9])
def test_streams_go_on_as_they_were(rule, decay):
    memory = fit_memory(similarity="euclidean", beta=1.0)
    memory.set_params(retention=Retention(rule, max_patterns=60, decay=decay))
    memory.partial_fit(X)
    before = copy.deepcopy(memory)
    memory.partial_fit(MORE).forget(X=MORE)
    np.testing.assert_array_equal(memory.patterns_, before.patterns_)
    # Time has passed, for all rows alike.
    ones = np.ones(len(X))
    old = ones if before.sample_weight_ is None else before.sample_weight_
    new = ones if memory.sample_weight_ is None else memory.sample_weight_
    np.testing.assert_allclose(new, old * decay ** len(MORE))
    np.testing.assert_allclose(memory.transform(QUERIES), before.transform(QUERIES))
    assert memory.stream_["seen"] == len(X) + len(MORE)
    arrivals = memory.stream_["arrivals"]
    np.testing.assert_array_equal(arrivals, before.stream_["arrivals"])


def test_rows_may_have_faded_and_been_dropped():
    retention = Retention("fifo", max_patterns=30, decay=0.8)
    memory = fit_memory(retention=retention).partial_fit(X)
    memory.forget(X=X[-2:])
    np.testing.assert_array_equal(memory.patterns_, X[10:-2])
    with pytest.raises(ValueError, match=r"rows that are stored.*positions in X"):
        memory.forget(X=X[:1])


def test_what_is_left_answers_alone():
    memory = fit_memory(similarity="euclidean", beta=0.7, feature_map="identity")
    weights = 1 + np.arange(40) % 4
    memory.fit(X, sample_weight=weights).forget(range(5, 40))
    asked = QUERIES[3:]
    scores = -0.7 * ((asked[:, None] - X[:5]) ** 2).sum(2) / 2 + np.log(weights[:5])
    np.testing.assert_allclose(memory.transform(asked), softmax(scores, 1) @ X[:5])


@pytest.mark.parametrize("name", ["euclidean", "classifier", "regressor"])
def test_copies_are_weights(name):
    three = np.concatenate([X, X[:1], X[:1]])
    copies = fit(name, three).forget(X=X[:1])
    weight = fit(name, sample_weight=[3, *np.ones(39)]).forget(X=X[:1])
    assert len(copies.patterns_) == 41
    assert weight.sample_weight_[0] == 2
    np.testing.assert_allclose(answer(copies), answer(weight))
    # By its position a row goes whole, unless it is said how much.
    assert fit(name, sample_weight=[3, *np.ones(39)]).forget(0).sample_weight_ is None
    part = fit(name, sample_weight=[3, *np.ones(39)]).forget([0], sample_weight=[0.5])
    assert part.sample_weight_[0] == 2.5


@pytest.mark.parametrize("name", ["auto", "balanced", "regressor"])
def test_ways_to_name_rows(name):
    ids = np.array([f"row {i // 2}" for i in range(40)])
    gone = np.zeros(40, bool)
    gone[[6, 7, 10, 11]] = True
    ways = [
        {"rows": gone},
        {"rows": [10, 6, 7, 11, 6]},
        {"rows": pd.Series(gone)},
        {"row_ids": ["row 5", "row 3"]},
        {"X": X[gone]},
    ]
    whole = fit(name, row_ids=ids)
    forgetful = [copy.deepcopy(whole).forget(**way) for way in ways]
    np.testing.assert_array_equal(forgetful[0].patterns_, X[~gone])
    np.testing.assert_array_equal(forgetful[0].row_ids_, ids[~gone])
    for other in forgetful[1:]:
        assert_same(other, forgetful[0], 0)


@pytest.mark.parametrize("name", ["auto", "balanced", "regressor"])
def test_learning_anew_is_a_fit_to_what_is_left(name):
    frame = pd.DataFrame(X, columns=list("abcdefghi"))
    ids = np.arange(40)
    estimator = copy.deepcopy(ESTIMATORS[name])
    values = values_of(estimator, X)
    estimator.fit(frame, values, row_ids=ids, sample_weight=1 + ids % 2)
    estimator.forget(range(4), relearn=True)
    rest = fit(name, X[4:], sample_weight=1 + ids[4:] % 2, row_ids=ids[4:])
    assert list(estimator.feature_names_in_) == list(frame.columns)
    del estimator.feature_names_in_
    assert_same(estimator, rest)


BAD = {
    "nothing": ({}, "one of rows.*none of them"),
    "two ways": ({"rows": [0], "X": X[:1]}, "one of rows.*'rows', 'X'"),
    "position": ({"rows": [40]}, "integers from 0 to 39.*40"),
    "negative": ({"rows": [-1]}, "integers from 0 to 39"),
    "float": ({"rows": [0.5]}, "integers from 0 to 39.*float64"),
    "mask": ({"rows": [True, False]}, r"shape \(40,\)"),
    "no such name": ({"row_ids": [3, 77]}, "row_ids of stored rows.*77"),
    "not stored": ({"X": MORE[:1]}, r"rows that are stored.*\[0\]"),
    "too often": ({"X": X[[0, 0]]}, "no more of each"),
    "too much": ({"rows": [2], "sample_weight": [1.5]}, "no more of each"),
    "weights": ({"rows": [2], "sample_weight": [1, 1]}, "sample_weight must be 1"),
    "columns": ({"X": X[:1, :3]}, "3 features"),
    "the last": ({"rows": range(40)}, "leave a stored row"),
}


@pytest.mark.parametrize("case", BAD)
@pytest.mark.parametrize("name", ["auto", "classifier"])
def test_what_cannot_be_forgotten_leaves_all_as_it_was(name, case):
    request, message = BAD[case]
    estimator = fit_once(name)
    before = dict(vars(estimator))
    with pytest.raises(ValueError, match=message):
        estimator.forget(**request)
    assert vars(estimator) == before


def test_the_last_row_of_a_class_stays():
    estimator = fit("classifier")
    before = dict(vars(estimator))
    with pytest.raises(ValueError, match=r"row of each class.*\[1\]"):
        estimator.forget(estimator.pattern_classes_ == 1)
    assert vars(estimator) == before
    # A class that never had any row is no loss.
    named = copy.deepcopy(ESTIMATORS["classifier"]).partial_fit(X, Y, classes=[0, 1, 2])
    assert len(named.forget(0).classes_) == 3


def test_not_fitted():
    with pytest.raises(ValueError, match="not fitted"):
        UHopMemory().forget(0)


# --- names of rows --------------------------------------------------------------------


@pytest.mark.parametrize("rule", RETENTION)
@pytest.mark.parametrize("name", ["euclidean", "classifier", "regressor"])
def test_names_stay_with_their_rows(rule, name):
    estimator = copy.deepcopy(ESTIMATORS[name])
    estimator.set_params(retention=Retention(rule, max_patterns=20))
    rows = np.concatenate([X, MORE + 1e-3])
    ids = np.arange(len(rows)) * 10
    add(estimator, X, row_ids=ids[:40])
    add(estimator, rows[40:], row_ids=ids[40:])
    arrived = estimator.stream_["arrivals"]
    np.testing.assert_array_equal(estimator.row_ids_, ids[arrived])
    if rule != "merge":
        np.testing.assert_array_equal(estimator.patterns_, rows[arrived])


@pytest.mark.parametrize("name", ["euclidean", "balanced", "regressor"])
def test_rows_without_weight_have_no_name(name):
    weights = np.arange(40) % 4
    ids = np.arange(40)
    np.testing.assert_array_equal(
        fit(name, sample_weight=weights, row_ids=ids).row_ids_, ids[weights > 0]
    )
    classifier = UHopClassifier(class_weight={0: 0, 1: 2.0}, **FEW)
    classifier.fit(X, Y, row_ids=ids)
    np.testing.assert_array_equal(classifier.row_ids_, ids[Y == 1])


def test_names_are_for_all_rows_or_none():
    with pytest.raises(ValueError, match="row_ids must have one entry for each of"):
        fit("auto", row_ids=[1, 2])
    with pytest.raises(ValueError, match="missing labels"):
        fit("auto", row_ids=np.array(["a"] * 39 + [None], object))
    with pytest.raises(ValueError, match="fitted without row_ids"):
        add(fit("auto"), row_ids=range(7))
    with pytest.raises(ValueError, match="fitted with row_ids"):
        add(fit("auto", row_ids=range(40)))
    with pytest.raises(ValueError, match="of the kind they had in fit, int64"):
        add(fit("auto", row_ids=range(40)), row_ids=list("abcdefg"))
    with pytest.raises(ValueError, match="row_ids of stored rows"):
        fit_once("auto").forget(row_ids=[3, 77])
    with pytest.raises(ValueError, match="row_ids needs names"):
        fit("auto").forget(row_ids=[3])


# --- where ----------------------------------------------------------------------------


@pytest.mark.parametrize("name, weights", CASES)
def test_a_filter_is_a_memory_of_the_allowed_rows(name, weights):
    estimator = fit_once(name, weights)
    allowed = RNG.permutation(40)[:25]
    mask = np.isin(np.arange(40), allowed)
    before = dict(vars(estimator))
    few = copy.deepcopy(estimator).forget(~mask)
    for where in (mask, allowed):
        np.testing.assert_array_equal(answer(estimator, where=where), answer(few))
        weight = estimator.association(QUERIES, where=where)
        np.testing.assert_array_equal(weight[:, mask], few.association(QUERIES))
        assert not weight[:, ~mask].any()
        found, best = estimator.association(QUERIES, top=3, where=where)
        small, top = few.association(QUERIES, top=3)
        np.testing.assert_array_equal(found, np.flatnonzero(mask)[small])
        np.testing.assert_array_equal(best, top)
    assert vars(estimator) == before


def test_every_question_of_a_memory_takes_a_filter():
    memory = fit("dot, softmax1")
    mask = np.arange(40) % 3 > 0
    few, at = copy.deepcopy(memory).forget(~mask), np.flatnonzero(mask)
    found, null = memory.predict(QUERIES, return_null=True, where=mask)
    small, other = few.predict(QUERIES, return_null=True)
    np.testing.assert_array_equal(found, at[small])
    np.testing.assert_array_equal(null, other)
    for method in ("energy", "tail_std", "missing_weight"):
        np.testing.assert_array_equal(
            getattr(memory, method)(QUERIES, where=mask), getattr(few, method)(QUERIES)
        )


def test_filters_follow_changes():
    memory = fit("euclidean")
    mask = np.arange(40) < 20
    memory.transform(QUERIES, where=mask)
    memory.set_params(beta=3.0)
    few = fit("euclidean").set_params(beta=3.0).forget(~mask)
    np.testing.assert_array_equal(
        memory.transform(QUERIES, where=mask), few.transform(QUERIES)
    )


def test_bad_filters():
    memory = fit("auto")
    with pytest.raises(ValueError, match=r"boolean mask of shape \(40,\).*\(3,\)"):
        memory.transform(QUERIES, where=[True, False, True])
    with pytest.raises(ValueError, match="allow a stored row"):
        memory.transform(QUERIES, where=np.zeros(40, bool))
    with pytest.raises(ValueError, match="where needs names of rows"):
        memory.transform(QUERIES, where=[1, 2])


# --- neighbours -----------------------------------------------------------------------

METRICS = {
    "euclidean": "euclidean",
    "dot": "euclidean",
    "auto": "euclidean",
    "manhattan": "manhattan",
    "cosine": "cosine",
}


@pytest.mark.parametrize("name", METRICS)
@pytest.mark.parametrize("scale", [1.0, 300.0])
def test_neighbours_are_those_of_scikit_learn(name, scale):
    rows = X * scale
    memory = fit_memory(similarity=name, feature_map="identity").fit(rows)
    other = NearestNeighbors(metric=METRICS[name]).fit(rows)
    queries = QUERIES[3:] * scale
    for asked in (queries, None):
        apart, found = memory.kneighbors(asked, 4)
        expected, at = other.kneighbors(asked, 4)
        if name == "cosine":
            expected = np.sqrt(2 * expected)
        np.testing.assert_array_equal(found, at)
        np.testing.assert_allclose(apart, expected, rtol=1e-6)
    at = memory.kneighbors(queries, return_distance=False)
    np.testing.assert_array_equal(at, other.kneighbors(queries)[1])


@pytest.mark.parametrize("name", ["auto", "classifier", "regressor"])
def test_a_row_is_its_own_nearest_neighbour_unless_left_out(name):
    estimator = fit_once(name)
    apart, found = estimator.kneighbors(X, 2)
    np.testing.assert_array_equal(found[:, 0], np.arange(40))
    assert not apart[:, 0].any()
    assert (apart[:, 1] > 0).all()
    left, others = estimator.kneighbors(n_neighbors=1)
    np.testing.assert_array_equal(others, found[:, 1:])
    np.testing.assert_array_equal(left, apart[:, 1:])


def test_neighbours_know_features_and_lacks():
    memory = fit("auto")
    features = X @ memory.components_.T
    apart, _ = memory.kneighbors(X[:1], 40)
    expected = np.linalg.norm(features - features[0], axis=1)
    np.testing.assert_allclose(apart[0], np.sort(expected), atol=1e-12)
    hidden = X[:1].copy()
    hidden[0, 2:] = np.nan
    apart, found = memory.kneighbors(hidden, 3)
    known = np.linalg.norm(X[:, :2] - X[0, :2], axis=1)
    np.testing.assert_array_equal(found[0], known.argsort()[:3])
    np.testing.assert_allclose(apart[0], np.sort(known)[:3], atol=1e-7)


def test_neighbours_are_filtered():
    memory, mask = fit("euclidean"), np.arange(40) % 2 == 0
    few = copy.deepcopy(memory).forget(~mask)
    apart, found = memory.kneighbors(QUERIES, 3, where=mask)
    expected, at = few.kneighbors(QUERIES, 3)
    np.testing.assert_array_equal(found, 2 * at)
    np.testing.assert_array_equal(apart, expected)
    _, others = memory.kneighbors(n_neighbors=3, where=mask)
    assert (others % 2 == 0).all()
    assert (others != np.arange(40)[:, None]).all()


def test_more_copies_than_neighbours():
    memory = fit_memory(similarity="euclidean").fit(np.repeat(X[:3], 4, axis=0))
    apart, found = memory.kneighbors(n_neighbors=2)
    assert found.shape == (12, 2)
    assert apart.max() < 1e-12


def test_graphs_serve_scikit_learn():
    memory = fit_memory(similarity="euclidean", feature_map="identity")
    rows = np.concatenate([X / 10, X / 10 + 5])
    graph = memory.fit(rows).kneighbors_graph(rows, 80, mode="distance")
    found = DBSCAN(eps=1.0, metric="precomputed").fit_predict(graph)
    np.testing.assert_array_equal(found, DBSCAN(eps=1.0).fit_predict(rows))
    ones = memory.kneighbors_graph(n_neighbors=3)
    assert (ones.data == 1).all()
    assert not ones.diagonal().any()
    with pytest.raises(ValueError, match=r"'connectivity', 'distance'.*'both'"):
        memory.kneighbors_graph(mode="both")


@pytest.mark.parametrize("k", [0, 41, 2.0])
def test_number_of_neighbours(k):
    with pytest.raises(ValueError, match=r"'n_neighbors'.*>= 1 and <= 40"):
        fit("auto").kneighbors(QUERIES, k)


# --- neighbours within a radius -------------------------------------------------------


def assert_same_pairs(found, expected):
    """The same neighbours of every query, whatever their order."""
    for apart, at, far, there in zip(*found, *expected, strict=True):
        one, two = at.argsort(), there.argsort()
        np.testing.assert_array_equal(at[one], there[two])
        np.testing.assert_allclose(apart[one], far[two], rtol=1e-6, atol=1e-12)


@pytest.mark.parametrize("name", METRICS)
@pytest.mark.parametrize("scale", [1e-3, 1.0, 300.0])
@pytest.mark.parametrize("share", [0.02, 0.3, 1.0])
def test_rows_within_a_radius_are_those_of_scikit_learn(name, scale, share):
    rows, queries = X * scale, QUERIES[3:] * scale
    memory = fit_memory(similarity=name, feature_map="identity").fit(rows)
    other = NearestNeighbors(metric=METRICS[name]).fit(rows)
    every = memory.kneighbors(queries, 40)[0]
    radius = np.quantile(every, share) * (1 + 1e-9)
    theirs = radius**2 / 2 if name == "cosine" else radius
    for asked in (queries, None):
        apart, at = other.radius_neighbors(asked, theirs)
        if name == "cosine":
            apart = [np.sqrt(2 * part) for part in apart]
        assert_same_pairs(memory.radius_neighbors(asked, radius), (apart, at))


@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_the_boundary_is_within(dtype):
    grid = np.array(list(product(range(7), range(7))), dtype) / 10 + 100
    memory = fit_memory(similarity="euclidean", feature_map="identity").fit(grid)
    apart, at = memory.radius_neighbors(radius=0.1)
    assert sorted(map(len, at)) == [2] * 4 + [3] * 20 + [4] * 25
    assert max(map(np.max, apart)) <= np.float32(0.1)
    itself = memory.radius_neighbors(grid, 0.0, return_distance=False)
    np.testing.assert_array_equal(np.concatenate(itself), np.arange(49))


@pytest.mark.parametrize("name", ["auto", "cosine", "classifier", "regressor"])
def test_rows_within_a_radius_are_nearest_rows(name):
    estimator, mask = fit_once(name), np.arange(40) % 3 > 0
    for where in (None, mask):
        most = 40 if where is None else mask.sum()
        apart, at = estimator.kneighbors(QUERIES, most, where=where)
        # Between two distances: of rows with holes these are roundings of scores.
        radius = (np.sort(apart.ravel())[60:62]).mean()
        more = {"sort_results": True, "where": where}
        near, found = estimator.radius_neighbors(QUERIES, radius, **more)
        for row, n in enumerate((apart <= radius).sum(1)):
            np.testing.assert_array_equal(found[row], at[row, :n])
            np.testing.assert_allclose(near[row], apart[row, :n], atol=1e-9)
    graph = estimator.radius_neighbors_graph(radius=radius, mode="distance")
    whole = estimator.kneighbors_graph(n_neighbors=39, mode="distance").toarray()
    expected = np.where(whole <= radius, whole, 0)
    np.testing.assert_allclose(graph.toarray(), expected, atol=1e-12)


def test_budgets_and_blocks_do_not_change_who_is_within():
    rng = np.random.RandomState(0)
    rows = rng.normal(size=(5000, 3))
    memory = fit_memory(similarity="euclidean", feature_map="identity").fit(rows)
    apart, at = memory.radius_neighbors(rows[:500], 0.3)
    other = NearestNeighbors().fit(rows).radius_neighbors(rows[:500], 0.3)
    assert_same_pairs((apart, at), other)
    with config_context(working_memory=1):
        assert_same_pairs(memory.radius_neighbors(rows[:500], 0.3), other)


def test_graphs_within_a_radius_serve_scikit_learn():
    rows = np.concatenate([X / 10, X / 10 + 5])
    memory = fit_memory(similarity="euclidean", feature_map="identity").fit(rows)
    graph = memory.radius_neighbors_graph(rows, 1.0, mode="distance")
    found = DBSCAN(eps=1.0, metric="precomputed").fit_predict(graph)
    np.testing.assert_array_equal(found, DBSCAN(eps=1.0).fit_predict(rows))
    ones = memory.radius_neighbors_graph(rows)
    expected = NearestNeighbors().fit(rows).radius_neighbors_graph(rows)
    np.testing.assert_array_equal(ones.toarray(), expected.toarray())
    sort = memory.radius_neighbors_graph(rows, 1.0, "distance", True)
    assert (np.diff(sort[3].data) >= 0).all()
    np.testing.assert_array_equal(sort.toarray(), graph.toarray())


def test_bad_radius():
    memory = fit("auto")
    for radius in (-1, np.nan, np.inf, "1"):
        with pytest.raises(ValueError, match=r"'radius'.*finite number >= 0"):
            memory.radius_neighbors(QUERIES, radius)
    with pytest.raises(ValueError, match="return_distance must be True"):
        memory.radius_neighbors(QUERIES, 1.0, False, True)
    with pytest.raises(ValueError, match=r"'connectivity', 'distance'.*'both'"):
        memory.radius_neighbors_graph(mode="both")


# --- an index -------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["ivf", "hnsw"])
@pytest.mark.parametrize("tail", ["drop", "sample"])
def test_an_index_follows(kind, tail, monkeypatch):
    pytest.importorskip("faiss")
    rng = np.random.RandomState(0)
    rows = rng.normal(size=(3000, 8)) + 4 * rng.normal(size=(30, 8)).repeat(100, 0)
    rows = rows.astype("f4")
    params = {"similarity": "euclidean", "beta": 20.0, "feature_map": "identity"}
    memory = fit_memory(index=Index(kind, tail=tail), **params).fit(rows)
    gone = rng.permutation(3000)[:400]
    left = np.setdiff1d(np.arange(3000), gone)
    queries = rows[::7] + 0.05 * rng.normal(size=(429, 8)).astype("f4")
    exact = fit_memory(**params).fit(rows[left])
    built = memory.index_["bytes"]
    filtered = memory.transform(queries, where=np.isin(np.arange(3000), left))
    forgetful = copy.deepcopy(memory).forget(gone[:150]).forget(X=rows[gone[150:]])
    assert forgetful.index_["bytes"] is not None
    np.testing.assert_array_equal(forgetful.index_["bytes"], built)
    loaded = pickle.loads(pickle.dumps(forgetful))
    for found in (
        forgetful.transform(queries),
        loaded.transform(queries),
        filtered,
    ):
        np.testing.assert_allclose(found, exact.transform(queries), atol=0.02)
    np.testing.assert_array_equal(forgetful.predict(queries), exact.predict(queries))
    assert forgetful.missing_weight(queries).mean() < 1e-3
    # Where most of it has gone the index is built anew, or not at all.
    few = forgetful.forget(range(1300))
    assert len(few.index_["bytes"]) < len(built)
    assert "places" not in few.index_
    assert few.forget(range(500)).index_ == {}


# --- tables ---------------------------------------------------------------------------


def test_rows_of_tables_are_forgotten_as_they_came():
    table = pd.DataFrame(X[:, :3], columns=list("abc"))
    table["word"] = pd.Categorical(np.array(["up", "down", "left"])[np.arange(40) % 3])
    classifier = UHopClassifier(**FEW).fit(table[5:], Y[5:])
    before = classifier.predict_proba(table)
    classifier.partial_fit(table[:5], Y[:5])
    assert not np.array_equal(classifier.predict_proba(table), before)
    classifier.forget(X=table[:5])
    np.testing.assert_array_equal(classifier.predict_proba(table), before)
    where = np.arange(35) % 2 == 0
    few = copy.deepcopy(classifier).forget(~where)
    np.testing.assert_array_equal(
        classifier.predict(table, where=where), few.predict(table)
    )
    few.forget([0], relearn=True)
    again = UHopClassifier(**FEW).fit(table[5:][where][1:], Y[5:][where][1:])
    np.testing.assert_allclose(few.predict_proba(table), again.predict_proba(table))
    assert list(few.feature_names_in_) == list(table.columns)
