"""Nothing outlives its call: what is the process's stays as it was, threads or not."""

import sys
import threading
import warnings
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from joblib import Parallel, delayed, parallel_config
from threadpoolctl import threadpool_info

from skuhop import (
    CrossFitting,
    KanervaMemory,
    Training,
    UHopClassifier,
    UHopMemory,
    UHopRegressor,
)
from skuhop.answering.precision import tf32_allowed

RNG = np.random.RandomState(0)
X = RNG.normal(size=(40, 4))
Y = (X[:, 0] > 0).astype(int)


def settings():
    """What is one for the whole process, in plain values.

    But for filters of NumPy's warnings: scikit-learn's checks of X and y set them for a
    moment, in a way that threads take from each other.
    """
    matmul = torch.backends.cuda.matmul
    filters = [text for text in map(str, warnings.filters) if "numpy" not in text]
    return {
        "threads": [(one["filepath"], one["num_threads"]) for one in threadpool_info()],
        "filters": filters,
        "showwarning": warnings.showwarning,
        "tf32": getattr(matmul, "fp32_precision", None) or matmul.allow_tf32,
        "torch": torch.get_rng_state().tolist(),
        "numpy": np.random.get_state()[1].tolist(),
        "gradients": torch.is_grad_enabled(),
        "modes": torch.utils._python_dispatch.is_in_torch_dispatch_mode(),
    }


@pytest.fixture
def hasty():
    """Threads change places as often as they can."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(interval)


def network(n_features):
    """A callable feature map that draws its start and, while it learns, its dropout."""
    return torch.nn.Sequential(torch.nn.Linear(n_features, 6), torch.nn.Dropout(0.3))


FEW = {"max_iter": 2, "training": CrossFitting(n_folds=2), "random_state": 0}
KEPT = {"max_iter": 2, "training": Training(early_stopping=False), "random_state": 0}
LAST = {"training": CrossFitting(n_folds=2, early_stopping=False)}
FITS = {
    "classifier": lambda: UHopClassifier(**FEW),
    "regressor": lambda: UHopRegressor(**FEW),
    "network": lambda: UHopClassifier(network, **FEW | LAST),
    "regressor of a network": lambda: UHopRegressor(network, **FEW | LAST),
    "memory": lambda: UHopMemory("mlp", **KEPT),
    "memory of a network": lambda: UHopMemory(network, **KEPT),
    "kanerva": lambda: KanervaMemory(5, beta=1.0, random_state=0),
}
DRAWING = [name for name in FITS if "network" in name or name == "memory"]


@pytest.mark.parametrize("name", FITS)
def test_threads_that_come_and_go_leave_the_process_as_it_was(name, hasty):
    FITS[name]().fit(X, Y)
    before = settings()
    start = threading.Barrier(3)

    def work(number):
        start.wait()
        for rows in (20 + 10 * number, 40 - 10 * number):
            FITS[name]().fit(X[:rows], Y[:rows])

    with ThreadPoolExecutor(3) as pool:
        list(pool.map(work, range(3)))
    assert settings() == before


def test_joblib_threads_leave_the_process_as_it_was(hasty):
    before = settings()
    with parallel_config("threading", n_jobs=2):
        Parallel()(delayed(FITS["classifier"]().fit)(X, Y) for _ in range(4))
    assert settings() == before


def test_tf32_is_put_back_by_the_last_to_leave():
    before = settings()
    stays, goes = tf32_allowed(), tf32_allowed()
    stays.__enter__(), goes.__enter__()
    stays.__exit__(None, None, None)
    assert settings()["tf32"] in ("tf32", True)
    goes.__exit__(None, None, None)
    assert settings() == before


ANSWER = {UHopClassifier: "predict_proba", UHopRegressor: "predict"}


def answers(estimator, rows):
    return getattr(estimator, ANSWER.get(type(estimator), "transform"))(rows)


@pytest.mark.parametrize("name", DRAWING)
def test_threads_are_answered_as_one_is(name, hasty):
    """Nobody shares a module whose parameters are changed in place."""
    estimator = FITS[name]().fit(X, Y)
    parts = [X[k : k + 5] for k in range(0, 40, 5)] * 10
    expected = [answers(estimator, part) for part in parts]
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda part: answers(estimator, part), parts))
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("name", DRAWING)
def test_draws_come_from_generators_of_their_own(name, hasty):
    """Fits are repeatable beside threads that fit and draw, and move nobody's draws."""
    before, over = settings(), threading.Event()
    expected = answers(FITS[name]().fit(X, Y), X)
    assert settings() == before

    def disturb():
        while not over.is_set():
            torch.rand(7)

    state = torch.get_rng_state()
    with ThreadPoolExecutor(4) as pool:
        pool.submit(disturb)
        fits = [pool.submit(FITS[name]().fit, X, Y) for _ in range(6)]
        found = [answers(fit.result(), X) for fit in fits]
        over.set()
    torch.set_rng_state(state)
    for one in found:
        np.testing.assert_array_equal(one, expected)


def test_a_module_that_always_draws_gives_the_same_answer_every_time():
    def noisy(n_features):
        module = torch.nn.Linear(n_features, n_features)
        module.register_forward_hook(lambda m, a, out: out + torch.randn_like(out))
        return module

    memory = UHopMemory(noisy, similarity="dot", **KEPT).fit(X)
    before = settings()
    np.testing.assert_array_equal(memory.transform(X), memory.transform(X))
    assert settings() == before
