"""The engine: chunking changes nothing, and memory follows the budget."""

import itertools
import json
import os
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import scipy.special
import sklearn
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from skuhop import UHopMemory
from skuhop.learning import learn_bank
from skuhop.retrieval import (
    SEPARATIONS,
    SIMILARITIES,
    Memory,
    Retrieval,
    ScaledScorer,
    associations,
    best_patterns,
    build_auto_scorer,
    build_observed_scorer,
    build_scorer,
    energies,
)
from skuhop.retrieval.chunks import row_chunks
from skuhop.retrieval.engine import passes

LARGE = 2**34
N_PATTERNS, N_FEATURES = 23, 5
TOLERANCE = {torch.float32: 1e-5, torch.float64: 1e-11}
# "auto" is not made by build_scorer: the estimator's tests below ask it.
NAMES = tuple(SIMILARITIES)


def make_memory(
    similarity="euclidean",
    separation="softmax",
    beta="auto",
    weighted=False,
    dtype=torch.float64,
    complete=True,
    seed=0,
):
    generator = torch.Generator().manual_seed(seed)
    patterns = torch.randn(
        N_PATTERNS, N_FEATURES, generator=generator, dtype=torch.float64
    ).to(dtype)
    weights = torch.arange(1, N_PATTERNS + 1).to(dtype) / 5 if weighted else None
    mean = patterns.mean(0)
    rule = SEPARATIONS[separation]
    parts = (similarity, beta, patterns, mean, weights)
    if not complete:
        scorer = build_observed_scorer(*parts)
    elif similarity == "auto":
        bank = learn_bank(patterns, weights)
        scorer = build_auto_scorer(bank, {}, patterns, weights, None, mean, None, None)
        scorer = scorer if beta == "auto" else ScaledScorer(scorer, beta)
    else:
        scorer = build_scorer(*parts, None)
    return Memory(scorer, rule, dict(rule.defaults), patterns, weights, complete)


def make_queries(n=11, dtype=torch.float64, complete=True, seed=1):
    generator = torch.Generator().manual_seed(seed)
    queries = torch.randn(n, N_FEATURES, generator=generator, dtype=torch.float64)
    if not complete:
        # Three entries stay: with two, every correlation is 1 or -1 and ties abound.
        shares = torch.rand(n, N_FEATURES, generator=generator)
        queries[shares < shares.sort(1).values[:, 2:3]] = torch.nan
        queries[0] = torch.nan
    return queries.to(dtype)


def everything(memory, X, budget):
    """All that Stage II can be asked, by name."""
    out = {
        "association": associations(memory, X, budget),
        "predict": best_patterns(memory, X, budget),
        "transform": Retrieval(1, 0.0)(memory, X, budget),
    }
    if memory.complete and memory.scorer.beta != 1:
        # Not where the noise level is profiled out: a retrieved query has none left,
        # so that the rounding of the first step decides about the second.
        out["three steps"] = Retrieval(3, 0.0)(memory, X, budget)
    if memory.separation.conjugate is not None:
        out["energy"] = energies(memory, X, budget)
    return out


def assert_same(found, expected, tolerance):
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_allclose(
            found[name], value, rtol=tolerance, atol=tolerance, err_msg=name
        )


@pytest.mark.thin(4)
@pytest.mark.parametrize("weighted", [False, True], ids=["plain", "weighted"])
@pytest.mark.parametrize("complete", [True, False], ids=["complete", "missing"])
@pytest.mark.parametrize("separation", SEPARATIONS)
@pytest.mark.parametrize("similarity", NAMES)
@pytest.mark.parametrize("beta", ["auto", 2.0])
def test_budget_changes_nothing(beta, similarity, separation, complete, weighted):
    memory = make_memory(
        similarity, separation, beta, complete=complete, weighted=weighted
    )
    X = make_queries(complete=complete)
    expected = everything(memory, X, LARGE)
    # One pattern at a time is slow, and the same for every query.
    for budget, few in ((1, 2), (300, 6), (3000, None)):
        some = {name: value[:few] for name, value in expected.items()}
        assert_same(everything(memory, X[:few], budget), some, 1e-10)


@settings(max_examples=30, deadline=None)
@given(
    budget=st.integers(0, 2**15),
    similarity=st.sampled_from(NAMES),
    separation=st.sampled_from(list(SEPARATIONS)),
    weighted=st.booleans(),
    dtype=st.sampled_from([torch.float32, torch.float64]),
    cut=st.integers(0, 5),
)
def test_any_budget_and_any_split(budget, similarity, separation, weighted, dtype, cut):
    memory = make_memory(similarity, separation, 0.7, weighted, dtype)
    X = make_queries(5, dtype)
    whole = everything(memory, X, LARGE)
    parts = [everything(memory, part, budget) for part in (X[:cut], X[cut:])]
    joined = {name: torch.cat([part[name] for part in parts]) for name in whole}
    assert_same(joined, whole, TOLERANCE[dtype])


@pytest.mark.parametrize("weighted", [False, True], ids=["plain", "weighted"])
@pytest.mark.parametrize("separation", ["softmax", "softmax1"])
@pytest.mark.parametrize("beta", [0.3, 4.0])
def test_streaming_equals_a_dense_reference(separation, beta, weighted):
    memory = make_memory("euclidean", separation, beta, weighted)
    X = make_queries()
    patterns = memory.patterns.numpy()
    z = -beta / 2 * ((X.numpy()[:, None] - patterns) ** 2).sum(2)
    if weighted:
        z = z + np.log(memory.weights.numpy())
    if separation == "softmax1":
        nothing = ((X.numpy() - patterns.mean(0)) ** 2).sum(1)
        z = np.column_stack([z, -beta / 2 * nothing])
    p = scipy.special.softmax(z, axis=1)[:, :N_PATTERNS]
    for budget in (1, 400, LARGE):
        np.testing.assert_allclose(
            Retrieval(1, 0.0)(memory, X, budget), p @ patterns, rtol=1e-11, atol=1e-13
        )
        np.testing.assert_allclose(
            energies(memory, X, budget),
            -scipy.special.logsumexp(z, axis=1) / beta,
            rtol=1e-11,
            atol=1e-14,
        )
        np.testing.assert_allclose(associations(memory, X, budget), p, atol=1e-13)


def test_noise_level_profiled_out():
    """beta="auto" on distances: p_i proportional to |x - xi_i| ** -d, no parameter."""
    memory, X = make_memory("euclidean"), make_queries()
    distance = np.linalg.norm(X.numpy()[:, None] - memory.patterns.numpy(), axis=2)
    p = distance**-N_FEATURES
    p /= p.sum(1, keepdims=True)
    np.testing.assert_allclose(associations(memory, X, LARGE), p, rtol=1e-10)


@pytest.mark.parametrize("separation", SEPARATIONS)
def test_the_answer_is_the_weighted_mean(separation):
    memory, X = make_memory("dot", separation, 1.0, weighted=True), make_queries()
    np.testing.assert_allclose(
        Retrieval(1, 0.0)(memory, X, LARGE),
        associations(memory, X, LARGE) @ memory.patterns,
        rtol=1e-11,
        atol=1e-13,
    )


@pytest.mark.parametrize("top", [1, 4, N_PATTERNS])
@pytest.mark.parametrize("separation", SEPARATIONS)
def test_top_associations(separation, top):
    memory, X = make_memory("cosine", separation, 3.0, weighted=True), make_queries()
    dense = associations(memory, X, LARGE).numpy()
    for budget in (1, LARGE):
        indices, weights = associations(memory, X, budget, top=top)
        assert indices.shape == weights.shape == (len(X), top)
        # The same weights, heaviest first, at the places they are said to be.
        np.testing.assert_allclose(weights, -np.sort(-dense, axis=1)[:, :top])
        np.testing.assert_allclose(
            np.take_along_axis(dense, indices.numpy(), 1), weights
        )
        assert all(len(set(row)) == top for row in indices.tolist())


@pytest.mark.parametrize("separation", SEPARATIONS)
def test_predict_is_the_best_score_with_its_weight(separation):
    memory = make_memory("dot", separation, 0.5, weighted=True)
    X = make_queries()
    z = 0.5 * X @ memory.patterns.T + memory.weights.log()
    for budget in (1, LARGE):
        np.testing.assert_array_equal(best_patterns(memory, X, budget), z.argmax(1))


@pytest.mark.parametrize("separation", SEPARATIONS)
@pytest.mark.parametrize("tol", [0.0, 1e-3, 0.3])
def test_rows_rest_independently(separation, tol):
    memory = make_memory("euclidean", separation, 2.0)
    X = make_queries(n=30)
    together = Retrieval(25, tol)(memory, X, LARGE)
    alone = torch.cat([Retrieval(25, tol)(memory, row[None], LARGE) for row in X])
    np.testing.assert_allclose(together, alone, rtol=1e-10, atol=1e-12)


def test_a_row_rests_once_it_hardly_moves():
    """Step by step by hand: updates stop after the first one below the tolerance."""
    memory, tol = make_memory("euclidean", "softmax", 2.0), 0.05
    X = make_queries(n=30)
    taken = []
    for row in X:
        state, steps, small = row[None], 0, False
        while not small and steps < 40:
            steps += 1
            new = Retrieval(1, 0.0)(memory, state, LARGE)
            moved = torch.linalg.vector_norm(new - state)
            small = moved <= tol * torch.linalg.vector_norm(state)
            state = new
        taken.append(steps)
        found = Retrieval(40, tol)(memory, row[None], LARGE)
        np.testing.assert_allclose(found, state, rtol=1e-12)
    assert len(set(taken)) > 1, "the queries should need different numbers of steps"


def test_queries_are_left_alone():
    for separation in SEPARATIONS:
        memory, X = make_memory("manhattan", separation), make_queries()
        before, patterns = X.clone(), memory.patterns.clone()
        everything(memory, X, 500)
        assert torch.equal(X, before)
        assert torch.equal(memory.patterns, patterns)


@given(n=st.integers(0, 50), row=st.integers(0, 99), budget=st.integers(0, 2000))
def test_row_chunks_cover_all_rows_once(n, row, budget):
    chunks = list(row_chunks(n, row, budget))
    assert [i for chunk in chunks for i in range(n)[chunk]] == list(range(n))
    assert all(
        len(range(n)[chunk]) == 1 or len(range(n)[chunk]) * row <= budget
        for chunk in chunks
    )


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("separation", SEPARATIONS)
def test_working_memory_changes_nothing(separation, dtype):
    rng = np.random.default_rng(0)
    memory = UHopMemory(separation=separation, feature_map="identity")
    memory.fit(rng.normal(size=(100, 20)).astype(dtype))
    X = rng.normal(size=(30, 20)).astype(dtype)
    X[::7, 3:9] = np.nan
    results = []
    for working_memory in (1e-4, 0.01, 1024):
        with sklearn.config_context(working_memory=working_memory):
            results.append(
                (memory.transform(X), memory.predict(X), memory.association(X))
            )
    rtol = 2e-5 if dtype == np.float32 else 1e-11
    for result in results[:2]:
        for found, expected in zip(result, results[2], strict=True):
            np.testing.assert_allclose(found, expected, rtol=rtol, atol=rtol)


PEAK_SCRIPT = """
import json, sys
import numpy as np, sklearn
from skuhop import UHopMemory

def growth(work):
    with open("/proc/self/clear_refs", "w") as file:
        file.write("5")  # the peak starts anew from here
    before = peak()
    work()
    return peak() - before

def peak():
    with open("/proc/self/status") as file:
        line = next(line for line in file if line.startswith("VmHWM"))
    return int(line.split()[1]) / 1024

rng = np.random.default_rng(0)
patterns = rng.normal(size=(20_000, 16)).astype(np.float32)
X = rng.normal(size=(4_000, 16)).astype(np.float32)  # all scores: 305 MiB
out = {}
for name in sys.argv[2].split(","):
    memory = UHopMemory("identity", separation=name, similarity="euclidean", beta=5.0)
    memory.fit(patterns)
    with sklearn.config_context(working_memory=float(sys.argv[1])):
        memory.transform(X[:1]), memory.predict(X[:1]), memory.association(X[:1], top=3)
        out[name] = growth(
            lambda: [memory.transform(X), memory.predict(X), memory.association(X, 3)]
        )
out["control"] = growth(lambda: X @ patterns.T)
print(json.dumps(out))
"""


def peak_growth(working_memory, *separations):
    """MiB by which a fresh process grows when it answers 4,000 queries."""
    if not os.access("/proc/self/clear_refs", os.W_OK):
        pytest.skip("needs Linux: the peak cannot be measured from here on")
    done = subprocess.run(
        [sys.executable, "-c", PEAK_SCRIPT, str(working_memory), ",".join(separations)],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(done.stdout)


def test_extra_memory_follows_working_memory():
    growth = peak_growth(16, "softmax", "max", "ksubsets")
    assert growth.pop("control") > 290, "the measure does not see what it should"
    # Above the budget: the answers, and what the allocator keeps.
    assert max(growth.values()) < 16 + 24, growth


@pytest.fixture(scope="module")
def larger():
    """Float32 memories with more than one block, query group and thread's share."""
    generator = torch.Generator().manual_seed(0)
    patterns = torch.randn(3000, 24, generator=generator)
    X = patterns[:700] + 0.5 * torch.randn(700, 24, generator=generator)

    def memory(similarity, separation, beta, weighted):
        weights = None
        if weighted:
            weights = torch.rand(3000, generator=torch.Generator().manual_seed(1)) + 0.5
        rule = SEPARATIONS[separation]
        mean = patterns.mean(0)
        scorer = build_scorer(similarity, beta, patterns, mean, weights, None)
        return Memory(scorer, rule, dict(rule.defaults), patterns, weights)

    return memory, X


# Few, as threads that wait for a core that is busy make an example take seconds.
@settings(max_examples=20, deadline=None)
@given(
    similarity=st.sampled_from([*SIMILARITIES]),
    separation=st.sampled_from([*SEPARATIONS]),
    beta=st.sampled_from(["auto", 0.1, 0.5]),
    weighted=st.booleans(),
    budget=st.integers(2**14, 2**28),
    threads=st.integers(1, 3),
    cuts=st.lists(st.integers(0, 700), max_size=3),
    order=st.randoms(use_true_random=False),
)
def test_float32_answers_do_not_depend_on_how_they_are_computed(
    larger, similarity, separation, beta, weighted, budget, threads, cuts, order
):
    """Chunks of queries and patterns, threads, batches, order: 1e-6 of the largest.

    That is for scores up to 4. Beyond, the unit in the last place of a score, and
    with it the relative change of its weight, grows in proportion.
    """
    make, X = larger
    memory = make(similarity, separation, beta, weighted)
    expected = Retrieval(1, 0.0)(memory, X, 2**30)
    rows = torch.tensor(order.sample(range(len(X)), len(X)))
    bounds = [0, *sorted(cuts), len(X)]
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        parts = [
            Retrieval(1, 0.0)(memory, X[rows[start:stop]], budget)
            for start, stop in itertools.pairwise(bounds)
        ]
    finally:
        torch.set_num_threads(before)
    found = torch.empty_like(expected)
    found[rows] = torch.cat(parts)
    scale = memory.patterns.abs().amax()
    scores = memory.scorer.block(memory.scorer.prepare(X), 0, len(memory.patterns))
    tolerance = 1e-6 * max(1.0, scores.abs().amax().item() / 4)
    assert (found - expected).abs().amax().item() <= tolerance * scale.item()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_one_thread_takes_blocks_that_stay_in_the_cache(dtype, monkeypatch):
    X = torch.zeros((1, 3), dtype=dtype)
    scorer = SimpleNamespace(streams=True, n_patterns=10**5, row_width=3, width=1)
    patterns, rule = torch.zeros((10**5, 3)), SEPARATIONS["softmax"]
    memory = SimpleNamespace(scorer=scorer, patterns=patterns, separation=rule)

    def n_bytes(threads):
        monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
        return passes.plan_pass(memory, X, 2**30).cells * X.element_size()

    assert n_bytes(1) == 2**22
    assert n_bytes(2) == 2**22 * X.element_size()
