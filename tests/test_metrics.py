"""Errors and hit rates against a plain computation; the scorer inside searches."""

import pickle

import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV, RandomizedSearchCV, cross_validate
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skuhop import UHopMemory
from skuhop.metrics import StoredPatterns, hit_rate, retrieval_error, retrieval_scorer
from skuhop.support.row_distances import nearest_rows

X = np.random.RandomState(0).normal(size=(12, 9))
PLAIN = UHopMemory("identity", similarity="euclidean")


def hide(X, random_state):
    return np.where(random_state.uniform(size=X.shape) < 0.3, np.nan, X)


# --- the metrics ---------------------------------------------------------------------

matrices = arrays(np.float64, (5, 3), elements=st.floats(-8, 8, width=16))


@given(true=matrices, retrieved=matrices)
def test_error_is_a_sum_over_features_and_a_mean_over_queries(true, retrieved):
    expected = np.mean(
        [
            sum((a - b) ** 2 for a, b in zip(*rows, strict=True))
            for rows in zip(true, retrieved, strict=True)
        ]
    )
    assert retrieval_error(true, retrieved) == pytest.approx(expected)
    assert retrieval_error(true, true) == 0


def test_error_is_minus_the_score_of_a_memory():
    queries = X + 0.5
    memory = clone(PLAIN).fit(X)
    error = retrieval_error(X, memory.transform(queries))
    assert error == pytest.approx(-memory.score(queries, X))


@given(retrieved=matrices)
def test_hit_rate_counts_rows_whose_own_pattern_is_the_nearest(retrieved):
    stored = np.arange(15.0).reshape(5, 3)
    distances = ((retrieved[:, None] - stored) ** 2).sum(2)
    hits = distances.argmin(1) == np.arange(5)
    first, second = np.sort(distances, 1)[:, :2].T
    assume((second - first > 1e-9 * second).all())  # Either may be right at a tie.
    assert hit_rate(stored, retrieved) == pytest.approx(hits.mean())


def test_hit_rate_among_more_patterns_than_were_asked_for():
    found = X[:3].copy()
    found[0] = X[7] + 0.01
    assert hit_rate(X[:3], found, patterns=X) == pytest.approx(2 / 3)


def test_a_pattern_that_is_stored_twice_is_right_in_either_place():
    twice = np.concatenate([X, X])
    assert hit_rate(twice, twice) == 1


def test_weights():
    found = X.copy()
    found[0] = X[1]
    w = np.zeros(12)
    w[0] = 3
    assert hit_rate(X, found, sample_weight=w) == 0
    expected = ((X[0] - X[1]) ** 2).sum()
    assert retrieval_error(X, found, sample_weight=w) == pytest.approx(expected)


@pytest.mark.parametrize("metric", [retrieval_error, hit_rate])
def test_bad_input(metric):
    with pytest.raises(ValueError, match=r"same shape; got \(12, 9\) and \(11, 9\)"):
        metric(X, X[:-1])
    with pytest.raises(ValueError, match="patterns_retrieved contains NaN"):
        metric(X, np.full_like(X, np.nan))
    with pytest.raises(ValueError, match="inconsistent"):
        metric(X, X, sample_weight=[1.0])
    with pytest.raises(ValueError, match="9 features"):
        hit_rate(X, X, patterns=X[:, :2])


# --- the scorer ----------------------------------------------------------------------


def test_scorer_is_the_metric_on_copies_of_its_seed():
    memory = clone(PLAIN).fit(X)
    copy = X * (np.random.RandomState(3).uniform(size=X.shape) < 0.5)
    answer = memory.transform(copy)
    error = retrieval_scorer("mask", random_state=3)(memory, X)
    assert error == pytest.approx(-retrieval_error(X, answer))
    rate = retrieval_scorer("mask", random_state=3, metric="hit_rate")(memory, X)
    assert rate == hit_rate(X, answer)


def test_scorer_asks_every_estimator_the_same_and_copies_differ():
    class Spy(UHopMemory):
        def transform(self, X):
            seen.append(X)
            return super().transform(X)

    seen = []
    scorer = retrieval_scorer("noise", n_copies=2)
    memory = Spy("identity", similarity="euclidean").fit(X)
    assert scorer(memory, X) == scorer(memory, X)
    np.testing.assert_array_equal(seen[:2], seen[2:])
    assert (seen[0] != seen[1]).all()


def test_scorer_may_hide_entries():
    memory = clone(PLAIN).fit(X)
    assert retrieval_scorer(hide)(memory, X) > -0.5


def test_scorer_in_a_pipeline_compares_what_the_memory_sees():
    pipeline = make_pipeline(StandardScaler(), clone(PLAIN)).fit(100 * X + 7)
    score = retrieval_scorer(lambda X, _: X)(pipeline, 100 * X + 7)
    assert score == pytest.approx(0, abs=1e-8)
    with pytest.raises(ValueError, match="12 of the 12 rows"):
        retrieval_scorer("mask")(pipeline, X)


def test_scorer_keeps_column_names():
    frame = pd.DataFrame(X, columns=list("abcdefghi"))
    assert retrieval_scorer("mask")(clone(PLAIN).fit(frame), frame) <= 0


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_search(n_jobs):
    search = GridSearchCV(
        PLAIN,
        {"beta": [1e-3, 10.0]},
        scoring={
            "error": retrieval_scorer("noise"),
            "hits": retrieval_scorer("noise", metric="hit_rate"),
        },
        refit="error",
        cv=StoredPatterns(),
        n_jobs=n_jobs,
    ).fit(X)
    assert search.best_params_ == {"beta": 10.0}
    assert search.n_splits_ == 1
    assert search.best_estimator_.patterns_.shape == X.shape
    error, hits = (search.cv_results_[f"mean_test_{k}"] for k in ("error", "hits"))
    assert error[0] < error[1] <= 0 <= hits[0] <= hits[1] <= 1


def test_a_search_that_forgets_the_splitter_is_told():
    search = RandomizedSearchCV(
        PLAIN,
        {"beta": [1.0]},
        n_iter=1,
        scoring=retrieval_scorer("mask"),
        cv=3,
        error_score="raise",
    )
    with pytest.raises(ValueError, match=r"4 of the 4 rows.*cv=StoredPatterns\(\)"):
        search.fit(X)


def test_cross_validate():
    found = cross_validate(
        PLAIN, X, scoring=retrieval_scorer("mask"), cv=StoredPatterns()
    )
    assert found["test_score"].shape == (1,)


def test_scorer_and_splitter_travel_and_show_themselves():
    scorer = pickle.loads(pickle.dumps(retrieval_scorer("mask", random_state=5)))
    memory = clone(PLAIN).fit(X)
    assert scorer(memory, X) == retrieval_scorer("mask", random_state=5)(memory, X)
    expected = "retrieval_scorer('mask', metric='error', n_copies=1, random_state=5)"
    assert repr(scorer) == expected
    assert repr(StoredPatterns()) == "StoredPatterns()"


@pytest.mark.parametrize(
    "wrong, message",
    [
        (
            {"corruption": "blur"},
            "'corruption'.*'mask', 'noise', 'both' or a callable.*'blur'",
        ),
        ({"corruption": None}, "'corruption'.*None"),
        ({"metric": "accuracy"}, "'metric'.*'error', 'hit_rate'.*'accuracy'"),
        ({"n_copies": 0}, "'n_copies'.*integer >= 1.*0"),
        ({"random_state": None}, "'random_state'.*integer >= 0.*None"),
    ],
)
def test_bad_parameters(wrong, message):
    with pytest.raises(ValueError, match=message):
        retrieval_scorer(**{"corruption": "mask", **wrong})


def test_a_corruption_that_changes_the_shape():
    scorer = retrieval_scorer(lambda X, _: X[:, :2])
    with pytest.raises(ValueError, match=r"\(12, 9\); got shape \(12, 2\)"):
        scorer(clone(PLAIN).fit(X), X)


# --- numbers that wrap, overflow or lie far from zero --------------------------------


@pytest.mark.parametrize("dtype", ["u1", "i2", "i8", "f2", "f4", bool])
def test_numbers_of_few_bits(dtype):
    rows = (200 * np.eye(3)).astype(dtype)
    zero = np.zeros_like(rows)
    expected = np.square(rows.astype(float)).sum(1).mean()
    for pair in ((rows, zero), (zero, rows), (rows, zero.astype(float))):
        assert retrieval_error(*pair) == expected


@pytest.mark.parametrize("offset", [0.0, 1e7, -1e8, 1e12])
@pytest.mark.parametrize("among", [None, X])
def test_hits_far_from_zero(offset, among):
    among = None if among is None else among + offset
    assert hit_rate(X + offset, X + offset + 1e-3, patterns=among) == 1
    swapped = X[::-1] + offset
    assert hit_rate(X + offset, swapped, patterns=among) == 0


def test_hits_in_clusters_that_are_far_apart():
    far = np.concatenate([X, X + 1e9, X - 1e9])
    assert hit_rate(far, far + 1e-3) == 1


@pytest.mark.parametrize("scale", [1e-200, 1e-30, 1e30, 1e150])
def test_hits_at_all_scales(scale):
    assert hit_rate(scale * X, scale * (X + 1e-3)) == 1


@pytest.mark.parametrize("dtype", ["f2", "f4"])
def test_a_row_and_its_copy_in_another_precision_are_one(dtype):
    copy = X.astype(dtype)
    assert hit_rate(X, copy) == hit_rate(copy, X) == 1
    assert hit_rate(X, X, patterns=copy) == hit_rate(copy, X, patterns=X) == 1
    assert hit_rate(X[::-1], X, patterns=copy) == 0


@given(rows=matrices, stored=matrices, offset=st.sampled_from([0, 1e6, 2.0**40]))
def test_the_nearest_by_differences(rows, stored, offset):
    expected = ((rows[:, None] - stored) ** 2).sum(2)
    found = nearest_rows(rows + offset, stored + offset)
    least = expected[np.arange(len(rows)), found]
    if offset < 2**40:  # there only the first bits of the numbers are left
        np.testing.assert_allclose(least, expected.min(1), rtol=1e-6, atol=1e-8)
    np.testing.assert_array_equal(nearest_rows(stored, stored) <= np.arange(5), True)
