"""The size of the data does not matter: answers are those at scale 1, or an error."""

import numpy as np
import pytest
from sklearn.base import clone

from skuhop import (
    CrossFitting,
    Entmax,
    KanervaMemory,
    Training,
    UHopClassifier,
    UHopMemory,
    UHopRegressor,
    Updates,
)
from skuhop.retrieval import SIMILARITIES

RNG = np.random.default_rng(0)
# Numbers that float32 has, so that both precisions see the same.
X = (RNG.normal(size=(30, 9)) + 0.3).astype("f4").astype("f8")
QUERIES = (X[:8] + 0.4 * RNG.normal(size=(8, 9))).astype("f4").astype("f8")
GAPS = np.where(RNG.uniform(size=QUERIES.shape) < 0.3, np.nan, QUERIES)
LABELS, VALUES = X[:, 0] > 0, 3 * X[:, 0] + X[:, 1] ** 2
POWERS = {"f4": (-100, 100), "f8": (-498, 498)}
scales = pytest.mark.parametrize(
    "dtype, power", [(dtype, power) for dtype in POWERS for power in POWERS[dtype]]
)


def drop(rows, random_state):
    return rows * (random_state.uniform(size=rows.shape) < 0.6)


MEMORIES = {
    **{name: {"similarity": name} for name in (*SIMILARITIES, "auto")},
    **{f"{name}, beta": {"similarity": name, "beta": 2.0} for name in SIMILARITIES},
    **{
        f"{name}, {rule}": {"similarity": name, "beta": 0.5, "separation": rule}
        for name in ("euclidean", "dot", "manhattan")
        for rule in ("softmax1", "polynomial", "sparsemax", "ksubsets")
    },
    "linear": {"feature_map": "linear"},
    "mlp": {"feature_map": "mlp", "training": Training(learning_rate=0.01)},
    "max loss": {
        "feature_map": "linear",
        "loss": "max",
        "training": Training(early_stopping=False),
    },
    "posterior": {
        "feature_map": "mlp",
        "loss": "posterior",
        "similarity": "euclidean",
        "corruption": drop,
    },
    "told": {"corruption": "mask"},
    "told a function": {"corruption": drop},
    "shown": {},
    "layernorm": {"update_steps": Updates(answer="layernorm"), "similarity": "cosine"},
    "steps": {"similarity": "euclidean", "beta": 1.0, "update_steps": 4},
    "sparsity": {
        "similarity": "euclidean",
        "beta": 1.0,
        "separation": Entmax(alpha="auto"),
    },
}


def asked(name, dtype, power):
    """Answers of a memory to data times ``2 ** power``, brought back."""
    scale = 2.0**power
    stored, queries, gaps = ((a * scale).astype(dtype) for a in (X, QUERIES, GAPS))
    params = {"feature_map": "identity", "max_iter": 10, **MEMORIES[name]}
    rule = SIMILARITIES.get(params.get("similarity"))
    if "beta" in params:
        params["beta"] /= rule.in_user_units(scale)
    memory = UHopMemory(**params, device="cpu", random_state=0)
    memory.fit(stored, queries=queries if name == "shown" else None)
    found = []
    for rows in (queries, gaps):
        answer = memory.transform(rows).astype("f8") / scale
        if Updates.of(memory.update_steps).answer != "plain":  # Its size is given.
            answer[~np.isnan(rows).any(1)] *= scale
        found += [answer, memory.association(rows), memory.predict(rows)]
    return found


def assert_same(found, expected, dtype):
    tolerance = 1e-5 if dtype == "f4" else 1e-11
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=tolerance, atol=tolerance)


@pytest.mark.thin(2)
@pytest.mark.parametrize("dtype", POWERS)
@pytest.mark.parametrize("name", MEMORIES)
def test_memories(name, dtype):
    expected = asked(name, dtype, 0)
    for power in POWERS[dtype]:
        assert_same(asked(name, dtype, power), expected, dtype)


ESTIMATORS = {
    "default": {"max_iter": 5},
    "linear": {"feature_map": "linear", "max_iter": 5, "training__linear_share": 0},
    "mlp": {"feature_map": "mlp", "max_iter": 5},
    "identity": {"feature_map": "identity"},
    **{
        f"identity, {name}": {
            "feature_map": "identity",
            "similarity": name,
            "beta": 2.0,
        }
        for name in SIMILARITIES
    },
}


@pytest.mark.thin(2)
@pytest.mark.parametrize("dtype", POWERS)
@pytest.mark.parametrize("name", ESTIMATORS)
@pytest.mark.parametrize("kind", [UHopClassifier, UHopRegressor])
def test_classifier_and_regressor(kind, name, dtype):
    def found(power):
        scale = 2.0**power
        stored, queries, gaps = ((a * scale).astype(dtype) for a in (X, QUERIES, GAPS))
        params = dict(ESTIMATORS[name])
        if "beta" in params:
            params["beta"] /= SIMILARITIES[params["similarity"]].in_user_units(scale)
        model = kind(
            training=CrossFitting(n_folds=2), device="cpu", random_state=0
        ).set_params(**params)
        model.fit(stored, LABELS if kind is UHopClassifier else VALUES)
        answer = getattr(model, "predict_proba", model.predict)
        return [answer(queries), answer(gaps), model.association(queries)]

    expected = found(0)
    for power in POWERS[dtype]:
        assert_same(found(power), expected, dtype)


@scales
@pytest.mark.parametrize("params", [{}, {"addressing": "fourier"}, {"beta": 0.1}])
def test_kanerva(params, dtype, power):
    def found(scale):
        stored, queries = ((a * scale).astype(dtype) for a in (X, QUERIES))
        memory = KanervaMemory(n_slots=6, device="cpu", random_state=0, **params)
        if "beta" in params:
            memory.set_params(beta=params["beta"] / scale / scale)
        memory.fit(stored[:20]).partial_fit(stored[20:])
        answer, std = memory.retrieve(queries, return_std=True)
        rows = [answer.astype("f8"), std.astype("f8"), memory.sample(3, random_state=0)]
        density = memory.score_samples(queries) + X.shape[1] * np.log(scale)
        return [*(a / scale for a in rows), memory.address(queries), density]

    assert_same(found(2.0**power), found(1.0), dtype)


@pytest.mark.parametrize("dtype, power", [("f4", 100), ("f4", -100), ("f8", 498)])
def test_columns_of_any_scale(dtype, power):
    factors = 2.0 ** (power * np.linspace(-1, 1, 9).round(1).astype(int))
    mixed = (X * factors).astype(dtype), (GAPS * factors).astype(dtype)
    model = UHopClassifier(
        max_iter=20, training=CrossFitting(n_folds=2), device="cpu", random_state=0
    )
    assert model.fit(mixed[0], LABELS).score(mixed[0], LABELS) > 0.9
    assert np.isfinite(model.predict_proba(mixed[1])).all()
    for params in ({}, {"similarity": "cosine"}):
        memory = UHopMemory(max_iter=5, device="cpu", **params).fit(mixed[0])
        assert np.isfinite(memory.association(mixed[1])).all()


def test_energies_are_in_the_users_units():
    for name, degree in (("euclidean", 2), ("dot", 2), ("manhattan", 1), ("cosine", 0)):
        one, other = (
            UHopMemory(
                "identity",
                similarity=name,
                beta=2.0 / scale**degree,
                separation="softmax1",
            )
            .fit(X * scale)
            .energy(np.vstack([QUERIES, GAPS]) * scale)
            / scale**degree
            for scale in (1.0, 2.0**100)
        )
        np.testing.assert_allclose(one, other, rtol=1e-12)


@pytest.mark.parametrize("params", [{}, {"similarity": "euclidean"}])
def test_log_likelihoods_are_densities_in_the_users_units(params):
    memory = UHopMemory("identity", corruption="noise", random_state=0, **params)
    likelihoods = [
        clone(memory).fit(X * s).score_samples(QUERIES * s) for s in (1.0, 2.0**60)
    ]
    gaps = likelihoods[0] - likelihoods[1]
    np.testing.assert_allclose(gaps, gaps[0], rtol=1e-9)
    if params:
        np.testing.assert_allclose(gaps, 9 * 60 * np.log(2), rtol=1e-9)


def test_energies_that_are_no_numbers_are_refused():
    memory = UHopMemory("identity", similarity="euclidean", beta=1.0)
    memory.fit((X * 2.0**100).astype("f4"))
    with pytest.raises(ValueError, match=r"e\+6.*float32"):
        memory.energy((QUERIES * 2.0**100).astype("f4"))


@pytest.mark.parametrize("power", [400, -400])
def test_sizes_that_the_queries_precision_has_not(power):
    stored, queries = X * 2.0**power, QUERIES.astype("f4")
    models = [UHopMemory("identity"), UHopClassifier("identity"), UHopRegressor()]
    for model in models:
        model.set_params(max_iter=2, device="cpu").fit(stored, LABELS)
        with pytest.raises(ValueError, match=r"size .*e[+-]1.*float32"):
            model.association(queries)


def test_values_that_the_queries_precision_has_not():
    model = UHopRegressor(max_iter=2, training=CrossFitting(n_folds=2), device="cpu")
    for power in (400, -400):
        model.fit(X, VALUES * 2.0**power)
        assert np.isfinite(model.predict(QUERIES)).all()
        with pytest.raises(ValueError, match=r"y is of the size .*float32"):
            model.predict(QUERIES.astype("f4"))


@pytest.mark.thin(2)
@pytest.mark.parametrize("missing", [False, True])
@pytest.mark.parametrize("beta", ["auto", 0.5, 1e30])
@pytest.mark.parametrize("similarity", [*SIMILARITIES, "auto"])
def test_far_queries(similarity, beta, missing):
    for dtype, far in (("f4", 1e37), ("f8", 1e200)):
        queries = (QUERIES * far).astype(dtype)
        if missing:
            queries[:, 1] = np.nan
        for separation in ("softmax1", "polynomial", "sparsemax"):
            memory = UHopMemory(
                "identity", similarity=similarity, beta=beta, separation=separation
            ).fit(X.astype(dtype))
            assert np.isfinite(memory.association(queries)).all()
            if separation != "polynomial":
                assert not np.isnan(memory.energy(queries)).any()


def test_a_far_query_goes_the_way_of_a_near_one():
    memory = UHopMemory("identity", similarity="dot", beta=1e-25).fit(X)
    expected = UHopMemory("identity", similarity="dot", beta=1.0).fit(X)
    found = memory.association(QUERIES.astype("f4") * np.float32(1e25))
    np.testing.assert_allclose(found, expected.association(QUERIES), rtol=1e-4)


def test_far_queries_of_what_stores_values():
    for kind, y in ((UHopClassifier, LABELS), (UHopRegressor, VALUES)):
        model = kind(max_iter=3, training=CrossFitting(n_folds=2), device="cpu").fit(
            X.astype("f4"), y
        )
        for far in (1e20, 1e37):
            queries = (GAPS * far).astype("f4")
            assert np.isfinite(model.predict(queries)).all()


@pytest.mark.parametrize("beta", [1e38, 1e300, 10**30])
@pytest.mark.parametrize("similarity", SIMILARITIES)
def test_any_beta(similarity, beta):
    for feature_map in ("linear", "identity"):
        params = {
            "similarity": similarity,
            "beta": beta,
            "max_iter": 2,
            "training": CrossFitting(n_folds=2),
        }
        for dtype in ("f4", "f8"):
            model = UHopClassifier(feature_map, device="cpu", **params)
            proba = model.fit(X.astype(dtype), LABELS).predict_proba(X.astype(dtype))
            assert np.isfinite(proba).all()
            memory = UHopMemory("identity", similarity=similarity, beta=beta)
            memory.fit(X.astype(dtype))
            assert np.isfinite(memory.association(X.astype(dtype))).all()
    model = UHopRegressor("linear", device="cpu", **params).fit(X, VALUES)
    assert np.isfinite(model.predict(X)).all()


def test_many_constant_outputs():
    y = np.full((30, 20), 3.0)
    model = UHopRegressor(
        max_iter=3, training=CrossFitting(n_folds=2), device="cpu"
    ).fit(X, y)
    np.testing.assert_allclose(model.predict(QUERIES), y[:8])


# --- offsets, ties and centres -------------------------------------------------------


def test_correlation_of_incomplete_rows_with_an_offset():
    rng = np.random.default_rng(1)
    rows = rng.normal(size=(200, 16)) + 1000
    queries = rows + 0.1 * rng.normal(size=rows.shape)
    queries[rng.random(rows.shape) < 0.3] = np.nan
    memory = UHopMemory("identity", similarity="correlation").fit(rows.astype("f4"))
    assert (memory.predict(queries.astype("f4")) == np.arange(200)).mean() > 0.99


@pytest.mark.parametrize("dtype", POWERS)
@pytest.mark.parametrize("offset", [0.0, 1000.0])
def test_two_observed_entries_correlate_fully_or_not(dtype, offset):
    rows = (X + offset).astype(dtype)
    queries = np.full((1, 9), np.nan, dtype)
    queries[0, 1:3] = rows[3, 1:3]
    memory = UHopMemory("identity", similarity="correlation").fit(rows)
    alike = (np.diff(rows[:, 1:3]) > 0) == (np.diff(queries[0, 1:3]) > 0)
    expected = alike[:, 0] / alike.sum()
    np.testing.assert_allclose(memory.association(queries)[0], expected, atol=1e-6)


@pytest.mark.parametrize("dtype", POWERS)
@pytest.mark.parametrize("similarity", ["auto", "cosine"])
def test_the_centre_is_answered_by_the_prior(similarity, dtype):
    params = {"similarity": similarity, "max_iter": 10}
    nothing = np.full((1, 9), np.nan, dtype)
    order = RNG.permutation(30)
    for rows in (np.arange(30), order):
        model = UHopClassifier(
            "linear",
            training=CrossFitting(n_folds=2, linear_share=0),
            device="cpu",
            **params,
        )
        model.set_params(random_state=0).fit(X[rows].astype(dtype), LABELS[rows])
        batch = np.vstack([nothing, GAPS.astype(dtype), QUERIES.astype(dtype)])
        prior = model.class_prior_
        for queries in (nothing, batch, X.mean(0, keepdims=True).astype(dtype)):
            found = model.predict_proba(queries)[0]
            np.testing.assert_allclose(found, prior, rtol=1e-5)


@pytest.mark.parametrize("dtype", POWERS)
def test_the_centre_of_centred_rows_has_no_direction(dtype):
    rows = (X - X.mean(0)).astype(dtype)
    model = UHopClassifier("identity", similarity="cosine").fit(rows, LABELS)
    found = model.predict_proba(np.full((1, 9), np.nan, dtype))[0]
    np.testing.assert_allclose(found, model.class_prior_, rtol=1e-5)


def test_a_constant_row_correlates_with_nothing():
    rows = np.vstack([np.full(9, 0.1), X])
    memory = UHopMemory("identity", similarity="correlation", beta=5.0).fit(rows)
    for value in (0.1, 0.3):
        found = memory.association(np.full((1, 9), value))
        np.testing.assert_allclose(found, 1 / len(rows), rtol=1e-9)


# --- KanervaMemory -------------------------------------------------------------------


def test_a_constant_column_does_not_rule_the_density():
    rows = 0.1 * X
    memory = KanervaMemory(n_slots=8, random_state=0)
    plain = memory.fit(rows).score_samples(rows)
    queries = np.column_stack([rows, np.full(30, 0.11)])
    rows = np.column_stack([rows, np.full(30, 0.1)])
    assert np.abs(memory.fit(rows).score_samples(queries) - plain).max() < 10


@pytest.mark.parametrize("scale", [1.0, 1e-120, 1e120])
def test_rows_that_are_all_equal(scale):
    rows = np.full((5, 3), 0.1) * scale
    memory = KanervaMemory(n_slots=8, random_state=0).fit(rows)
    assert np.isfinite(memory.score_samples(rows)).all()
    answer, std = memory.retrieve(rows, return_std=True)
    np.testing.assert_allclose(answer, rows)
    assert (std > 0).all()
