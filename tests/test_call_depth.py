"""From a public method to the arithmetic it is a few frames, whatever is asked.

Who sets a breakpoint in a score, or reads a traceback, is to see how it came there.
"""

import sys
from functools import cache, partial
from pathlib import Path

import numpy as np
import pytest
import torch

import skuhop
from skuhop import (
    CrossFitting,
    KanervaMemory,
    UHopClassifier,
    UHopMemory,
    UHopRegressor,
    Updates,
)
from skuhop.retrieval import SEPARATIONS, thresholds
from skuhop.support.checks import parameter_rules

PACKAGE = str(Path(skuhop.__file__).parent)
ARITHMETIC = thresholds.__file__
"""Newton's steps of sparse separations are arithmetic, as a matrix product is."""
MOST = 10
RNG = np.random.RandomState(0)
X = RNG.normal(size=(30, 9))
Y = (X[:, 0] > 0).astype(int)
HOLES = np.where(RNG.rand(*X.shape) < 0.2, np.nan, X)


def deepest_stack(call):
    """The longest stack of the package's own functions during a call."""
    deepest, stack = [], []

    def watch(frame, event, _):
        nonlocal deepest
        if event not in ("call", "return"):
            return
        code = frame.f_code
        if not code.co_filename.startswith(PACKAGE) or code.co_filename == ARITHMETIC:
            return
        if event == "return":
            stack.pop()
            return
        stack.append(code)
        if len(stack) > len(deepest):
            deepest = list(stack)

    sys.setprofile(watch)
    try:
        call()
    finally:
        sys.setprofile(None)
    return [f"{Path(code.co_filename).stem}.{code.co_name}" for code in deepest]


def network(n_features):
    return torch.nn.Sequential(torch.nn.Linear(n_features, 4), torch.nn.Tanh())


MEMORIES = {
    "default": {},
    "a beta": {"beta": 2.0},
    "identity": {"feature_map": "identity", "similarity": "dot"},
    "mlp": {"feature_map": "mlp"},
    "network": {"feature_map": network},
    "aligned network": {"feature_map": network, "loss": "posterior"},
    "told damage": {"corruption": "mask", "beta": 2.0, "separation": "softmax1"},
    "normalised": {"update_steps": Updates(3, answer="layernorm")},
    **{
        similarity: {"similarity": similarity}
        for similarity in ("euclidean", "cosine", "correlation", "manhattan")
    },
    **{separation: {"separation": separation} for separation in SEPARATIONS},
    "sparse angles": {"separation": "ksubsets", "similarity": "cosine", "beta": 3.0},
}
FEW = {"max_iter": 2, "training": CrossFitting(n_folds=2), "random_state": 0}
VALUES = {
    "default": {},
    "identity": {"feature_map": "identity"},
    "network": {"feature_map": network},
    "mlp, softmax1": {"feature_map": "mlp", "separation": "softmax1"},
    "line beside, sparse": {
        "training": CrossFitting(n_folds=2, linear_share=0.5),
        "separation": "sparsemax",
    },
}
METHODS = {
    UHopMemory: [
        "transform",
        "predict",
        "association",
        "energy",
        "score",
        "score_samples",
        "tail_std",
        "missing_weight",
        "heaviest",
        "null",
    ],
    UHopClassifier: [
        "predict",
        "predict_proba",
        "predict_log_proba",
        "association",
        "heaviest",
        "score",
    ],
    UHopRegressor: ["predict", "association", "heaviest", "score"],
    KanervaMemory: ["transform", "retrieve", "address", "score", "score_samples"],
}
CASES = [
    *((UHopMemory, name, {"max_iter": 2, **more}) for name, more in MEMORIES.items()),
    *(
        (kind, name, FEW | more)
        for kind in (UHopClassifier, UHopRegressor)
        for name, more in VALUES.items()
    ),
    *(
        (KanervaMemory, name, {"n_slots": 5, "addressing": name, "random_state": 0})
        for name in ("softmax", "fourier")
    ),
]


@cache
def fitted(kind, name):
    params = next(p for k, n, p in CASES if (k, n) == (kind, name))
    return kind(**params).fit(X, Y)


def questions(estimator):
    """All that can be asked, by name."""
    for method in METHODS[type(estimator)]:
        if method == "heaviest":
            yield method, partial(estimator.association, top=2)
        elif method == "null" and estimator.separation == "softmax1":
            yield method, partial(estimator.score_samples, return_null=True)
        elif method == "score" and hasattr(estimator, "kernels_"):
            yield method, lambda rows: estimator.score(rows, Y)
        elif hasattr(estimator, method):
            yield method, getattr(estimator, method)


@pytest.mark.parametrize(
    "kind, name",
    [case[:2] for case in CASES],
    ids=lambda part: getattr(part, "__name__", part),
)
def test_a_question_is_a_few_frames_from_the_arithmetic(kind, name):
    estimator = fitted(kind, name)
    for method, ask in questions(estimator):
        for rows in (X, HOLES)[
            : 1 if kind is KanervaMemory or method == "score" else 2
        ]:
            ask(rows)  # The first time everything is prepared.
            stack = deepest_stack(lambda ask=ask, rows=rows: ask(rows))
            assert 3 <= len(stack) <= MOST, (method, " > ".join(stack))


@pytest.mark.parametrize("kind", METHODS, ids=lambda kind: kind.__name__)
def test_what_has_not_changed_is_not_checked_again(kind, monkeypatch):
    name = next(n for k, n, _ in CASES if k is kind)
    estimator = fitted(kind, name)
    _, ask = next(questions(estimator))
    ask(X)
    looked, accepts = [], parameter_rules.Choice.accepts
    monkeypatch.setattr(
        parameter_rules.Choice,
        "accepts",
        lambda self, value: looked.append(value) or accepts(self, value),
    )
    ask(X)
    assert looked == []
    estimator.set_params(random_state=1)
    ask(X)
    assert looked
