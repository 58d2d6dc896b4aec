"""The weight of "nothing stored", by which strangers are rejected."""

import numpy as np
import pytest
from sklearn.datasets import load_digits

from skuhop import UHopMemory

RNG = np.random.default_rng(0)
X = RNG.normal(size=(40, 12))
QUERIES = X + 0.3 * RNG.normal(size=X.shape)
DIGITS = load_digits().data[:400] / 16


@pytest.mark.parametrize("beta", ["auto", 0.5, 5.0])
@pytest.mark.parametrize("similarity", ["auto", "euclidean", "dot", "cosine"])
@pytest.mark.parametrize("weights", [None, np.arange(40.0)])
def test_null_is_what_the_weights_lack(similarity, beta, weights):
    memory = UHopMemory(
        "identity", similarity=similarity, separation="softmax1", beta=beta
    ).fit(X, sample_weight=weights)
    queries = np.vstack([QUERIES, 30 * QUERIES[:5]])
    queries[3, 2] = np.nan
    positions, null = memory.predict(queries, return_null=True)
    np.testing.assert_array_equal(positions, memory.predict(queries))
    lack = 1 - memory.association(queries).sum(1)
    np.testing.assert_allclose(null, lack, atol=1e-9)
    scores, again = memory.score_samples(queries, return_null=True)
    np.testing.assert_array_equal(again, null)
    np.testing.assert_array_equal(scores, memory.score_samples(queries))


@pytest.mark.parametrize("missing", [False, True])
@pytest.mark.parametrize("similarity, power", [("euclidean", 2), ("manhattan", 1)])
def test_nothing_is_as_far_as_the_mean_pattern(similarity, power, missing):
    """A distance has no other zero: its zero is a perfect match."""
    beta, weights = 0.7, np.array([1.0, 3.0, 2.0])
    memory = UHopMemory(
        "identity", similarity=similarity, separation="softmax1", beta=beta
    ).fit(X[:3], sample_weight=weights)
    mean = np.average(X[:3], axis=0, weights=weights)
    query = QUERIES[:1].copy()
    if missing:
        query[0, :2] = np.nan
    distances = np.nansum(np.abs(query - np.vstack([X[:3], mean])) ** power, axis=1)
    p = np.append(weights, 1) * np.exp(-beta / power * distances)
    _, null = memory.predict(query, return_null=True)
    np.testing.assert_allclose(null, p[-1] / p.sum(), rtol=1e-6)
    if not missing:
        expected = -np.log(p.sum()) / beta
        np.testing.assert_allclose(memory.energy(query), expected, rtol=1e-6)


def test_strangers_are_rejected():
    memory = UHopMemory(
        "identity", similarity="euclidean", separation="softmax1", beta=10.0
    ).fit(DIGITS)
    noisy = DIGITS + 0.1 * RNG.normal(size=DIGITS.shape)
    _, known = memory.predict(noisy, return_null=True)
    _, strange = memory.predict(RNG.permuted(DIGITS, axis=1), return_null=True)
    assert known.max() < np.quantile(strange, 0.05)


@pytest.mark.parametrize("method", ["predict", "score_samples"])
def test_only_softmax1_has_a_null(method):
    memory = UHopMemory("identity").fit(X)
    with pytest.raises(ValueError, match=r"\['softmax1'\].*'softmax'"):
        getattr(memory, method)(X, return_null=True)
