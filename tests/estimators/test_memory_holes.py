"""Patterns with holes: what they are compared by, and what is read out of them."""

import pickle

import numpy as np
import pandas as pd
import pytest
from scipy.integrate import quad

from skuhop import Entmax, Retention, UHopMemory

N, D = 40, 6


def make_rows(seed=0, share=0.3):
    rng = np.random.RandomState(seed)
    X = rng.normal(size=(N, D))
    holes = rng.uniform(size=X.shape) < share
    holes[np.arange(N), rng.randint(D, size=N)] = False
    return X, np.where(holes, np.nan, X)


X, HOLED = make_rows()
QUERIES = make_rows(1, 0.2)
WEIGHTS = np.random.RandomState(2).randint(1, 4, size=N).astype(float)
SETTINGS = [
    {},
    {"similarity": "euclidean"},
    {"similarity": "euclidean", "beta": 2.0},
    {"beta": 0.5},
    {"separation": "sparsemax", "similarity": "euclidean", "beta": 2.0},
    {"separation": "softmax1", "similarity": "euclidean", "beta": 2.0},
    {"separation": Entmax(alpha="auto")},
]


def fitted(settings=None, rows=HOLED, **how):
    memory = UHopMemory(max_iter=5, random_state=0, **(settings or {}))
    return memory.fit(rows, **how)


def moments(rows, weights):
    """Weighted mean and variance of what is known of every column."""
    known = ~np.isnan(rows)
    share = known * weights[:, None] / (known * weights[:, None]).sum(axis=0)
    mean = np.nansum(share * rows, axis=0)
    return mean, np.nansum(share * (rows - mean) ** 2, axis=0)


def test_scores_are_those_of_the_expected_kernel():
    """By quadrature: what the kernel is in the mean over what a hole may be."""
    beta, w = 1.7, WEIGHTS
    memory = fitted({"similarity": "euclidean", "beta": beta}, sample_weight=w)
    mean, variance = moments(HOLED, w)
    rows = QUERIES[1][:4]

    def factor(x, j, xi):
        if np.isnan(x):
            return 1.0
        if not np.isnan(xi):
            return np.exp(-beta / 2 * (x - xi) ** 2)
        s = np.sqrt(variance[j])
        return quad(
            lambda z: (
                np.exp(-beta / 2 * (x - z) ** 2 - (z - mean[j]) ** 2 / 2 / s**2)
                / np.sqrt(2 * np.pi)
                / s
            ),
            mean[j] - 12 * s,
            mean[j] + 12 * s,
        )[0]

    kernel = np.array(
        [
            [np.prod([factor(x[j], j, xi[j]) for j in range(D)]) for xi in HOLED]
            for x in rows
        ]
    )
    weighted = kernel * w
    expected = weighted / weighted.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(memory.association(rows), expected, rtol=1e-6)
    energy = -np.log(weighted.sum(axis=1)) / beta
    np.testing.assert_allclose(memory.energy(rows), energy, rtol=1e-6)


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
@pytest.mark.parametrize("queries", QUERIES, ids=["complete", "holes"])
def test_answers_are_means_of_what_is_known(settings, queries):
    memory = fitted(settings, sample_weight=WEIGHTS)
    weights, known = memory.association(queries), ~np.isnan(HOLED)
    have = weights @ known
    mean, _ = moments(HOLED, WEIGHTS)
    found = weights @ np.where(known, HOLED, 0) / np.where(have > 0, have, 1)
    expected = np.where(have > 0, found, mean) * weights.sum(axis=1, keepdims=True)
    expected = np.where(
        np.isnan(queries) | ~np.isnan(queries).any(axis=1)[:, None], expected, queries
    )
    np.testing.assert_allclose(memory.transform(queries), expected, rtol=1e-6)


def test_what_nobody_with_weight_has_is_the_mean_of_the_column():
    rows = np.array([[0.0, np.nan], [0.1, np.nan], [50.0, 1.0], [60.0, 2.0]])
    memory = fitted({"similarity": "euclidean", "beta": 1e4}, rows)
    np.testing.assert_allclose(memory.transform([[0.0, 7.0]])[0, 1], 1.5)
    empty = fitted(None, np.array([[0.0, np.nan], [1.0, np.nan]]))
    np.testing.assert_array_equal(empty.transform([[0.0, np.nan]]), [[0.0, 0.0]])


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_nothing_is_nan(settings):
    rows = np.vstack([HOLED, np.full((1, D), np.nan)])
    for dtype in (np.float64, np.float32):
        memory = fitted(settings, rows.astype(dtype))
        for queries in (*QUERIES, np.full((1, D), np.nan)):
            found = memory.transform(queries.astype(dtype))
            assert found.dtype == dtype
            assert np.isfinite(found).all()
            assert np.isfinite(memory.score_samples(queries.astype(dtype))).all()


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_weights_are_copies_and_rows_answer_alone(settings):
    rows = QUERIES[1]
    weighted = fitted(settings, sample_weight=WEIGHTS)
    copied = fitted(settings, np.repeat(HOLED, WEIGHTS.astype(int), axis=0))
    found = weighted.transform(rows)
    np.testing.assert_allclose(found, copied.transform(rows), rtol=1e-7, atol=1e-9)
    alone = np.vstack([weighted.transform(row[None]) for row in rows])
    np.testing.assert_allclose(found, alone, rtol=1e-9)


@pytest.mark.parametrize("beta", ["auto", 4.0])
def test_rows_with_many_holes_are_neither_near_to_all_nor_far_from_all(beta):
    """Noisy rows find themselves, whatever they lack; strangers find all alike."""
    rng = np.random.RandomState(0)
    rows = rng.normal(size=(300, 20))
    half = np.arange(300) % 2 == 1
    holes = half[:, None] & (rng.uniform(size=rows.shape) < 0.5)
    settings = {"similarity": "euclidean", "beta": beta}
    memory = fitted(settings, np.where(holes, np.nan, rows))
    noisy = memory.predict(rows + 0.5 * rng.normal(size=rows.shape))
    right = noisy == np.arange(300)
    assert right[~half].mean() > 0.95
    assert right[half].mean() > 0.7
    if beta == "auto":  # With a number strangers are far from what is narrow.
        strangers = memory.predict(rng.normal(size=(300, 20)))
        assert 0.1 < half[strangers].mean() < 0.8


def test_patterns_come_in_pieces_and_go():
    whole = fitted({"feature_map": "identity"})
    pieces = UHopMemory("identity", random_state=0).partial_fit(HOLED[:25])
    pieces.partial_fit(HOLED[25:])
    np.testing.assert_array_equal(pieces.patterns_, HOLED)
    rows = QUERIES[0]
    np.testing.assert_allclose(pieces.transform(rows), whole.transform(rows))
    pieces.forget(X=HOLED[25:])
    few = fitted({"feature_map": "identity"}, HOLED[:25])
    np.testing.assert_allclose(pieces.transform(rows), few.transform(rows))
    where = np.arange(N) < 25
    np.testing.assert_allclose(whole.transform(rows, where=where), few.transform(rows))


def test_complete_rows_of_a_memory_with_holes_answer():
    """Whatever is learned with holes serves the rows without them as well."""
    complete = ~np.isnan(HOLED).any(axis=1)
    found = fitted().transform(X, where=complete)
    assert np.isfinite(found).all()
    assert np.isfinite(fitted().forget(~complete).transform(X)).all()


def test_merged_rows_are_means_of_what_is_known():
    rows = np.array([[0.0, 1.0], [0.0, np.nan], [9.0, np.nan], [9.0, np.nan]])
    memory = UHopMemory(retention=Retention("merge", max_patterns=2))
    memory.partial_fit(rows, sample_weight=[1.0, 3.0, 1.0, 1.0])
    order = np.argsort(memory.patterns_[:, 0])
    np.testing.assert_array_equal(memory.patterns_[order], [[0.0, 1.0], [9.0, np.nan]])


@pytest.mark.parametrize(
    "settings, how, name",
    [
        ({"similarity": "cosine"}, {}, "similarity"),
        ({"similarity": "dot"}, {}, "similarity"),
        ({"similarity": "manhattan"}, {}, "similarity"),
        ({"index": "ivf", "similarity": "euclidean"}, {}, "index"),
        ({"corruption": "noise"}, {}, "corruption"),
        ({}, {"queries": X}, "queries"),
    ],
)
def test_what_cannot_be_expected_is_refused(settings, how, name):
    with pytest.raises(ValueError, match=f"NaN.*{name}"):
        fitted(settings, **how)


def test_holes_are_refused_by_what_has_been_fitted_without():
    rows = np.random.RandomState(0).normal(size=(20, 9))
    memory = UHopMemory("identity").fit(rows, queries=rows[::-1] + 0.1)
    with pytest.raises(ValueError, match="NaN"):
        memory.partial_fit(np.where(rows > 1, np.nan, rows))
    assert len(memory.patterns_) == 20


def test_questions_that_need_all_entries_are_refused():
    for ask in (fitted().kneighbors, fitted().radius_neighbors):
        with pytest.raises(ValueError, match="distance of neighbors needs"):
            ask(X)
    with pytest.raises(ValueError, match="similarity"):
        fitted().set_params(similarity="cosine", beta=1.0).transform(X)


def test_draws_have_the_width_of_the_column_in_a_hole():
    rows = np.array([[0.0, 0.0], [0.0, 4.0], [100.0, np.nan]])
    memory = fitted({"similarity": "euclidean", "beta": 1.0}, rows)
    drawn = memory.sample(20_000, random_state=0)
    third = drawn[drawn[:, 0] > 50]
    assert abs(len(third) / len(drawn) - 1 / 3) < 0.02
    np.testing.assert_allclose(third[:, 1].mean(), 2, atol=0.1)
    np.testing.assert_allclose(third[:, 1].var(), 4 + 1, rtol=0.05)


def test_frames_with_holes_are_stored_and_pickled():
    table = pd.DataFrame(
        {
            "kind": pd.Categorical(["pea", "bean", None, "pea"] * 5),
            "height": [1.0, None, 3.0, 1.2] * 5,
            "count": pd.array([1, 2, 2, None] * 5, dtype="Int64"),
        }
    )
    memory = UHopMemory(random_state=0).fit(table)
    filled = memory.transform(table)
    assert filled.dtypes.equals(table.dtypes)
    assert not filled.isna().any(axis=None)
    known = table.notna()
    assert filled.where(known).equals(table.where(known))
    assert pickle.loads(pickle.dumps(memory)).transform(table).equals(filled)
