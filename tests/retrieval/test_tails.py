"""The tail that an index leaves out, sampled: unbiased sums, an honest deviation."""

import pickle

import numpy as np
import pytest
import torch

from skuhop import Index, UHopMemory
from skuhop.retrieval import SEPARATIONS, Memory, answers, build_scorer
from skuhop.retrieval.index.candidates import Nearest, ask
from skuhop.retrieval.index.tails import (
    answer_with_tail,
    head_sums,
    tail_std,
    tail_sums,
    variance_factor,
)

RNG = np.random.default_rng(0)
PATTERNS = RNG.normal(size=(1500, 12))
QUERIES = torch.from_numpy(PATTERNS[:6] + 0.5 * RNG.normal(size=(6, 12)))
WEIGHTS = RNG.uniform(0.2, 3, 1500)
K, N_DRAWS, N_SEEDS = 40, 200, 2000
LIFTED = [name for name, row in SEPARATIONS.items() if row.lift is not None]
SUMS = ["softmax", "softmax1", "polynomial"]
SIMILAR = {name: ["euclidean", "dot", "cosine"] for name in SUMS}
SIMILAR["polynomial"] = ["dot", "cosine"]  # few are nearer than the mean pattern
BUDGET = 2**28


def exact_memory(separation, similarity="euclidean", beta=0.4, weighted=False, **near):
    """A memory whose index finds exactly the k best, by sorting."""
    patterns = torch.from_numpy(PATTERNS)
    weights = torch.from_numpy(WEIGHTS) if weighted else None
    scorer = build_scorer(similarity, beta, patterns, patterns.mean(0), weights, None)
    bias = 0 if scorer.bias is None else scorer.bias[:1500] / scorer.beta

    def search(vectors, k):
        return (vectors @ scorer.keys[:1500].T + bias).topk(k).indices

    rule = SEPARATIONS[separation]
    near = {"tol": 1e-3, "candidates": (K, 500), **near}
    nearest = Nearest(search, **near)
    return Memory(scorer, rule, dict(rule.defaults), patterns, weights, True, nearest)


def drawn(generator):
    return torch.randperm(1500, generator=generator)[:N_DRAWS].sort().values


def exact_sums(memory, query, top):
    """Normaliser and numerator of the whole, on the scale of the best score found."""
    scores = memory.scorer.block(query, 0, 1500)
    if not memory.separation.shift_invariant:
        scores = scores - memory.scorer.null(query)[:, None]
    lifted = memory.separation.lift(scores, top[:, None], **memory.params)
    lifted = lifted if memory.weights is None else lifted * memory.weights
    return lifted.sum(1), lifted @ memory.patterns


@pytest.mark.thin(2)
@pytest.mark.parametrize("weighted", [False, True], ids=["plain", "weighted"])
@pytest.mark.parametrize("beta", ["auto", 0.4])
@pytest.mark.parametrize(
    "separation, similarity", [(name, s) for name in SUMS for s in SIMILAR[name]]
)
def test_numerator_and_normaliser_are_unbiased(separation, similarity, beta, weighted):
    memory = exact_memory(separation, similarity, beta, weighted)
    query = memory.scorer.prepare(QUERIES)
    found = ask(memory, query, K)
    head = head_sums(memory, found)
    generator = torch.Generator().manual_seed(0)
    totals, numerators, variances = [], [], []
    for _ in range(N_SEEDS):
        draws = drawn(generator)
        tail = tail_sums(memory, query, found, head.top, draws)
        totals.append(head.total + tail.total)
        numerators.append(head.answer + tail.answer)
        spread = tail.terms.var(1, correction=0)
        variances.append(spread * variance_factor(memory, draws))
    exact = exact_sums(memory, query, head.top)
    for estimates, right in zip((totals, numerators), exact, strict=True):
        estimates = torch.stack(estimates)
        error = estimates.std(0) / N_SEEDS**0.5
        gap = (estimates.mean(0) - right).abs()
        assert (gap <= 4 * error + 1e-12 * right.abs()).all()
    # The head alone is not the whole, or there would be nothing to estimate.
    assert (exact[0] > head.total).all()
    # The variance that the draws report is the one there is.
    reported = torch.stack(variances).mean(0)
    np.testing.assert_allclose(reported, torch.stack(totals).var(0), rtol=0.25)


@pytest.mark.parametrize("separation", SUMS)
def test_the_deviation_of_the_answer_is_the_one_there_is(separation):
    generator = torch.Generator().manual_seed(0)
    found, deviations = [], []
    for _ in range(400):
        tail = drawn(generator)
        memory = exact_memory(separation, SIMILAR[separation][0], tail=tail)
        answer, std = answer_with_tail(memory, QUERIES, BUDGET)
        found.append(answer)
        deviations.append(std)
    exact = answers(memory._replace(nearest=None), QUERIES, BUDGET)
    spread = torch.stack(found).var(0).sum(1).sqrt()
    np.testing.assert_allclose(torch.stack(deviations).mean(0), spread, rtol=0.2)
    # A ratio has a bias, which is small against the deviation of one answer.
    bias = (torch.stack(found).mean(0) - exact).square().sum(1).sqrt()
    assert (bias < 0.3 * spread).all()
    assert (spread < 0.5 * exact.square().sum(1).sqrt().mean()).all()


def test_drawing_all_is_exact():
    memory = exact_memory("softmax", tail=torch.arange(1500))
    answer, std = answer_with_tail(memory, QUERIES, BUDGET)
    exact = answers(memory._replace(nearest=None), QUERIES, BUDGET)
    np.testing.assert_allclose(answer, exact, rtol=1e-10)
    assert (std == 0).all()


def test_sampling_is_nearer_than_dropping():
    tail = drawn(torch.Generator().manual_seed(3))
    memory = exact_memory("softmax", tail=tail)
    exact = answers(memory._replace(nearest=None), QUERIES, BUDGET)
    dropped = exact_memory("softmax", tail=tail, tol=1.0)
    errors = [
        (answer_with_tail(m, QUERIES, BUDGET)[0] - exact).square().sum(1).mean().item()
        for m in (memory, dropped)
    ]
    assert errors[0] < 0.5 * errors[1]


@pytest.mark.parametrize("separation", LIFTED)
def test_nothing_is_sampled_where_nothing_is_missing(separation):
    tail = torch.arange(50)
    sharp = exact_memory(separation, beta=200.0, tail=tail)
    answer, std = answer_with_tail(sharp, QUERIES, BUDGET)
    if separation != "polynomial":
        assert (std == 0).all()
        exact = answers(sharp._replace(nearest=None), QUERIES, BUDGET)
        np.testing.assert_allclose(answer, exact, atol=2e-2)
    assert (tail_std(sharp._replace(nearest=None), QUERIES, BUDGET) == 0).all()


def test_rows_of_which_too_little_was_found_are_looked_up():
    memory = exact_memory("softmax", tail=torch.arange(50))

    def search(vectors, k):
        found = memory.nearest.search(vectors, k)
        found[::2, -1] = -1
        return found

    lost = memory._replace(nearest=memory.nearest._replace(search=search))
    answer, std = answer_with_tail(lost, QUERIES, BUDGET)
    exact = answers(memory._replace(nearest=None), QUERIES, BUDGET)
    np.testing.assert_allclose(answer[::2], exact[::2], rtol=1e-10)
    assert (std[::2] == 0).all()
    assert (std[1::2] > 0).all()


@pytest.mark.parametrize("budget", [2**12, 2**16])
def test_an_answer_does_not_depend_on_the_other_rows(budget):
    memory = exact_memory("softmax", tail=torch.arange(0, 1500, 7))
    whole, _ = answer_with_tail(memory, QUERIES, BUDGET)
    parts, _ = answer_with_tail(memory, QUERIES, budget)
    np.testing.assert_allclose(parts, whole, rtol=1e-12)


# --- the estimator -------------------------------------------------------------------


MANY = RNG.normal(size=(9000, 12))


def estimator(**params):
    default = {
        "similarity": "euclidean",
        "beta": 0.4,
        "index": Index("hnsw", tail="sample"),
        "random_state": 0,
    }
    return UHopMemory("identity", **{**default, **params})


@pytest.fixture(scope="module")
def fitted():
    pytest.importorskip("faiss")
    return estimator().fit(MANY)


def test_the_memory_samples_and_says_how_sure_it_is(fitted):
    queries = QUERIES.numpy()
    exact = estimator(index=None).fit(MANY)
    found, std = fitted.transform(queries), fitted.tail_std(queries)
    gap = np.linalg.norm(found - exact.transform(queries), axis=1)
    assert (std > 0).all()
    assert (gap < 4 * std).all()
    assert (exact.tail_std(queries) == 0).all()
    np.testing.assert_array_equal(found, fitted.transform(queries))
    again = pickle.loads(pickle.dumps(fitted))
    np.testing.assert_array_equal(found, again.transform(queries))
    other = estimator(random_state=1).fit(MANY)
    assert (other.transform(queries) != found).any()
    # Set after fit, it does what it would have done before.
    dropped = estimator(index="hnsw").fit(MANY)
    assert (dropped.tail_std(queries) == 0).all()
    dropped.set_params(index__tail="sample")
    np.testing.assert_array_equal(found, dropped.transform(queries))


@pytest.mark.parametrize("separation", sorted(set(SEPARATIONS) - set(LIFTED)))
def test_sparse_separations_have_no_tail(fitted, separation):
    with pytest.raises(ValueError, match="index__tail.*softmax1.*" + separation):
        estimator(separation=separation).fit(MANY)
    memory = pickle.loads(pickle.dumps(fitted)).set_params(separation=separation)
    with pytest.raises(ValueError, match="index__tail"):
        memory.transform(MANY[:2])
