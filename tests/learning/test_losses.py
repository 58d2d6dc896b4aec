"""Separation losses against double loops."""

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from skuhop.learning import LOSSES

names = pytest.mark.parametrize("name", LOSSES)


def features(n=8, r=4, seed=0):
    return np.random.default_rng(seed).normal(size=(n, r))


def terms(features, group=None):
    """-t |phi_i - phi_j|^2 and <phi_i, phi_j> of all pairs i < j of unequal group."""
    unit = features / np.linalg.norm(features, axis=1, keepdims=True)
    group = np.arange(len(unit)) if group is None else group
    for i, j in itertools.combinations(range(len(unit)), 2):
        if group[i] != group[j]:
            yield -2 * ((unit[i] - unit[j]) ** 2).sum(), unit[i] @ unit[j]


REFERENCES = {
    "average": lambda pairs: np.log(np.mean([np.exp(d) for d, _ in pairs])),
    "max": lambda pairs: max(d for d, _ in pairs),
    "logsumexp": lambda pairs: np.log(np.mean([np.exp(c / 0.05) for _, c in pairs])),
}


def loss(name, features, w=None):
    w = None if w is None else torch.tensor(w, dtype=torch.float64)
    return LOSSES[name](torch.tensor(features), w).item()


def test_every_loss_has_a_reference():
    assert set(REFERENCES) == set(LOSSES)


@names
@pytest.mark.parametrize("n", [2, 3, 9])
def test_value(name, n):
    X = features(n)
    expected = REFERENCES[name](list(terms(X)))
    assert loss(name, X) == pytest.approx(expected, rel=1e-10)


@names
@settings(max_examples=30, deadline=None)
@given(w=st.lists(st.integers(1, 4), min_size=2, max_size=6))
def test_weight_is_copies_that_need_not_part(name, w):
    X = features(len(w))
    group = np.repeat(np.arange(len(w)), w)
    expected = REFERENCES[name](list(terms(X[group], group)))
    assert loss(name, X, w) == pytest.approx(expected, rel=1e-9)


@names
def test_unit_weights_are_no_weights(name):
    assert loss(name, features(), np.ones(8)) == pytest.approx(loss(name, features()))


@names
def test_invariances(name):
    """Length and order of the features, and their rotation, play no part."""
    X, rng = features(), np.random.default_rng(1)
    value = loss(name, X)
    Q = np.linalg.qr(rng.normal(size=(4, 4)))[0]
    for other in (X * rng.uniform(0.1, 9, (8, 1)), X[rng.permutation(8)], X @ Q):
        assert loss(name, other) == pytest.approx(value, rel=1e-10)


@names
def test_farther_apart_is_less(name):
    spread = np.array([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0], [0.0, -1.0]])
    close = spread + np.array([3.0, 3.0])
    assert loss(name, spread) < loss(name, close)


@names
def test_gradient(name):
    X = torch.tensor(features(), requires_grad=True)
    assert torch.autograd.gradcheck(LOSSES[name], (X,))


@names
def test_zero_vectors_and_duplicates_have_finite_gradients(name):
    X = features()
    X[1], X[2] = 0, X[3]
    X = torch.tensor(X, requires_grad=True)
    value = LOSSES[name](X)
    value.backward()
    assert torch.isfinite(value)
    assert torch.isfinite(X.grad).all()
