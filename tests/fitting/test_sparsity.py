"""Sparsity from data: which alpha `fit` chooses, and that it stays."""

import pickle

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.datasets import load_digits

from skuhop import Entmax, Normmax, UHopClassifier, UHopMemory
from skuhop.exceptions import InvalidParameterError
from skuhop.fitting.sparsity import ALPHAS

RNG = np.random.default_rng(0)
X = RNG.normal(size=(40, 12))
QUERIES = X + 0.3 * RNG.normal(size=X.shape)
DIGITS = load_digits().data[:400] / 16


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
