"""Partial results: any way to cut the patterns gives the answer of the whole."""

import itertools
import pickle
import random

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from skuhop.retrieval import (
    SEPARATIONS,
    Memory,
    answers,
    associations,
    best_patterns,
    build_scorer,
    energies,
    finalise,
    merge,
    partial,
)
from skuhop.retrieval.engine import answers_and_energies
from skuhop.retrieval.engine.answers_and_energies import energies_of
from skuhop.retrieval.engine.partial_results import (
    TooManyCandidatesError,
    block_candidates,
    lift_scores,
    sums_of,
)
from skuhop.retrieval.engine.ranking import (
    best_partial,
    finalise_heaviest,
    heaviest_partial,
    merge_best,
    merge_heaviest,
)
from skuhop.retrieval.products import exact

every_separation = pytest.mark.parametrize("separation", SEPARATIONS)


def problem(seed, n=7, m=150, weighted=False, spread=1.0, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    scores = spread * torch.randn(n, m, generator=generator, dtype=torch.float64)
    values = torch.randn(m, 3, generator=generator, dtype=torch.float64)
    weights = None
    if weighted:
        weights = torch.rand(m, generator=generator, dtype=torch.float64) * 3 + 0.05
        weights = weights.to(dtype)
    return scores.to(dtype), values.to(dtype), weights


def dense(separation, params, scores, values, weights):
    """Answer and conjugate from all scores at once, as the definition has them."""
    p = separation.weights(scores, weights, **params)
    if separation.conjugate is None:
        return p @ values, None
    return p @ values, separation.conjugate(scores, p, weights, **params)


def block_partial(rule, scores, weights, values, first):
    """Partial result of one block, of either kind."""
    if rule[0].lift is None:
        return block_candidates(*rule, scores, weights, first)
    return sums_of(*lift_scores(*rule, scores, weights), values, exact)


def cut(rule, scores, values, weights, edges, order):
    edges = [0, *sorted(set(edges)), scores.shape[1]]
    parts = []
    for start, stop in itertools.pairwise(edges):
        own = None if weights is None else weights[start:stop]
        block = scores[:, start:stop].clone()
        parts.append(block_partial(rule, block, own, values[start:stop], start))
    order.shuffle(parts)
    return parts


@settings(max_examples=150, deadline=None)
@given(
    name=st.sampled_from(list(SEPARATIONS)),
    seed=st.integers(0, 10_000),
    spread=st.sampled_from([0.01, 0.3, 1.0, 10.0, 1e3]),
    weighted=st.booleans(),
    edges=st.lists(st.integers(1, 149), max_size=5),
    order=st.randoms(use_true_random=False),
    pairwise=st.booleans(),
)
def test_any_cut(name, seed, spread, weighted, edges, order, pairwise):
    separation = SEPARATIONS[name]
    rule = separation, dict(separation.defaults)
    scores, values, weights = problem(seed, weighted=weighted, spread=spread)
    expected = dense(*rule, scores, values, weights)
    parts = cut(rule, scores, values, weights, edges, order)
    while pairwise and len(parts) > 1:
        parts.append(merge(*rule, [parts.pop(), parts.pop(0)]))
    part = pickle.loads(pickle.dumps(merge(*rule, parts)))
    for found, value in zip(finalise(*rule, part, values), expected, strict=True):
        if value is None:
            assert found is None
        else:
            torch.testing.assert_close(found, value, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize(
    "name, params",
    [("ksubsets", {"k": 40}), ("ksubsets", {"k": 149}), ("ksubsets", {"k": 1000})]
    + [("entmax", {"alpha": a}) for a in (1.05, 1.2, 2.0)]
    + [("normmax", {"gamma": g}) for g in (1.1, 1.5, 8.0)]
    + [("polynomial", {"degree": d}) for d in (0.5, 1, 30)],
)
@pytest.mark.parametrize("weighted", [False, True], ids=["plain", "weighted"])
@pytest.mark.parametrize("spread", [0.01, 1.0, 100.0])
def test_other_parameters(name, params, weighted, spread):
    rule = SEPARATIONS[name], params
    scores, values, weights = problem(3, weighted=weighted, spread=spread)
    parts = cut(rule, scores, values, weights, [30, 31, 100], random.Random(0))
    found, _ = finalise(*rule, merge(*rule, parts), values)
    expected, _ = dense(*rule, scores, values, weights)
    torch.testing.assert_close(found, expected, rtol=1e-8, atol=1e-10)


def test_no_score_is_positive():
    """Polynomial: then the best pattern answers, whichever block it is in."""
    rule = SEPARATIONS["polynomial"], {"degree": 4}
    scores, values, _ = problem(0)
    scores = -scores.abs() - 0.1
    parts = cut(rule, scores, values, None, [50, 100], random.Random(1))
    found, _ = finalise(*rule, merge(*rule, parts))
    torch.testing.assert_close(found, values[scores.argmax(1)])


@pytest.mark.parametrize("name", [n for n, s in SEPARATIONS.items() if s.floor])
def test_candidates_are_few_and_hold_the_support(name):
    separation = SEPARATIONS[name]
    rule = separation, dict(separation.defaults)
    scores, _, _ = problem(0, m=5000, spread=3.0)
    p = separation.weights(scores, None, **rule[1])
    part = block_candidates(*rule, scores.clone())
    listed = set(zip(part.rows.tolist(), part.indices.tolist(), strict=True))
    support = {tuple(entry) for entry in p.nonzero().tolist()}
    assert support <= listed
    assert len(listed) <= 4 * len(support) + 10 * len(scores)
    assert len(merge(*rule, [part, part])[1]) <= 2 * len(listed)
    with pytest.raises(TooManyCandidatesError):
        block_candidates(*rule, scores.clone(), most=1)


def shards(memory, edges):
    """Cut a memory: the shards share feature map, mean and beta."""
    edges = [0, *edges, len(memory.patterns)]
    for start, stop in itertools.pairwise(edges):
        patterns = memory.patterns[start:stop]
        weights = None if memory.weights is None else memory.weights[start:stop]
        scorer = build_scorer("dot", 0.7, patterns, patterns.mean(0), weights, None)
        yield start, memory._replace(scorer=scorer, patterns=patterns, weights=weights)


@every_separation
@pytest.mark.parametrize("weighted", [False, True], ids=["plain", "weighted"])
@pytest.mark.parametrize("budget", [1, 2_000, 2**28])
def test_shards_answer_like_the_memory(separation, weighted, budget):
    _, _, weights = problem(0, m=60, weighted=weighted)
    generator = torch.Generator().manual_seed(5)
    patterns = torch.randn(60, 6, generator=generator, dtype=torch.float64)
    X = torch.randn(8, 6, generator=generator, dtype=torch.float64)
    scorer = build_scorer("dot", 0.7, patterns, patterns.mean(0), weights, None)
    rule = SEPARATIONS[separation], dict(SEPARATIONS[separation].defaults)
    memory = Memory(scorer, *rule, patterns, weights)
    parts = [
        partial(shard, X, budget, first) for first, shard in shards(memory, [20, 21])
    ]
    found, conjugate = finalise(*rule, merge(*rule, parts))
    weights_of_all = associations(memory, X, 2**28)
    torch.testing.assert_close(found, weights_of_all @ patterns, rtol=1e-9, atol=1e-11)
    torch.testing.assert_close(answers(memory, X, budget), found, rtol=1e-9, atol=1e-11)
    if conjugate is not None:
        energy = 0.35 * X.square().sum(1) - conjugate
        torch.testing.assert_close(energies(memory, X, budget), energy / 0.7)


@every_separation
@pytest.mark.parametrize("weighted", [False, True], ids=["plain", "weighted"])
def test_shards_rank_like_the_memory(separation, weighted):
    _, _, weights = problem(0, weighted=weighted)
    generator = torch.Generator().manual_seed(6)
    patterns = torch.randn(150, 6, generator=generator, dtype=torch.float64)
    X = torch.randn(20, 6, generator=generator, dtype=torch.float64)
    scorer = build_scorer("dot", 0.7, patterns, patterns.mean(0), weights, None)
    rule = SEPARATIONS[separation], dict(SEPARATIONS[separation].defaults)
    memory = Memory(scorer, *rule, patterns, weights)
    cut = list(shards(memory, [3, 90]))
    parts = [heaviest_partial(m, X, 20_000, first, top=5) for first, m in cut]
    whole = merge_heaviest(*rule, parts, 5)
    indices, found = finalise_heaviest(*rule, whole, 150, 5)
    dense = associations(memory, X, 2**28)
    torch.testing.assert_close(found, dense.topk(5, dim=1).values)
    torch.testing.assert_close(dense.gather(1, indices), found)
    best = merge_best([best_partial(m, X, 20_000, first) for first, m in cut])
    assert torch.equal(best.position, best_patterns(memory, X, 20_000))
    if rule[0].conjugate is not None:
        parts = [partial(m, X, 20_000, first, read=False) for first, m in cut]
        _, conjugate = finalise(*rule, merge(*rule, parts), read=False)
        query = cut[0][1].scorer.prepare(X)
        torch.testing.assert_close(
            energies_of(cut[0][1], query, conjugate), energies(memory, X, 20_000)
        )


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("weighted", [False, True], ids=["plain", "weighted"])
@pytest.mark.parametrize("similarity", ["euclidean", "dot", "cosine"])
def test_fused_sums_are_those_of_blocks(similarity, weighted, dtype, monkeypatch):
    """torch has no public name for the kernel: it has to mean what it meant."""
    _, _, weights = problem(0, weighted=weighted, dtype=dtype)
    generator = torch.Generator().manual_seed(7)
    patterns = torch.randn(150, 6, generator=generator, dtype=dtype)
    X = torch.randn(20, 6, generator=generator, dtype=dtype)
    scorer = build_scorer(similarity, 2.0, patterns, patterns.mean(0), weights, None)
    memory = Memory(scorer, SEPARATIONS["softmax"], {}, patterns, weights)
    fused = partial(memory, X, 2**12)
    assert (fused.total == 1).all(), "the kernel was not used"
    monkeypatch.setattr(answers_and_energies, "attention_sums", lambda *_: None)
    blocks = partial(memory, X, 2**12)
    for found, expected in zip(
        finalise(*memory.rule, fused), finalise(*memory.rule, blocks), strict=True
    ):
        torch.testing.assert_close(found, expected)


@every_separation
@pytest.mark.parametrize("weighted", [False, True], ids=["plain", "weighted"])
def test_no_queries(separation, weighted):
    """A shard that is asked nothing answers nothing, in parts that still merge."""
    patterns, X = torch.randn(150, 6), torch.randn(5, 6)
    weights = torch.rand(150) if weighted else None
    scorer = build_scorer("dot", 0.7, patterns, patterns.mean(0), weights, None)
    rule = SEPARATIONS[separation], dict(SEPARATIONS[separation].defaults)
    memory = Memory(scorer, *rule, patterns, weights)
    asked, empty = (
        [partial(shard, Q, 2**20, first) for first, shard in shards(memory, [40])]
        for Q in (X, X[:0])
    )
    for one, other in zip(asked[0], empty[0], strict=True):
        assert (one is None) == (other is None)
        if one is not None:
            assert other.dtype == one.dtype
            assert other.shape == (0, *one.shape[1:])
    found, conjugate = finalise(*rule, merge(*rule, empty))
    assert found.shape == (0, 6)
    assert conjugate is None or conjugate.shape == (0,)
    assert answers(memory, X[:0], 2**20).shape == (0, 6)


@pytest.mark.parametrize("name", ["sparsemax", "entmax", "normmax", "ksubsets"])
def test_wide_supports_are_asked_in_fewer_rows(name):
    """At a tiny beta every pattern has weight: more candidates than may be kept."""
    rng = np.random.default_rng(0)
    patterns = torch.from_numpy(rng.normal(size=(3000, 4)))
    X = torch.from_numpy(rng.normal(size=(50, 4)))
    scorer = build_scorer("euclidean", 1e-5, patterns, patterns.mean(0), None, None)
    rule = SEPARATIONS[name], dict(SEPARATIONS[name].defaults)
    memory = Memory(scorer, *rule, patterns, None)
    expected = associations(memory, X, 2**30) @ patterns
    for budget in (2**12, 2**20, 2**30):
        torch.testing.assert_close(answers(memory, X, budget), expected)
