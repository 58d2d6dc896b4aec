"""Learning from unlabelled queries: EM climbs, and knows when it did not help."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from skuhop.learning import learn_bank, learn_from_queries
from skuhop.learning.damage.channels import Channel, ChannelEM, equal_groups
from skuhop.learning.damage.from_queries import hypothesis_weights
from skuhop.retrieval import build_auto_scorer


def em_problem(seed, n=12, candidates=4, shape=(3, 5), strength=2.0):
    rng = np.random.RandomState(seed)
    prior = strength * torch.from_numpy(rng.dirichlet(np.ones(shape[1]), shape[0]))
    counts = rng.poisson(0.6, size=(n, candidates, shape[0] * shape[1]))
    return ChannelEM(
        torch.from_numpy(counts.astype(float)),
        torch.from_numpy(np.log(rng.dirichlet(np.ones(candidates), n))),
        torch.from_numpy(rng.uniform(0.5, 2, size=n)),
        prior + 0.1,
    )


@given(
    st.integers(0, 10_000),
    st.sampled_from([0.1, 2.0, 100.0]),
    st.sampled_from([1, 2, 3]),
)
@settings(max_examples=40, deadline=None)
def test_em_never_lowers_its_objective(seed, strength, n_tables):
    problem = em_problem(seed, strength=strength)
    groups = equal_groups(torch.arange(12), n_tables).double()
    start = torch.softmax(problem.log_weights, 1)[:, :, None] * groups[:, None]
    channel, curve = problem.run(start, 8)
    assert np.diff(curve).min() >= -1e-9 * abs(curve[0])
    np.testing.assert_allclose(channel.log_tables.exp().sum(2), 1)
    np.testing.assert_allclose(channel.log_prior.exp().sum(), 1)


def test_m_step_is_the_maximiser():
    problem = em_problem(0)
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(12, 4, 2, generator=generator, dtype=torch.float64)
    member = torch.softmax(logits.flatten(1), 1).view_as(logits)
    best = problem.maximise(member)

    def expected(channel):
        scores = problem.scores(channel) - problem.log_weights[:, :, None]
        fit = (problem.weights[:, None, None] * member * scores).sum()
        return fit + (problem.prior * channel.log_tables).sum()

    for _ in range(20):
        noise = torch.rand(2, 3, 5, generator=generator, dtype=torch.float64)
        other = best.log_tables.exp() * (0.5 + noise)
        other = other / other.sum(2, keepdim=True)
        assert expected(Channel(other.log(), best.log_prior)) < expected(best)


def test_groups_are_of_equal_size_and_in_order():
    member = equal_groups(torch.tensor([5.0, 1.0, 3.0, 2.0, 4.0, 0.0]), 3)
    assert member.argmax(1).tolist() == [2, 0, 1, 1, 2, 0]


def test_weights_find_the_common_hypothesis():
    evidences = torch.full((50, 3), -5.0, dtype=torch.float64)
    evidences[:40, 1] = 0.0
    evidences[40:, 2] = 0.0
    pi = hypothesis_weights(evidences).exp()
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
    # Values are folded at one half: per feature, but in no bank and not monotone.
    state = learn_from_queries(scorer, (patterns - 0.5).abs().flip(0))
    np.testing.assert_allclose(state["tables"].sum(2), 1)
    assert len(state["log_prior"]) == len(scorer.log_prior) + len(state["tables"])
    np.testing.assert_allclose(np.exp(state["log_prior"]).sum(), 1)
    assert np.exp(state["log_prior"][-len(state["tables"]) :]).sum() > 0.9


@pytest.mark.parametrize("sigma", [0.3, 5.0])
def test_noise_teaches_no_channel(memory, sigma):
    patterns, scorer = memory
    rng = np.random.RandomState(2)
    noise = patterns + torch.from_numpy(sigma * rng.standard_normal(patterns.shape))
    state = learn_from_queries(scorer, noise)
    assert "tables" not in state
    assert state["log_prior"].argmax() == 0


def test_order_of_queries_does_not_matter_to_the_weights(memory):
    patterns, scorer = memory
    queries = patterns * 0.5
    state = learn_from_queries(scorer, queries)
    again = learn_from_queries(scorer, queries.flip(0))
    n = len(scorer.log_prior)
    np.testing.assert_allclose(state["log_prior"][:n], again["log_prior"][:n], atol=0.1)
