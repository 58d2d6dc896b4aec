"""Retrieval told nothing: hypotheses are distributions, and the right ones win."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.datasets import load_digits

from skuhop import UHopMemory
from skuhop.learning import learn_bank
from skuhop.retrieval import build_auto_scorer
from skuhop.retrieval.damage import evidence
from skuhop.retrieval.damage.noise_models import COSTS

DIGITS = load_digits().data[:100] / 16
PATTERNS = torch.from_numpy(DIGITS)


def make_scorer(patterns, weights=None):
    bank = learn_bank(patterns, weights)
    mean = patterns.mean(0)
    return build_auto_scorer(bank, {}, patterns, weights, None, mean, None, None)


SCORER = make_scorer(PATTERNS)


def damaged(kind, seed=0):
    rng = np.random.RandomState(seed)
    noise = rng.standard_normal(DIGITS.shape)
    block = np.zeros((8, 8), dtype=bool)
    block[2:6, 1:5] = True
    return torch.from_numpy(
        {
            "noise": DIGITS + 0.2 * noise,
            "mask": DIGITS * (rng.uniform(size=DIGITS.shape) < 0.6),
            "block": np.where(block.ravel(), rng.uniform(size=DIGITS.shape), DIGITS),
            "gain": 0.4 * DIGITS + 0.3 + 0.02 * noise,
            "nothing left": rng.uniform(size=DIGITS.shape),
        }[kind]
    )


def hypotheses_of(kind):
    seen, compared = SCORER.prepare(damaged(kind)).encoded
    return SCORER.hypotheses(seen, SCORER.noise_models.judge(seen, compared))


KINDS = ["noise", "mask", "block", "gain", "nothing left"]


@pytest.mark.parametrize("kind", KINDS)
def test_every_hypothesis_is_a_distribution_over_patterns(kind):
    numbers = []
    for number, hypothesis in hypotheses_of(kind):
        numbers.append(number)
        total = torch.logsumexp(hypothesis.log_posterior, 1)
        np.testing.assert_allclose(total, 0, atol=1e-9)
        assert (hypothesis.strict_evidence <= hypothesis.evidence).all()
        assert not hypothesis.evidences.isnan().any()
    assert numbers == sorted(set(numbers))
    # Without a learned map all but that model, and always the unknown.
    expected = set(range(len(COSTS) + 1)) - {list(COSTS).index("feature map")}
    assert expected <= set(numbers)


def weights_of_hypotheses(kind):
    evidences = torch.full((len(DIGITS), len(SCORER.log_prior)), -torch.inf).double()
    for number, hypothesis in hypotheses_of(kind):
        evidences[hypothesis.rows, number] = hypothesis.evidence
    return torch.softmax(evidences + SCORER.log_prior, 1).mean(0)


@pytest.mark.parametrize(
    "kind, expected",
    [("noise", ["noise"]), ("gain", ["gain and offset"]), ("mask", "channels")],
)
def test_the_right_kind_of_damage_is_recognised(kind, expected):
    weights = weights_of_hypotheses(kind)
    names = [*COSTS, "unknown", *["channels"] * (len(weights) - len(COSTS) - 1)]
    found = sum(w for w, name in zip(weights, names, strict=True) if name in expected)
    assert found > 0.6


@pytest.mark.parametrize("kind", KINDS[:-1])
def test_patterns_come_back(kind):
    memory = UHopMemory(random_state=0).fit(DIGITS)
    hits = memory.predict(damaged(kind).numpy()) == np.arange(len(DIGITS))
    assert hits.mean() > 0.97


@given(st.sampled_from([0.01, 3.0, 255.0]), st.sampled_from(KINDS))
@settings(max_examples=10, deadline=None)
def test_the_unit_of_the_features_does_not_matter(scale, kind):
    query = damaged(kind)
    scaled = make_scorer(scale * PATTERNS)
    expected = SCORER.block(SCORER.prepare(query), 0, len(PATTERNS))
    found = scaled.block(scaled.prepare(scale * query), 0, len(PATTERNS))
    np.testing.assert_allclose(
        torch.softmax(found, 1), torch.softmax(expected, 1), atol=1e-3
    )


def test_order_of_the_patterns_does_not_matter():
    order = torch.from_numpy(np.random.RandomState(0).permutation(len(DIGITS)))
    query = damaged("mask")
    shuffled = make_scorer(PATTERNS[order])
    expected = SCORER.block(SCORER.prepare(query), 0, len(PATTERNS))[:, order]
    found = shuffled.block(shuffled.prepare(query), 0, len(PATTERNS))
    np.testing.assert_allclose(
        torch.softmax(found, 1), torch.softmax(expected, 1), atol=1e-6
    )


def test_a_perfect_model_has_the_evidence_of_the_null_itself():
    ratio = torch.ones(3, 10, dtype=torch.float64)
    np.testing.assert_allclose(evidence.mix_with_arbitrary(ratio), 0)


def test_contamination_bounds_what_a_feature_can_cost():
    ratio = torch.ones(1, 50, dtype=torch.float64)
    ratio[0, :5] = 0
    cost = evidence.mix_with_arbitrary(ratio).amax(1)
    assert cost >= 5 * math.log(max(evidence.ARBITRARY))


def test_null_pays_only_for_bins_finer_than_the_coarse_ones():
    # Two values: the fine histogram knows no more than the coarse one.
    two = torch.from_numpy(np.random.RandomState(0).randint(2, size=(4, 64)) * 1.0)
    edges = torch.tensor([0.5], dtype=torch.float64)
    cost = evidence.coarseness_cost(evidence.observe(two, edges))
    np.testing.assert_allclose(cost, 0)
    many = torch.linspace(0, 1, 64, dtype=torch.float64).repeat(4, 1)
    edges = torch.linspace(0, 1, 40, dtype=torch.float64)
    assert (evidence.coarseness_cost(evidence.observe(many, edges)) > 0).all()
