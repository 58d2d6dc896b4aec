"""UHopMemory: its methods, and how it lives among scikit-learn's tools."""

import copy

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skuhop import Entmax, Training, UHopMemory, Updates
from skuhop.learning import FEATURE_MAPS, LOSSES
from skuhop.retrieval import SEPARATIONS, SIMILARITIES
from skuhop.support import cache

RNG = np.random.default_rng(0)
X = RNG.normal(size=(15, 10))
QUERIES = X[:8] + 0.2 * RNG.normal(size=(8, 10))
NOISE_MODELS = [k for k, v in SIMILARITIES.items() if v.profile is not None]


def fit(data=X, **params):
    return UHopMemory(**{"max_iter": 5, "random_state": 0, **params}).fit(data)


def with_gaps(share=0.4, seed=1):
    queries = X.copy()
    queries[np.random.default_rng(seed).random(X.shape) < share] = np.nan
    return queries


# --- attributes and contracts --------------------------------------------------------


@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_fitted_attributes(dtype):
    memory = fit(X.astype(dtype))
    np.testing.assert_array_equal(memory.patterns_, X.astype(dtype))
    np.testing.assert_allclose(memory.mean_, X.mean(0), rtol=1e-5, atol=1e-6)
    assert memory.components_.shape == (10, 10)
    assert memory.sample_weight_ is None
    assert memory.n_features_in_ == 10
    for array in (memory.patterns_, memory.mean_, memory.components_):
        assert array.dtype == dtype
    assert not hasattr(memory, "feature_names_in_")


def test_fit_returns_self_and_ignores_y():
    memory = UHopMemory(max_iter=3)
    assert memory.fit(X, y="nonsense") is memory


def test_fewer_patterns_than_features():
    assert fit(X[:4]).components_.shape == (4, 10)


@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize("stored", ["f4", "f8"])
def test_dtype_in_is_dtype_out(stored, dtype):
    memory, queries = fit(X.astype(stored)), QUERIES.astype(dtype)
    assert memory.transform(queries).dtype == dtype
    assert memory.association(queries).dtype == dtype
    assert memory.energy(queries).dtype == dtype
    assert memory.predict(queries).dtype == np.int64
    assert isinstance(memory.score(queries), float)


@pytest.mark.parametrize("separation", SEPARATIONS)
def test_methods_agree_with_each_other(separation):
    memory = fit(separation=separation, similarity="euclidean", beta=2.0)
    weights = memory.association(QUERIES)
    assert weights.shape == (8, 15)
    np.testing.assert_allclose(memory.transform(QUERIES), weights @ X, rtol=1e-10)
    _, top = memory.association(QUERIES, top=3)
    np.testing.assert_allclose(top, -np.sort(-weights, axis=1)[:, :3])
    best = weights[np.arange(8), memory.predict(QUERIES)]
    np.testing.assert_allclose(best, weights.max(1))
    if hasattr(memory, "energy"):
        energy = memory.energy(QUERIES)
        assert energy.shape == (8,)
        np.testing.assert_array_equal(memory.score_samples(QUERIES), -energy)


def test_score():
    memory = fit()
    out = memory.transform(QUERIES)
    expected = -((out - X[:8]) ** 2).sum(1).mean()
    assert memory.score(QUERIES, X[:8]) == pytest.approx(expected)
    assert memory.score(QUERIES) == pytest.approx(-((out - QUERIES) ** 2).sum(1).mean())
    assert memory.score(QUERIES, np.arange(8)) == memory.score(QUERIES)
    target = X[:8].copy()
    target[0] = np.nan
    expected = -np.nansum((out - target) ** 2, axis=1).mean()
    assert memory.score(QUERIES, target) == pytest.approx(expected)


def test_known_queries_score_higher_than_unknown_ones():
    memory = fit(similarity="euclidean")
    known, unknown = memory.score_samples(QUERIES), memory.score_samples(QUERIES + 3)
    assert known.min() > unknown.max()


def test_update_steps():
    one = fit(similarity="euclidean", beta=2.0)
    two = copy.deepcopy(one).set_params(update_steps=Updates(2, tol=0.0))
    np.testing.assert_allclose(
        two.transform(QUERIES), one.transform(one.transform(QUERIES)), rtol=1e-10
    )


def test_sample_weight_tilts_the_answer():
    weights = np.ones(15)
    weights[3], weights[5] = 50.0, 0.0
    memory = UHopMemory("identity", similarity="euclidean", beta=0.1)
    plain = memory.fit(X).association(QUERIES)
    tilted = memory.fit(X, sample_weight=weights).association(QUERIES)
    assert tilted.shape == (8, 14)
    expected = np.delete(plain * weights, 5, axis=1)
    np.testing.assert_allclose(tilted, expected / expected.sum(1, keepdims=True))
    assert len(memory.sample_weight_) == len(memory.patterns_) == 14
    assert memory.mean_ == pytest.approx(np.average(X, axis=0, weights=weights))


# --- retrieval -----------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("feature_map", ["identity", *FEATURE_MAPS])
@pytest.mark.parametrize("similarity", ["auto", *NOISE_MODELS])
def test_stored_patterns_come_back_exactly(similarity, feature_map, loss, dtype):
    memory = fit(
        X.astype(dtype), similarity=similarity, feature_map=feature_map, loss=loss
    )
    stored = X.astype(dtype)
    np.testing.assert_array_equal(memory.predict(stored), np.arange(15))
    rtol = 1e-5 if dtype == "f4" else 1e-12
    np.testing.assert_allclose(memory.transform(stored), stored, rtol=rtol, atol=rtol)


@pytest.mark.parametrize("patterns", [X[:, :1], X[:1] * np.arange(1, 5)[:, None]])
def test_stored_patterns_come_back_exactly_from_one_line(patterns):
    """All of them match up to a gain; the one that matches without has to win."""
    memory = fit(patterns)
    np.testing.assert_array_equal(memory.predict(patterns), np.arange(len(patterns)))
    np.testing.assert_allclose(memory.transform(patterns), patterns, rtol=1e-6)


def test_a_gain_is_no_matter_to_the_cosine_and_an_offset_not_to_the_correlation():
    memory = fit(similarity="cosine", feature_map="identity")
    np.testing.assert_allclose(memory.transform(3 * X), X, rtol=1e-10)
    memory = fit(similarity="correlation", feature_map="identity")
    np.testing.assert_allclose(memory.transform(3 * X + 2), X, rtol=1e-10)


@pytest.mark.parametrize("similarity", ["auto", *NOISE_MODELS])
def test_an_answer_does_not_depend_on_the_batch(similarity):
    """Stored patterns among the queries, for there rounding decides most easily."""
    memory = fit(similarity=similarity)
    queries = np.concatenate([X, QUERIES, with_gaps()])
    together = memory.transform(queries), memory.score_samples(queries)
    alone = [
        (memory.transform(q[None]), memory.score_samples(q[None])) for q in queries
    ]
    for i, whole in enumerate(together):
        parts = np.concatenate([part[i] for part in alone])
        np.testing.assert_allclose(whole, parts, rtol=1e-7, atol=1e-9)


def test_half_of_a_digit_is_completed():
    data = load_digits().data[:100]
    queries = data.copy()
    queries[:, 32:] = np.nan
    memory = UHopMemory().fit(data)
    found = memory.transform(queries)
    assert (memory.predict(queries) == np.arange(100)).mean() > 0.9
    wrong = np.where(np.isnan(queries), data.mean(0), queries)
    assert ((found - data) ** 2).sum() < 0.05 * ((wrong - data) ** 2).sum()


# --- missing entries -----------------------------------------------------------------


@pytest.mark.parametrize("separation", SEPARATIONS)
@pytest.mark.parametrize("similarity", ["auto", *SIMILARITIES])
def test_observed_entries_are_kept(similarity, separation):
    memory, queries = fit(similarity=similarity, separation=separation), with_gaps()
    queries[2] = np.nan
    before = queries.copy()
    out = memory.transform(queries)
    assert np.isfinite(out).all()
    seen = ~np.isnan(queries)
    np.testing.assert_array_equal(out[seen], queries[seen])
    np.testing.assert_array_equal(queries, before)


@pytest.mark.parametrize("steps", [1, 4])
def test_completion_compares_on_the_observed_entries(steps):
    """Against a row by row reference: noise level profiled out, 3 unknown entries."""
    memory = fit(similarity="euclidean", update_steps=steps)
    queries = QUERIES.copy()
    queries[:, [1, 4, 7]] = np.nan
    queries[0, 2] = np.nan
    expected = queries.copy()
    for row in expected:
        seen = ~np.isnan(row)
        p = (((row - X)[:, seen] ** 2).sum(1)) ** (-seen.sum() / 2)
        row[~seen] = (p / p.sum() @ X)[~seen]
    np.testing.assert_allclose(memory.transform(queries), expected, rtol=1e-9)


def test_nothing_observed_gives_the_mean():
    for similarity in ("auto", *SIMILARITIES):
        out = fit(similarity=similarity).transform(np.full((2, 10), np.nan))
        np.testing.assert_allclose(out, np.tile(X.mean(0), (2, 1)), rtol=1e-9)


def test_rows_with_and_without_gaps_do_not_disturb_each_other():
    memory = fit()
    queries = with_gaps()
    queries[::3] = X[::3] + 0.1
    for method in (memory.transform, memory.association, memory.energy, memory.predict):
        alone = np.concatenate([method(row[None]) for row in queries])
        np.testing.assert_allclose(method(queries), alone, rtol=1e-8, atol=1e-10)
    indices, weights = memory.association(queries, top=2)
    assert indices.shape == weights.shape == (15, 2)
    np.testing.assert_array_equal(indices[:, 0], memory.predict(queries))


# --- parameters and refits -----------------------------------------------------------


@pytest.mark.parametrize(
    "change",
    [
        {"beta": 0.5},
        {"separation": "sparsemax"},
        {"similarity": "manhattan"},
        {"separation": Entmax(alpha=1.1)},
    ],
)
def test_a_parameter_changed_after_fit_counts(change):
    # What early stopping keeps of Stage I may depend on all of them.
    start = {
        "similarity": "euclidean",
        "beta": 1.0,
        "training": Training(early_stopping=False),
    }
    memory = fit(**start)
    before = memory.transform(QUERIES)
    changed = memory.set_params(**change).transform(QUERIES)
    expected = fit(**{**start, **change}).transform(QUERIES)
    assert not np.allclose(changed, before)
    fresh = copy.deepcopy(memory)
    np.testing.assert_array_equal(changed, fresh.transform(QUERIES))
    np.testing.assert_array_equal(changed, expected)
    memory.set_params(**{"separation": "softmax", **start})
    np.testing.assert_array_equal(memory.transform(QUERIES), before)


def test_numbers_changed_in_place_count():
    memory = fit(separation=Entmax(1.9), beta=0.05)
    before = memory.transform(QUERIES)
    memory.separation.alpha = 1.05
    assert not np.allclose(memory.transform(QUERIES), before)


def test_a_refit_forgets_the_old_patterns():
    memory = fit()
    memory.transform(QUERIES)
    memory.fit(X[:4, :6])
    assert memory.association(QUERIES[:, :6]).shape == (8, 4)
    old = cache._PREPARED[memory][1].values()
    assert all(len(prepared.patterns) == 4 for prepared, _ in old)


def test_a_refit_without_a_linear_map_drops_its_components():
    memory = fit()
    assert hasattr(memory, "components_")
    memory.set_params(feature_map="identity").fit(X)
    assert not hasattr(memory, "components_")


def test_the_input_is_not_aliased():
    data, queries = X.copy(), QUERIES.copy()
    memory = fit(data)
    expected = memory.transform(queries)
    data[:] = 0
    np.testing.assert_array_equal(memory.transform(queries), expected)
    cache.release(memory)
    np.testing.assert_array_equal(memory.transform(queries), expected)
    out = memory.transform(queries)
    out[:] = 7
    np.testing.assert_array_equal(queries, QUERIES)
    np.testing.assert_array_equal(memory.transform(queries), expected)
    np.testing.assert_array_equal(memory.patterns_, X)


def test_constructor_only_stores():
    params = UHopMemory().get_params()
    odd = {name: object() for name in params}
    memory = UHopMemory(**odd)
    assert vars(memory) == odd


# --- among scikit-learn's tools ------------------------------------------------------


def test_pandas_in_and_out():
    names = [f"column {i}" for i in range(10)]
    frame = pd.DataFrame(X, columns=names, index=[f"row {i}" for i in range(15)])
    memory = UHopMemory(max_iter=5).set_output(transform="pandas").fit(frame)
    out = memory.transform(frame)
    assert isinstance(out, pd.DataFrame)
    assert list(out.columns) == names
    assert list(out.index) == list(frame.index)
    np.testing.assert_allclose(out.to_numpy(), X, rtol=1e-10)
    assert list(memory.feature_names_in_) == names
    assert list(memory.get_feature_names_out()) == names
    with pytest.raises(ValueError, match="feature names"):
        memory.transform(frame[names[::-1]])
    missing = frame.mask(RNG.random(frame.shape) < 0.2)
    assert not memory.transform(missing).isna().any(axis=None)


def test_feature_names_without_names():
    assert list(fit().get_feature_names_out()) == [f"x{i}" for i in range(10)]


def test_pipeline():
    data = X * np.geomspace(1e-3, 1e3, 10) + 5
    pipeline = make_pipeline(StandardScaler(), UHopMemory(max_iter=5))
    pipeline.fit(data)
    np.testing.assert_allclose(
        pipeline.transform(data), StandardScaler().fit_transform(data), rtol=1e-8
    )
    queries = data.copy()
    queries[:, 3] = np.nan
    np.testing.assert_array_equal(pipeline.predict(queries), np.arange(15))
    assert np.isfinite(pipeline.score(data))
    assert list(pipeline.get_feature_names_out()) == [f"x{i}" for i in range(10)]


def test_grid_search():
    grid = {
        "beta": ["auto", 1.0, 10.0],
        "separation": ["softmax", "sparsemax"],
        "feature_map": ["linear", "identity"],
    }
    search = GridSearchCV(
        UHopMemory(max_iter=3, similarity="euclidean"),
        grid,
        cv=2,
        n_jobs=2,
        error_score="raise",
    ).fit(X)
    scores = search.cv_results_["mean_test_score"]
    assert len(scores) == 12
    assert np.isfinite(scores).all()
    assert (scores <= 0).all()
    assert len(set(np.round(scores, 6))) > 1
    assert search.best_score_ == scores.max()
    assert search.transform(QUERIES).shape == QUERIES.shape


def test_clone_and_html():
    memory = fit(beta=3.0)
    assert clone(memory).get_params() == memory.get_params()
    assert "UHopMemory" in memory._repr_html_()
    assert "beta=3.0" in repr(memory)


def test_threads_of_one_process_share_a_memory():
    from concurrent.futures import ThreadPoolExecutor

    memory = fit()
    expected = memory.transform(QUERIES)
    with ThreadPoolExecutor(4) as pool:
        for out in pool.map(memory.transform, [QUERIES] * 16):
            np.testing.assert_array_equal(out, expected)


def test_answers_need_no_gradient():
    memory = UHopMemory(_Linear, max_iter=2).fit(X)
    assert isinstance(memory.transform(QUERIES), np.ndarray)


class _Linear(torch.nn.Linear):
    def __init__(self, n_features):
        super().__init__(n_features, 4)
