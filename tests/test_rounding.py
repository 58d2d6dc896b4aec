"""Answers that hang on rounding would differ between devices, and between batches."""

import pickle

import numpy as np
import pytest
import torch
from sklearn.base import clone
from torch.utils._python_dispatch import TorchDispatchMode

from skuhop import CrossFitting, UHopClassifier, UHopMemory, UHopRegressor

ARITHMETIC = {
    *("add", "sub", "mul", "div", "mm", "addmm", "bmm", "baddbmm", "sum", "mean"),
    *("exp", "log", "sqrt", "square", "lgamma", "special_ndtr"),
    *("logsumexp", "logaddexp", "_softmax", "_log_softmax"),
}


def is_exact(name, args):
    """Whether a product or quotient is by powers of two, which rounds nothing."""
    if name not in ("mul", "div"):
        return False
    factor = torch.as_tensor(args[1], dtype=torch.float64)
    return bool((factor.frexp().mantissa.abs() == 0.5).all())


class Rounding(TorchDispatchMode):
    """Change the last bits of all that is computed and rounded."""

    def __init__(self, seed):
        super().__init__()
        self.generator = torch.Generator().manual_seed(seed)
        self.n_changed = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        found = func(*args, **(kwargs or {}))
        name = func.overloadpacket.__name__.rstrip("_")
        rounds = name in ARITHMETIC and not is_exact(name, args)
        if rounds and found.dtype == torch.float64:
            noise = torch.randn(
                found.shape, generator=self.generator, dtype=found.dtype
            )
            found.mul_(1 + torch.finfo(found.dtype).eps * noise)
            self.n_changed += 1
        return found


def normal(rng):
    return rng.normal(size=(40, 12))


def binary(rng):
    return (rng.uniform(size=(50, 16)) > 0.6).astype(float)


def counts(rng):
    return rng.integers(0, 4, size=(30, 8)).astype(float)


MODELS = {
    "memory": UHopMemory("identity"),
    "with a feature map": UHopMemory(max_iter=3),
    "told both": UHopMemory("identity", corruption="both"),
    "told": UHopMemory("identity", corruption="noise"),
    "classifier": UHopClassifier(max_iter=5, training=CrossFitting(n_folds=2)),
    "regressor": UHopRegressor(max_iter=5, training=CrossFitting(n_folds=2)),
}


@pytest.mark.thin(2)
@pytest.mark.parametrize("gaps", [False, True])
@pytest.mark.parametrize("data", [normal, binary, counts])
@pytest.mark.parametrize("name", MODELS)
def test_the_last_bits_decide_nothing(name, data, gaps):
    """Ties are many in data of few values; who wins them is a rule, not rounding."""
    rng = np.random.default_rng(0)
    X = data(rng)
    model = clone(MODELS[name]).set_params(device="cpu", random_state=0)
    model.fit(X, X[:, 0] > X[:, 0].mean())
    queries = X[:20] * (rng.uniform(size=X[:20].shape) > 0.3)
    if gaps:
        queries[::3, 1:3] = np.nan
    method = {"classifier": "predict_proba", "regressor": "predict"}.get(name)

    def ask():
        fresh = pickle.loads(pickle.dumps(model))  # no scorer that is ready already
        return getattr(fresh, method or "transform")(queries)

    expected = ask()
    for seed in range(3):
        with Rounding(seed) as rounding:
            found = ask()
        assert rounding.n_changed
        np.testing.assert_allclose(found, expected, rtol=1e-8, atol=1e-8)
