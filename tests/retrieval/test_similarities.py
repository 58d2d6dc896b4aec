"""Similarities against NumPy and SciPy references, complete and incomplete queries."""

import numpy as np
import pytest
import torch
from scipy.spatial.distance import cdist
from scipy.stats import pearsonr

from skuhop.retrieval import SIMILARITIES, build_observed_scorer, build_scorer

RNG = np.random.default_rng(0)
PATTERNS, QUERIES = RNG.normal(size=(9, 7)) + 1, 2 * RNG.normal(size=(6, 7))


def ref_cosine(x, p):
    lengths = np.linalg.norm(x) * np.linalg.norm(p)
    return x @ p / lengths if lengths > 0 else 0.0


def ref_correlation(x, p):
    if len(x) < 2 or np.ptp(x) == 0 or np.ptp(p) == 0:
        return 0.0
    return pearsonr(x, p).statistic


REFERENCES = {
    "euclidean": lambda x, p: -cdist(x[None], p[None], "sqeuclidean")[0, 0] / 2,
    "dot": lambda x, p: x @ p,
    "cosine": ref_cosine,
    "correlation": ref_correlation,
    "manhattan": lambda x, p: -np.abs(x - p).sum(),
}
# -n / 2 log of what is left of the query once the nuisances are profiled out, at the
# best noise level; for Laplace noise -n log of the sum of absolute deviations.
PROFILES = {
    "euclidean": lambda score, n: -n / 2 * np.log(-2 * score),
    "cosine": lambda score, n: -n / 2 * np.log(1 - max(score, 0) ** 2),
    "correlation": lambda score, n: -n / 2 * np.log(1 - max(score, 0) ** 2),
    "manhattan": lambda score, n: -n * np.log(-score),
}
names = pytest.mark.parametrize("name", SIMILARITIES)


def reference(name, queries, patterns):
    """Scores of the observed entries, pair by pair."""
    scores = np.empty((len(queries), len(patterns)))
    for i, x in enumerate(queries):
        seen = ~np.isnan(x)
        for j, p in enumerate(patterns):
            scores[i, j] = REFERENCES[name](x[seen], p[seen])
    return scores


def scored(name, queries, patterns, beta=1.0, weights=None, complete=True):
    """What a scorer gives, the part that all patterns share included."""
    queries, patterns = torch.tensor(queries), torch.tensor(patterns)
    parts = (name, beta, patterns, patterns.mean(0), weights)
    scorer = build_scorer(*parts, None) if complete else build_observed_scorer(*parts)
    query = scorer.prepare(queries)
    scores = scorer.block(query, 0, len(patterns)).numpy()
    if query.offset is not None:
        scores = scores + query.offset.numpy()[:, None]
    return scores, query


def with_gaps(seed=1):
    queries = QUERIES.copy()
    queries[np.random.default_rng(seed).random(queries.shape) < 0.4] = np.nan
    queries[0] = QUERIES[0]
    queries[1] = np.nan
    return queries


def test_every_similarity_has_a_reference():
    assert set(REFERENCES) == set(SIMILARITIES)
    assert set(PROFILES) == {
        k for k, v in SIMILARITIES.items() if v.profile is not None
    }


@names
@pytest.mark.parametrize("beta", [1.0, 0.25, 30.0])
def test_scores(name, beta):
    found, _ = scored(name, QUERIES, PATTERNS, beta)
    expected = beta * reference(name, QUERIES, PATTERNS)
    np.testing.assert_allclose(found, expected, rtol=1e-11, atol=1e-11 * beta)


@names
@pytest.mark.parametrize("beta", [1.0, 30.0])
def test_scores_on_the_observed_entries(name, beta):
    queries = with_gaps()
    found, _ = scored(name, queries, PATTERNS, beta, complete=False)
    expected = beta * reference(name, queries, PATTERNS)
    np.testing.assert_allclose(found, expected, rtol=1e-8, atol=1e-9)


@names
def test_compare_observed_is_the_row_by_row_comparison(name):
    queries = with_gaps()
    observed = ~np.isnan(queries)
    found = SIMILARITIES[name].compare_observed(
        torch.tensor(np.where(observed, queries, 0)),
        torch.tensor(observed.astype(float)),
        torch.tensor(PATTERNS),
    )
    expected = reference(name, queries, PATTERNS)
    np.testing.assert_allclose(found, expected, rtol=1e-8, atol=1e-10)


@names
def test_complete_queries_agree_on_both_ways(name):
    for beta in (2.0, "auto"):
        one, _ = scored(name, QUERIES, PATTERNS, beta)
        other, _ = scored(name, QUERIES, PATTERNS, beta, complete=False)
        np.testing.assert_allclose(one, other, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("name", PROFILES)
def test_profiled_likelihood(name):
    found, _ = scored(name, QUERIES, PATTERNS, "auto")
    raw = reference(name, QUERIES, PATTERNS)
    expected = np.vectorize(PROFILES[name])(raw, QUERIES.shape[1])
    np.testing.assert_allclose(found, expected, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("name", PROFILES)
def test_profiled_likelihood_counts_the_observed_entries(name):
    queries = with_gaps()
    queries[2:, :4] = QUERIES[2:, :4]  # too few entries would correlate perfectly
    found, _ = scored(name, queries, PATTERNS, "auto", complete=False)
    raw, n = reference(name, queries, PATTERNS), (~np.isnan(queries)).sum(1)
    for i in (0, 2, 3, 4, 5):
        expected = [PROFILES[name](score, n[i]) for score in raw[i]]
        np.testing.assert_allclose(found[i], expected, rtol=1e-8, atol=1e-8)
    # Nothing observed, nothing known: all patterns are as likely.
    np.testing.assert_array_equal(found[1], found[1, 0])


@pytest.mark.parametrize("name", PROFILES)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_match_is_the_best_by_far_and_finite(name, dtype):
    patterns = PATTERNS.astype(dtype)
    for complete in (True, False):
        found, _ = scored(name, patterns, patterns, "auto", complete=complete)
        assert np.isfinite(found).all()
        own = np.diag(found)
        best_other = np.where(np.eye(len(found)), -np.inf, found).max(1)
        assert (own - best_other > 20).all()
        # The rounding of the match plays no part in it.
        alone = [
            scored(name, p[None], patterns, "auto", complete=complete)[0][0, i]
            for i, p in enumerate(patterns)
        ]
        np.testing.assert_allclose(own, alone, rtol=1e-6)


@names
@pytest.mark.parametrize("beta", ["auto", 1.0])
@pytest.mark.parametrize("complete", [True, False])
def test_zero_vectors(name, beta, complete):
    patterns = np.concatenate([np.zeros((1, 7)), PATTERNS])
    queries = np.concatenate([np.zeros((1, 7)), QUERIES])
    found, _ = scored(name, queries, patterns, beta, complete=complete)
    assert np.isfinite(found).all()
    if beta == 1.0:
        np.testing.assert_allclose(
            found, reference(name, queries, patterns), rtol=1e-8, atol=1e-10
        )


@names
def test_self_score_is_the_score_with_itself(name):
    _, query = scored(name, QUERIES, PATTERNS, beta=3.0)
    own = [3.0 * REFERENCES[name](x, x) for x in QUERIES]
    np.testing.assert_allclose(query.self_score, own, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", [k for k, v in SIMILARITIES.items() if v.centred])
def test_centred_similarities_do_not_see_a_common_shift(name):
    shifted, _ = scored(name, QUERIES + 1e6, PATTERNS + 1e6)
    expected = reference(name, QUERIES, PATTERNS)
    np.testing.assert_allclose(shifted, expected, rtol=1e-7)


def test_beta_auto_of_the_dot_product():
    """sqrt(r) / mean(|phi|^2), a weight counting as copies."""
    weights = np.arange(1.0, 10.0)
    squared = (PATTERNS**2).sum(1)
    for w, mean in (
        (None, squared.mean()),
        (weights, np.average(squared, weights=weights)),
    ):
        found, _ = scored(
            "dot", QUERIES, PATTERNS, "auto", None if w is None else torch.tensor(w)
        )
        beta = np.sqrt(7) / mean
        np.testing.assert_allclose(found, beta * QUERIES @ PATTERNS.T, rtol=1e-12)
