"""Learning from unlabelled queries: EM climbs, and knows when it did not help."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from skuhop.learning import learn_bank, learn_from_queries
from skuhop.learning.unlabelled import TableEM, family_weights
from skuhop.retrieval import build_auto_scorer


def em_problem(seed, n=12, candidates=4, d=9, shape=(3, 5), strength=2.0):
    rng = np.random.RandomState(seed)
    prior = strength * torch.from_numpy(rng.dirichlet(np.ones(shape[1]), shape[0]))
    return TableEM(
        torch.from_numpy(rng.randint(shape[0], size=(n, candidates, d))),
        torch.from_numpy(rng.randint(shape[1], size=(n, d))),
        torch.from_numpy(np.log(rng.dirichlet(np.ones(candidates), n))),
        prior + 0.1,
    )


@given(st.integers(0, 10_000), st.sampled_from([0.1, 2.0, 100.0]))
@settings(max_examples=40, deadline=None)
def test_em_never_lowers_its_objective(seed, strength):
    problem = em_problem(seed, strength=strength)
    start = torch.softmax(problem.log_weights, 1)
    table, curve = problem.run(start)
    assert np.diff(curve).min() >= -1e-9 * abs(curve[0])
    np.testing.assert_allclose(table.sum(1), 1)


def test_m_step_is_the_maximiser():
    problem = em_problem(0)
    posterior = torch.softmax(torch.randn(12, 4, dtype=torch.float64), 1)
    table = problem.table(posterior)

    def expected(candidate):
        fit = (posterior * (problem.scores(candidate) - problem.log_weights)).sum()
        return fit + (problem.prior * candidate.log()).sum()

    best = expected(table)
    generator = torch.Generator().manual_seed(0)
    for _ in range(20):
        noise = torch.rand(table.shape, generator=generator, dtype=torch.float64)
        other = table * (0.5 + noise)
        assert expected(other / other.sum(1, keepdim=True)) < best


def test_family_weights_find_the_common_family():
    evidences = torch.full((50, 3), -5.0, dtype=torch.float64)
    evidences[:40, 1] = 0.0
    evidences[40:, 2] = 0.0
    pi = family_weights(evidences).exp()
    np.testing.assert_allclose(pi.sum(), 1)
    np.testing.assert_allclose(pi, [0.01, 0.79, 0.20], atol=0.02)


@pytest.fixture(scope="module")
def memory():
    rng = np.random.RandomState(0)
    patterns = torch.from_numpy(rng.uniform(size=(40, 60)) ** 2)
    bank = learn_bank(patterns, None)
    mean = patterns.mean(0)
    return patterns, build_auto_scorer(bank, {}, patterns, None, None, mean, None, None)


def test_a_strange_channel_is_learned(memory):
    patterns, scorer = memory
    # Values are turned upside down: per feature, but in no bank.
    state = learn_from_queries(scorer, (1 - patterns).flip(0))
    assert "table" not in state or state["gain"] > 0
    rng = np.random.RandomState(1)
    noisy = patterns * torch.from_numpy(rng.uniform(size=patterns.shape) < 0.6) + 0.05
    state = learn_from_queries(scorer, noisy.flip(0))
    assert state["gain"] > 0
    np.testing.assert_allclose(state["table"].sum(1), 1)


def test_pure_noise_teaches_nothing(memory):
    patterns, scorer = memory
    rng = np.random.RandomState(2)
    noise = patterns + torch.from_numpy(5 * rng.standard_normal(patterns.shape))
    assert "table" not in learn_from_queries(scorer, noise)


def test_order_of_queries_does_not_matter_to_families(memory):
    patterns, scorer = memory
    queries = patterns * 0.5
    state = learn_from_queries(scorer, queries)
    again = learn_from_queries(scorer, queries.flip(0))
    np.testing.assert_allclose(state["log_families"], again["log_families"], rtol=1e-6)
