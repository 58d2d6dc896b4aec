"""Mini-batches: estimates of what all pairs would say."""

import itertools

import numpy as np
import pytest
import torch
from torch.overrides import TorchFunctionMode

from skuhop import Training, UHopMemory
from skuhop.learning import LOSSES, trainer
from skuhop.learning.mini_batches import MINE_EVERY, HardPairs, RunningLogMean

log_means = pytest.mark.parametrize("name", ["average", "logsumexp"])
weighting = pytest.mark.parametrize(
    "weighted", [False, True], ids=["plain", "weighted"]
)


def problem(n=7, d=4, weighted=False, seed=0):
    rng = np.random.default_rng(seed)
    patterns = torch.from_numpy(rng.normal(size=(n, d)))
    matrix = torch.from_numpy(np.eye(d) + 0.3 * rng.normal(size=(d, d)))
    weights = torch.from_numpy(rng.uniform(0.2, 3, n)) if weighted else None
    return patterns, matrix.requires_grad_(), weights


def batches(n, size):
    return [torch.tensor(rows) for rows in itertools.combinations(range(n), size)]


@log_means
@weighting
@pytest.mark.parametrize("size", [2, 3, 5])
def test_the_gradient_is_unbiased_given_the_normaliser(name, weighted, size):
    """Mean over all batches there are: the gradient of the loss on all pairs."""
    patterns, matrix, weights = problem(weighted=weighted)
    whole = LOSSES[name](patterns @ matrix, weights)
    (expected,) = torch.autograd.grad(whole, matrix)
    total, means = torch.zeros_like(matrix), []
    every = batches(len(patterns), size)
    for batch in every:
        estimate = RunningLogMean(name, patterns, weights)
        first = estimate(lambda rows: patterns[rows] @ matrix, batch)
        means.append(first.exp().item())
        # Its gradient with the normaliser it should have in the place of its own.
        loss = (first - first.detach()) * (first.detach() - whole.detach()).exp()
        total += torch.autograd.grad(loss, matrix)[0]
    assert np.mean(means) == pytest.approx(whole.exp().item(), rel=1e-12)
    torch.testing.assert_close(total / len(every), expected)


@pytest.mark.thin(2)
@log_means
@weighting
def test_bias_is_less_than_that_of_batches_alone(name, weighted):
    """A feature map at rest: mean gradient against the true one, batches of 4."""
    patterns, matrix, weights = problem(n=40, weighted=weighted)
    whole = LOSSES[name](patterns @ matrix, weights)
    (expected,) = torch.autograd.grad(whole, matrix)
    estimate = RunningLogMean(name, patterns, weights)
    generator = torch.Generator().manual_seed(0)
    running, alone, values = torch.zeros_like(matrix), torch.zeros_like(matrix), []
    n_steps = 4000
    for _ in range(n_steps):
        batch = torch.randperm(40, generator=generator)[:4]
        loss = estimate(lambda rows: patterns[rows] @ matrix, batch)
        running += torch.autograd.grad(loss, matrix)[0]
        values.append(loss.item())
        own = None if weights is None else weights[batch]
        alone += torch.autograd.grad(
            LOSSES[name](patterns[batch] @ matrix, own), matrix
        )[0]
    running_bias = torch.linalg.norm(running / n_steps - expected)
    alone_bias = torch.linalg.norm(alone / n_steps - expected)
    assert running_bias < alone_bias / 2
    assert np.mean(values[100:]) == pytest.approx(whole.item(), abs=0.25)


@log_means
def test_the_first_value_is_the_batch_itself(name):
    patterns, matrix, _ = problem()
    estimate = RunningLogMean(name, patterns, None)
    batch = torch.tensor([1, 4, 5])
    loss = estimate(lambda rows: patterns[rows] @ matrix, batch)
    torch.testing.assert_close(loss, LOSSES[name](patterns[batch] @ matrix))


@pytest.mark.parametrize("d", [6, 80])
def test_hard_pairs_find_the_closest_pair(d):
    """Planted among 3,000 patterns; no batch holds it."""
    rng = np.random.default_rng(0)
    patterns = torch.from_numpy(rng.normal(size=(3000, d)))
    patterns[2999] = patterns[17] + 1e-3 * torch.from_numpy(rng.normal(size=d))
    matrix = torch.eye(d, dtype=torch.float64).requires_grad_()
    estimate = HardPairs(patterns, torch.Generator().manual_seed(0))
    batch = torch.arange(100, 400)
    loss = estimate(lambda rows: patterns[rows] @ matrix, batch)
    whole = LOSSES["max"](patterns @ matrix)
    torch.testing.assert_close(loss, whole)
    torch.testing.assert_close(
        *(torch.autograd.grad(value, matrix)[0] for value in (loss, whole))
    )


def test_hard_pairs_never_exceed_the_maximum():
    patterns, matrix, _ = problem(n=500, d=40)
    estimate = HardPairs(patterns, torch.Generator().manual_seed(0))
    for seed in range(5):
        batch = torch.randperm(500, generator=torch.Generator().manual_seed(seed))[:30]
        loss = estimate(lambda rows: patterns[rows] @ matrix, batch)
        assert loss <= LOSSES["max"](patterns @ matrix) + 1e-12


def test_hard_pairs_are_looked_for_again():
    patterns = torch.from_numpy(np.random.default_rng(0).normal(size=(2000, 12)))
    moved = patterns.clone()
    moved[7] = moved[1500] + 1e-4
    estimate = HardPairs(patterns, torch.Generator().manual_seed(0))
    batch = torch.arange(100, 200)
    estimate(lambda rows: patterns[rows], batch)
    met = {
        frozenset(pair)
        for pair in zip(*map(torch.Tensor.tolist, estimate.pairs), strict=True)
    }
    assert frozenset((7, 1500)) not in met
    values = [estimate(lambda rows: moved[rows], batch) for _ in range(MINE_EVERY)]
    torch.testing.assert_close(values[-1], LOSSES["max"](moved))


class Largest(TorchFunctionMode):
    """Remembers the largest tensor that any function of torch gave."""

    size = 0

    def __torch_function__(self, function, types, args=(), kwargs=None):
        out = function(*args, **(kwargs or {}))
        if isinstance(out, torch.Tensor):
            self.size = max(self.size, out.untyped_storage().nbytes())
        return out


@pytest.mark.parametrize("loss", LOSSES)
def test_memory_does_not_grow_with_the_square(loss, monkeypatch):
    monkeypatch.setattr(trainer, "FULL_BATCH", 100)
    monkeypatch.setattr("skuhop.learning.mini_batches._BLOCK", 10_000)
    X = np.random.default_rng(0).normal(size=(3000, 8))
    with Largest() as largest:
        UHopMemory(
            loss=loss,
            similarity="dot",
            training=Training(early_stopping=False),
            max_iter=3,
        ).fit(X)
    assert 100 * 100 * 8 <= largest.size < 3000 * 3000 * 8 / 20


@pytest.mark.parametrize("loss", LOSSES)
def test_learns_as_well_as_full_batches(loss, monkeypatch):
    X = np.random.default_rng(0).normal(size=(400, 10)) + 1.5
    memory = UHopMemory(
        loss=loss,
        similarity="dot",
        max_iter=60,
        random_state=0,
        training=Training(early_stopping=False, learning_rate=1e-2),
    )
    found = []
    for full_batch in (10**6, 100):
        monkeypatch.setattr(trainer, "FULL_BATCH", full_batch)
        features = torch.tensor(X @ memory.fit(X).components_.T)
        found.append(LOSSES[loss](features).item())
    start = LOSSES[loss](torch.tensor(X)).item()
    full, mini = (start - value for value in found)
    assert full > 0
    assert mini > 0.8 * full
