"""Arrays of other libraries: NumPy answers with dispatch off, their own with it on."""

import os
import subprocess
import sys
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import sklearn
import torch
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler

import skuhop
from skuhop import CrossFitting, Retention, UHopClassifier, UHopMemory, UHopRegressor

RNG = np.random.RandomState(0)
X = RNG.normal(size=(20, 7))  # "auto" learns more of wider ones, which takes longer
WIDE = RNG.normal(size=(20, 9))
y = (X[:, 0] > 0).astype(int)
QUERIES = X[:7] + 0.1 * RNG.normal(size=(7, 7))
GAPS = QUERIES.copy()
GAPS[1, :4] = GAPS[5, 2] = np.nan
WEIGHTS = RNG.randint(0, 3, size=20).astype(float)

can_dispatch = os.environ.get("SCIPY_ARRAY_API") == "1"
needs_dispatch = pytest.mark.skipif(
    not can_dispatch, reason="needs SCIPY_ARRAY_API=1 before SciPy is imported"
)
needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")

KINDS = {"torch": torch.as_tensor}
try:
    import array_api_strict as strict
except ImportError:
    pass
else:
    KINDS["strict"] = strict.asarray
    KINDS["strict, elsewhere"] = lambda array: strict.asarray(
        array, device=strict.Device("device1")
    )
HOSTED = [kind for kind in KINDS if kind != "strict, elsewhere"]
CALLS = {
    UHopMemory: ["transform", "predict", "energy", "score_samples", "association"],
    UHopClassifier: ["predict", "predict_proba", "association"],
    UHopRegressor: ["predict", "association"],
}
METHODS = [(model, method) for model, methods in CALLS.items() for method in methods]


@pytest.fixture
def dispatch():
    with sklearn.config_context(array_api_dispatch=True):
        yield


def fit(model, X=X, y=y, **params):
    # Not "auto", which computes where tensors are, and NumPy's on a GPU.
    quick = {"max_iter": 3, "random_state": 0, "device": "cpu"}
    if model is not UHopMemory:
        quick["training"] = CrossFitting(n_folds=2)
    return model(**(quick | params)).fit(X, y)


@cache
def fitted(model):
    """One that is only asked."""
    return fit(model)


def to_numpy(array):
    return array.numpy() if isinstance(array, torch.Tensor) else np.from_dlpack(array)


def assert_answers_like(found, expected, queries):
    """The numbers that NumPy queries get, as an array like the queries."""
    assert type(found) is type(queries)
    assert found.device == queries.device
    assert found.shape == expected.shape
    assert to_numpy(found).dtype == expected.dtype
    np.testing.assert_array_equal(to_numpy(found), expected)


# --- dispatch off ---------------------------------------------------------------------


@pytest.mark.parametrize("kind", HOSTED)
@pytest.mark.parametrize("model", CALLS)
def test_foreign_arrays(model, kind):
    convert = KINDS[kind]
    ours, theirs = fit(model), fit(model, convert(X), convert(y))
    found = theirs.predict(convert(X))
    assert type(found) is np.ndarray
    np.testing.assert_array_equal(found, ours.predict(X))


@pytest.mark.parametrize("kind", HOSTED)
@pytest.mark.parametrize("model", CALLS)
def test_foreign_arrays_in_parts(model, kind):
    convert, ours, theirs = KINDS[kind], fit(model), fit(model)
    columns = [X + 1] if model is UHopMemory else [X + 1, y]
    ours.partial_fit(*columns)
    theirs.partial_fit(*map(convert, columns))
    np.testing.assert_array_equal(theirs.patterns_, ours.patterns_)
    np.testing.assert_array_equal(theirs.predict(convert(X)), ours.predict(X))


@pytest.mark.skipif(can_dispatch, reason="this is a run with SCIPY_ARRAY_API=1")
@pytest.mark.parametrize(
    "part", ["not slow", pytest.param("slow", marks=pytest.mark.slow)]
)
def test_this_file_with_dispatch(part):
    environment = {
        **os.environ,
        "SCIPY_ARRAY_API": "1",
        "PYTHONPATH": str(Path(skuhop.__file__).parents[1]),
    }
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    command += ["-m", part, __file__]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-5000:]
    assert "passed" in done.stdout


# --- dispatch on ----------------------------------------------------------------------


@needs_dispatch
@pytest.mark.thin(3)
@pytest.mark.parametrize("gaps", [False, True])
@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("model, method", METHODS)
def test_answers_are_like_the_queries(model, method, kind, dtype, gaps, dispatch):
    queries = (GAPS if gaps else QUERIES).astype(dtype)
    theirs = KINDS[kind](queries)
    call = getattr(fitted(model), method)
    assert_answers_like(call(theirs), call(queries), theirs)


@needs_dispatch
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("model", CALLS)
def test_heaviest_patterns(model, kind, dispatch):
    estimator, theirs = fitted(model), KINDS[kind](GAPS)
    pairs = zip(
        estimator.association(theirs, top=3),
        estimator.association(GAPS, top=3),
        strict=True,
    )
    for found, expected in pairs:
        assert_answers_like(found, expected, theirs)


@needs_dispatch
@pytest.mark.parametrize("kind", KINDS)
def test_missing_weight(kind, dispatch):
    memory, theirs = fitted(UHopMemory), KINDS[kind](QUERIES)
    expected = memory.missing_weight(QUERIES)
    assert_answers_like(memory.missing_weight(theirs), expected, theirs)


@needs_dispatch
@pytest.mark.parametrize("kind", KINDS)
def test_fit_stores_numpy_and_learns_the_same(kind, dispatch):
    convert = KINDS[kind]
    ours = UHopMemory(random_state=0, max_iter=3, device="cpu")
    theirs = sklearn.clone(ours)
    ours.fit(WIDE, sample_weight=WEIGHTS, queries=WIDE)
    theirs.fit(convert(WIDE), sample_weight=convert(WEIGHTS), queries=convert(WIDE))
    assert vars(ours).keys() == vars(theirs).keys()
    for name, value in vars(ours).items():
        assert type(vars(theirs)[name]) is type(value), name
        if isinstance(value, np.ndarray):
            np.testing.assert_array_equal(vars(theirs)[name], value)
    queries = convert(WIDE + 0.1)
    assert_answers_like(theirs.transform(queries), ours.transform(WIDE + 0.1), queries)


PARTS = {
    "memory": (UHopMemory, None, {}),
    "memory, integers": (UHopMemory, None, {"dtype": "i8"}),
    "memory, an index": (UHopMemory, None, {"index": "auto", "similarity": "dot"}),
    "classifier": (UHopClassifier, y, {}),
    "classifier, words": (UHopClassifier, np.array(["no", "yes"])[y], {}),
    "regressor": (UHopRegressor, X[:, 0] * X[:, 1], {}),
    "regressor, columns": (UHopRegressor, X[:, :3] ** 2, {}),
    "regressor, integers": (UHopRegressor, y, {}),
    "regressor, float32": (UHopRegressor, X[:, :3] ** 2, {"dtype": "f4"}),
}


@needs_dispatch
@pytest.mark.thin(3)
@pytest.mark.parametrize("retention", [None, "merge", "reservoir"])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("case", PARTS)
def test_fitted_in_parts(case, kind, retention, dispatch):
    """What is stored is NumPy, and to the last bit what NumPy rows leave."""
    (model, values, params), convert = PARTS[case], KINDS[kind]
    params = {"max_iter": 3, "random_state": 0, "device": "cpu", **params}
    rows = (10 * X).astype(params.pop("dtype", "f8"))
    if model is not UHopMemory:
        params["training"] = CrossFitting(n_folds=2)
    if retention is not None:
        kept = Retention(retention, max_patterns=10, decay=0.9)
        params["retention"] = kept

    def foreign(array):
        return array if array.dtype.kind == "U" else convert(array)

    ours, theirs = model(**params), model(**params)
    for part in (slice(9), slice(9, 15), slice(15, 20)):
        columns = [rows[part]] if values is None else [rows[part], values[part]]
        ours.partial_fit(*columns, sample_weight=WEIGHTS[part])
        theirs.partial_fit(*map(foreign, columns), sample_weight=convert(WEIGHTS[part]))
    assert vars(ours).keys() == vars(theirs).keys()
    for name, value in vars(ours).items():
        found = vars(theirs)[name]
        assert type(found) is type(value), name
        if isinstance(value, np.ndarray):
            np.testing.assert_array_equal(found, value)
            assert found.dtype == value.dtype, name
    queries = convert(QUERIES)
    found, expected = theirs.predict(queries), ours.predict(QUERIES)
    if expected.dtype.kind == "U":
        np.testing.assert_array_equal(found, expected)
    else:
        assert_answers_like(found, expected, queries)


@needs_dispatch
@pytest.mark.parametrize("kind", KINDS)
def test_classes_named_in_advance(kind, dispatch):
    convert = KINDS[kind]
    classifier = UHopClassifier(**QUICK)
    for rows in (slice(12), slice(12, 20)):
        named = convert(np.array([0, 1, 2]))
        classifier.partial_fit(convert(X[rows]), convert(y[rows]), named)
    assert type(classifier.classes_) is np.ndarray
    assert classifier.classes_.tolist() == [0, 1, 2]
    assert classifier.predict_proba(convert(QUERIES)).shape == (7, 3)


@needs_dispatch
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("model", CALLS)
def test_a_part_that_does_not_fit_changes_nothing(model, kind, dispatch):
    convert, estimator = KINDS[kind], fit(model)
    before = dict(vars(estimator))
    columns = [] if model is UHopMemory else [convert(y)]
    with pytest.raises(ValueError, match="7 features"):
        estimator.partial_fit(convert(X[:, :5]), *columns)
    bad = convert(np.where(X == X[0, 0], np.inf, X))
    with pytest.raises(ValueError, match="infinity"):
        estimator.partial_fit(bad, *columns)
    assert all(vars(estimator)[name] is value for name, value in before.items())


@needs_dispatch
@needs_gpu
@pytest.mark.parametrize("model", CALLS)
def test_fitted_in_parts_from_a_gpu(model, dispatch):
    quick = QUICK if model is not UHopMemory else {"max_iter": 3}
    estimator = model(**(quick | {"device": "auto"}))
    values = () if model is UHopMemory else (torch.as_tensor(y, device="cuda"),)
    for part in (slice(12), slice(12, 20)):
        rows = torch.as_tensor(X[part], device="cuda")
        estimator.partial_fit(rows, *(column[part] for column in values))
    assert type(estimator.patterns_) is np.ndarray
    assert len(estimator.patterns_) == 20
    queries = torch.as_tensor(QUERIES, device="cuda")
    assert estimator.predict(queries).device == queries.device


QUICK = {
    "max_iter": 3,
    "training": CrossFitting(n_folds=2),
    "random_state": 0,
    "device": "cpu",
}


@needs_dispatch
@pytest.mark.parametrize(
    "labels", [y, y == 1, y.astype("f4"), y.astype("i2") - 5], ids=lambda a: a.dtype
)
@pytest.mark.parametrize("kind", KINDS)
def test_labels_are_like_the_queries(kind, labels, dispatch):
    classifier, theirs = fit(UHopClassifier, y=labels), KINDS[kind](QUERIES)
    assert_answers_like(classifier.predict(theirs), classifier.predict(QUERIES), theirs)


@needs_dispatch
@pytest.mark.parametrize("kind", KINDS)
def test_words_stay_numpy(kind, dispatch):
    """No library but NumPy has arrays of them."""
    words = np.array(["no", "yes"])[y]
    classifier = fit(UHopClassifier, KINDS[kind](X), words)
    found = classifier.predict(KINDS[kind](QUERIES))
    assert type(found) is np.ndarray
    np.testing.assert_array_equal(found, classifier.predict(QUERIES))
    assert classifier.score(KINDS[kind](X), words) == classifier.score(X, words)


@needs_dispatch
@pytest.mark.parametrize("kind", KINDS)
def test_scores(kind, dispatch):
    convert, memory, classifier = (
        KINDS[kind],
        fitted(UHopMemory),
        fitted(UHopClassifier),
    )
    target = np.where(np.isnan(GAPS), np.nan, X[:7])
    for parts in ((QUERIES,), (GAPS, X[:7]), (QUERIES, target), (X, y)):
        expected = memory.score(*parts)
        found = memory.score(*map(convert, parts))
        assert type(found) is float
        assert found == expected
    assert memory.score(convert(QUERIES), X[:7]) == memory.score(QUERIES, X[:7])
    assert classifier.score(convert(X), convert(y)) == classifier.score(X, y)


@needs_dispatch
def test_numpy_stays_numpy(dispatch):
    for model, method in METHODS:
        found = getattr(fitted(model), method)(GAPS)
        assert type(found) is np.ndarray
        with sklearn.config_context(array_api_dispatch=False):
            expected = getattr(fitted(model), method)(GAPS)
        np.testing.assert_array_equal(found, expected)


@needs_dispatch
@pytest.mark.parametrize("model, method", METHODS)
def test_tensors_do_not_touch_the_host(model, method, monkeypatch, dispatch):
    call, queries = getattr(fitted(model), method), torch.as_tensor(QUERIES)
    expected = call(queries)  # and what the memory prepares is prepared

    def refuse(*args, **kwargs):
        raise AssertionError("a tensor went to NumPy")

    for name in ("numpy", "cpu", "__array__", "tolist"):
        monkeypatch.setattr(torch.Tensor, name, refuse)
    found = call(queries)
    monkeypatch.undo()
    assert torch.equal(found, expected)


@needs_dispatch
@pytest.mark.parametrize("kind", KINDS)
def test_bad_arrays_are_refused(kind, dispatch):
    convert, memory = KINDS[kind], fitted(UHopMemory)
    bad = QUERIES.copy()
    bad[0, 0] = np.inf
    with pytest.raises(ValueError, match="infinity"):
        memory.transform(convert(bad))
    with pytest.raises(ValueError, match="7 features"):
        memory.transform(convert(QUERIES[:, :5]))
    with pytest.raises(ValueError, match="shape of X"):
        memory.score(convert(QUERIES), convert(X))
    with pytest.raises(ValueError, match="NaN"):
        UHopMemory(similarity="dot").fit(convert(GAPS))


@needs_dispatch
def test_integers_and_views(dispatch):
    memory = fitted(UHopMemory)
    whole = torch.arange(28).reshape(4, 7)
    assert memory.transform(whole).dtype == torch.float64
    wide = torch.as_tensor(np.tile(QUERIES, 2))
    found = memory.transform(wide[:, 7:])
    np.testing.assert_array_equal(found.numpy(), memory.transform(QUERIES))


@needs_dispatch
def test_negative_strides(dispatch):
    """torch ends the process over them."""
    strict = pytest.importorskip("array_api_strict")
    backwards = strict.asarray(QUERIES[::-1], copy=False)
    found = fitted(UHopMemory).transform(backwards)
    assert_answers_like(found, fitted(UHopMemory).transform(QUERIES[::-1]), backwards)


@needs_dispatch
def test_pipeline_and_search(dispatch):
    tensor, labels = torch.as_tensor(X), torch.as_tensor(y)
    pipeline = make_pipeline(MinMaxScaler(), UHopMemory(max_iter=3, device="cpu")).fit(
        tensor
    )
    found = pipeline.transform(tensor)
    expected = make_pipeline(MinMaxScaler(), UHopMemory(max_iter=3, device="cpu")).fit(
        X
    )
    np.testing.assert_allclose(found.numpy(), expected.transform(X), rtol=1e-6)
    search = GridSearchCV(
        UHopMemory(max_iter=3, device="cpu"), {"beta": [1.0, "auto"]}, cv=2
    )
    search.fit(tensor)
    assert isinstance(search.transform(tensor), torch.Tensor)
    scores = cross_val_score(UHopClassifier(**QUICK), tensor, labels, cv=2)
    expected = cross_val_score(UHopClassifier(**QUICK), X, y, cv=2)
    np.testing.assert_allclose(scores, expected)


def test_the_tag_promises_no_fitted_tensors():
    """Its checks want fitted attributes in the library of X; ours are NumPy."""
    for model in CALLS:
        assert not model().__sklearn_tags__().array_api_support


@needs_dispatch
@needs_gpu
@pytest.mark.parametrize("device", ["auto", "cuda", "cpu"])
@pytest.mark.parametrize("model, method", METHODS)
def test_tensors_on_a_gpu(model, method, device, dispatch):
    estimator = fit(model, device=device)
    for home in ("cuda", "cpu"):
        queries = torch.as_tensor(GAPS, device=home)
        found = getattr(estimator, method)(queries)
        assert found.device == queries.device
        np.testing.assert_allclose(
            found.cpu().numpy(), getattr(estimator, method)(GAPS), rtol=1e-8, atol=1e-10
        )
