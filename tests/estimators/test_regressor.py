"""UHopRegressor: what it promises beyond scikit-learn's checks."""

import copy
import io
import pickle

import joblib
import numpy as np
import pytest
import scipy.sparse
import skops.io
import torch
from sklearn.base import clone
from sklearn.datasets import load_diabetes, make_friedman1
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skuhop import CrossFitting, Training, UHopRegressor
from skuhop.estimators.parameters import REGRESSOR_RULES
from skuhop.exceptions import InvalidParameterError
from skuhop.learning import LOSSES
from skuhop.learning.members.member_maps import MEMBER_MAPS
from skuhop.retrieval import SEPARATIONS, SIMILARITIES

X, Y = load_diabetes(return_X_y=True)
X, Y = X[:150], Y[:150]
Y2 = np.column_stack([Y, 1e3 * X[:, 2] - X[:, 8]])
TRAIN, TEST = np.arange(0, 150, 2), np.arange(1, 150, 2)
MAPS = (*MEMBER_MAPS, "identity")


class Network(torch.nn.Sequential):
    def __init__(self, n_features):
        super().__init__(torch.nn.Linear(n_features, 4), torch.nn.BatchNorm1d(4))


def quick(feature_map="auto", **params):
    fast = {"max_iter": 5, "n_components": 8, "random_state": 0}
    fast["training"] = CrossFitting(n_folds=3)
    return UHopRegressor(feature_map, **fast).set_params(**params)


_FITTED = {}


def fit_once(y=Y, **params):
    """A fitted regressor that tests share, and so may not change."""
    key = y.tobytes(), y.shape, *params.items()
    if key not in _FITTED:
        _FITTED[key] = quick(**params).fit(X[TRAIN], y[TRAIN])
    return _FITTED[key]


def fitted(y=Y, **params):
    return copy.deepcopy(fit_once(y, **params))


# --- answers -------------------------------------------------------------------------


def test_learning_sees_what_matters():
    data, y = make_friedman1(400, 15, noise=0.5, random_state=0)
    learned, untrained = (
        UHopRegressor(feature_map, max_iter=60, random_state=0).fit(data[:300], y[:300])
        for feature_map in ("periodic", "identity")
    )
    assert learned.selection_["kept"] == "learned"
    assert learned.loss_ == learned.loss_curve_[-1] < learned.loss_curve_[0]
    score = learned.score(data[300:], y[300:])
    assert score > 0.75
    assert score > untrained.score(data[300:], y[300:]) + 0.2


@pytest.mark.thin(2)
@pytest.mark.parametrize("y", [Y, Y2], ids=["one", "two"])
@pytest.mark.parametrize("separation", SEPARATIONS)
def test_answers_are_weights_times_values(separation, y):
    regressor = fitted(y, separation=separation, training__linear_share=0)
    weights = (1 - regressor.prior_weight_) * regressor.association(X[TEST])
    rest = 1 - weights.sum(1).reshape(-1, *[1] * (y.ndim - 1))
    expected = weights @ y[TRAIN] + rest * y[TRAIN].mean(0)
    np.testing.assert_allclose(regressor.predict(X[TEST]), expected, rtol=1e-9)


@pytest.mark.parametrize("similarity", SIMILARITIES)
def test_answers_stay_in_the_range_of_the_values(similarity):
    regressor = fitted(
        similarity=similarity, feature_map="linear", training__linear_share=0
    )
    found = regressor.predict(1e3 * X)
    assert Y[TRAIN].min() <= found.min()
    assert found.max() <= Y[TRAIN].max()


@pytest.mark.parametrize("y", [Y, Y2, np.tile(Y2, 20)], ids=["one", "two", "forty"])
def test_a_line_gets_its_share(y):
    alone, shared, line = (
        fitted(y, training__linear_share=share, beta=3.0) for share in (0, 0.3, 1)
    )

    def line_of(regressor):
        Z = (X[TEST] - regressor.mean_) / regressor.scale_
        found = Z @ regressor.linear_coef_.T + regressor.linear_intercept_
        return found.reshape(75, *y.shape[1:])

    np.testing.assert_allclose(line.predict(X[TEST]), line_of(line))
    expected = 0.7 * alone.predict(X[TEST]) + 0.3 * line_of(shared)
    np.testing.assert_allclose(shared.predict(X[TEST]), expected)


def test_lines_are_followed_beyond_the_stored_rows():
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(200, 5))
    y = rows @ [3.0, -2, 1, 0, 0.5] + 7
    regressor = UHopRegressor(random_state=0, max_iter=30).fit(rows, y)
    assert regressor.linear_share_ == 0.95
    far = 3 * rng.normal(size=(50, 5))
    error = regressor.predict(far) - (far @ [3.0, -2, 1, 0, 0.5] + 7)
    assert np.abs(error).max() < 1
    bent = UHopRegressor(random_state=0, max_iter=30).fit(rows, np.abs(rows[:, 0]))
    assert bent.linear_share_ <= 0.2


def trending(n=300, columns=1, seed=0):
    """Values with a trend, and a wave that no line follows."""
    rows = np.random.default_rng(seed).normal(size=(n, 4))
    y = rows @ [3.0, -2, 1, 0] + 3 * np.sin(2 * rows[:, 3])
    return rows, y if columns == 1 else np.column_stack([y] * columns) * range(columns)


@pytest.mark.parametrize("columns", [1, 3, 20])
def test_values_are_moved_along_the_trend(columns):
    rows, y = trending(columns=columns)
    regressor = quick(training__linear_share="auto").fit(rows[:200], y[:200])
    assert regressor.trend_coef_.shape == (columns, 4)
    regressor.linear_share_ = 0
    Z = (rows - regressor.mean_) / regressor.scale_
    trend = (Z @ regressor.trend_coef_.T).reshape(y.shape)
    weights = (1 - regressor.prior_weight_) * regressor.association(rows[200:])
    moved = weights @ (y[:200] - trend[:200])
    expected = moved + regressor.prior_weight_ * y[:200].mean(0) + trend[200:]
    np.testing.assert_allclose(regressor.predict(rows[200:]), expected, atol=1e-9)


def test_the_trend_is_half_of_a_ridge_regression_and_helps():
    rows, y = trending()
    regressor = UHopRegressor(random_state=0, max_iter=30).fit(rows[:200], y[:200])
    slopes = 2 * regressor.trend_coef_[0] / regressor.scale_
    np.testing.assert_allclose(slopes[:3], [3, -2, 1], atol=0.5)
    alone = (
        clone(regressor).set_params(training__linear_share=0).fit(rows[:200], y[:200])
    )
    assert alone.trend_coef_ is None
    score = regressor.score(rows[200:], y[200:])
    assert score > alone.score(rows[200:], y[200:]) > 0.8


@pytest.mark.parametrize("share", [0, 0.3, 1.0])
def test_a_share_that_is_given_takes_nothing_off(share):
    assert quick(training__linear_share=share).fit(*trending()).trend_coef_ is None


def test_nothing_is_taken_off_where_lines_are_wrong():
    rows, _ = trending()
    assert quick().fit(rows, np.cos(3 * rows[:, 0])).trend_coef_ is None


def test_rows_that_come_later_are_moved_along_the_trend():
    rows, y = trending()
    regressor = quick(separation="max", training__linear_share="auto").fit(
        rows[:200], y[:200]
    )
    regressor.linear_share_ = regressor.prior_weight_ = 0
    regressor.partial_fit(rows[200:], y[200:])
    np.testing.assert_allclose(regressor.predict(rows), y, atol=1e-9)


@pytest.mark.parametrize("shape", [(), (1,), (2,), (3,)])
def test_shape_of_the_values(shape):
    y = np.resize(Y2.ravel(), (150, *shape))
    regressor = fitted(y)
    assert regressor.values_.shape == (75, *shape)
    assert regressor.predict(X[TEST]).shape == (75, *shape)


def test_scale_and_offset_of_y_do_not_matter():
    plain, moved = fitted(), fitted(1e6 + 1e3 * Y)
    np.testing.assert_allclose(moved.loss_curve_, plain.loss_curve_, rtol=1e-3)
    np.testing.assert_allclose(
        moved.predict(X[TEST]), 1e6 + 1e3 * plain.predict(X[TEST]), rtol=1e-4
    )


def test_columns_count_the_same_whatever_their_unit():
    plain, scaled = fitted(Y2), fitted(Y2 * [1, 1e9])
    np.testing.assert_allclose(
        scaled.predict(X[TEST]), plain.predict(X[TEST]) * [1, 1e9], rtol=1e-4
    )


def test_noise_is_answered_with_the_mean():
    noise = np.random.default_rng(0).normal(size=150)
    regressor = UHopRegressor(random_state=0).fit(X, noise)
    assert np.std(regressor.predict(X[::-1] * 1.01)) < 0.5 * noise.std()
    assert regressor.selection_["untrained_loss"] > 0.9


def test_many_columns_are_learned_by_their_axes():
    rng = np.random.default_rng(0)
    # Sixty columns of two columns' content are as easy as the two.
    wide = Y2 @ rng.normal(size=(2, 60)) + 5
    regressor = quick(max_iter=30, training__linear_share=0).fit(X[TRAIN], wide[TRAIN])
    weights = (1 - regressor.prior_weight_) * regressor.association(X[TEST])
    rest = 1 - weights.sum(1, keepdims=True)
    expected = weights @ wide[TRAIN] + rest * wide[TRAIN].mean(0)
    np.testing.assert_allclose(regressor.predict(X[TEST]), expected, rtol=1e-9)
    sixteen = quick(max_iter=30, training__linear_share=0).fit(
        X[TRAIN], wide[TRAIN, :16]
    )
    assert regressor.loss_ == pytest.approx(sixteen.loss_, rel=0.2)


def test_association_top():
    regressor = fitted()
    dense = regressor.association(X[TEST])
    indices, weights = regressor.association(X[TEST], top=4)
    np.testing.assert_allclose(np.take_along_axis(dense, indices, 1), weights)


@pytest.mark.parametrize("loss", LOSSES)
def test_unsupervised_losses(loss):
    assert np.isfinite(fitted(loss=loss, feature_map="linear").predict(X)).all()


def test_paper_kernel():
    regressor = fitted(feature_map="identity", similarity="dot", beta=1.0)
    weights = torch.softmax(torch.from_numpy(X[TEST] @ X[TRAIN].T), 1).numpy()
    np.testing.assert_allclose(regressor.association(X[TEST]), weights, atol=1e-10)


@pytest.mark.parametrize("feature_map", [*MAPS, Network])
def test_rows_do_not_depend_on_each_other(feature_map):
    regressor = fitted(Y2, feature_map=feature_map)
    together = regressor.predict(X[TEST])
    apart = np.vstack([regressor.predict(X[[row]]) for row in TEST])
    np.testing.assert_allclose(together, apart, rtol=1e-7)


def test_dtype_of_queries_is_kept():
    regressor = quick().fit(X[TRAIN].astype("f4"), Y[TRAIN])
    single, double = (regressor.predict(X[TEST].astype(t)) for t in ("f4", "f8"))
    assert single.dtype == np.float32
    assert double.dtype == np.float64
    np.testing.assert_allclose(single, double, rtol=1e-3)


# --- groups --------------------------------------------------------------------------


def test_near_copies_in_groups_do_not_make_beta_sharp():
    rng = np.random.default_rng(0)
    groups = np.repeat(np.arange(40), 6)
    keys = rng.normal(size=(40, 4))[groups] + 0.01 * rng.normal(size=(240, 4))
    noise = rng.normal(size=40)[groups]  # the same for all of a group
    y = keys[:, 0] + noise
    grouped, alone = (
        UHopRegressor("identity", similarity="euclidean").fit(keys, y, groups=given)
        for given in (groups, None)
    )
    sharp = [m.kernels_[0]["betas"][0] for m in (grouped, alone)]
    assert sharp[0] < sharp[1] / 10
    queries = rng.normal(size=(500, 4))
    errors = [
        np.mean((m.predict(queries) - queries[:, 0]) ** 2) for m in (grouped, alone)
    ]
    assert errors[0] < 0.8 * errors[1]


@pytest.mark.parametrize("feature_map", ["linear", "identity"])
def test_names_and_order_of_groups_do_not_matter(feature_map):
    numbers = np.arange(75) // 5
    names = np.array([f"group {chr(65 + n)}" for n in numbers])
    order = np.random.default_rng(0).permutation(75)
    first = quick(feature_map=feature_map).fit(X[TRAIN], Y[TRAIN], groups=numbers)
    second = quick(feature_map=feature_map).fit(
        X[TRAIN][order], Y[TRAIN][order], groups=names[order]
    )
    assert first.loss_curve_ == second.loss_curve_
    np.testing.assert_allclose(first.predict(X), second.predict(X), rtol=1e-7)


def test_one_group_is_none():
    one, none = (
        quick().fit(X[TRAIN], Y[TRAIN], groups=groups) for groups in (["a"] * 75, None)
    )
    assert one.loss_curve_ == none.loss_curve_


def test_groups_of_another_length():
    with pytest.raises(ValueError, match="inconsistent"):
        quick().fit(X, Y, groups=[1, 2])


# --- seeds, order, weights -----------------------------------------------------------


@pytest.mark.parametrize("feature_map", [*MAPS, Network])
def test_same_seed_same_bits_in_any_order(feature_map):
    order = np.random.default_rng(0).permutation(TRAIN)
    first = quick(feature_map=feature_map).fit(X[TRAIN], Y[TRAIN])
    second = quick(feature_map=feature_map).fit(X[order], Y[order])
    assert first.loss_curve_ == second.loss_curve_
    np.testing.assert_allclose(first.predict(X), second.predict(X), rtol=1e-7)


@pytest.mark.parametrize("y", [Y, Y2], ids=["one", "two"])
@pytest.mark.parametrize("grouped", [False, True])
def test_weights_are_copies(y, grouped):
    weights = np.random.default_rng(0).integers(0, 3, len(TRAIN))
    copies = np.repeat(np.arange(75), weights)
    groups = np.arange(75) // 5 if grouped else np.zeros(75)
    weighted = quick().fit(X[TRAIN], y[TRAIN], weights, groups=groups)
    copied = quick().fit(X[TRAIN][copies], y[TRAIN][copies], groups=groups[copies])
    np.testing.assert_allclose(weighted.predict(X), copied.predict(X), rtol=1e-6)


def test_weights_are_copies_where_entries_are_missing():
    rng = np.random.default_rng(0)
    holes = np.where(rng.random(X.shape) < 0.2, np.nan, X)[TRAIN]
    weights = rng.integers(1, 4, len(TRAIN))
    copies = rng.permutation(np.repeat(np.arange(75), weights))
    weighted = quick().fit(holes, Y[TRAIN], weights)
    copied = quick().fit(holes[copies], Y[TRAIN][copies])
    np.testing.assert_allclose(weighted.predict(X), copied.predict(X), rtol=1e-6)


def test_larger_sets_are_learned_in_batches_and_weights_are_copies_still():
    data, y = make_friedman1(900, random_state=0)
    weights = np.where(np.arange(900) < 100, 2, 1)
    copies = np.repeat(np.arange(900), weights)
    params = {"feature_map": "linear"}
    params["training"] = CrossFitting(n_folds=3, batch_size=64)
    weighted = quick(**params).fit(data, y, weights)
    copied = quick(**params).fit(data[copies], y[copies])
    assert weighted.loss_curve_ == copied.loss_curve_
    np.testing.assert_allclose(
        weighted.predict(data[:50]), copied.predict(data[:50]), rtol=1e-6
    )


def test_zero_weights():
    weights = np.arange(75) % 2
    regressor = quick().fit(X[TRAIN], Y[TRAIN], weights)
    np.testing.assert_array_equal(regressor.values_, Y[TRAIN][1::2])
    with pytest.raises(ValueError, match="zero"):
        quick().fit(X[TRAIN], Y[TRAIN], np.zeros(75))


# --- small and odd data --------------------------------------------------------------


@pytest.mark.parametrize("feature_map", MAPS)
@pytest.mark.parametrize("constant", [0.0, 7.0, -1e200])
def test_constant_y_is_answered_exactly(feature_map, constant):
    regressor = quick(feature_map=feature_map).fit(X[:20], np.full(20, constant))
    np.testing.assert_allclose(regressor.predict(X), constant, rtol=1e-12)


@pytest.mark.parametrize("n", [1, 2, 3, 4, 5, 6])
@pytest.mark.parametrize("feature_map", MAPS)
def test_few_samples(n, feature_map):
    rows = np.linspace(0, 149, n).astype(int)
    regressor = UHopRegressor(feature_map, random_state=0).fit(X[rows], Y2[rows])
    np.testing.assert_allclose(regressor.predict(X[rows]), Y2[rows], rtol=0.05, atol=5)


def test_a_constant_column_beside_another():
    y = np.column_stack([Y, np.full(150, 3.0)])
    found = fitted(y).predict(X)
    np.testing.assert_allclose(found[:, 1], 3)
    np.testing.assert_allclose(found[:, 0], fitted().predict(X), rtol=0.2)


def test_huge_values():
    found = fitted(Y * 1e300).predict(X[TEST])
    np.testing.assert_allclose(found, fitted().predict(X[TEST]) * 1e300, rtol=1e-4)


@pytest.mark.parametrize(
    "y, error, words",
    [
        (np.array(["a"] * 150), ValueError, "y must be numbers"),
        (np.where(np.arange(150) == 3, np.nan, Y), ValueError, "NaN"),
        (np.where(np.arange(150) == 3, np.inf, Y), ValueError, "infinity"),
        (scipy.sparse.csr_matrix(Y2), TypeError, "dense"),
        (np.zeros((150, 2, 2)), ValueError, "dim"),
        (Y[:7], ValueError, "inconsistent"),
    ],
)
def test_bad_y(y, error, words):
    with pytest.raises(error, match=words):
        quick().fit(X, y)


# --- missing values ------------------------------------------------------------------


@pytest.mark.parametrize("feature_map", MAPS)
def test_missing_in_queries_is_completed(feature_map):
    keys = np.random.default_rng(0).normal(size=(300, 2)) @ [
        [1, 1, 0, 1],
        [0, 1, 1, -1],
    ]
    y = keys[:, 0] - keys[:, 2]
    regressor = quick(feature_map=feature_map, max_iter=40).fit(keys[:200], y[:200])
    damaged = keys[200:].copy()
    damaged[np.arange(100), np.arange(100) % 4] = np.nan
    assert regressor.score(damaged, y[200:]) > 0.7
    np.testing.assert_allclose(regressor.association(damaged).sum(1), 1)


def test_missing_in_fit_is_the_mean():
    damaged = X[TRAIN].copy()
    damaged[::5, 2] = np.nan
    mean = np.nanmean(damaged, axis=0)
    filled = np.where(np.isnan(damaged), mean, damaged)
    first, second = (quick().fit(A, Y[TRAIN]) for A in (damaged, filled))
    np.testing.assert_allclose(first.patterns_, filled)
    np.testing.assert_allclose(first.predict(X), second.predict(X), rtol=1e-4)


def test_nothing_known():
    assert np.isfinite(fitted().predict(np.full((2, 10), np.nan))).all()


# --- partial_fit ---------------------------------------------------------------------


@pytest.mark.parametrize("y", [Y, Y2], ids=["one", "two"])
def test_partial_fit_adds_rows_and_learns_nothing(y):
    regressor = quick().partial_fit(X[TRAIN], y[TRAIN])
    np.testing.assert_array_equal(regressor.predict(X), fitted(y).predict(X))
    kernels = regressor.kernels_
    regressor.partial_fit(X[TEST], y[TEST], np.arange(75.0))
    assert regressor.kernels_ is kernels
    np.testing.assert_array_equal(regressor.patterns_[75:], X[TEST[1:]])
    np.testing.assert_array_equal(regressor.values_[75:], y[TEST[1:]])
    weights = np.r_[np.ones(75), np.arange(1.0, 75)]
    np.testing.assert_allclose(
        regressor.value_mean_,
        np.atleast_1d(weights @ regressor.values_) / weights.sum(),
    )


def test_rows_added_take_part():
    regressor = fitted(separation="max", training__linear_share=0)
    far = np.full((1, 10), 5.0)
    regressor.partial_fit(far, [1e4])
    own = 1 - regressor.prior_weight_
    expected = own * 1e4 + regressor.prior_weight_ * regressor.value_mean_
    np.testing.assert_allclose(regressor.predict(far), expected)


def test_partial_fit_in_parts_is_partial_fit_at_once():
    first, second = fitted(), fitted()
    for rows in np.array_split(TEST, 3):
        first.partial_fit(X[rows], Y[rows])
    second.partial_fit(X[TEST], Y[TEST])
    np.testing.assert_array_equal(first.predict(X), second.predict(X))


@pytest.mark.parametrize("y", [Y2, Y[:, None]], ids=["two", "column"])
def test_partial_fit_with_other_columns(y):
    with pytest.raises(ValueError, match="columns"):
        fitted().partial_fit(X, y)


# --- parameters ----------------------------------------------------------------------

WRONG = {
    "feature_map": ["quadratic", None, 3],
    "training__linear_share": [-0.1, 1.5, "much", np.nan, None, True],
    "categorical_features": ["dtype", 3, [0.5], [[True]]],
    "n_components": [0, 2.5, None],
    "loss": ["log_loss", None],
    "similarity": ["channel", "l2", None],
    "separation": ["argmax", None],
    "separation__alpha": [3, "auto"],
    "separation__gamma": [1],
    "separation__k": [0.5],
    "separation__degree": [0],
    "beta": [0, -1, np.nan, "high", True],
    "training": ["adamw", Training()],
    "training__n_folds": [1, 2.5, "many", None],
    "max_iter": [0, 1.5, None],
    "training__learning_rate": [0, np.inf],
    "training__weight_decay": [-1, None],
    "training__batch_size": [1, 2.5],
    "training__early_stopping": [1, None],
    "warm_start": [1, "no"],
    "verbose": [-1, "loud"],
    "precision": ["float64", 32, None],
    "retention": ["newest", None, 1],
    "retention__rule": ["newest", None, 1],
    "retention__max_patterns": [0, -1, 2.5, "many", True],
    "retention__decay": [0, -0.5, 1.01, np.nan, "slow", None],
    "device": ["banana", 0],
}


def test_every_parameter_has_wrong_values():
    assert set(WRONG) == set(REGRESSOR_RULES)
    names = {name for name in WRONG if "__" not in name} | {"random_state"}
    assert names == set(UHopRegressor().get_params())


@pytest.mark.parametrize(
    "name, value", [(name, value) for name, values in WRONG.items() for value in values]
)
def test_wrong_values_are_named(name, value):
    owners = {"alpha": "entmax", "gamma": "normmax", "k": "ksubsets"}
    estimator = UHopRegressor()
    if name.startswith("separation__"):
        estimator.separation = owners.get(name.split("__")[1], "polynomial")
    with pytest.raises(InvalidParameterError, match=name):
        estimator.set_params(**{name: value}).fit(X, Y)


def test_warm_start_continues():
    cold = quick("linear", warm_start=True, max_iter=30)
    cold.set_params(training__early_stopping=False)
    first = cold.fit(X[TRAIN], Y[TRAIN]).loss_curve_
    second = cold.fit(X[TRAIN], Y[TRAIN]).loss_curve_
    assert second[0] < first[0]


# --- persistence ---------------------------------------------------------------------


def by_pickle(estimator):
    return pickle.loads(pickle.dumps(estimator))


def by_joblib(estimator):
    file = io.BytesIO()
    joblib.dump(estimator, file)
    file.seek(0)
    return joblib.load(file)


def by_skops(estimator):
    data = skops.io.dumps(estimator)
    unknown = skops.io.get_untrusted_types(data=data)
    own = ["skuhop.estimators.regressor.UHopRegressor"]
    assert unknown == ["skuhop.choices.fit_choices.CrossFitting", *own]
    return skops.io.loads(data, trusted=unknown)


@pytest.mark.parametrize("through", [by_pickle, by_joblib, by_skops, copy.deepcopy])
@pytest.mark.parametrize("feature_map", MAPS)
def test_saved_and_loaded(through, feature_map):
    regressor = fitted(Y2, feature_map=feature_map)
    loaded = through(regressor)
    np.testing.assert_array_equal(loaded.predict(X), regressor.predict(X))


# --- with scikit-learn ---------------------------------------------------------------


def test_pipeline_and_grid_search():
    search = GridSearchCV(
        make_pipeline(StandardScaler(), quick()),
        {"uhopregressor__n_components": [2, 8], "uhopregressor__beta": [8.0, "auto"]},
        cv=2,
        error_score="raise",
    ).fit(X[TRAIN], Y[TRAIN])
    assert search.predict(X[TEST]).shape == (75,)


def test_clone_and_refit_forget():
    assert not hasattr(clone(fitted()), "patterns_")
    regressor = fitted(Y2).fit(X[:100, :3], Y[:100])
    assert regressor.predict(X[:, :3]).shape == (150,)
