"""Answers normalised: what `update_steps__answer` makes of every update."""

import numpy as np
import pytest

from skuhop import UHopMemory, Updates

RNG = np.random.default_rng(0)
X = RNG.normal(size=(40, 12))
QUERIES = X + 0.3 * RNG.normal(size=X.shape)


def l2(rows):
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def layernorm(rows):
    return (rows - rows.mean(1, keepdims=True)) / rows.std(1, keepdims=True)


FORMULAS = {"plain": lambda rows: rows, "l2": l2, "layernorm": layernorm}
every_answer = pytest.mark.parametrize("answer", FORMULAS)


def dot(answer, **params):
    params = {"similarity": "dot", "beta": 2.0, **params}
    return UHopMemory("identity", update_steps=Updates(answer=answer), **params)


@every_answer
@pytest.mark.parametrize("separation", ["softmax", "sparsemax", "max"])
def test_every_update_ends_in_the_formula(answer, separation):
    memory = dot(answer, separation=separation).set_params(update_steps__tol=0).fit(X)
    plain = dot("plain", separation=separation).fit(X)
    rows = QUERIES
    for steps in (1, 2, 3):
        rows = FORMULAS[answer](plain.transform(rows))
        found = memory.set_params(update_steps__steps=steps).transform(QUERIES)
        np.testing.assert_allclose(found, rows, rtol=1e-9, atol=1e-12)


@every_answer
def test_normalised_patterns_are_fixed_points(answer):
    patterns = FORMULAS[answer](X)
    memory = dot(answer, similarity="euclidean", separation="sparsemax", beta=20.0)
    memory.set_params(update_steps__steps=5).fit(patterns)
    np.testing.assert_allclose(memory.transform(patterns), patterns, rtol=1e-12)


@pytest.mark.parametrize("answer", ["l2", "layernorm"])
@pytest.mark.parametrize("separation", ["softmax", "sparsemax", "entmax", "normmax"])
@pytest.mark.parametrize("beta", [0.2, 2.0])
def test_the_energy_falls_on_normalised_rows(answer, separation, beta):
    memory = dot(answer, separation=separation, beta=beta).fit(X)
    rows = FORMULAS[answer](QUERIES)
    before = memory.energy(rows)
    for _ in range(6):
        rows = memory.transform(rows)
        after = memory.energy(rows)
        assert (after <= before + 1e-10 * (1 + np.abs(before))).all()
        before = after


def test_size_is_given_back_to_what_softmax_shrinks():
    """A blurred answer is shorter than a pattern; its direction is what is left."""
    patterns = l2(X)
    found = {
        answer: dot(answer, beta=3.0).fit(patterns).transform(patterns)
        for answer in ("plain", "l2")
    }
    assert np.linalg.norm(found["plain"], axis=1).max() < 0.9
    error = {k: ((v - patterns) ** 2).sum(1).mean() for k, v in found.items()}
    assert error["l2"] < error["plain"]


def test_rows_without_size_stay_zero():
    flat = np.array([[1.0, 1.0, 1.0], [-1.0, -1.0, -1.0]])
    for dtype in ("f4", "f8"):
        found = dot("layernorm").fit(flat.astype(dtype)).transform(flat.astype(dtype))
        np.testing.assert_array_equal(found, np.zeros((2, 3)))
    middle = np.zeros((1, 3))
    np.testing.assert_array_equal(dot("l2").fit(flat).transform(middle), middle)


def test_incomplete_rows_get_the_plain_answer():
    queries = np.where(RNG.uniform(size=X.shape) < 0.3, np.nan, QUERIES)
    queries[0] = QUERIES[0]
    found, plain = (dot(name).fit(X).transform(queries) for name in ("l2", "plain"))
    incomplete = np.isnan(queries).any(1)
    np.testing.assert_array_equal(found[incomplete], plain[incomplete])
    np.testing.assert_allclose(np.linalg.norm(found[~incomplete], axis=1), 1)
