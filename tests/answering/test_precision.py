"""Fewer bits in the large products: only where asked, and nothing stays changed."""

import numpy as np
import pytest
import torch

from skuhop import CrossFitting, UHopClassifier, UHopMemory
from skuhop.answering.precision import PRODUCTS, choose_product, tf32_allowed
from skuhop.retrieval import SEPARATIONS
from skuhop.retrieval.products import bf16, exact

RNG = np.random.default_rng(0)
X = RNG.normal(size=(200, 32))
QUERIES = X[:50] + 0.3 * RNG.normal(size=(50, 32))
GAPS = QUERIES.copy()
GAPS[::7, ::3] = np.nan
CPU, CUDA = torch.device("cpu"), torch.device("cuda")
SIMILARITIES = ["euclidean", "dot", "cosine", "correlation", "manhattan"]
needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")


def memory(dtype="f4", **params):
    params = {"similarity": "euclidean", "beta": 0.1, "device": "cpu", **params}
    return UHopMemory("identity", **params).fit(X.astype(dtype))


def distance(found, expected):
    return np.linalg.norm(found - expected) / np.linalg.norm(expected)


def everything(estimator, queries):
    methods = ["predict", "energy", "association", "transform", "predict_proba"]
    return [getattr(estimator, m)(queries) for m in methods if hasattr(estimator, m)]


@pytest.mark.parametrize("device", [CPU, CUDA, torch.device("mps")], ids=str)
def test_nothing_changes_unless_asked(device):
    for precision in PRODUCTS:
        assert choose_product(precision, np.dtype("f8"), device) is exact
    assert choose_product("float32", np.dtype("f4"), device) is exact
    assert UHopMemory().precision == UHopClassifier().precision == "float32"


def test_what_is_asked_for():
    single = np.dtype("f4")
    assert choose_product("bf16", single, CPU) is bf16
    assert choose_product("bf16", single, CUDA) is bf16
    assert choose_product("tf32", single, CPU) is exact
    assert choose_product("tf32", single, CUDA) is not exact


@pytest.mark.parametrize(
    "dtype, precision", [("f8", "tf32"), ("f8", "bf16"), ("f4", "tf32")]
)
@pytest.mark.parametrize("separation", ["softmax", "sparsemax"])
def test_not_a_bit_elsewhere(separation, dtype, precision):
    """float64 stays what it is, and the CPU has no TF32."""
    asked = memory(dtype, separation=separation, precision=precision)
    plain = memory(dtype, separation=separation)
    queries = GAPS.astype(dtype)
    pairs = zip(everything(asked, queries), everything(plain, queries), strict=True)
    for found, expected in pairs:
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("separation", SEPARATIONS)
@pytest.mark.parametrize("similarity", SIMILARITIES)
def test_bf16_is_close(similarity, separation):
    beta = 0.1 if similarity in ("euclidean", "dot", "manhattan") else 10.0
    params = {"similarity": similarity, "beta": beta, "separation": separation}
    queries = GAPS.astype("f4")
    expected = memory(**params).transform(queries)
    found = memory(precision="bf16", **params).transform(queries)
    assert found.dtype == np.float32
    assert distance(found, expected) < 1e-2


@pytest.mark.parametrize("params", [{}, {"similarity": "auto", "beta": "auto"}])
def test_bf16_does_something(params):
    """For "auto" it is the read-out alone."""
    queries = QUERIES.astype("f4")
    expected = memory(**params).transform(queries)
    found = memory(precision="bf16", **params).transform(queries)
    assert 1e-6 < distance(found, expected) < 1e-2


def test_a_profiled_noise_level_needs_all_bits():
    queries = QUERIES.astype("f4")
    plain, asked = (
        memory(beta="auto", precision=precision) for precision in ("float32", "bf16")
    )
    found, expected = asked.association(queries), plain.association(queries)
    np.testing.assert_array_equal(found, expected)


def test_classifier():
    y = (X[:, 0] > 0).astype(int)
    params = {"max_iter": 5, "training": CrossFitting(n_folds=2), "random_state": 0}
    data, queries = X.astype("f4"), GAPS.astype("f4")
    expected = UHopClassifier(**params).fit(data, y).predict_proba(queries)
    asked = UHopClassifier(precision="bf16", **params).fit(data, y)
    found = asked.predict_proba(queries)
    np.testing.assert_allclose(found.sum(1), 1, rtol=1e-6)
    assert 0 < distance(found, expected) < 1e-2


def test_it_may_change_after_fit():
    one, queries = memory(), QUERIES.astype("f4")
    before = one.transform(queries)
    changed = one.set_params(precision="bf16").transform(queries)
    assert (changed != before).any()
    again = one.set_params(precision="float32").transform(queries)
    np.testing.assert_array_equal(again, before)


def flags():
    matmul = torch.backends.cuda.matmul
    names = ("fp32_precision", "allow_tf32")
    return next(getattr(matmul, name) for name in names if hasattr(matmul, name))


def test_global_flags_come_back():
    before = flags(), torch.get_float32_matmul_precision()
    with tf32_allowed():
        assert flags() in ("tf32", True)
    with pytest.raises(KeyError, match="amid"), tf32_allowed():
        raise KeyError("amid")
    assert (flags(), torch.get_float32_matmul_precision()) == before
    for precision in PRODUCTS:
        memory(precision=precision).transform(QUERIES.astype("f4"))
    assert (flags(), torch.get_float32_matmul_precision()) == before


def test_what_the_user_has_allowed_stays_allowed():
    before = torch.get_float32_matmul_precision()
    try:
        torch.set_float32_matmul_precision("high")
        expected = flags()
        with tf32_allowed():
            pass
        assert flags() == expected
        assert torch.get_float32_matmul_precision() == "high"
    finally:
        torch.set_float32_matmul_precision(before)


@pytest.mark.parametrize("bias", [None, torch.ones(1, 7)])
def test_products(bias):
    generator = torch.Generator().manual_seed(0)
    a = torch.randn(5, 64, generator=generator)
    b = torch.randn(7, 64, generator=generator).T
    expected = a.double() @ b.double() + (0 if bias is None else bias)
    for product, error in ((exact, 1e-5), (bf16, 0.1)):
        found = product(a, b, bias)
        assert found.dtype == a.dtype
        assert (found - expected).abs().max() < error
    assert a.dtype == b.dtype == torch.float32


@needs_gpu
@pytest.mark.parametrize("precision, error", [("tf32", 2e-3), ("bf16", 1e-2)])
@pytest.mark.parametrize("separation", ["softmax", "sparsemax"])
def test_on_a_gpu(separation, precision, error):
    before = flags()
    expected = memory(separation=separation, device="cpu").transform(X.astype("f4"))
    asked = memory(separation=separation, device="cuda", precision=precision)
    found = asked.transform(X.astype("f4"))
    assert 1e-6 < distance(found, expected) < error
    assert flags() == before
