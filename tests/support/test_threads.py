"""Small tables get one thread, large ones all; nobody else's number changes."""

import os
import subprocess
import sys
import threading

import numpy as np
import pytest
import torch
from threadpoolctl import threadpool_limits

from skuhop import (
    CrossFitting,
    KanervaMemory,
    UHopClassifier,
    UHopMemory,
    UHopRegressor,
)
from skuhop.support.threads import WORTH, FewThreads, run_side_by_side

RNG = np.random.RandomState(0)


@pytest.fixture
def two_threads():
    """OpenMP would use two threads in this thread, whatever the tests run with."""
    torch.get_num_threads()
    with threadpool_limits(limits=2, user_api="openmp"):
        yield
        assert torch.get_num_threads() == 2


def n_threads_while(call):
    """Numbers of threads that a corruption or a module sees, and that others see."""
    seen = []

    def look():
        other = []
        thread = threading.Thread(target=lambda: other.append(torch.get_num_threads()))
        thread.start(), thread.join()
        seen.append((torch.get_num_threads(), other[0]))

    call(look)
    return seen


def fits(look):
    def network(n_features):
        look()
        return torch.nn.Linear(n_features, 2)

    def corruption(X, random_state):
        look()
        return X

    few = {"max_iter": 1, "training": CrossFitting(n_folds=2), "random_state": 0}
    return {
        "memory": UHopMemory(network, max_iter=1),
        "classifier": UHopClassifier(network, **few),
        "regressor": UHopRegressor(network, **few),
        "kanerva": KanervaMemory(3, corruption=corruption),
    }


@pytest.mark.parametrize("method", ["fit", "partial_fit"])
@pytest.mark.parametrize("name", ["memory", "classifier", "regressor", "kanerva"])
def test_a_small_fit_has_one_thread(name, method, two_threads):
    others = []
    thread = threading.Thread(target=lambda: others.append(torch.get_num_threads()))
    thread.start(), thread.join()
    X = RNG.normal(size=(20, 3))
    y = (X[:, 0] > 0).astype(int)
    seen = n_threads_while(lambda look: getattr(fits(look)[name], method)(X, y))
    assert seen
    assert all(mine == 1 for mine, _ in seen)
    assert {other for _, other in seen} == set(others)


def test_small_questions_have_one_thread_and_large_ones_all(two_threads, monkeypatch):
    seen = []

    def look(memory, rows, budget):
        seen.append(torch.get_num_threads())
        return rows

    monkeypatch.setattr("skuhop.estimators.questions.stage_two.associations", look)
    memory = UHopMemory("identity", similarity="dot", beta=1.0)
    X = RNG.normal(size=(1100, 4))
    for rows in (X[:50], X):
        memory.fit(rows).association(rows)
    assert seen == [1, 2]


def test_the_number_comes_back_after_an_error(two_threads):
    def fail():
        with FewThreads(0):
            assert torch.get_num_threads() == 1
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert torch.get_num_threads() == 2
    for size, expected in ((WORTH, 2), (WORTH - 1, 1)):
        with FewThreads(size):
            assert torch.get_num_threads() == expected


def test_tasks_side_by_side_share_the_threads(two_threads):
    def task(is_wanted):
        seen.append((threading.current_thread().name, torch.get_num_threads()))
        meet.wait(20)
        assert is_wanted()

    # As many as there are threads, whatever a call is kept to itself; both at once.
    for size in (0, WORTH):
        seen, meet = [], threading.Barrier(2)
        with FewThreads(size):
            run_side_by_side([task] * 2)
        assert len(set(seen)) == 2
        assert {number for _, number in seen} == {1}
        assert torch.get_num_threads() == 2
    with threadpool_limits(limits=1, user_api="openmp"):
        seen, meet = [], threading.Barrier(1)
        run_side_by_side([task] * 2)
    assert seen == [(threading.current_thread().name, 1)] * 2


def test_one_that_fails_ends_the_others(two_threads):
    began, ended = threading.Event(), []

    def fail(is_wanted):
        began.wait(20)
        raise KeyError

    def go_on(is_wanted):
        began.set()
        while is_wanted():
            ended[:] = [threading.current_thread()]
        ended.append("done")

    late = []
    with pytest.raises(KeyError):
        run_side_by_side([fail, go_on, late.append, late.append])
    assert ended[-1] == "done"
    assert not ended[0].is_alive()


@pytest.mark.parametrize("kind", [UHopClassifier, UHopRegressor])
def test_members_are_the_same_in_one_thread_and_in_two(kind, two_threads):
    X = RNG.normal(size=(260, 4))
    y = (X[:, 0] * X[:, 1] > 0).astype(int)
    model = kind(max_iter=12, random_state=0)
    both = model.fit(X, y).predict(X)
    curve = model.loss_curve_
    with threadpool_limits(limits=1, user_api="openmp"):
        alone = model.fit(X, y).predict(X)
    np.testing.assert_allclose(both, alone, rtol=1e-4)
    np.testing.assert_allclose(curve, model.loss_curve_, rtol=1e-4)


FORKED = """
import os, signal, numpy as np, torch
from sklearn.datasets import load_digits
from skuhop import KanervaMemory, UHopClassifier, UHopMemory
X = load_digits().data / 16
memory = UHopMemory("identity", similarity="euclidean").fit(X)
before = memory.predict(X)
torch.ones(2000, 2000).exp() @ torch.ones(2000, 2000)
child = os.fork()
if child == 0:
    signal.alarm(100)
    assert (memory.predict(X) == before).all()
    UHopMemory(max_iter=1, random_state=0).fit(X[:200]).transform(X)
    KanervaMemory(10, beta=1.0, random_state=0).fit(X).transform(X)
    UHopClassifier(max_iter=1, random_state=0).fit(X[:200], X[:200, 2] > 0).predict(X)
    os._exit(0)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_fork_after_use_goes_on():
    env = {**os.environ, "OMP_NUM_THREADS": "2"}
    subprocess.run([sys.executable, "-c", FORKED], check=True, env=env, timeout=300)
