"""Devices: looked up at every call, and a fit moves between them."""

import pickle

import numpy as np
import pytest
import torch

from skuhop import Training, UHopMemory
from skuhop.exceptions import InvalidParameterError
from skuhop.retrieval import SEPARATIONS, SIMILARITIES
from skuhop.support.device import resolve_device, send_pieces, to_numpy, to_tensor

RNG = np.random.default_rng(0)
X, QUERIES = RNG.normal(size=(40, 12)), RNG.normal(size=(15, 12))
QUERIES[1, :4] = np.nan
needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
needs_cpu_only = pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")


def test_auto():
    expected = "cuda" if torch.cuda.is_available() else "cpu"
    assert resolve_device("auto").type == expected


@pytest.mark.parametrize("device", ["cpu", "cpu:0"])
def test_cpu(device):
    found, expected = (
        UHopMemory(device=name, max_iter=3, random_state=0).fit(X).transform(QUERIES)
        for name in (device, "cpu")
    )
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("device", ["cpu:1", "meta", "gpu", "cuda:-1", "xla", "cuda:x"])
def test_devices_that_do_not_exist(device):
    with pytest.raises(InvalidParameterError, match="device"):
        UHopMemory(device=device).fit(X)


@needs_cpu_only
@pytest.mark.parametrize("method", ["transform", "predict", "energy", "association"])
def test_a_memory_from_a_machine_with_a_gpu(method):
    """Its parameter says "cuda": an error that helps, then the CPU on request."""
    memory = UHopMemory(max_iter=3).fit(X)
    expected = getattr(memory, method)(QUERIES)
    state = {**memory.__getstate__(), "device": "cuda"}
    arrived = UHopMemory()
    arrived.__setstate__(state)
    with pytest.raises(InvalidParameterError, match="device='cuda' is not available"):
        getattr(arrived, method)(QUERIES)
    arrived.set_params(device="cpu")
    np.testing.assert_array_equal(getattr(arrived, method)(QUERIES), expected)


@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_to_tensor_takes_any_array(dtype):
    array = np.arange(12, dtype=dtype).reshape(3, 4)
    readonly = array.copy()
    readonly.flags.writeable = False
    for odd in (
        array[::-1],
        array[::-1][:1],
        array[::-1][:0],
        array.T,
        array.astype(">" + dtype),
        readonly,
        array[:, ::2],
    ):
        tensor = to_tensor(odd, torch.device("cpu"))
        np.testing.assert_array_equal(to_numpy(tensor), odd)
        assert to_numpy(tensor).dtype.isnative


def test_to_tensor_never_writes_through_a_read_only_array():
    array = np.zeros(3)
    array.flags.writeable = False
    to_tensor(array, torch.device("cpu")).add_(1)
    assert not array.any()


@needs_gpu
@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize("separation", SEPARATIONS)
@pytest.mark.parametrize("similarity", ["auto", *SIMILARITIES])
def test_gpu_agrees_with_cpu(similarity, separation, dtype):
    memory = UHopMemory(
        similarity=similarity, separation=separation, device="cpu", max_iter=5
    ).fit(X.astype(dtype))
    queries = QUERIES.astype(dtype)
    expected = memory.transform(queries), memory.association(queries)
    memory.set_params(device="cuda")
    tolerance = 2e-3 if dtype == "f4" else 1e-8
    for found, value in zip(
        (memory.transform(queries), memory.association(queries)), expected, strict=True
    ):
        assert found.dtype == value.dtype
        np.testing.assert_allclose(found, value, rtol=tolerance, atol=tolerance)


@needs_gpu
@pytest.mark.parametrize("there, here", [("cuda", "cpu"), ("cpu", "cuda")])
@pytest.mark.parametrize("feature_map", ["linear", "mlp", "identity"])
def test_fit_there_and_use_here(feature_map, there, here):
    memory = UHopMemory(feature_map, device=there, max_iter=10, random_state=0).fit(X)
    expected = memory.transform(QUERIES)
    arrived = pickle.loads(pickle.dumps(memory)).set_params(device=here)
    np.testing.assert_allclose(arrived.transform(QUERIES), expected, rtol=1e-6)


@pytest.mark.parametrize("n_pieces", [1, 2, 7])
def test_answers_in_pieces(n_pieces, monkeypatch):
    """As queries come to a GPU, with the sending itself left out."""
    memory = UHopMemory(max_iter=3, device="cpu").fit(X)
    asked = [
        memory.transform,
        memory.predict,
        memory.association,
        lambda Q: np.stack(memory.association(Q, top=2)),
    ]
    expected = [method(QUERIES) for method in asked]
    monkeypatch.setattr(
        "skuhop.answering.questions.send_pieces",
        lambda rows, device: rows.split(-(-len(rows) // n_pieces)),
    )
    for method, value in zip(asked, expected, strict=True):
        np.testing.assert_allclose(method(QUERIES), value, rtol=1e-9, atol=1e-12)


def test_a_cpu_gets_all_at_once(monkeypatch):
    monkeypatch.setattr("skuhop.support.device._STAGED", 100)
    rows = torch.from_numpy(QUERIES)
    (piece,) = send_pieces(rows, torch.device("cpu"))
    assert piece is rows


@needs_gpu
@pytest.mark.parametrize("rows", [1, 2, 5, 100])
def test_a_gpu_gets_piece_by_piece(rows, monkeypatch):
    monkeypatch.setattr("skuhop.support.device._STAGED", rows * QUERIES[0].nbytes)
    pieces = list(send_pieces(torch.from_numpy(QUERIES), torch.device("cuda")))
    assert len(pieces) == -(-len(QUERIES) // rows)
    np.testing.assert_array_equal(torch.cat(pieces).cpu().numpy(), QUERIES)
    memory = UHopMemory(max_iter=3).fit(X).set_params(device="cpu")
    expected = memory.transform(QUERIES)
    found = memory.set_params(device="cuda").transform(QUERIES)
    np.testing.assert_allclose(found, expected, rtol=1e-8, atol=1e-10)


@needs_gpu
def test_learning_agrees():
    one, other = (
        UHopMemory(
            device=device, training=Training(early_stopping=False), max_iter=20
        ).fit(X)
        for device in ("cpu", "cuda")
    )
    np.testing.assert_allclose(one.loss_curve_, other.loss_curve_, rtol=1e-7)


@needs_gpu
def test_nothing_stays_on_the_gpu():
    memory = UHopMemory(device="cuda", max_iter=5).fit(X)
    memory.transform(QUERIES)
    del memory
    torch.cuda.synchronize()
    before = torch.cuda.memory_allocated()
    for _ in range(5):
        UHopMemory(device="cuda", max_iter=5).fit(X).transform(QUERIES)
    assert torch.cuda.memory_allocated() <= before
