"""The theory of method.md, section 1, held to in float64.

Names: patterns Xi, feature map W of any rank, kernel K(u, v) = <W u, W v>.
"""

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from skuhop import Training, UHopMemory
from skuhop.retrieval import (
    SEPARATIONS,
    Memory,
    Retrieval,
    associations,
    build_scorer,
    energies,
)
from skuhop.retrieval.scores.scorer import FeatureMap

BUDGET = 2**30
WITH_ENERGY = [k for k, v in SEPARATIONS.items() if v.conjugate is not None]
ENTMAX = [
    ("sparsemax", {}, 2.0),
    *(("entmax", {"alpha": a}, a) for a in (1.25, 1.5, 2)),
]
VARIANTS = [(name, {}) for name in WITH_ENERGY] + [
    ("entmax", {"alpha": 1.2}),
    ("entmax", {"alpha": 2.0}),
    ("normmax", {"gamma": 1.3}),
    ("normmax", {"gamma": 5.0}),
    ("ksubsets", {"k": 3}),
]
variants = pytest.mark.parametrize(
    "separation, params", VARIANTS, ids=[f"{n}-{p}" if p else n for n, p in VARIANTS]
)
problem = settings(max_examples=15, deadline=None)
seeds = st.integers(0, 2**32 - 1)


class Problem:
    """Random patterns, a random linear feature map of any rank, and a beta."""

    def __init__(self, seed, spread=1.0):
        rng = np.random.default_rng(seed)
        self.rng = rng
        self.n, self.d = int(rng.integers(1, 12)), int(rng.integers(1, 8))
        rows, rank = int(rng.integers(1, 9)), int(rng.integers(1, self.d + 1))
        self.patterns = rng.normal(size=(self.n, self.d)) * spread
        self.W = rng.normal(size=(rows, rank)) @ rng.normal(size=(rank, self.d)) / rank
        self.beta = float(np.exp(rng.uniform(-3, 3)))
        self.queries = rng.normal(size=(20, self.d)) * np.exp(rng.uniform(-1, 1.5))
        self.weights = rng.integers(1, 4, self.n).astype(float)

    def kernel(self, A, B):
        return (A @ self.W.T) @ (B @ self.W.T).T

    def memory(self, separation, params=None, similarity="dot", **changed):
        get = {**vars(self), **changed}
        patterns, W = torch.tensor(get["patterns"]), torch.tensor(get["W"])
        weights = torch.tensor(get["weights"]) if changed.get("weighted") else None
        scorer = build_scorer(
            similarity,
            get["beta"],
            patterns,
            patterns.mean(0),
            weights,
            FeatureMap(lambda X: X @ W.T, lambda X: X @ W.T),
        )
        rule = SEPARATIONS[separation]
        return Memory(
            scorer, rule, {**rule.defaults, **(params or {})}, patterns, weights
        )


def update(memory, X):
    return Retrieval(1, 0.0)(memory, torch.as_tensor(X), BUDGET).numpy()


def energy(memory, X):
    return energies(memory, torch.as_tensor(X), BUDGET).numpy()


def assert_never_rises(memory, X, steps=10):
    before = energy(memory, X)
    for _ in range(steps):
        X = update(memory, X)
        after = energy(memory, X)
        assert (after <= before + 1e-10 * (1 + np.abs(before))).all()
        before = after


# --- 1. the energy never rises -------------------------------------------------------


@variants
@problem
@given(seed=seeds, weighted=st.booleans())
def test_energy_never_rises_with_the_dot_product(separation, params, seed, weighted):
    drawn = Problem(seed)
    memory = drawn.memory(separation, params, weighted=weighted)
    assert_never_rises(memory, drawn.queries)


@pytest.mark.parametrize(
    "separation, params", [v for v in VARIANTS if not SEPARATIONS[v[0]].null]
)
@problem
@given(seed=seeds, weighted=st.booleans())
def test_energy_never_rises_with_the_distance(separation, params, seed, weighted):
    drawn = Problem(seed)
    memory = drawn.memory(separation, params, "euclidean", weighted=weighted)
    assert_never_rises(memory, drawn.queries)


@pytest.mark.parametrize("separation", WITH_ENERGY)
@pytest.mark.parametrize("similarity", ["dot", "euclidean"])
def test_energy_never_rises_for_a_learned_map(separation, similarity):
    if SEPARATIONS[separation].null and similarity == "euclidean":
        pytest.skip("no such property: 'nothing' does not move with the query")
    rng = np.random.default_rng(0)
    memory = UHopMemory(
        similarity=similarity,
        separation=separation,
        beta=2.0,
        training=Training(learning_rate=0.05),
    ).fit(rng.normal(size=(30, 12)))
    X = rng.normal(size=(20, 12))
    before = memory.energy(X)
    fell = 0
    for _ in range(15):
        X = memory.transform(X)
        after = memory.energy(X)
        assert (after <= before + 1e-10 * (1 + np.abs(before))).all()
        fell += (after < before - 1e-6).any()
        before = after
    assert fell


def test_the_energy_is_the_papers():
    """E(x) = K(x, x) / 2 - logsumexp(beta K(Xi, x)) / beta, written out."""
    for seed in range(20):
        drawn = Problem(seed)
        z = drawn.beta * drawn.kernel(drawn.queries, drawn.patterns)
        expected = (
            np.diag(drawn.kernel(drawn.queries, drawn.queries)) / 2
            - np.logaddexp.reduce(z, axis=1) / drawn.beta
        )
        found = energy(drawn.memory("softmax"), drawn.queries)
        np.testing.assert_allclose(found, expected, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("name, params, alpha", ENTMAX)
def test_the_energy_is_the_papers_for_entmax(name, params, alpha):
    """With Psi* = max_p <z, p> + H_alpha(p), evaluated at the weights."""
    for seed in range(20):
        drawn = Problem(seed)
        memory = drawn.memory(name, params)
        p = associations(memory, torch.as_tensor(drawn.queries), BUDGET).numpy()
        z = drawn.beta * drawn.kernel(drawn.queries, drawn.patterns)
        tsallis = (p - p**alpha).sum(1) / (alpha * (alpha - 1))
        expected = (
            np.diag(drawn.kernel(drawn.queries, drawn.queries)) / 2
            - ((z * p).sum(1) + tsallis) / drawn.beta
        )
        found = energy(memory, drawn.queries)
        np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-9)


# --- 2. exact fixed points if and only if the margin holds ---------------------------


def margins(drawn, rank=1):
    """K(xi_i, xi_i) less the (rank + 1)-th best score, for every pattern i."""
    scores = drawn.kernel(drawn.patterns, drawn.patterns)
    own = np.diag(scores).copy()
    np.fill_diagonal(scores, -np.inf)
    return own - np.sort(scores, axis=1)[:, -rank]


def is_fixed(memory, pattern):
    moved = np.abs(update(memory, pattern[None])[0] - pattern).max()
    return moved <= 1e-12 * np.abs(pattern).max()


@pytest.mark.parametrize("factor", [1.02, 0.98, 3.0, 0.3])
@pytest.mark.parametrize(
    "name, params, needed",
    [(name, params, 1 / (alpha - 1)) for name, params, alpha in ENTMAX]
    + [("normmax", {"gamma": g}, 1.0) for g in (1.5, 2.0, 4.0)]
    + [("ksubsets", {"k": 1}, 1.0)],
)
@problem
@given(seed=seeds)
def test_fixed_points_are_exact_iff_the_margin_holds(
    name, params, needed, factor, seed
):
    drawn = Problem(seed)
    assume(drawn.n >= 2)
    margin = margins(drawn)
    i = int(margin.argmax())
    assume(margin[i] > 1e-3)
    # beta such that the margin is `factor` times what is needed.
    memory = drawn.memory(name, params, beta=factor * needed / margin[i])
    assert is_fixed(memory, drawn.patterns[i]) == (factor > 1)


@pytest.mark.parametrize("factor", [1.05, 0.95])
@problem
@given(seed=seeds, k=st.integers(2, 4))
def test_k_subsets_answer_with_the_mean_of_k_iff_the_margin_holds(factor, seed, k):
    drawn = Problem(seed)
    assume(drawn.n > k)
    query = drawn.queries[0]
    scores = drawn.kernel(query[None], drawn.patterns)[0]
    order = np.argsort(-scores)
    margin = scores[order[k - 1]] - scores[order[k]]
    assume(margin > 1e-3)
    memory = drawn.memory("ksubsets", {"k": k}, beta=factor / margin)
    mean = drawn.patterns[order[:k]].mean(0)
    same = np.allclose(update(memory, query[None])[0], mean, rtol=0, atol=1e-11)
    assert same == (factor > 1)


@problem
@given(seed=seeds)
def test_softmax_never_retrieves_exactly(seed):
    drawn = Problem(seed)
    assume(drawn.n >= 2)
    z = drawn.kernel(drawn.patterns, drawn.patterns)
    # beta so small that the smallest weight is far above rounding.
    memory = drawn.memory("softmax", beta=1.0 / max(np.ptp(z), 1.0))
    assert (associations(memory, torch.as_tensor(drawn.patterns), BUDGET) > 0.01).all()
    assert not any(is_fixed(memory, pattern) for pattern in drawn.patterns)


# --- 3. the error bound of softmax ---------------------------------------------------


@problem
@given(seed=seeds, noise=st.floats(0, 1), sharpness=st.floats(0.1, 30))
def test_softmax_error_bound(seed, noise, sharpness):
    drawn = Problem(seed)
    assume(drawn.n >= 2)
    longest = np.linalg.norm(drawn.patterns, axis=1).max()
    queries = drawn.patterns + noise * drawn.rng.normal(size=drawn.patterns.shape)
    scores = drawn.kernel(queries, drawn.patterns)
    own = np.diag(scores).copy()
    np.fill_diagonal(scores, -np.inf)
    gaps = own - scores.max(1)
    beta = sharpness / max(np.abs(gaps).max(), 1e-9)
    error = np.linalg.norm(
        update(drawn.memory("softmax", beta=beta), queries) - drawn.patterns, axis=1
    )
    bound = 2 * longest * (drawn.n - 1) * np.exp(-beta * gaps)
    assert (error <= bound * (1 + 1e-9) + 1e-12).all()


# --- 4. invariances ------------------------------------------------------------------


def assert_equivalent(one, other, X, energy_factor=1.0):
    np.testing.assert_allclose(update(one, X), update(other, X), rtol=1e-7, atol=1e-8)
    np.testing.assert_allclose(
        energy(one, X), energy_factor * energy(other, X), rtol=1e-8, atol=1e-8
    )


def well_conditioned(drawn):
    """Scores small enough for rounding not to be magnified by a steep separation."""
    drawn.beta = min(drawn.beta, 3.0)
    drawn.queries /= max(1.0, np.abs(drawn.queries).max())
    return drawn


@variants
@problem
@given(seed=seeds, similarity=st.sampled_from(["dot", "euclidean"]))
def test_order_of_the_patterns_is_irrelevant(separation, params, similarity, seed):
    drawn = well_conditioned(Problem(seed))
    order = drawn.rng.permutation(drawn.n)
    one = drawn.memory(separation, params, similarity, weighted=True)
    other = drawn.memory(
        separation,
        params,
        similarity,
        weighted=True,
        patterns=drawn.patterns[order],
        weights=drawn.weights[order],
    )
    assert_equivalent(one, other, drawn.queries)
    X = torch.as_tensor(drawn.queries)
    np.testing.assert_allclose(
        associations(one, X, BUDGET)[:, order],
        associations(other, X, BUDGET),
        rtol=0,
        atol=1e-7,
    )


@variants
@problem
@given(seed=seeds, similarity=st.sampled_from(["dot", "euclidean"]))
def test_rotation_of_the_features_is_irrelevant(separation, params, similarity, seed):
    drawn = well_conditioned(Problem(seed))
    rows = len(drawn.W)
    Q = np.linalg.qr(drawn.rng.normal(size=(rows, rows)))[0]
    one = drawn.memory(separation, params, similarity)
    other = drawn.memory(separation, params, similarity, W=Q @ drawn.W)
    assert_equivalent(one, other, drawn.queries)


@variants
@problem
@given(seed=seeds, scale=st.floats(0.3, 3.0))
def test_scale_of_the_features_is_a_factor_on_beta(separation, params, scale, seed):
    drawn = well_conditioned(Problem(seed))
    one = drawn.memory(separation, params, W=scale * drawn.W)
    other = drawn.memory(separation, params, beta=scale**2 * drawn.beta)
    assert_equivalent(one, other, drawn.queries, energy_factor=scale**2)


def test_the_paper_is_a_special_case_of_the_estimator():
    """feature_map="linear", similarity="dot", beta=1: Xi^T softmax(Xi W^T W x)."""
    rng = np.random.default_rng(1)
    X, queries = rng.normal(size=(9, 5)), rng.normal(size=(4, 5))
    memory = UHopMemory("linear", similarity="dot", beta=1.0, loss="average").fit(X)
    scores = queries @ memory.components_.T @ memory.components_ @ X.T
    p = np.exp(scores - scores.max(1, keepdims=True))
    p /= p.sum(1, keepdims=True)
    np.testing.assert_allclose(memory.transform(queries), p @ X, rtol=1e-9)
