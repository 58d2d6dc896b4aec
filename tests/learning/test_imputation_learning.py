"""What is learned from rows with holes."""

import numpy as np
import pytest
import torch
from scipy.optimize import minimize
from scipy.stats import multivariate_normal

from skuhop.learning import (
    choose_gaussian,
    fit_gaussian,
    learn_mixture,
    learn_shares,
)


def rows_with_holes(n=300, d=3, seed=0):
    rng = np.random.RandomState(seed)
    factor = rng.randn(d, d)
    X = rng.randn(n, d) @ factor
    X = (X - X.mean(0)) / X.std(0)
    holes = rng.uniform(size=X.shape) < 0.3
    holes[holes.all(axis=1)] = False
    return np.where(holes, np.nan, X)


def likelihood(X, mean, covariance):
    total = 0
    for row in X:
        o = ~np.isnan(row)
        part = covariance[np.ix_(o, o)]
        total += multivariate_normal.logpdf(row[o], mean[o], part)
    return total


def test_em_finds_the_most_likely_gaussian():
    """Nothing near it is likelier, the prior being next to nothing."""
    X = rows_with_holes(100)
    Z, ones = torch.from_numpy(X), torch.ones(len(X), dtype=torch.float64)
    gaussian = fit_gaussian(Z, ones, prior=1e-9)
    for _ in range(5):  # far beyond the tolerance of one call
        gaussian = fit_gaussian(Z, ones, 1e-9, gaussian)
    mean, covariance = (part.numpy() for part in gaussian)
    best = likelihood(X, mean, covariance)
    rng = np.random.RandomState(0)
    for _ in range(20):
        step = 0.03 * rng.randn(*covariance.shape)
        other = likelihood(X, mean + 0.03 * rng.randn(3), covariance + step @ step.T)
        assert other < best + 1e-3


def test_weights_are_copies():
    X = rows_with_holes(60)
    weights = np.random.RandomState(1).randint(1, 4, size=60)
    copies = np.repeat(X, weights, axis=0)
    one = fit_gaussian(
        torch.from_numpy(X), torch.from_numpy(weights.astype(float)), 1.0
    )
    many = fit_gaussian(
        torch.from_numpy(copies), torch.ones(len(copies), dtype=torch.float64), 1.0
    )
    for a, b in zip(one, many, strict=True):
        torch.testing.assert_close(a, b)


def test_a_strong_prior_forgets_correlations():
    X = rows_with_holes()
    ones = torch.ones(len(X), dtype=torch.float64)
    loose, tight = (
        fit_gaussian(torch.from_numpy(X), ones, prior).covariance
        for prior in (0.1, 1e6)
    )
    assert loose.fill_diagonal_(0).abs().max() > 0.2
    assert tight.fill_diagonal_(0).abs().max() < 0.01


@pytest.mark.parametrize("related", [True, False])
def test_lines_of_hidden_entries_are_honest(related):
    """Rows do not see what is hidden: among unrelated columns lines know nothing."""
    rng = np.random.RandomState(0)
    X = rng.randn(60, 4)
    if related:
        X[:, 1:] = X[:, :1] + 0.1 * X[:, 1:]
    X = (X - X.mean(0)) / X.std(0)
    groups = [slice(j, j + 1) for j in range(4)]
    ones = torch.ones(60, dtype=torch.float64)
    generator = torch.Generator().manual_seed(0)
    _, lines = choose_gaussian(torch.from_numpy(X), ones, groups, generator)
    error = np.mean((lines.numpy() - X) ** 2)
    assert error < 0.1 if related else 0.95 < error < 1.3


def test_shares_have_the_least_squared_error():
    rng = np.random.RandomState(0)
    truth = rng.randn(200, 2)
    candidates = truth + rng.randn(3, 200, 2) * np.array([0.5, 1.0, 3.0])[:, None, None]
    weights = rng.uniform(size=200)

    def error(logits):
        shares = np.exp(logits) / np.exp(logits).sum()
        off = np.tensordot(shares, candidates, 1) - truth
        return (weights @ off**2).sum() / weights.sum()

    best = minimize(error, np.zeros(3))
    shares = learn_shares(*map(torch.from_numpy, (candidates, truth, weights)))
    assert shares.sum() == pytest.approx(1)
    assert (shares >= 0).all()
    assert error(shares.clamp_min(1e-12).log().numpy()) == pytest.approx(
        best.fun, rel=1e-3
    )


def test_mixtures_have_the_largest_likelihood():
    rng = np.random.RandomState(0)
    likelihoods, weights = rng.uniform(size=(3, 100)), rng.uniform(size=100)

    def minus(logits):
        shares = np.exp(logits) / np.exp(logits).sum()
        return -weights @ np.log(shares @ likelihoods)

    best = minimize(minus, np.zeros(3))
    shares = learn_mixture(torch.from_numpy(likelihoods), torch.from_numpy(weights))
    assert minus(shares.clamp_min(1e-12).log().numpy()) == pytest.approx(
        best.fun, rel=1e-3
    )
