"""Separations against float64 references that share no code with them."""

import numpy as np
import pytest
import scipy.special
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.optimize import brentq

from skuhop.retrieval import SEPARATIONS

# --- references: one row of scores in, weights out --------------------------------


def ref_softmax(z):
    return scipy.special.softmax(z)


def ref_softmax1(z):
    return scipy.special.softmax(np.append(z, 0.0))[:-1]


def ref_sparsemax(z):
    """Projection onto the simplex by sorting."""
    ordered = np.sort(z)[::-1]
    ranks = np.arange(1, len(z) + 1)
    support = 1 + ranks * ordered > np.cumsum(ordered)
    tau = (np.cumsum(ordered)[support][-1] - 1) / ranks[support][-1]
    return np.maximum(z - tau, 0)


def ref_entmax(z, alpha):
    """Tsallis' entropy: the threshold by root finding."""
    z, power = (alpha - 1) * (z - z.max()), 1 / (alpha - 1)

    def excess(tau):
        return (np.maximum(z - tau, 0) ** power).sum() - 1

    tau = brentq(excess, -1.0, 0.0, xtol=1e-15, rtol=1e-15, maxiter=500)
    p = np.maximum(z - tau, 0) ** power
    return p / p.sum()


def ref_normmax(z, gamma):
    """Where <z, p> - ||p||_gamma is flat: (p / ||p||) ** (gamma - 1) = z - tau."""
    z = z - z.max()

    def excess(tau):
        unit = np.maximum(z - tau, 0) ** (1 / (gamma - 1))
        return np.linalg.norm(unit, gamma) - 1

    tau = brentq(excess, -1.0, 0.0, xtol=1e-15, rtol=1e-15, maxiter=500)
    p = np.maximum(z - tau, 0) ** (1 / (gamma - 1))
    return p / p.sum()


def ref_ksubsets(z, k):
    """Projection onto {0 <= p <= 1, sum p = k}, divided by k."""
    if len(z) <= k:
        return np.full(len(z), 1 / len(z))
    tau = brentq(
        lambda tau: np.clip(z - tau, 0, 1).sum() - k,
        z.min() - 2,
        z.max() + 1,
        xtol=1e-15,
    )
    return np.clip(z - tau, 0, 1) / k


def ref_polynomial(z, degree):
    powers = np.maximum(z, 0) ** degree
    return powers / powers.sum() if powers.sum() > 0 else ref_max(z)


def ref_max(z):
    best = z == z.max()
    return best / best.sum()


REFERENCES = {
    "softmax": (ref_softmax, [{}]),
    "softmax1": (ref_softmax1, [{}]),
    "sparsemax": (ref_sparsemax, [{}]),
    "entmax": (ref_entmax, [{"alpha": a} for a in (1.05, 1.25, 1.5, 1.75, 2.0)]),
    "normmax": (ref_normmax, [{"gamma": g} for g in (1.2, 1.5, 2.0, 3.0, 8.0)]),
    "ksubsets": (ref_ksubsets, [{"k": k} for k in (1, 2, 3, 5, 50)]),
    "polynomial": (ref_polynomial, [{"degree": n} for n in (1, 2, 4, 10.5)]),
    "max": (ref_max, [{}]),
}


# --- regularisers Omega(p) on the separation's own domain, for its conjugate -------


def negative_entropy(p):
    return scipy.special.xlogy(p, p).sum()


OMEGAS = {
    "softmax": negative_entropy,
    "softmax1": lambda p: negative_entropy(np.append(p, max(0.0, 1 - p.sum()))),
    "sparsemax": lambda p: (p @ p - 1) / 2,
    "entmax": lambda p, alpha: ((p**alpha - p) / (alpha * (alpha - 1))).sum(),
    "normmax": lambda p, gamma: np.linalg.norm(p, gamma) - 1,
    # In q = k p, the point of the capped simplex: (|q|^2 - k) / 2, per copy 1 / k.
    "ksubsets": lambda p, k: ((k * p) @ (k * p) - k) / (2 * k),
    "max": lambda p: 0.0,
}


def random_members(name, n, rng, k=1, **_):
    """Points of the domain: the simplex, less than it, or the capped simplex."""
    if name == "ksubsets":
        mix = rng.dirichlet(np.full(8, 0.3))
        return sum(
            share * np.isin(np.arange(n), rng.permutation(n)[:k]) / k for share in mix
        )
    if name == "softmax1":
        return rng.dirichlet(np.full(n + 1, 0.5))[:-1]
    return rng.dirichlet(np.full(n, rng.choice([0.1, 1.0, 5.0])))


# --- helpers -----------------------------------------------------------------------

CASES = [
    pytest.param(name, params, id=f"{name}-{params}" if params else name)
    for name in SEPARATIONS
    for params in REFERENCES.get(name, (None, [{}]))[1]
]
CONJUGATES = [
    case for case in CASES if SEPARATIONS[case.values[0]].conjugate is not None
]


def weights(name, z, params, w=None, dtype=torch.float64):
    z = torch.as_tensor(np.atleast_2d(z)).to(dtype)
    w = None if w is None else torch.as_tensor(w).to(dtype)
    return SEPARATIONS[name].weights(z.clone(), w, **params).numpy()


def conjugate(name, z, params, w=None):
    z = torch.as_tensor(np.atleast_2d(z), dtype=torch.float64)
    w = None if w is None else torch.as_tensor(w, dtype=torch.float64)
    separation = SEPARATIONS[name]
    p = separation.weights(z, w, **params)
    return separation.conjugate(z, p, w, **params).numpy()


def scores(n_rows=40, n=17, seed=0):
    """Rows of many scales, so that supports of every size come about."""
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n_rows, n)) * np.geomspace(0.01, 30, n_rows)[:, None]


rows_of_scores = arrays(
    np.float64, st.integers(2, 9), elements=st.floats(-20, 20, width=32)
)


def test_every_separation_has_a_reference():
    assert set(REFERENCES) == set(SEPARATIONS)
    with_energy = {k for k, v in SEPARATIONS.items() if v.conjugate is not None}
    assert set(OMEGAS) == with_energy


@pytest.mark.parametrize("name, params", CASES)
def test_weights_equal_the_reference(name, params):
    z = scores()
    expected = np.array([REFERENCES[name][0](row, **params) for row in z])
    np.testing.assert_allclose(weights(name, z, params), expected, rtol=0, atol=1e-9)


@pytest.mark.parametrize("name", SEPARATIONS)
def test_defaults_are_usable(name):
    defaults = dict(SEPARATIONS[name].defaults)
    expected = np.array([REFERENCES[name][0](row, **defaults) for row in scores()])
    np.testing.assert_allclose(weights(name, scores(), defaults), expected, atol=1e-9)


@pytest.mark.parametrize("name, params", CASES)
def test_float32_follows_float64(name, params):
    z = scores().astype(np.float32)
    p = weights(name, z, params, dtype=torch.float32)
    assert p.dtype == np.float32
    # An exponent far from one magnifies the rounding of the score itself.
    steep = max(params.get("degree", 1), 1 / (params.get("alpha", 2) - 1))
    tolerance = 2e-5 if params.get("gamma", 2) <= 2 else 5e-3
    expected = weights(name, z.astype(np.float64), params)
    np.testing.assert_allclose(p, expected, rtol=0, atol=tolerance * max(1, steep))


@pytest.mark.parametrize("name", ["sparsemax", "entmax", "normmax"])
def test_many_small_weights_are_not_moved_together_by_rounding(name):
    """One clear winner puts the threshold far from thousands of like scores."""
    z = np.random.default_rng(0).normal(-0.6, 1e-4, size=(50, 3000)).astype(np.float32)
    z[:, 0] = 0
    params = dict(SEPARATIONS[name].defaults)
    p = weights(name, z, params, dtype=torch.float32)
    expected = weights(name, z.astype(np.float64), params)
    assert np.abs(p - expected).sum(1).max() < 1e-6


@pytest.mark.parametrize("name, params", CASES)
def test_rows_sum_to_one(name, params):
    p = weights(name, scores(), params)
    assert (p >= 0).all()
    if SEPARATIONS[name].null:
        assert (p.sum(1) < 1).any()
        assert (p.sum(1) <= 1 + 1e-12).all()
    else:
        np.testing.assert_allclose(p.sum(1), 1, rtol=1e-12)


@pytest.mark.parametrize("name, params", CASES)
def test_a_higher_score_never_weighs_less(name, params):
    z = np.sort(scores(), axis=1)
    assert (np.diff(weights(name, z, params), axis=1) >= -1e-12).all()


@pytest.mark.parametrize("name, params", CASES)
def test_raising_a_score_never_lowers_its_weight(name, params):
    z = scores()
    raised = z.copy()
    raised[:, 3] += 0.25
    gain = weights(name, raised, params)[:, 3] - weights(name, z, params)[:, 3]
    assert (gain >= -1e-12).all()
    assert (gain > 1e-3).any() == (params != {"k": 50})


@pytest.mark.parametrize("name, params", CASES)
def test_shift_invariance_is_as_declared(name, params):
    z = scores()
    same = np.allclose(
        weights(name, z + 1.375, params), weights(name, z, params), rtol=0, atol=1e-10
    )
    assert same == SEPARATIONS[name].shift_invariant


@pytest.mark.parametrize("name, params", CASES)
@settings(max_examples=25, deadline=None)
@given(z=rows_of_scores, data=st.data())
def test_multiplicity_is_the_same_as_copies(name, params, z, data):
    w = np.array(
        data.draw(st.lists(st.integers(1, 4), min_size=len(z), max_size=len(z)))
    )
    copies = weights(name, np.repeat(z, w), params)[0]
    expected = np.add.reduceat(copies, np.cumsum(w) - w)
    np.testing.assert_allclose(
        weights(name, z, params, w)[0], expected, rtol=0, atol=1e-8
    )
    if SEPARATIONS[name].conjugate is not None:
        np.testing.assert_allclose(
            conjugate(name, z, params, w),
            conjugate(name, np.repeat(z, w), params),
            rtol=1e-8,
            atol=1e-8,
        )


@pytest.mark.parametrize("name, params", CASES)
def test_fractional_multiplicities(name, params):
    rng = np.random.default_rng(2)
    z, w = scores(), rng.uniform(0.2, 3.0, 17)
    p = weights(name, z, params, w)
    assert (p >= 0).all()
    if not SEPARATIONS[name].null:
        np.testing.assert_allclose(p.sum(1), 1, rtol=1e-12)
    order = np.argsort(z, axis=1)
    per_copy = np.take_along_axis(p / w, order, axis=1)
    assert (np.diff(per_copy, axis=1) >= -1e-12).all()


@pytest.mark.parametrize("name, params", CONJUGATES)
def test_conjugate_is_attained_at_the_weights(name, params):
    z = scores(n=60)
    p = weights(name, z, params)
    omega = [OMEGAS[name](row, **params) for row in p]
    np.testing.assert_allclose(
        conjugate(name, z, params), (z * p).sum(1) - omega, rtol=1e-9, atol=1e-9
    )


@pytest.mark.parametrize("name, params", CONJUGATES)
def test_conjugate_is_the_maximum(name, params):
    rng = np.random.default_rng(3)
    # n > k, for below that the capped simplex is empty.
    z = scores(n=60)
    best = conjugate(name, z, params)
    for row, value in zip(z, best, strict=True):
        for _ in range(20):
            q = random_members(name, 60, rng, **params)
            assert row @ q - OMEGAS[name](q, **params) <= value + 1e-9


@pytest.mark.parametrize("name, params", CONJUGATES)
def test_gradient_of_the_conjugate_is_the_weights(name, params):
    z, step = scores(n_rows=12, n=6), 1e-6
    p = weights(name, z, params)
    for i in range(6):
        push = step * np.eye(6)[i]
        slope = conjugate(name, z + push, params) - conjugate(name, z - push, params)
        np.testing.assert_allclose(slope / (2 * step), p[:, i], rtol=0, atol=2e-4)


EXTREMES = {
    "huge": [1e30, 0.0, -1e30],
    "huge ties": [1e30, 1e30, 1.0],
    "huge range": [0.0, 0.3, 0.2, -1e30],
    "all very low": [-1e30, -1e30, -1e30],
    "minus infinity": [0.0, -np.inf, 0.3],
    "ties": [0.5, 0.5, 0.5, 0.5],
    "zeros": [0.0, 0.0, 0.0],
    "one pattern": [0.7],
    "one low pattern": [-1e30],
}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("case", EXTREMES)
@pytest.mark.parametrize("name, params", CASES)
def test_extreme_scores(name, params, case, dtype):
    z = np.array(EXTREMES[case])
    p = weights(name, z, params, dtype=dtype)[0]
    assert np.isfinite(p).all()
    assert (p >= 0).all()
    if not SEPARATIONS[name].null:
        assert p.sum() == pytest.approx(1, rel=1e-6)
        # Equal scores have equal weights, and no lower one has more.
        assert (np.diff(p[np.argsort(z)]) >= -1e-7).all()
        assert p[np.argmax(z)] == p.max()
    for value in np.unique(z):
        assert np.ptp(p[z == value]) <= 1e-7
    # Where all patterns have to answer, one at minus infinity costs infinitely much.
    forced = np.isinf(z).any() and params.get("k", 0) >= len(z)
    if SEPARATIONS[name].conjugate is not None and not forced:
        assert np.isfinite(conjugate(name, z, params)).all()


@pytest.mark.parametrize("case", ["huge range", "minus infinity"])
@pytest.mark.parametrize("name, params", CASES)
def test_hopeless_patterns_do_not_disturb_the_others(name, params, case):
    z = np.array(EXTREMES[case])
    if len(z) <= params.get("k", 0) + 1:
        pytest.skip("k patterns or fewer would be left")
    hopeful = z > -1e20
    p = weights(name, z, params)[0]
    np.testing.assert_allclose(p[~hopeful], 0, atol=1e-300)
    alone = REFERENCES[name][0](z[hopeful], **params)
    np.testing.assert_allclose(p[hopeful], alone, rtol=0, atol=1e-9)


@pytest.mark.parametrize("name, params", CASES)
def test_rows_do_not_mix(name, params):
    z = scores()
    alone = np.concatenate([weights(name, row, params) for row in z])
    np.testing.assert_allclose(weights(name, z, params), alone, rtol=0, atol=1e-13)


@pytest.mark.parametrize(
    "name, params, limit",
    [
        ("entmax", {"alpha": 2.0}, "sparsemax"),
        ("ksubsets", {"k": 1}, "sparsemax"),
        ("entmax", {"alpha": 1.0001}, "softmax"),
        ("polynomial", {"degree": 1e4}, "max"),
    ],
)
def test_limits(name, params, limit):
    z = scores()
    np.testing.assert_allclose(
        weights(name, z, params), weights(limit, z, {}), rtol=0, atol=3e-3
    )


@pytest.mark.parametrize("name", ["sparsemax", "entmax", "ksubsets"])
def test_large_multiplicities_in_single_precision(name):
    """Gaps that are exactly 0 are no reason to step off the threshold."""
    rule = SEPARATIONS[name]
    rng = np.random.RandomState(0)
    for largest in (1e4, 1e7):
        scores = torch.as_tensor(rng.uniform(-1, 1, size=(50, 6)))
        copies = torch.as_tensor(np.exp(rng.uniform(0, np.log(largest), size=6)))
        expected = rule.weights(scores, copies, **rule.defaults)
        found = rule.weights(scores.float(), copies.float(), **rule.defaults)
        torch.testing.assert_close(found.double(), expected, atol=2e-3, rtol=0)


def test_large_multiplicities_as_reported():
    scores, copies = torch.tensor([[0.0, -0.9997]]), torch.tensor([1.0, 1e4])
    found = SEPARATIONS["sparsemax"].weights(scores, copies)
    torch.testing.assert_close(
        found, torch.tensor([[0.9997, 0.0003]]), atol=1e-6, rtol=0
    )


def solve_by_bisection(weights_at, z, w, total):
    """Weights in float64, their threshold found by halving alone."""
    z, w = z.double().numpy(), w.double().numpy()
    low, high = z.min() - 1e6, z.max()
    for _ in range(200):
        middle = (low + high) / 2
        heavy = (w * weights_at(z - middle)).sum() > total
        low, high = (middle, high) if heavy else (low, middle)
    p = w * weights_at(z - (low + high) / 2)
    return p / p.sum()


@pytest.mark.parametrize(
    "name, params, weights_at, total",
    [
        ("sparsemax", {}, lambda gap: np.clip(gap, 0, None), 1),
        ("entmax", {"alpha": 1.5}, lambda gap: np.clip(gap / 2, 0, None) ** 2, 1),
        ("ksubsets", {"k": 3}, lambda gap: np.clip(gap, 0, 1), 3),
    ],
)
@pytest.mark.parametrize("seed", range(8))
def test_any_multiplicities_in_float32(name, params, weights_at, total, seed):
    """Of ten thousandths to a million; scores whose differences float32 holds."""
    generator = torch.Generator().manual_seed(seed)
    z = torch.randint(-2048, 2048, (60,), generator=generator) / 2**10
    w = 10 ** (10 * torch.rand(60, generator=generator) - 4)
    found = SEPARATIONS[name].weights(z[None], w, **params)[0]
    assert found.dtype == torch.float32
    expected = solve_by_bisection(weights_at, z, w, total)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(
    "name", [name for name, row in SEPARATIONS.items() if row.floor]
)
def test_whatever_has_weight_is_above_the_floor_of_any_part(name, dtype):
    rule = SEPARATIONS[name]
    generator = torch.Generator().manual_seed(0)
    z = torch.randn((200, 30), generator=generator, dtype=dtype)
    for low, high in ((-4, 0), (-1, 1), (0, 6)):
        w = 10 ** (low + (high - low) * torch.rand(30, generator=generator)).to(dtype)
        least = z.masked_fill(rule.weights(z, w, **rule.defaults) == 0, torch.inf)
        for some in (slice(None), slice(10), slice(10, None)):
            floor = rule.floor(z[:, some], w[some], **rule.defaults)
            assert (least[:, some] >= floor).all()


def test_ksubsets_threshold_next_to_many_copies():
    """Their small weights are what a threshold between large numbers rounds away."""
    z, w = torch.tensor([1.0, 0.625, -0.5]), torch.tensor([3.2, 1e6, 1.0])
    found = SEPARATIONS["ksubsets"].weights(z[None], w, k=3)[0]
    # 3.2 (0.375 + gap) + 1e6 gap = 3, for the gap between 0.625 and the threshold.
    gap = (3 - 3.2 * 0.375) / (3.2 + 1e6)
    expected = [3.2 * (0.375 + gap) / 3, 1e6 * gap / 3, 0]
    np.testing.assert_allclose(found, expected, rtol=1e-5)
