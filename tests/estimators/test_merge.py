"""Two estimators become one: rows, classes, weights, names and streams of both."""

import copy
import pickle

import numpy as np
import pandas as pd
import pytest

from skuhop import (
    CrossFitting,
    Index,
    KanervaMemory,
    Retention,
    UHopClassifier,
    UHopMemory,
    UHopRegressor,
)
from skuhop.retention import RETENTION
from skuhop.retrieval import SEPARATIONS

RNG = np.random.RandomState(0)
X, MORE = RNG.normal(size=(40, 6)), RNG.normal(size=(9, 6))
MORE[1], MORE[5] = X[3], MORE[4]  # What comes may be stored, and may come twice.
QUERIES = np.concatenate([X[:5] + 0.2, MORE[:3] - 0.1])
QUERIES[2, 4] = np.nan
THEN = np.array([2.0, 1, 3, 1, 1, 2, 1, 0.5, 1])
FEW = {"max_iter": 2, "training": CrossFitting(n_folds=2), "random_state": 0}


def make_memory(**params):
    return UHopMemory(**{"max_iter": 2, "random_state": 0, **params})


ESTIMATORS = {
    "auto": make_memory(),
    "euclidean": make_memory(similarity="euclidean"),
    **{
        f"dot, {name}": make_memory(similarity="dot", separation=name)
        for name in SEPARATIONS
    },
    "classifier": UHopClassifier(**FEW),
    "balanced": UHopClassifier(class_weight="balanced", **FEW),
    "regressor": UHopRegressor(**FEW),
}


def values_of(estimator, rows):
    if isinstance(estimator, UHopMemory):
        return None
    if isinstance(estimator, UHopRegressor):
        return rows[:, :2] * 3
    return np.where(rows[:, 0] > 0.3, "up", "down")


def fit(name, rows=X, **more):
    estimator = copy.deepcopy(ESTIMATORS[name])
    return estimator.fit(rows, values_of(estimator, rows), **more)


def add(estimator, rows=MORE, **more):
    values = values_of(estimator, rows)
    return copy.deepcopy(estimator).partial_fit(rows, values, **more)


def answer(estimator):
    if isinstance(estimator, UHopMemory):
        return estimator.transform(QUERIES)
    method = "predict_proba" if hasattr(estimator, "classes_") else "predict"
    return getattr(estimator, method)(QUERIES)


def assert_same(estimator, other, order=None, rtol=1e-10):
    """The same answers, and the same of all that follows from the rows."""
    np.testing.assert_allclose(answer(estimator), answer(other), rtol, 1e-12)
    order = slice(None) if order is None else order
    rows = ("patterns_", "sample_weight_", "row_ids_", "pattern_classes_", "values_")
    for name in vars(other):
        there, here = getattr(other, name), getattr(estimator, name)
        if name[-1] != "_" or not isinstance(there, np.ndarray):
            continue
        here = here[order] if name in rows else here
        assert here.dtype == there.dtype, name
        if here.dtype.kind == "f":
            np.testing.assert_allclose(here, there, rtol, 1e-12, err_msg=name)
        else:
            np.testing.assert_array_equal(here, there, err_msg=name)


def split(name, weights=None, **more):
    """Two estimators of the same Phi, of which one stores X and the other MORE."""
    first = fit(name, **more)
    if more:
        second = add(first, sample_weight=weights, row_ids=np.arange(40, 49))
    else:
        second = add(first, sample_weight=weights)
    return first, second.forget(range(40))


@pytest.mark.parametrize("weights", [None, THEN])
@pytest.mark.parametrize("name", ESTIMATORS)
def test_merging_is_storing_both(name, weights):
    first, second = split(name, weights, row_ids=np.arange(40))
    before = answer(second)
    both = add(first, sample_weight=weights, row_ids=np.arange(40, 49))
    merged = copy.deepcopy(first)
    assert merged.merge(second) is merged
    assert_same(merged, both)
    # The other stays as it is, and may have been merged into instead.
    np.testing.assert_array_equal(answer(second), before)
    order = np.r_[9:49, :9]
    assert_same(second.merge(first), merged, order)


@pytest.mark.parametrize("name", ["auto", "balanced", "regressor"])
def test_merging_is_associative(name):
    first, second = split(name, THEN)
    third = copy.deepcopy(first).forget(range(30))
    one = copy.deepcopy(first).merge(copy.deepcopy(second).merge(third))
    two = copy.deepcopy(first).merge(second).merge(third)
    assert_same(one, two)


@pytest.mark.parametrize("name", ["auto", "balanced", "regressor"])
def test_what_was_merged_is_forgotten(name):
    first, second = split(name, THEN)
    merged = copy.deepcopy(first).merge(second)
    assert_same(copy.deepcopy(merged).forget(range(40, 49)), first)
    assert_same(merged.forget(X=MORE, sample_weight=THEN), first)


@pytest.mark.parametrize("name", ["auto", "balanced", "regressor"])
def test_an_estimator_takes_itself(name):
    twice = fit(name)
    twice.merge(twice)
    assert_same(twice, add(fit(name), X))


@pytest.mark.parametrize("name", ["euclidean", "balanced", "regressor"])
def test_the_lead_gives_phi(name):
    """What the other has learned, and how it weighs classes, is not taken over."""
    lead, other = fit(name), fit(name, MORE + 1, sample_weight=THEN)
    merged = copy.deepcopy(lead).merge(other)
    assert_same(merged, add(lead, MORE + 1, sample_weight=THEN), rtol=1e-9)
    assert not np.allclose(answer(merged), answer(other.merge(lead)))


def test_classes_are_united():
    labels = np.array(list("bdbdbdbdc"))
    first = UHopClassifier(class_weight={"b": 2.0}, **FEW).fit(X, list("bd") * 20)
    second = UHopClassifier(class_weight={"b": 3.0, "c": 5.0}, **FEW)
    second.partial_fit(MORE, labels, classes=list("abcd"))
    both = copy.deepcopy(first).partial_fit(MORE, labels, classes=list("abcd"))
    merged = first.merge(second)
    assert_same(merged, both)
    assert merged.classes_.tolist() == list("abcd")
    assert merged.linear_share_ == 0


@pytest.mark.parametrize("rule", RETENTION)
@pytest.mark.parametrize("decay", [1.0, 0.9])
def test_streams_are_joined_end_to_end(rule, decay):
    """As if the rows of the other had come after those of this one."""
    retention = Retention(rule, max_patterns=60, decay=decay)
    params = {"similarity": "euclidean", "beta": 1.0, "feature_map": "identity"}
    first, second = (
        make_memory(retention=retention, **params).partial_fit(rows, row_ids=ids)
        for rows, ids in ((X, np.arange(40)), (MORE, np.arange(40, 49)))
    )
    both = copy.deepcopy(first).partial_fit(MORE, row_ids=np.arange(40, 49))
    first.merge(second)
    assert_same(first, both)
    assert first.stream_["seen"] == 49
    np.testing.assert_array_equal(first.stream_["arrivals"], both.stream_["arrivals"])
    # The budget holds, names stay with their rows, and the stream goes on.
    first.set_params(retention=Retention(rule, max_patterns=20, decay=decay))
    first.merge(second)
    assert len(first.patterns_) == 20
    assert len(np.unique(first.stream_["arrivals"])) == 20
    assert first.stream_["seen"] == 58
    if rule != "merge":
        every = np.concatenate([X, MORE])
        np.testing.assert_array_equal(first.patterns_, every[first.row_ids_])
    first.partial_fit(X, row_ids=np.arange(40))
    assert first.stream_["seen"] == 98


def test_gaps_in_the_other_stream_stay():
    retention = Retention("fifo", max_patterns=5)
    first, second = (
        make_memory(retention=retention).partial_fit(rows, row_ids=np.arange(len(rows)))
        for rows in (X, MORE)
    )
    first.set_params(retention=Retention("fifo", max_patterns=7)).merge(second)
    np.testing.assert_array_equal(first.stream_["arrivals"], [38, 39, *range(44, 49)])
    np.testing.assert_array_equal(first.row_ids_, [38, 39, 4, 5, 6, 7, 8])
    np.testing.assert_array_equal(first.patterns_, [*X[38:], *MORE[4:]])


def test_precision_is_that_of_the_lead():
    first = fit("auto", X.astype("f4")).merge(fit("auto", MORE))
    assert first.patterns_.dtype == np.float32
    with pytest.raises(ValueError, match="float32"):
        first.merge(fit("auto", MORE * 1e60))


def test_an_index_follows():
    pytest.importorskip("faiss")
    rows = RNG.normal(size=(2400, 8)).astype("f4")
    params = {"similarity": "euclidean", "beta": 20.0, "feature_map": "identity"}
    first, second = (
        make_memory(index=Index("ivf"), **params).fit(part)
        for part in (rows[:1600], rows[1600:])
    )
    exact = make_memory(**params).fit(rows)
    merged = pickle.loads(pickle.dumps(first.merge(second)))
    assert merged.index_["bytes"] is not None
    np.testing.assert_allclose(
        merged.transform(rows[::9]), exact.transform(rows[::9]), atol=0.05
    )


def fit_table(words, columns="ab", **params):
    table = pd.DataFrame(X[: len(words), :2], columns=list(columns))
    table["word"] = words
    return UHopClassifier(**FEW, **params).fit(table, np.arange(len(words)) % 2)


NAMED = fit("auto", row_ids=np.arange(40))
WORDS = fit_table(["up", "down"] * 10)
BAD = {
    "class": (fit("auto"), fit("classifier"), "another UHopMemory.*UHopClassifier"),
    "thing": (fit("auto"), X, "another UHopMemory.*ndarray"),
    "not fitted": (fit("auto"), make_memory(), "not fitted"),
    "features": (fit("auto"), fit("auto", X[:, :3]), "n_features_in_: 6. Got 3"),
    "names": (NAMED, fit("auto"), "fitted with row_ids. Got rows without"),
    "no names": (fit("auto"), NAMED, "fitted without row_ids. Got rows with"),
    "kinds": (NAMED, fit("auto", row_ids=list("ab") * 20), "kind they had in fit"),
    "columns": (WORDS, fit_table(["up", "down"] * 9, "ba"), "feature_names_in_"),
    "words": (
        WORDS,
        fit_table(["up", "left"] * 9),
        r"categories_: column 2 has \['down', 'up'\] here. Got \['left', 'up'\]",
    ),
    "numbers": (WORDS, fit_table([1.0, 2.0] * 9), "column 2 has .* Got None"),
    "labels": (
        fit("classifier"),
        UHopClassifier(**FEW).fit(X, X[:, 0] > 0),
        "[Mm]ix of label",
    ),
    "outputs": (
        fit("regressor"),
        UHopRegressor(**FEW).fit(X, X[:, 0]),
        "columns that it had in fit",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_what_does_not_match_leaves_all_as_it_was(case):
    estimator, other, message = BAD[case]
    before, there = dict(vars(estimator)), getattr(other, "__dict__", None)
    there = dict(there or {})
    with pytest.raises(ValueError, match=message):
        estimator.merge(other)
    assert vars(estimator) == before
    assert dict(getattr(other, "__dict__", {})) == there


def test_tables_are_merged():
    words = pd.Series(["up", "down"] * 20)
    table = pd.DataFrame(X[:, :2], columns=list("ab")).assign(word=words)
    y = (X[:, 0] > 0).astype(int)
    first, second = (
        UHopClassifier(**FEW).fit(table[part], y[part])
        for part in (slice(0, 22), slice(22, 40))
    )
    both = copy.deepcopy(first).partial_fit(table[22:], y[22:])
    merged = first.merge(second)
    np.testing.assert_allclose(merged.predict_proba(table), both.predict_proba(table))


def test_not_fitted():
    with pytest.raises(ValueError, match="not fitted"):
        make_memory().merge(fit("auto"))


# --- slots ----------------------------------------------------------------------------


@pytest.mark.parametrize("addressing", ["softmax", "fourier"])
def test_slots_add_up(addressing):
    rows = RNG.normal(size=(300, 5)) * 3 + 7
    begun = KanervaMemory(16, addressing=addressing, random_state=0).fit(rows[:100])
    one, two = (copy.deepcopy(begun) for _ in range(2))
    one.partial_fit(rows[100:200], sample_weight=np.arange(1, 101))
    two.partial_fit(rows[200:])
    both = copy.deepcopy(one).partial_fit(rows[200:]).partial_fit(rows[:100])
    merged = copy.deepcopy(one).merge(two)
    for other in (merged, two.merge(one)):
        np.testing.assert_allclose(other.transform(rows), both.transform(rows))
        np.testing.assert_allclose(other.score_samples(rows), both.score_samples(rows))
        np.testing.assert_allclose(other.noise_variance_, both.noise_variance_)
        assert other.n_samples_seen_ == pytest.approx(both.n_samples_seen_)
    merged.forget(rows[200:]).forget(rows[:100])
    np.testing.assert_allclose(merged.transform(rows), one.transform(rows), rtol=1e-6)


def test_slots_have_other_addresses():
    memory, other = (KanervaMemory(8, random_state=seed).fit(X) for seed in (0, 1))
    before = dict(vars(memory))
    with pytest.raises(ValueError, match=r"first write was the same.*another anchors"):
        memory.merge(other)
    with pytest.raises(ValueError, match="another KanervaMemory"):
        memory.merge(fit("auto"))
    with pytest.raises(ValueError, match="n_features_in_"):
        memory.merge(KanervaMemory(8).fit(X[:, :3]))
    assert vars(memory) == before
