"""Draws of a memory come from the density that its energy stands for."""

import numpy as np
import pytest
from scipy.spatial.distance import cdist
from sklearn.exceptions import NotFittedError
from sklearn.neighbors import KernelDensity

from skuhop import Training, UHopMemory
from skuhop.exceptions import InvalidParameterError

RNG = np.random.default_rng(0)
DENSITY = {"similarity": "euclidean", "beta": 4.0}


def identity(**params):
    return UHopMemory("identity", **{**DENSITY, **params})


def by_rejection(memory, n, low, high, rng):
    """Rows of the density exp(-beta E), from `energy` alone and uniform proposals."""
    d = memory.n_features_in_
    grid = rng.uniform(low, high, (20_000, d))
    most = np.exp(-memory.beta * memory.energy(grid)).max() * 1.5
    kept = np.empty((0, d))
    while len(kept) < n:
        proposed = rng.uniform(low, high, (50_000, d))
        density = np.exp(-memory.beta * memory.energy(proposed))
        assert density.max() <= most
        kept = np.vstack([kept, proposed[rng.uniform(0, most, 50_000) < density]])
    return kept[:n]


def p_value(A, B, rng, n_permutations=499):
    """Share of permutations whose energy distance is at least that of A and B."""
    both, signs = np.vstack([A, B]), np.repeat([1.0, -1.0], [len(A), len(B)])
    signs = [signs, *(rng.permutation(signs) for _ in range(n_permutations))]
    signs = np.transpose(signs)
    # Of two samples of one size it is minus a quadratic form of the distances.
    statistics = -(signs * (cdist(both, both) @ signs)).sum(0)
    return (statistics >= statistics[0]).mean()


CASES = {
    "one feature": (identity, 1, None, 4.0),
    "two features": (identity, 2, None, 4.0),
    "weights": (identity, 2, [0.5, 3, 1, 0, 1, 6], 4.0),
    "flat": (identity, 1, None, 0.7),
    "linear": (
        lambda **p: UHopMemory(**p, **DENSITY).set_params(
            training__early_stopping=False
        ),
        2,
        None,
        4,
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_draws_and_the_energy_are_of_one_density(case):
    make, d, weights, beta = CASES[case]
    rng = np.random.default_rng(1)
    X = np.random.default_rng(2).uniform(-2, 2, (6, d))
    memory = make(max_iter=300, training=Training(learning_rate=0.05)).fit(
        X, sample_weight=weights
    )
    memory.set_params(beta=beta)
    ours = memory.sample(1000, random_state=0)
    width = 2 + 6 / np.sqrt(beta)
    theirs = by_rejection(memory, 1000, -width, width, rng)
    assert p_value(ours, theirs, rng) > 0.05
    # The test can fail: another precision.
    other = memory.set_params(beta=beta / 4).sample(1000, random_state=0)
    assert p_value(other, theirs, rng) < 0.05


def test_a_learned_matrix_shapes_the_noise():
    """The covariance around a pattern is the inverse of beta W^T W."""
    X = RNG.normal(size=(20, 3))
    memory = UHopMemory(
        training=Training(early_stopping=False, learning_rate=0.05),
        max_iter=200,
        **DENSITY,
    ).fit(X)
    W = memory.components_
    assert np.linalg.cond(W) > 1.5  # something was learned
    draws = memory.sample(40_000, random_state=0)
    expected = np.linalg.inv(4 * W.T @ W) + np.cov(X.T, bias=True)
    np.testing.assert_allclose(np.cov(draws.T), expected, atol=0.03)


def test_the_posterior_loss_moves_and_scales_queries():
    def damage(X, random_state):
        return 0.5 * X + 3

    X = np.random.default_rng(0).normal(size=(60, 2))
    memory = UHopMemory(
        loss="posterior",
        corruption=damage,
        training=Training(learning_rate=0.05),
        max_iter=200,
        **DENSITY,
    ).fit(X)
    assert memory.alignment_
    assert memory.selection_["kept"] == "learned"
    draws = memory.sample(500, random_state=0)
    shift = memory.alignment_["shift"]
    scale = memory.alignment_["scale"]
    other = UHopMemory(
        training=Training(early_stopping=False), max_iter=1, **DENSITY
    ).fit(X)
    other.components_ = memory.components_
    other.feature_map_state_ = {"components": memory.components_}
    # Queries are seen as scale x + shift: brought there, they are the plain mixture.
    np.testing.assert_allclose(
        scale * draws + shift, other.sample(500, random_state=0), rtol=1e-6
    )


def test_it_agrees_with_kernel_density():
    X = RNG.normal(size=(30, 5))
    weights = RNG.uniform(0.5, 2, 30)
    memory = identity().fit(X, sample_weight=weights)
    density = KernelDensity(bandwidth=0.5).fit(X, sample_weight=weights)
    draws = memory.sample(50, random_state=0)
    gap = 4 * memory.score_samples(draws) - density.score_samples(draws)
    np.testing.assert_allclose(gap, gap[0])


def test_seeds_and_dtype():
    memory = identity().fit(RNG.normal(size=(9, 4)).astype("f4"))
    one = memory.sample(5, random_state=3)
    assert one.dtype == np.float32
    assert one.shape == (5, 4)
    np.testing.assert_array_equal(one, memory.sample(5, random_state=3))
    assert (one != memory.sample(5, random_state=4)).any()
    assert memory.sample().shape == (1, 4)


@pytest.mark.parametrize(
    "name, value",
    [("similarity", "cosine"), ("separation", "softmax1"), ("beta", "auto")],
)
def test_without_a_density_there_is_no_sample(name, value):
    memory = identity(**{name: value}).fit(RNG.normal(size=(9, 4)))
    assert not hasattr(memory, "sample")
    with pytest.raises(AttributeError):
        memory.sample()
    assert hasattr(identity(), "sample")


@pytest.mark.parametrize("feature_map, rows", [("mlp", 20), ("linear", 3)])
def test_maps_that_leave_no_density(feature_map, rows):
    memory = UHopMemory(
        feature_map, training=Training(early_stopping=False), max_iter=5, **DENSITY
    )
    memory.fit(RNG.normal(size=(rows, 4)))
    with pytest.raises(ValueError, match="invertible") as caught:
        memory.sample()
    assert repr(feature_map) in str(caught.value)


def test_bad_calls():
    with pytest.raises(NotFittedError):
        identity().sample()
    memory = identity().fit(RNG.normal(size=(9, 4)))
    for wrong in (0, -1, 2.5, "many"):
        with pytest.raises(InvalidParameterError, match="n_samples"):
            memory.sample(wrong)
