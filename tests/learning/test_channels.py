"""Bins and channel tables: what they are made of, and what has to normalise."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from skuhop.learning.damage.bins import make_bins, sort_sample
from skuhop.learning.damage.channels import factorise, fit_mixture, joint_counts
from skuhop.learning.damage.generic_channels import families, learn_bank
from skuhop.learning.damage.pooling import fit_exponents
from skuhop.retrieval.damage.evidence import quantise

RNG = np.random.RandomState(0)
PATTERNS = torch.from_numpy(np.clip(RNG.standard_normal((40, 12)), 0, None))


def bins_of(values, weights=None, n_quantiles=16):
    return make_bins(*sort_sample(values, weights), n_quantiles)


def test_atoms_have_bins_of_their_own():
    bins = bins_of(PATTERNS)
    # Half of the values are exact zeros: no value beside zero shares their bin.
    zero = quantise(torch.zeros(1, dtype=torch.float64), bins.edges)
    near = quantise(torch.tensor([-1e-3, 1e-3]).double() * bins.span, bins.edges)
    assert zero not in near


@given(st.floats(1e-3, 1e3), st.floats(0.0, 1e-3))
@settings(max_examples=25, deadline=None)
def test_bins_follow_the_scale(scale, tail):
    values = PATTERNS * scale
    np.testing.assert_allclose(
        bins_of(values).edges, scale * bins_of(PATTERNS).edges, rtol=1e-6, atol=1e-9
    )


def test_weights_are_copies_for_bins():
    weights = torch.from_numpy(RNG.randint(1, 4, size=len(PATTERNS)))
    copies = PATTERNS.repeat_interleave(weights, 0)
    weighted = bins_of(PATTERNS, weights.double())
    np.testing.assert_allclose(weighted.edges, bins_of(copies).edges)


@pytest.mark.parametrize("value", [0.0, 5.0, -2.0])
def test_constant_values_have_bins(value):
    bins = bins_of(torch.full((3, 2), value, dtype=torch.float64))
    assert bins.span > 0
    assert (bins.edges.diff() >= 0).all()


def test_every_family_gives_tables_that_normalise():
    bank = learn_bank(PATTERNS, None)
    assert len(bank["tables"]) == len(list(families(bins_of(PATTERNS, None, 32))))
    np.testing.assert_allclose(bank["tables"].sum(2), 1)
    assert (bank["tables"] > 0).all()
    np.testing.assert_allclose(bank["share"].sum(), 1)


def test_bank_is_the_same_for_weights_and_copies_and_for_any_generator_state():
    weights = torch.full((len(PATTERNS),), 3.0, dtype=torch.float64)
    np.random.seed(0)
    plain = learn_bank(PATTERNS, None)
    np.random.seed(1)
    weighted = learn_bank(PATTERNS, weights)
    for name, value in plain.items():
        if name not in ("directions", "base", "left", "right"):
            np.testing.assert_allclose(weighted[name], value, err_msg=name)


def test_bins_that_a_thinned_sample_misses_have_tables(monkeypatch):
    monkeypatch.setattr("skuhop.learning.damage.bins.MOST_VALUES", 100)
    patterns = torch.from_numpy(np.random.RandomState(5).uniform(size=(200, 50)))
    patterns[:, ::7] = 0
    patterns[3, 1] = 1.5
    bank = learn_bank(patterns, None)
    np.testing.assert_allclose(bank["tables"].sum(2), 1)
    assert np.isfinite(bank["base"]).all()


def test_joint_counts_count_pairs():
    a = torch.tensor([[0, 1, 1], [1, 1, 1]])
    b = torch.tensor([[2, 0, 0], [0, 1, 2]])
    counts = joint_counts(a, b, 2, 3).view(2, 2, 3)
    assert counts[0].tolist() == [[0, 0, 1], [2, 0, 0]]
    assert counts[1].tolist() == [[0, 0, 0], [1, 1, 1]]


@pytest.mark.parametrize("n_components", [1, 3])
def test_mixture_tables_normalise(n_components):
    rng = np.random.RandomState(1)
    counts = torch.from_numpy(rng.poisson(2.0, size=(30, 4 * 5)).astype(float))
    channel = fit_mixture(
        counts,
        torch.ones(30, dtype=torch.float64),
        torch.from_numpy(rng.standard_normal(30)),
        (4, 5),
        n_components,
    )
    np.testing.assert_allclose(channel.log_tables.exp().sum(2), 1)
    np.testing.assert_allclose(channel.log_prior.exp().sum(), 1)


def test_one_table_counts_what_it_saw():
    counts = torch.tensor([[3000.0, 1000.0, 0.0, 2000.0]], dtype=torch.float64)
    one = torch.ones(1, dtype=torch.float64)
    table = fit_mixture(counts, one, one, (2, 2), 1).log_tables[0].exp()
    np.testing.assert_allclose(table, [[0.75, 0.25], [0.0, 1.0]], atol=2e-3)
    assert (table > 0).all()


def test_full_rank_factorisation_is_exact():
    rng = np.random.RandomState(2)
    tables = torch.from_numpy(rng.dirichlet(np.ones(7), size=(3, 5)))
    share = torch.from_numpy(rng.dirichlet(np.ones(5)))
    base, left, right = factorise(tables.log(), share, rank=5)
    again = base[:, None] + torch.einsum("ar,crb->cab", left, right)
    np.testing.assert_allclose(again, tables.log(), atol=1e-10)


def test_exponents_trust_the_expert_that_is_right():
    rng = np.random.RandomState(3)
    right = torch.from_numpy(rng.randint(10, size=400))
    good = torch.nn.functional.one_hot(right, 10).double() * 3
    good += torch.from_numpy(rng.standard_normal((400, 10)))
    noise = torch.from_numpy(rng.standard_normal((400, 10)))
    exponents = fit_exponents(torch.stack([noise, good], 2), right, None)
    assert exponents[1] > 1
    assert exponents[0] < 0.1 * exponents[1]
    assert (exponents >= 0).all()


def test_weights_of_patterns_are_copies_for_exponents():
    scores = torch.randn(200, 6, 2, generator=torch.Generator().manual_seed(0)).double()
    right = torch.arange(200) % 6
    scores[torch.arange(200), right, 1] += 1.5
    w = torch.tensor([1, 1, 1, 20, 1, 40])
    place = torch.arange(6).repeat_interleave(w)
    first = w.cumsum(0) - w
    weighted = fit_exponents(scores, right, w.double().log())
    copied = fit_exponents(scores[:, place], first[right], None)
    torch.testing.assert_close(weighted, copied, rtol=1e-3, atol=1e-4)


def test_exponents_are_no_worse_than_any_start():
    rng = np.random.RandomState(4)
    right = torch.from_numpy(rng.randint(6, size=50))
    scores = torch.from_numpy(rng.standard_normal((50, 6, 3)))

    def loss(exponents):
        pooled = scores @ exponents
        own = pooled.gather(1, right[:, None])[:, 0]
        return (torch.logsumexp(pooled, 1) - own).mean()

    best = loss(fit_exponents(scores, right, None))
    for expert in range(3):
        for value in (1.0, 0.1, 0.01):
            start = torch.zeros(3, dtype=torch.float64)
            start[expert] = value
            assert best <= loss(start) + 1e-12
