"""A memory survives being saved, copied and sent to another process."""

import copy
import gc
import io
import pickle
import weakref
from contextlib import nullcontext
from pathlib import Path

import joblib
import numpy as np
import pytest
import skops.io
import torch
from sklearn.base import clone

import skuhop
from skuhop import Entmax, UHopMemory
from skuhop.exceptions import VersionMismatchWarning
from skuhop.learning import FEATURE_MAPS
from skuhop.support import cache

RNG = np.random.default_rng(0)
X, QUERIES = RNG.normal(size=(12, 6)), RNG.normal(size=(5, 6))
QUERIES[1, :2] = np.nan


class Module(torch.nn.Sequential):
    def __init__(self, n_features):
        super().__init__(torch.nn.Linear(n_features, 4), torch.nn.BatchNorm1d(4))


VARIANTS = {
    "default": {},
    "identity": {"feature_map": "identity"},
    "float32": {},
    "weighted": {},
    "numbers": {"separation": Entmax(alpha=1.2)},
    "posterior": {"loss": "posterior", "corruption": "mask"},
    **{name: {"feature_map": name} for name in FEATURE_MAPS},
}


_FITTED: dict = {}


def fitted(variant):
    """A fitted memory of one's own, as a fit has made it: only its state is shared."""
    if variant not in _FITTED:
        memory = UHopMemory(max_iter=10, random_state=0, **VARIANTS[variant])
        weights = np.arange(12.0) if variant == "weighted" else None
        rows = X.astype("f4" if variant == "float32" else "f8")
        _FITTED[variant] = dict(vars(memory.fit(rows, sample_weight=weights)))
    memory = UHopMemory()
    vars(memory).update(_FITTED[variant])
    return memory


def by_pickle(memory):
    return pickle.loads(pickle.dumps(memory))


def by_joblib(memory):
    file = io.BytesIO()
    joblib.dump(memory, file)
    file.seek(0)
    return joblib.load(file)


def by_skops(memory):
    data = skops.io.dumps(memory)
    foreign = skops.io.get_untrusted_types(data=data)
    assert all(name.startswith("skuhop.") for name in foreign), foreign
    return skops.io.loads(data, trusted=foreign)


WAYS = {
    "pickle": by_pickle,
    "joblib": by_joblib,
    "skops": by_skops,
    "deepcopy": copy.deepcopy,
    "copy": copy.copy,
}


def answers(memory):
    return memory.transform(QUERIES), memory.predict(QUERIES), memory.energy(QUERIES)


@pytest.mark.parametrize("used", [False, True], ids=["fresh", "used"])
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("variant", VARIANTS)
def test_round_trip(variant, way, used):
    memory = fitted(variant)
    if used:
        memory.transform(QUERIES)  # what that prepares must not be saved
    again = WAYS[way](memory)
    assert again is not memory
    assert type(again) is UHopMemory
    assert again.get_params() == memory.get_params()
    assert vars(again).keys() == vars(memory).keys()
    for found, expected in zip(answers(again), answers(memory), strict=True):
        np.testing.assert_array_equal(found, expected)
        assert found.dtype == expected.dtype


@pytest.mark.parametrize("way", ["pickle", "joblib", "deepcopy", "copy"])
def test_round_trip_of_a_users_module(way):
    memory = UHopMemory(Module, max_iter=3, random_state=0).fit(X)
    again = WAYS[way](memory)
    np.testing.assert_array_equal(again.transform(QUERIES), memory.transform(QUERIES))


def test_a_file_older_than_a_parameter():
    memory = fitted("default")
    state = memory.__getstate__()
    del state["precision"]
    older = UHopMemory.__new__(UHopMemory)
    older.__setstate__(state)
    assert older.get_params() == memory.get_params()
    np.testing.assert_array_equal(older.transform(QUERIES), memory.transform(QUERIES))


@pytest.mark.parametrize("way", WAYS)
def test_an_unfitted_estimator_round_trips(way):
    again = WAYS[way](UHopMemory(beta=2.0, separation="max"))
    assert again.get_params() == UHopMemory(beta=2.0, separation="max").get_params()
    assert not hasattr(again, "patterns_")


@pytest.mark.parametrize("variant", VARIANTS)
def test_clone_is_unfitted_and_fits_the_same(variant):
    memory = fitted(variant)
    again = clone(memory)
    assert not hasattr(again, "patterns_")
    assert again.get_params() == memory.get_params()


def test_pickle_does_not_grow_with_use():
    memory = fitted("default")
    before = len(pickle.dumps(memory))
    answers(memory)
    assert len(pickle.dumps(memory)) == before


def test_loky_workers():
    memory = fitted("default")
    expected = memory.transform(QUERIES)
    parts = joblib.Parallel(n_jobs=2, backend="loky")(
        joblib.delayed(memory.transform)(QUERIES[rows])
        for rows in (slice(0, 2), slice(2, 5))
    )
    np.testing.assert_allclose(np.concatenate(parts), expected, rtol=1e-12)


# --- versions ------------------------------------------------------------------------


@pytest.mark.parametrize("version", ["0.0.1", None])
def test_another_version_warns(version, monkeypatch):
    memory = fitted("default")
    state = memory.__getstate__()
    assert state["_skuhop_version"] == skuhop.__version__
    state["_skuhop_version"] = version
    again = UHopMemory()
    with pytest.warns(VersionMismatchWarning, match=f"skuhop {version}"):
        again.__setstate__(state)
    np.testing.assert_array_equal(again.transform(QUERIES), memory.transform(QUERIES))


# Files as they lie on users' disks: one folder for each version, see saved/write.py.
SAVED = sorted(
    file
    for file in (Path(__file__).parent / "saved").glob("*/*")
    if file.suffix in (".pkl", ".joblib", ".skops")
)


def load_skops(file):
    types = skops.io.get_untrusted_types(file=file)
    assert all(name.startswith("skuhop.") for name in types), types
    return skops.io.load(file, trusted=types)


@pytest.mark.parametrize(
    "file", SAVED, ids=lambda file: f"{file.parent.name}-{file.name}"
)
def test_files_of_earlier_versions_load_and_answer_as_they_did(file):
    load = {".skops": load_skops}.get(file.suffix, joblib.load)
    other = file.parent.name != skuhop.__version__
    with pytest.warns(VersionMismatchWarning) if other else nullcontext():
        estimator = load(file)
    saved = np.load(file.parent / "answers.npz")
    methods = {"classifier": "predict_proba", "regressor": "predict"}
    method = methods.get(file.stem, "transform")
    queries, expected = (saved[f"{file.stem}_{k}"] for k in ("queries", "answers"))
    found = getattr(estimator, method)(queries)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def test_this_version_has_saved_files():
    # At a release: python tests/saved/write.py
    assert skuhop.__version__ in {file.parent.name for file in SAVED}


def test_the_stamp_is_not_left_on_the_estimator():
    assert not any("version" in key for key in vars(by_pickle(fitted("default"))))


# --- what the state is made of -------------------------------------------------------

PLAIN = (type(None), bool, int, float, str)


def walk(value, path):
    yield path, value
    if isinstance(value, dict):
        for key, item in value.items():
            yield from walk(key, f"{path} key")
            yield from walk(item, f"{path}[{key!r}]")
    elif isinstance(value, (list, tuple)):
        for i, item in enumerate(value):
            yield from walk(item, f"{path}[{i}]")


@pytest.mark.parametrize("variant", [*VARIANTS, "module"])
def test_fitted_state_is_numpy_or_plain(variant):
    if variant == "module":
        memory = UHopMemory(Module, max_iter=3).fit(X)
    else:
        memory = fitted(variant)
    answers(memory)
    state = {k: v for k, v in vars(memory).items() if k not in memory.get_params()}
    assert {"patterns_", "mean_", "loss_curve_", "loss_", "n_iter_"} <= set(state)
    for path, value in walk(state, "state"):
        assert isinstance(value, (*PLAIN, dict, list, tuple, np.ndarray, np.generic)), (
            f"{path} is a {type(value)}"
        )
        if isinstance(value, np.ndarray):
            assert value.dtype != object, path
            assert value.base is None, path


# --- the cache -----------------------------------------------------------------------


def test_the_cache_is_outside_the_estimator_and_dies_with_it(monkeypatch):
    memory = fitted("default")
    before = set(vars(memory))
    memory.transform(QUERIES)
    assert set(vars(memory)) == before
    assert memory in cache._PREPARED
    reference = weakref.ref(memory)
    tensors = [
        weakref.ref(thing) for thing in gc.get_objects() if type(thing) is torch.Tensor
    ]
    assert tensors
    del memory
    gc.collect()
    assert reference() is None
    assert not any(key() is None for key in cache._PREPARED.keyrefs())
    kept = [t() for t in tensors if t() is not None and t().shape == X.shape]
    assert not kept


def test_a_copy_has_a_cache_of_its_own():
    memory = fitted("default")
    memory.transform(QUERIES)
    again = copy.deepcopy(memory)
    assert again not in cache._PREPARED
    again.fit(X[:3])
    assert len(memory.association(QUERIES)[0]) == 12


def test_release_forgets():
    memory = fitted("default")
    expected = memory.transform(QUERIES)
    cache.release(memory)
    assert memory not in cache._PREPARED
    np.testing.assert_array_equal(memory.transform(QUERIES), expected)


def test_a_prepared_memory_is_reused():
    memory = fitted("default")
    memory.transform(QUERIES)
    built = {k: id(v) for k, v in cache._PREPARED[memory][1].items()}
    memory.predict(QUERIES)
    assert {k: id(v) for k, v in cache._PREPARED[memory][1].items()} == built
