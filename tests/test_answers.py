"""Answers normalised, sparsity from data, and queries that nothing stored answers."""

import pickle

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.datasets import load_digits

from skuhop import Entmax, Normmax, UHopClassifier, UHopMemory, Updates
from skuhop.exceptions import InvalidParameterError
from skuhop.fitting.sparsity import ALPHAS

RNG = np.random.default_rng(0)
X = RNG.normal(size=(40, 12))
QUERIES = X + 0.3 * RNG.normal(size=X.shape)
DIGITS = load_digits().data[:400] / 16


def l2(rows):
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def layernorm(rows):
    return (rows - rows.mean(1, keepdims=True)) / rows.std(1, keepdims=True)


FORMULAS = {"plain": lambda rows: rows, "l2": l2, "layernorm": layernorm}
every_answer = pytest.mark.parametrize("answer", FORMULAS)


def dot(answer, **params):
    params = {"similarity": "dot", "beta": 2.0, **params}
    return UHopMemory("identity", update_steps=Updates(answer=answer), **params)


# --- answers -------------------------------------------------------------------------


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


# --- sparsity from data --------------------------------------------------------------


def sparse(**params):
    default = {"similarity": "euclidean", "beta": 1.0, "random_state": 0}
    auto = {"separation": Entmax(alpha="auto")}
    return UHopMemory("identity", **{**default, **auto, **params})


def test_the_best_of_the_grid_is_chosen():
    memory = sparse(corruption="noise").fit(DIGITS)
    scores = memory.separation_scores_
    assert scores["alpha"] == list(ALPHAS)
    assert ALPHAS[0] == 1
    assert ALPHAS[-1] == 2
    best = scores["alpha"][int(np.argmin(scores["error"]))]
    assert memory.separation_params_ == {"alpha": best}
    # At so small a beta softmax blurs, and less of it is better.
    assert best == 2
    assert scores["error"][0] > 2 * scores["error"][-1]


def test_the_choice_is_that_of_copies_never_seen():
    """What fit chose is best, or nearly so, on new corrupted copies."""
    noisy = DIGITS + 0.2 * RNG.normal(size=DIGITS.shape)

    def damage(rows, random_state):
        return rows + 0.2 * random_state.standard_normal(rows.shape)

    for beta in (0.5, 3.0, 25.0):
        memory = sparse(beta=beta, corruption=damage).fit(DIGITS)
        errors = {}
        for alpha in ALPHAS:
            fixed = {"separation": "softmax" if alpha == 1 else Entmax(alpha)}
            errors[alpha] = (
                -clone(memory).set_params(**fixed).fit(DIGITS).score(noisy, DIGITS)
            )
        chosen = errors[memory.separation_params_["alpha"]]
        assert chosen == pytest.approx(-memory.score(noisy, DIGITS))
        assert chosen <= 1.1 * min(errors.values()) + 1e-6


def test_softmax_is_taken_where_nothing_is_gained():
    memory = sparse(beta=1e4).fit(X)  # one pattern has all the weight at any alpha
    assert memory.separation_params_ == {"alpha": 1.0}
    softmax = UHopMemory("identity", similarity="euclidean", beta=1e4).fit(X)
    np.testing.assert_array_equal(
        memory.association(QUERIES), softmax.association(QUERIES)
    )
    np.testing.assert_array_equal(memory.energy(QUERIES), softmax.energy(QUERIES))


def test_the_choice_is_saved_and_stays():
    memory = sparse().fit(DIGITS)
    again = pickle.loads(pickle.dumps(memory))
    np.testing.assert_array_equal(again.transform(DIGITS), memory.transform(DIGITS))
    assert memory.separation == Entmax(alpha="auto")


def test_auto_has_to_be_there_in_fit_and_for_alpha_alone():
    memory = sparse(separation=Entmax(1.3)).fit(X)
    assert memory.separation_params_ == {"alpha": 1.3}
    assert memory.separation_scores_ == {}
    memory.set_params(separation__alpha="auto")
    with pytest.raises(ValueError, match="fit again"):
        memory.transform(X)
    with pytest.raises(InvalidParameterError, match="alpha"):
        sparse(separation=Entmax("best")).fit(X)
    with pytest.raises(InvalidParameterError, match="gamma"):
        sparse(separation=Normmax("auto")).fit(X)
    with pytest.raises(InvalidParameterError, match="alpha"):
        UHopClassifier(separation=Entmax(alpha="auto")).fit(X, np.arange(40) % 2)


def test_weights_and_order_do_not_change_the_choice():
    counts = 1 + np.arange(400) % 3
    weighted = sparse(corruption="noise").fit(DIGITS, sample_weight=counts)
    copies = sparse(corruption="noise").fit(np.repeat(DIGITS, counts, axis=0)[::-1])
    assert weighted.separation_params_ == copies.separation_params_
    np.testing.assert_allclose(
        weighted.separation_scores_["error"], copies.separation_scores_["error"]
    )


# --- rejection -----------------------------------------------------------------------


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
