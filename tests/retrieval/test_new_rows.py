"""Student-t scores of incomplete new rows against SciPy's density."""

import numpy as np
import pytest
import torch
from scipy.stats import multivariate_t

from skuhop.retrieval import SEPARATIONS, Memory, NewRowScorer, answers, energies
from skuhop.retrieval.engine import passes
from skuhop.retrieval.scores.new_rows import likelihood_ratios

RNG = np.random.RandomState(0)
PATTERNS = RNG.normal(size=(7, 5))
PRECISION = RNG.uniform(0.5, 4, size=5)
QUERIES = RNG.normal(size=(9, 5))
QUERIES[RNG.uniform(size=QUERIES.shape) < 0.4] = np.nan
QUERIES[0] = RNG.normal(size=5)
QUERIES[1, :4] = np.nan


def log_density(x, centre):
    """Student-t with as many degrees of freedom as there are observed entries."""
    seen = ~np.isnan(x)
    shape = np.diag(1 / PRECISION[seen])
    return multivariate_t.logpdf(x[seen], centre[seen], shape, df=seen.sum())


REFERENCE = np.array([[log_density(x, p) for p in PATTERNS] for x in QUERIES])


def scorer(dtype=torch.float64):
    arrays = PATTERNS, PATTERNS.mean(0), PRECISION
    return NewRowScorer(*(torch.as_tensor(a, dtype=dtype) for a in arrays))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("block", [(0, 7), (2, 5)])
def test_scores_are_a_log_density(dtype, block):
    rule = scorer(dtype)
    query = rule.prepare(torch.as_tensor(QUERIES, dtype=dtype))
    found = rule.block(query, *block) + query.offset[:, None]
    tolerance = 1e-9 if dtype == torch.float64 else 1e-4
    expected = REFERENCE[:, slice(*block)]
    np.testing.assert_allclose(found, expected, rtol=tolerance, atol=tolerance)
    null = [log_density(x, PATTERNS.mean(0)) for x in QUERIES]
    found = rule.null(query) + query.offset
    np.testing.assert_allclose(found, null, rtol=tolerance, atol=tolerance)


def test_the_engine_gives_posterior_means_and_the_density():
    patterns, queries = torch.as_tensor(PATTERNS), torch.as_tensor(QUERIES)
    memory = Memory(scorer(), SEPARATIONS["softmax"], {}, patterns, None, False)
    p = np.exp(REFERENCE)
    expected = p / p.sum(1, keepdims=True) @ PATTERNS
    np.testing.assert_allclose(answers(memory, queries, 2**20), expected, rtol=1e-9)
    found = energies(memory, queries, 2**20)
    np.testing.assert_allclose(found, -np.log(p.sum(1)), rtol=1e-9)


def test_a_row_without_any_entry_tells_nothing():
    rule = scorer()
    scores = rule.block(rule.prepare(torch.full((2, 5), torch.nan).double()), 0, 7)
    np.testing.assert_array_equal(scores, 0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("order", [slice(None), slice(None, None, -1)])
def test_exponentials_are_those_of_the_scores(dtype, order):
    rule = scorer(dtype)
    queries = torch.as_tensor(np.ascontiguousarray(QUERIES[order]), dtype=dtype)
    query = rule.prepare(torch.cat([queries, 1e6 * queries]))
    scores = rule.block(query, 1, 6)
    top, lifted = rule.lift(query, 1, 6)
    tolerance = 1e-12 if dtype == torch.float64 else 1e-5
    np.testing.assert_allclose(top, scores.amax(1), rtol=tolerance, atol=tolerance)
    expected = (scores - scores.amax(1, keepdim=True)).exp()
    np.testing.assert_allclose(lifted, expected, rtol=tolerance, atol=tolerance)


def test_whole_powers():
    x = torch.rand(40, 3, dtype=torch.float64)
    n = torch.arange(1, 41, dtype=torch.float64)[:, None]
    found = likelihood_ratios(1 / x, torch.ones_like(n), n)
    np.testing.assert_allclose(found, x**n, rtol=1e-13)


@pytest.mark.parametrize("separation", ["softmax", "softmax1"])
@pytest.mark.parametrize("weighted", [False, True])
def test_exponentials_and_scores_give_the_same_answers(
    separation, weighted, monkeypatch
):
    patterns, queries = torch.as_tensor(PATTERNS), torch.as_tensor(QUERIES)
    weights = torch.arange(1.0, 8.0).double() if weighted else None
    rule = scorer()
    memory = Memory(rule, SEPARATIONS[separation], {}, patterns, weights, False)
    monkeypatch.setattr(passes, "_BLOCK_ALONE", (8 * 3, 1))
    lifted = [ask(memory, queries, 2**20) for ask in (answers, energies)]
    monkeypatch.delattr(NewRowScorer, "lift")
    for found, ask in zip(lifted, (answers, energies), strict=True):
        np.testing.assert_allclose(found, ask(memory, queries, 2**20), rtol=1e-12)
