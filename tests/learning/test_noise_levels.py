"""What is learned from patterns that complete each other."""

import numpy as np
import pytest
import torch
from sklearn.datasets import load_wine
from sklearn.preprocessing import scale

from skuhop.learning import learn_precision, noise_levels

RNG = np.random.RandomState(0)
WINE = torch.as_tensor(scale(load_wine().data))


def curve(n, *more, seed=1):
    """Two features that tell of each other, and others that tell nothing."""
    rng = np.random.RandomState(seed)
    t = rng.uniform(-2, 2, size=n)
    columns = [t, np.sin(2 * t), *(rng.normal(size=n) for _ in more)]
    return torch.as_tensor(scale(np.column_stack(columns)))


def test_features_that_tell_nothing_count_less():
    precision = learn_precision(curve(600, "noise", "noise"), None, 0)
    assert precision[2:].max() < 0.5 * precision[:2].min()


def test_more_patterns_mean_nearer_neighbours():
    few, many = (learn_precision(curve(n), None, 0).mean() for n in (30, 1000))
    assert many > 2 * few


def test_a_level_for_each_feature_is_kept_only_if_it_completes_better(monkeypatch):
    learned = learn_precision(WINE, None, 0)
    assert learned.unique().numel() == 13
    monkeypatch.setattr(noise_levels, "LEARNING_RATE", 50.0)
    spoilt = learn_precision(WINE, None, 0)
    assert spoilt.unique().numel() == 1
    monkeypatch.setattr(noise_levels, "MOST_FEATURES", 12)
    np.testing.assert_array_equal(learn_precision(WINE, None, 0), spoilt)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_same_seed_same_result_and_the_global_generator_is_left_alone(dtype):
    before = torch.random.get_rng_state()
    one, two = (learn_precision(WINE.to(dtype), None, 3) for _ in range(2))
    assert torch.equal(one, two)
    assert one.dtype == dtype
    assert torch.equal(before, torch.random.get_rng_state())
    assert not torch.equal(one, learn_precision(WINE.to(dtype), None, 4))


@pytest.mark.parametrize("weighted", [False, True])
def test_the_gradient_is_that_of_the_error_of_completion(weighted):
    weights = torch.as_tensor(RNG.uniform(0.1, 5, size=len(WINE))) if weighted else None
    task = noise_levels._Completion(WINE, weights)
    drawn = task.draw(torch.Generator().manual_seed(0), 30, 90)
    level = torch.as_tensor(RNG.normal(size=13)).requires_grad_()
    rows, candidates = WINE[drawn.rows], WINE[drawn.candidates]
    seen = (~drawn.hidden).double()
    n = seen.sum(1, keepdim=True)
    squared = (rows[:, None] - candidates) ** 2 * level.exp()
    scores = -n * torch.log1p((squared * seen[:, None]).sum(2) / n)
    if weighted:
        scores = scores + weights[drawn.candidates].log()
    scores = torch.where(rows[:, None].eq(candidates).all(2), -torch.inf, scores)
    wrong = (scores.softmax(1) @ candidates - rows) / WINE.std(0, correction=0)
    error = wrong[drawn.hidden].square().mean()
    (expected,) = torch.autograd.grad(error, [level])
    found = task.gradient(level.detach(), drawn)
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-9)


def test_units_do_not_matter_if_they_are_common():
    one, two = learn_precision(WINE, None, 0), learn_precision(1000 * WINE, None, 0)
    np.testing.assert_allclose(one, 1e6 * two, rtol=1e-6)


def test_weights_count():
    weights = torch.as_tensor(RNG.uniform(0.1, 5, size=len(WINE)))
    unweighted = learn_precision(WINE, None, 0)
    assert not torch.allclose(learn_precision(WINE, weights, 0), unweighted)
    same = learn_precision(WINE, torch.full_like(weights, 3.0), 0)
    np.testing.assert_allclose(same, unweighted, rtol=1e-6)


@pytest.mark.parametrize(
    "patterns, expected",
    [
        (torch.tensor([[1.0], [3.0], [1.0], [3.0]]), 1.0),
        (torch.tensor([[0.0, 0.0], [4.0, 4.0]]), 0.25),
        (torch.ones(5, 3), 1.0),
    ],
)
def test_nothing_to_learn_from(patterns, expected):
    found = learn_precision(patterns.double(), None, 0)
    np.testing.assert_allclose(found, expected)


def test_constant_features_do_no_harm():
    patterns = torch.cat([WINE, torch.ones(len(WINE), 2)], 1)
    assert learn_precision(patterns, None, 0).isfinite().all()
