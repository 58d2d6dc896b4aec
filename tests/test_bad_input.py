"""Bad input gives errors that help, and odd but valid input gives answers."""

import copy

import numpy as np
import pytest
import torch
from sklearn.exceptions import NotFittedError

from skuhop import CrossFitting, Entmax, Index, Retention, UHopMemory
from skuhop.estimators.parameters import MEMORY_RULES
from skuhop.exceptions import InvalidParameterError
from skuhop.retrieval import SEPARATIONS, SIMILARITIES

RNG = np.random.default_rng(0)
X = RNG.normal(size=(8, 5))
METHODS = ["transform", "predict", "energy", "score_samples", "association", "score"]


def small(**params):
    return UHopMemory(**{"max_iter": 3, **params})


# --- parameters ----------------------------------------------------------------------

WRONG = {
    "feature_map": ["quadratic", None, 3, ["linear"]],
    "n_components": [0, -1, 2.5, "two", True, np.nan],
    "loss": ["mean", None, 1, str.upper],
    "corruption": ["blur", 0.5, True, ["mask"]],
    "similarity": ["l2", None, 2, "Euclidean"],
    "separation": ["argmax", None, 1.5, Entmax],
    "separation__alpha": [1, 2.1, np.nan, "1.5", None],
    "separation__gamma": [1, "auto", None],
    "separation__k": [0, 1.5, None],
    "separation__degree": [0, -2, None],
    "beta": [0, 0.0, -1, np.nan, np.inf, "high", None, True, [1.0]],
    "categorical_features": ["dtype", 3, [0.5], [[True]]],
    "update_steps": [0, -3, 1.5, "one", None, True, Index("ivf")],
    "update_steps__steps": [0, 1.5, "one", None, True],
    "update_steps__tol": [-1e-9, np.nan, np.inf, None, "small"],
    "update_steps__answer": ["L2", None, 1],
    "max_iter": [0, -1, 10.0, None, "many"],
    "training": ["adam", 3, CrossFitting()],
    "training__learning_rate": [0, -1e-3, np.nan, np.inf, "auto", None],
    "training__tol": [-1e-9, np.nan, np.inf, None, "small"],
    "training__early_stopping": [1, 0, "yes", None],
    "training__n_iter_no_change": [0, -1, 2.5, None],
    "warm_start": [1, "no", None],
    "verbose": [-1, 0.5, "loud", None],
    "precision": ["float64", "fp16", 32, None],
    "index": ["faiss", True, 1, ["hnsw"]],
    "index__kind": ["faiss", None, 1],
    "index__tol": [-1e-9, np.nan, np.inf, None, "small"],
    "index__tail": ["keep", None, True],
    "retention": ["newest", None, 1, Retention],
    "retention__rule": ["newest", None, 1],
    "retention__max_patterns": [0, -1, 2.5, "many", True],
    "retention__decay": [0, -0.5, 1.01, np.nan, "slow", None],
    "device": ["banana", "", 0, None, "cpu:x"],
    "random_state": ["seed", -1, 1.5],
}


def cases(table):
    return [
        pytest.param(name, value, id=f"{name}={value!r}"[:40])
        for name, values in table.items()
        for value in values
    ]


OWNERS = {
    "separation__alpha": "entmax",
    "separation__gamma": "normmax",
    "separation__k": "ksubsets",
    "separation__degree": "polynomial",
    **dict.fromkeys(("index__kind", "index__tol", "index__tail"), "auto"),
}
"""Shorthand of the choices that have a number, where the default has not."""


def wrong(memory, name, value):
    """Set a parameter, which checks nothing; its choice first, if it is inside one."""
    if name in OWNERS:
        memory.set_params(**{name.partition("__")[0]: OWNERS[name]})
    return memory.set_params(**{name: value})


def test_every_parameter_has_wrong_values():
    # What a parameter that is not listed here refuses, nobody has tried.
    assert set(WRONG) == {*MEMORY_RULES, "random_state"}
    assert {name for name in WRONG if "__" not in name} == set(
        UHopMemory().get_params()
    )


@pytest.mark.parametrize("name, value", cases(WRONG))
def test_wrong_parameters(name, value):
    memory = wrong(UHopMemory(), name, value)
    with pytest.raises((ValueError, TypeError)) as caught:
        memory.fit(X)
    message = str(caught.value)
    if name != "random_state":  # that message is scikit-learn's
        assert isinstance(caught.value, InvalidParameterError)
        assert name in message
        assert "must be" in message
        assert repr(value) in message
    assert not any(key.endswith("_") for key in vars(memory))


@pytest.mark.parametrize("name", ["similarity", "separation", "loss"])
def test_unknown_names_list_the_known_ones(name):
    known = {"similarity": SIMILARITIES, "separation": SEPARATIONS}.get(name, ["max"])
    with pytest.raises(InvalidParameterError) as caught:
        UHopMemory(**{name: "unheard of"}).fit(X)
    assert all(repr(choice) in str(caught.value) for choice in known)


@pytest.mark.parametrize("number", ["alpha", "beta", "tol"])
@pytest.mark.parametrize("separation", ["softmax", "unheard of", None])
def test_numbers_of_what_has_none(separation, number):
    memory = UHopMemory(separation=separation)
    with pytest.raises(InvalidParameterError, match="'entmax', 'normmax'") as caught:
        memory.set_params(**{f"separation__{number}": 1.5})
    assert repr(separation) in str(caught.value)


@pytest.mark.parametrize("name", ["separation__k", "index__bits", "training__alpha"])
def test_numbers_that_a_choice_has_not(name):
    memory = UHopMemory(separation="entmax", index="ivf")
    with pytest.raises(ValueError, match=f"Invalid parameter '{name.split('__')[1]}'"):
        memory.set_params(**{name: 1})


def test_no_index_has_no_numbers():
    with pytest.raises(InvalidParameterError, match=r"index=None.*'ivf'"):
        UHopMemory().set_params(index__tol=0.1)


def test_an_object_of_the_wrong_kind_lists_the_right_ones():
    right = r"'softmax', .* or Entmax\(...\), .*Polynomial\(...\). Got Index\(\)"
    with pytest.raises(InvalidParameterError, match=right):
        UHopMemory(separation=Index()).fit(X)


@pytest.mark.parametrize("name, value", cases({k: WRONG[k][:2] for k in WRONG}))
def test_wrong_parameters_set_after_fit(name, value):
    """What Stage II reads is checked again; nothing runs on with nonsense."""
    if name in ("random_state", "device"):
        pytest.skip("not read by Stage II, or tested with devices")
    memory = wrong(small().fit(X), name, value)
    with pytest.raises(InvalidParameterError, match=name):
        memory.transform(X)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
@pytest.mark.parametrize("device", ["cuda", "cuda:7"])
def test_absent_device(device):
    with pytest.raises(InvalidParameterError, match="device") as caught:
        UHopMemory(device=device).fit(X)
    assert repr(device) in str(caught.value)
    assert "'cpu'" in str(caught.value)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_absent_second_device():
    absent = f"cuda:{torch.cuda.device_count()}"
    with pytest.raises(InvalidParameterError, match=absent):
        UHopMemory(device=absent).fit(X)


# --- data ----------------------------------------------------------------------------


def with_value(value):
    changed = X.copy()
    changed[2, 3] = value
    return changed


REFUSED = {
    "one dimension": X[0],
    "three dimensions": X[None],
    "no rows": X[:0],
    "no columns": X[:, :0],
    "infinity": with_value(np.inf),
    "minus infinity": with_value(-np.inf),
    "complex": X.astype(complex),
    "text": np.array([["a", "b"], ["c", "d"]]),
    "a number": 3.0,
}
MESSAGES = {
    "one dimension": "2D array",
    "three dimensions": "dim 3",
    "no rows": "0 sample",
    "no columns": "0 feature",
    "infinity": "infinity",
    "minus infinity": "infinity",
    "complex": "[Cc]omplex",
    "text": "could not convert string to float",
    "a number": "2D array",
}


@pytest.mark.parametrize("case", REFUSED)
def test_fit_refuses(case):
    if case == "text":  # Words are nominal, where numbers have not been told first.
        assert small().fit(REFUSED[case]).is_categorical_.all()
        return
    with pytest.raises((ValueError, TypeError), match=MESSAGES[case]):
        small().fit(REFUSED[case])


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("case", REFUSED)
def test_queries_refused(case, method):
    memory = small().fit(X)
    with pytest.raises((ValueError, TypeError), match=MESSAGES[case]):
        getattr(memory, method)(REFUSED[case])


def test_fit_refuses_infinity():
    with pytest.raises(ValueError, match="infinity"):
        small().fit(with_value(np.inf))


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("n_features", [4, 6])
def test_wrong_number_of_features(method, n_features):
    memory = small().fit(X)
    with pytest.raises(ValueError, match=f"{n_features} features.*expecting 5"):
        getattr(memory, method)(np.ones((2, n_features)))


@pytest.mark.parametrize("method", METHODS)
def test_not_fitted(method):
    with pytest.raises(NotFittedError, match="UHopMemory"):
        getattr(UHopMemory(), method)(X)


@pytest.mark.parametrize("y", [np.ones((8, 4)), np.ones((7, 5)), np.ones((2, 8, 5))])
def test_score_refuses_a_target_of_another_shape(y):
    memory = small().fit(X)
    with pytest.raises(ValueError, match=r"shape|samples|dim"):
        memory.score(X, y)


@pytest.mark.parametrize("top", [0, 9, -1, 1.5, "all", True])
def test_association_refuses_top(top):
    with pytest.raises(InvalidParameterError, match="top") as caught:
        small().fit(X).association(X, top=top)
    assert "8" in str(caught.value)
    assert repr(top) in str(caught.value)


@pytest.mark.parametrize(
    "weights, match",
    [
        (np.zeros(8), "weight.*zero|zero.*weight"),
        (np.r_[-1.0, np.ones(7)], "[Nn]egative"),
        (np.ones(7), r"sample_weight.*\(7,\)|inconsistent"),
        (np.ones((8, 2)), "1D array|sample_weight|[Ww]eight"),
        (np.r_[np.nan, np.ones(7)], "NaN"),
        (np.r_[np.inf, np.ones(7)], "infinity"),
        (["a"] * 8, "could not convert"),
    ],
)
def test_wrong_weights(weights, match):
    memory = small()
    with pytest.raises(ValueError, match=match):
        memory.fit(X, sample_weight=weights)
    assert not any(key.endswith("_") for key in vars(memory))


@pytest.mark.parametrize("method", ["energy", "score_samples"])
def test_no_energy_for_polynomial(method):
    memory = small(separation="polynomial").fit(X)
    assert not hasattr(memory, method)
    with pytest.raises(AttributeError, match=method):
        getattr(memory, method)


@pytest.mark.parametrize(
    "corruption",
    [lambda X, random_state: X[:1], lambda X, random_state: X * np.nan],
    ids=["shape", "NaN"],
)
def test_a_corruption_that_returns_nonsense(corruption):
    with pytest.raises(ValueError, match="corruption must return"):
        small(corruption=corruption).fit(X)


FAILURES = {
    "infinity": ({}, {"X": with_value(np.inf)}),
    "holes": ({"similarity": "cosine"}, {"X": with_value(np.nan)}),
    "parameter": ({"beta": -1}, {"X": X}),
    "weights": ({}, {"X": X, "sample_weight": np.zeros(8)}),
    "device": ({"device": "banana"}, {"X": X}),
    "module": ({"feature_map": lambda n: 1 / 0}, {"X": X}),
    "more features": ({}, {"X": np.ones((3, 9)), "sample_weight": -np.ones(3)}),
}


@pytest.mark.parametrize("case", FAILURES)
def test_a_failed_fit_leaves_the_estimator_as_it_was(case):
    memory = small().fit(X)
    params, arguments = FAILURES[case]
    expected = memory.transform(X[:3])
    memory.set_params(**params)
    before = copy.deepcopy(vars(memory))
    with pytest.raises((ValueError, ZeroDivisionError)):
        memory.fit(**arguments)
    assert vars(memory).keys() == before.keys()
    for key, value in before.items():
        np.testing.assert_equal(vars(memory)[key], value, err_msg=key)
    memory.set_params(**UHopMemory().get_params()).set_params(max_iter=3)
    np.testing.assert_array_equal(memory.transform(X[:3]), expected)


# --- odd but valid -------------------------------------------------------------------

ALL = [
    pytest.param(similarity, separation, id=f"{similarity}-{separation}")
    for similarity in ("auto", *SIMILARITIES)
    for separation in SEPARATIONS
]


def assert_finite(memory, queries):
    """Everything that can be asked is finite, and weights are weights."""
    out = memory.transform(queries)
    assert out.shape == np.shape(queries)
    assert np.isfinite(out).all()
    weights = memory.association(queries)
    assert np.isfinite(weights).all()
    assert (weights >= 0).all()
    if not SEPARATIONS[memory.separation].null:
        np.testing.assert_allclose(weights.sum(1), 1, rtol=1e-5)
    assert (memory.predict(queries) < len(memory.patterns_)).all()
    if hasattr(memory, "energy"):
        assert np.isfinite(memory.energy(queries)).all()
    assert np.isfinite(memory.score(queries))
    return out


def fit(similarity, separation, X, **params):
    return small(similarity=similarity, separation=separation, **params).fit(X)


@pytest.mark.thin(3)
@pytest.mark.parametrize("beta", ["auto", 1.0])
@pytest.mark.parametrize("similarity, separation", ALL)
def test_one_pattern(similarity, separation, beta):
    memory = fit(similarity, separation, X[:1], beta=beta)
    out = assert_finite(memory, X)
    if not SEPARATIONS[separation].null:
        np.testing.assert_allclose(out, np.repeat(X[:1], 8, axis=0), rtol=1e-12)


@pytest.mark.thin(3)
@pytest.mark.parametrize("similarity, separation", ALL)
def test_duplicates(similarity, separation):
    doubled = np.concatenate([X, X[:3], X[:1]])
    memory = fit(similarity, separation, doubled)
    weights = memory.association(X)
    np.testing.assert_allclose(weights[:, 0], weights[:, 8], rtol=1e-6, atol=1e-12)
    np.testing.assert_allclose(weights[:, 0], weights[:, 11], rtol=1e-6, atol=1e-12)
    assert_finite(memory, X)
    assert_finite(fit(similarity, separation, np.repeat(X[:1], 4, axis=0)), X)


@pytest.mark.thin(3)
@pytest.mark.parametrize("similarity, separation", ALL)
def test_zero_patterns_and_zero_queries(similarity, separation):
    patterns = np.concatenate([X, np.zeros((2, 5))])
    queries = np.concatenate([np.zeros((1, 5)), X])
    assert_finite(fit(similarity, separation, patterns), queries)
    assert_finite(fit(similarity, separation, np.zeros((3, 5))), queries)


@pytest.mark.thin(3)
@pytest.mark.parametrize("similarity, separation", ALL)
def test_constant_features_and_constant_rows(similarity, separation):
    patterns = X.copy()
    patterns[:, 1:3] = [0.0, 7.0]
    patterns[0] = 3.0
    assert_finite(fit(similarity, separation, patterns), patterns)


@pytest.mark.thin(3)
@pytest.mark.parametrize("similarity, separation", ALL)
def test_one_feature(similarity, separation):
    memory = fit(similarity, separation, X[:, :1])
    assert_finite(memory, X[:, :1])
    assert_finite(memory, np.array([[np.nan], [0.0]]))


@pytest.mark.thin(4)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("beta", [1e8, 1e300])
@pytest.mark.parametrize("similarity, separation", ALL)
def test_extreme_beta(similarity, separation, beta, dtype):
    memory = fit(similarity, separation, X.astype(dtype), beta=beta)
    queries = X[::-1].astype(dtype)
    queries[1, :2] = np.nan
    assert_finite(memory, queries)
    if (
        beta > 1
        and similarity in ("euclidean", "manhattan")
        and separation == "softmax"
    ):
        np.testing.assert_allclose(memory.transform(X), X, rtol=1e-5)


@pytest.mark.thin(3)
@pytest.mark.parametrize("similarity, separation", ALL)
def test_tiny_beta(similarity, separation):
    """The energy, of the order of 1 / beta, is beyond all numbers; the rest is not."""
    memory = fit(similarity, separation, X.astype(np.float32), beta=1e-300)
    assert np.isfinite(memory.transform(X.astype(np.float32))).all()
    assert np.isfinite(memory.association(X.astype(np.float32))).all()


@pytest.mark.thin(3)
@pytest.mark.parametrize("similarity, separation", ALL)
def test_extreme_scales(similarity, separation):
    for scale in (1e-12, 1e12):
        assert_finite(fit(similarity, separation, scale * X), scale * X)


@pytest.mark.thin(3)
@pytest.mark.parametrize("similarity, separation", ALL)
def test_incomplete_queries(similarity, separation):
    queries = X.copy()
    queries[RNG.random(X.shape) < 0.5] = np.nan
    queries[0] = np.nan
    queries[1] = [np.nan, 0, 0, np.nan, 0]
    queries[2] = [np.nan, 3, 3, np.nan, 3]
    assert_finite(fit(similarity, separation, X), queries)


def memmapped(X, path):
    np.save(path / "X.npy", X)
    return np.load(path / "X.npy", mmap_mode="r")


UNUSUAL = {
    "Fortran order": lambda X, path: np.asfortranarray(X),
    "negative strides": lambda X, path: np.ascontiguousarray(X[::-1, ::-1])[::-1, ::-1],
    "strided": lambda X, path: np.repeat(np.repeat(X, 2, 0), 2, 1)[::2, ::2],
    "big-endian": lambda X, path: X.astype(X.dtype.newbyteorder(">")),
    "read-only memmap": memmapped,
    "list": lambda X, path: X.tolist(),
    "object": lambda X, path: X.astype(object),
}


@pytest.mark.parametrize("layout", UNUSUAL)
def test_layout_of_the_array_is_irrelevant(layout, tmp_path):
    queries = X.copy()
    queries[0, 1] = np.nan
    expected = small().fit(X).transform(queries)
    memory = small().fit(UNUSUAL[layout](X, tmp_path))
    found = memory.transform(UNUSUAL[layout](queries, tmp_path))
    np.testing.assert_allclose(found, expected, rtol=1e-12)
    assert found.dtype == np.float64
    assert found.dtype.isnative


@pytest.mark.parametrize("dtype", [np.float16, np.int8, np.int64, np.uint8, bool])
def test_other_numbers_are_computed_in_float64(dtype):
    whole = RNG.integers(0, 2, size=(6, 9)).astype(dtype)
    found = small().fit(whole).transform(whole)
    assert found.dtype == np.float64
    expected = small().fit(whole.astype(float)).transform(whole.astype(float))
    np.testing.assert_array_equal(found, expected)


def test_more_components_than_there_are():
    memory = small(n_components=100).fit(X[:3])
    assert memory.components_.shape == (3, 5)
    assert_finite(memory, X)
