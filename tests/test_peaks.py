"""What a call holds beside its data and its answer follows `working_memory`."""

import tracemalloc

import numpy as np
import pytest
import sklearn
import torch
from sklearn.base import clone
from torch.profiler import ProfilerActivity, profile

from skuhop import (
    CrossFitting,
    Entmax,
    KanervaMemory,
    UHopClassifier,
    UHopMemory,
    UHopRegressor,
)

RNG = np.random.RandomState(0)
X = RNG.rand(60, 40).astype("f4")
Y = X[:, 0] + X[:, 1]
MANY = RNG.rand(12_000, 40).astype("f4")
GAPS = np.where(RNG.rand(len(MANY), 1) < 0.5, MANY, np.where(MANY < 0.3, np.nan, MANY))
BUDGET = 1
"""MiB."""
SHORT = {"max_iter": 1, "random_state": 0}
ESTIMATORS = {
    "euclidean": UHopMemory("identity", similarity="euclidean", random_state=0),
    "cosine": UHopMemory("identity", similarity="cosine", beta=3.0, random_state=0),
    "classifier": UHopClassifier("linear", training=CrossFitting(n_folds=2), **SHORT),
    "regressor": UHopRegressor("linear", training=CrossFitting(n_folds=2), **SHORT),
    "Kanerva": KanervaMemory(20, random_state=0),
}


def peak_of(call):
    """Answer of a call, and the most bytes that NumPy and torch held at once in it."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as watched:
        tracemalloc.start()
        answer = call()
        arrays = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    events = watched.profiler.kineto_results.events()
    events = sorted(
        (e.start_ns(), e.nbytes()) for e in events if e.name() == "[memory]"
    )
    tensors = np.cumsum([0, *(n for _, n in events)]).max()
    return answer, arrays + tensors


def fitted(name, rows=X):
    values = {"classifier": (Y > 1,), "regressor": (Y,)}.get(name, ())
    return clone(ESTIMATORS[name]).fit(rows, *(v[: len(rows)] for v in values))


def question_of(estimator):
    return getattr(estimator, "predict_proba", None) or (
        estimator.predict
        if isinstance(estimator, UHopRegressor)
        else estimator.transform
    )


def test_the_count_of_bytes():
    def call():
        held = torch.ones(2**20, dtype=torch.float64)
        return held.sum() + np.ones(2**20).sum()

    assert 2**24 <= peak_of(call)[1] < 2**24 + 2**20


@pytest.mark.parametrize("queries", [MANY, GAPS], ids=["complete", "gaps"])
@pytest.mark.parametrize("name", ESTIMATORS)
def test_questions(name, queries):
    if name == "Kanerva" and queries is GAPS:
        pytest.skip("takes no NaN")
    ask = question_of(fitted(name))
    ask(queries[:100])
    with sklearn.config_context(working_memory=BUDGET):
        answer, peak = peak_of(lambda: ask(queries))
        # The order of rows by what they lack is sixteen bytes each, thrice over.
        most = answer.nbytes + 48 * len(queries) + 6 * BUDGET * 2**20
        assert peak < most, f"{peak / 2**20:.1f} MiB, {most / 2**20:.1f} allowed"
    np.testing.assert_allclose(answer, ask(queries), rtol=1e-4, atol=1e-5)


def test_score():
    memory = fitted("euclidean")
    with sklearn.config_context(working_memory=BUDGET):
        _, peak = peak_of(lambda: memory.score(MANY))
    assert peak < MANY.nbytes + 48 * len(MANY) + 6 * BUDGET * 2**20


@pytest.mark.parametrize("name", ["euclidean", "Kanerva"])
def test_score_samples(name):
    memory = fitted(name)
    expected = memory.score_samples(MANY)
    with sklearn.config_context(working_memory=BUDGET):
        scores, peak = peak_of(lambda: memory.score_samples(MANY))
    assert peak < scores.nbytes + 6 * BUDGET * 2**20, f"{peak / 2**20:.1f} MiB"
    np.testing.assert_allclose(scores, expected, rtol=1e-5)


WIDE = RNG.rand(5, 60_000).astype("f4")
WIDE_FITS = {
    "default": UHopMemory(**SHORT),
    "posterior": UHopMemory(loss="posterior", similarity="euclidean", **SHORT),
    "alpha": UHopMemory(
        "identity",
        similarity="euclidean",
        separation=Entmax(alpha="auto"),
    ),
    "Kanerva": KanervaMemory(3, random_state=0),
}


@pytest.mark.parametrize("name", WIDE_FITS)
def test_fits_of_few_wide_rows(name):
    """Trials on a number of copies, whatever the width, took 256 times the data."""
    memory, peak = peak_of(lambda: clone(WIDE_FITS[name]).fit(WIDE))
    assert peak < 250 * WIDE.nbytes, f"{peak / WIDE.nbytes:.0f} times the data"
    assert np.isfinite(memory.transform(WIDE)).all()


@pytest.mark.parametrize("name", ESTIMATORS)
def test_what_is_learned_does_not_depend_on_working_memory(name):
    plenty = fitted(name)
    with sklearn.config_context(working_memory=BUDGET / 4):
        little = fitted(name)
    expected = question_of(plenty)(MANY[:50])
    np.testing.assert_allclose(question_of(little)(MANY[:50]), expected, rtol=1e-5)
