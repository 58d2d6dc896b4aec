"""Memory that runs out, and a fit that is interrupted."""

import numpy as np
import pytest
import sklearn
import torch

from skuhop import UHopClassifier, UHopMemory
from skuhop.exceptions import InsufficientMemoryError
from skuhop.retrieval import SEPARATIONS
from skuhop.retrieval.engine import memory_record, passes
from skuhop.retrieval.scores.kernel import KernelScorer
from skuhop.support.device import resolve_device
from skuhop.support.memory_budget import out_of_memory

RNG = np.random.default_rng(0)
X, QUERIES = RNG.normal(size=(300, 9)), RNG.normal(size=(200, 9))
needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
CPU_MESSAGE = (
    "[enforce fail at alloc_cpu.cpp:119] . DefaultCPUAllocator: can't allocate memory: "
    "you tried to allocate 4398046511104 bytes. Error code 12 (Cannot allocate memory)"
)


def fails(*errors):
    """An allocator that cannot give blocks of more than some scores."""

    def limit(monkeypatch, most):
        block, sizes = KernelScorer.block, []

        def limited(self, query, start, stop):
            size = len(query.self_score) * (stop - start)
            sizes.append(size)
            if size > most:
                raise errors[0]
            return block(self, query, start, stop)

        monkeypatch.setattr(KernelScorer, "block", limited)
        return sizes

    return limit


ERRORS = [RuntimeError(CPU_MESSAGE), MemoryError(), torch.OutOfMemoryError("CUDA")]


def test_torch_reports_memory_as_is_assumed():
    with pytest.raises(RuntimeError) as caught:
        torch.empty(2**60)
    assert out_of_memory(caught.value)
    assert not out_of_memory(RuntimeError("shapes do not match"))
    assert not out_of_memory(ValueError("DefaultCPUAllocator"))


@pytest.mark.parametrize("error", ERRORS, ids=lambda e: type(e).__name__)
@pytest.mark.parametrize("separation", SEPARATIONS)
def test_retried_in_smaller_chunks(separation, error, monkeypatch):
    memory = UHopMemory("identity", similarity="cosine", separation=separation).fit(X)
    methods = [memory.transform, memory.predict, lambda Q: memory.association(Q, 3)[1]]
    with sklearn.config_context(working_memory=1024):
        expected = [method(QUERIES) for method in methods]
        sizes = fails(error)(monkeypatch, 30_000)
        found = [method(QUERIES) for method in methods]
    assert max(sizes) > 30_000, "nothing was refused"
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("error", ERRORS, ids=lambda e: type(e).__name__)
def test_the_end_of_the_road_says_what_to_lower(error, monkeypatch):
    memory = UHopMemory("identity", similarity="cosine").fit(X)
    fails(error)(monkeypatch, -1)
    with pytest.raises(InsufficientMemoryError, match="working_memory") as caught:
        memory.transform(QUERIES)
    assert "batch size" in str(caught.value)
    assert f"'{resolve_device('auto')}'" in str(caught.value)


@pytest.mark.parametrize("error", ERRORS, ids=lambda e: type(e).__name__)
@pytest.mark.parametrize("method", ["fit", "partial_fit"])
@pytest.mark.parametrize("estimator", [UHopMemory, UHopClassifier])
def test_learning_that_runs_out_says_what_to_lower(estimator, method, error):
    def exhausted(n_features):
        raise error

    learner = estimator(exhausted, max_iter=1)
    with pytest.raises(InsufficientMemoryError, match="float32") as caught:
        getattr(learner, method)(X, (X[:, 0] > 0).astype(int))
    assert str(caught.value).startswith(estimator.__name__)
    assert caught.value.__cause__ is error
    assert not hasattr(learner, "n_features_in_")


def test_other_errors_are_not_swallowed(monkeypatch):
    memory = UHopMemory("identity", similarity="cosine").fit(X)
    calls = []

    def broken(*args, **kwargs):
        calls.append(1)
        raise RuntimeError("shapes do not match")

    monkeypatch.setattr(KernelScorer, "block", broken)
    with pytest.raises(RuntimeError, match="shapes"):
        memory.transform(QUERIES)
    assert len(calls) == 1


@needs_gpu
@pytest.mark.parametrize("separation", ["softmax", "sparsemax"])
def test_a_small_gpu(separation):
    rng = np.random.default_rng(0)
    patterns = rng.normal(size=(20_000, 64)).astype(np.float32)
    queries = rng.normal(size=(20_000, 64)).astype(np.float32)
    memory = UHopMemory("identity", similarity="euclidean", separation=separation)
    memory.fit(patterns).set_params(device="cpu")
    expected = memory.transform(queries)
    memory.set_params(device="cuda")
    total = torch.cuda.get_device_properties(0).total_memory
    try:
        torch.cuda.set_per_process_memory_fraction(2**27 / total)
        found = memory.transform(queries)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


class Interruption:
    """Corruption of the user's, who loses patience in the middle of `fit`."""

    def __init__(self, calls):
        self.calls = calls

    def __call__(self, X, random_state):
        self.calls -= 1
        if self.calls < 0:
            raise KeyboardInterrupt
        return X + random_state.normal(size=X.shape)


@pytest.mark.parametrize("warm_start", [False, True])
@pytest.mark.parametrize("calls", [0, 1, 4])
def test_an_interrupted_fit_leaves_the_memory_as_it_was(calls, warm_start):
    params = {"loss": "posterior", "warm_start": warm_start, "max_iter": 10}
    memory = UHopMemory(corruption=Interruption(10**6), **params).fit(X[:40])
    before, answer = dict(memory.__dict__), memory.transform(QUERIES)
    memory.set_params(corruption=Interruption(calls))
    with pytest.raises(KeyboardInterrupt):
        memory.fit(X[:50, :7])
    memory.set_params(corruption=before["corruption"])
    assert memory.__dict__.keys() == before.keys()
    assert all(memory.__dict__[name] is value for name, value in before.items())
    np.testing.assert_array_equal(memory.transform(QUERIES), answer)


def test_an_interrupted_first_fit_leaves_nothing():
    memory = UHopMemory(corruption=Interruption(2), loss="posterior")
    before = dict(memory.__dict__)
    with pytest.raises(KeyboardInterrupt):
        memory.fit(X)
    assert memory.__dict__ == before


def test_an_interrupted_classifier(monkeypatch):
    from skuhop.fitting import members

    y = (X[:, 0] > 0).astype(int)
    classifier = UHopClassifier(max_iter=3).fit(X, y)
    before, answer = dict(classifier.__dict__), classifier.predict_proba(QUERIES)

    def interrupt(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr(members, "cross_fit", interrupt)
    with pytest.raises(KeyboardInterrupt):
        classifier.fit(X, 1 - y)
    assert all(classifier.__dict__[name] is value for name, value in before.items())
    np.testing.assert_array_equal(classifier.predict_proba(QUERIES), answer)


def test_chunks_are_bounded_without_an_error():
    """The engine's own plan: a block never has more scores than the budget allows."""
    scorer = KernelScorer.__new__(KernelScorer)
    scorer.n_patterns, scorer.row_width, scorer.streams = 10**6, 30, True
    memory = memory_record.Memory(scorer, None, {}, torch.empty(10**6, 10), None)
    for budget in (2**20, 2**24, 2**30):
        plan = passes.plan_pass(memory, torch.empty(5000, 10), budget, True)
        scores = plan.rows * plan.width(memory, plan.rows)
        assert 4 * scores * scorer.width <= max(budget, 4 * plan.rows * scorer.width)
