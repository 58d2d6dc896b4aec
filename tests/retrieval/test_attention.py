"""Softmax answers of few patterns: the same as of all, and told from flat ones."""

import pytest
import torch

from skuhop.retrieval import SEPARATIONS, Memory, answers, build_scorer, partial
from skuhop.retrieval.engine import attention
from skuhop.retrieval.products import bf16

N_PATTERNS, N_FEATURES = 4000, 48
CALM, SHARP = 1e-3, 3.0


@pytest.fixture
def always(monkeypatch):
    """The path of few patterns pays for nothing as small as a test."""
    monkeypatch.setattr(attention, "_LONG", 1)
    monkeypatch.setattr(attention, "_MANY", 1)


def memory(beta, similarity="euclidean", dtype=torch.float32, weighted=False):
    generator = torch.Generator().manual_seed(0)
    patterns = torch.randn(N_PATTERNS, N_FEATURES, generator=generator).to(dtype)
    weights = torch.ones(N_PATTERNS, dtype=dtype) if weighted else None
    scorer = build_scorer(
        similarity, beta, patterns, patterns.mean(0), weights, feature_map=None
    )
    return Memory(scorer, SEPARATIONS["softmax"], {}, patterns, weights)


def queries(n, noise=0.5, dtype=torch.float32):
    generator = torch.Generator().manual_seed(1)
    rows = torch.randint(N_PATTERNS, (n,), generator=generator)
    noises = noise * torch.randn(n, N_FEATURES, generator=generator)
    return (memory(1.0).patterns[rows] + noises).to(dtype)


def done(memory, X, budget=2**24):
    out = torch.full_like(X, torch.nan)
    count = attention.answer_peaked(memory, X, budget, out)
    return count, out


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("similarity", ["euclidean", "dot", "cosine", "manhattan"])
@pytest.mark.parametrize("beta", [CALM, 0.05, 0.3, SHARP])
def test_answers_are_those_of_all_patterns(similarity, beta, dtype, always):
    X = queries(30, dtype=dtype)
    found = answers(memory(beta, similarity, dtype), X, 2**24)
    double = memory(beta, similarity, torch.float64)
    scores = double.scorer.block(double.scorer.prepare(X.double()), 0, N_PATTERNS)
    expected = torch.softmax(scores, 1) @ double.patterns
    tolerance = 1e-5 if dtype == torch.float32 else 1e-13
    largest = max(1.0, scores.abs().amax().item())
    torch.testing.assert_close(
        found.double(), expected, rtol=0, atol=tolerance * largest
    )


def test_flat_answers_are_left_to_others(always):
    X = queries(300)
    assert done(memory(SHARP), X)[0] == 300
    count, out = done(memory(CALM), X)
    assert count == 64
    assert out[:count].isfinite().all()
    assert out[count:].isnan().all()


@pytest.mark.parametrize(
    "asked",
    [
        lambda: memory(SHARP, weighted=True),
        lambda: memory(SHARP)._replace(separation=SEPARATIONS["sparsemax"]),
    ],
)
def test_other_memories_are_left_alone(asked, always):
    assert done(asked(), queries(300))[0] == 0


def test_small_questions_and_small_blocks_are_left_alone():
    assert done(memory(SHARP), queries(30))[0] == 0


def test_blocks_too_small_for_all_patterns(always):
    enough = 64 * N_PATTERNS * 2 * 4 * (memory(SHARP).scorer.width + 1)
    assert done(memory(SHARP), queries(300), enough - 1)[0] == 0
    assert done(memory(SHARP), queries(300), enough)[0] == 300


def test_no_queries(always):
    assert answers(memory(SHARP), queries(0), 2**24).shape == (0, N_FEATURES)


@pytest.mark.parametrize("similarity", ["euclidean", "dot"])
@pytest.mark.parametrize("weighted", [False, True])
def test_keys_that_are_the_values_too(similarity, weighted):
    asked, X = memory(0.05, similarity, weighted=weighted), queries(30)
    assert asked.scorer.source is asked.patterns
    copied = asked._replace(patterns=asked.patterns.clone())
    torch.testing.assert_close(
        answers(asked, X, 2**24), answers(copied, X, 2**24), rtol=1e-6, atol=2e-6
    )
    parts = [partial(m, X, 2**24) for m in (asked, copied)]
    torch.testing.assert_close(parts[0].answer, parts[1].answer, rtol=1e-6, atol=2e-6)


def test_other_values_are_not_the_keys():
    asked, X = memory(0.05), queries(30)
    values = asked.patterns.flip(1)
    found = answers(asked._replace(patterns=values), X, 2**24)
    torch.testing.assert_close(
        found.flip(1), answers(asked, X, 2**24), rtol=1e-6, atol=2e-6
    )


@pytest.mark.parametrize("beta", [CALM, SHARP])
def test_few_queries_are_left_to_fused_attention(beta, always):
    assert done(memory(beta), queries(16))[0] == 0
    assert done(memory(beta, "cosine"), queries(16))[0] == 16


@pytest.fixture
def anywhere(monkeypatch):
    """The kernel for bfloat16 is there on the CPU as well, only slower."""
    monkeypatch.setattr(attention, "_is_half", lambda memory, X: True)


def halved(asked, X, budget=2**30):
    out = torch.full((len(X), asked.patterns.shape[1]), torch.nan)
    return attention.answer_by_half_attention(asked, X, budget, out), out


@pytest.mark.parametrize("similarity", ["euclidean", "dot", "cosine"])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("budget", [2**23, 2**30])
def test_halved_answers(similarity, weighted, budget, anywhere):
    """As good as bfloat16 is; a bias of hundreds keeps all its bits."""
    asked, X = memory(1.0, similarity, weighted=weighted), queries(300)
    if weighted:
        weights = torch.rand(N_PATTERNS, generator=torch.Generator().manual_seed(2))
        asked = asked._replace(weights=weights + 0.1)
    count, found = halved(asked, X, budget)
    assert count == len(X)
    expected = answers(asked, X, 2**26)
    error = torch.linalg.vector_norm(found - expected, dim=1)
    assert (error < 0.02 * torch.linalg.vector_norm(expected, dim=1).clamp_min(1)).all()


def test_halved_values_may_be_longer_or_shorter_than_keys(anywhere):
    X = queries(100)
    for width in (3, 100):
        values = torch.rand(N_PATTERNS, width, generator=torch.Generator())
        asked = memory(0.3)._replace(patterns=values)
        count, found = halved(asked, X)
        assert count == len(X)
        torch.testing.assert_close(found, answers(asked, X, 2**26), rtol=0, atol=0.02)


def test_what_bfloat16_is_not_for(anywhere):
    X = queries(100)
    for other in (memory(0.3, "manhattan"), memory("auto")):
        assert not halved(other, X)[0]
    assert not halved(memory(0.3), X[:10])[0], "few queries"
    assert not halved(memory(0.3), X, 2**20)[0], "no room for copies of the keys"
    long = memory(0.3)._replace(patterns=torch.zeros(N_PATTERNS, 300))
    assert not halved(long, X)[0]


def test_only_a_gpu_and_only_on_request():
    assert not halved(memory(0.3), queries(100))[0]
    asked = memory(0.3)._replace(product=bf16)
    assert not halved(asked, queries(100))[0]
