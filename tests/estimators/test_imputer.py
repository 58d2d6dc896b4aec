"""UHopImputer: what is observed stays, what is missing is filled, rows do not mix."""

import pickle

import numpy as np
import pandas as pd
import pytest
import skops.io
from sklearn import config_context
from sklearn.base import clone
from sklearn.compose import make_column_transformer
from sklearn.datasets import load_iris, make_regression
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import Ridge
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.utils.estimator_checks import parametrize_with_checks

from skuhop import UHopImputer
from skuhop.exceptions import InvalidParameterError

RNG = np.random.RandomState(0)
X = load_iris().data[::2]
GONE = RNG.uniform(size=X.shape) < 0.2
HOLES = np.where(GONE, np.nan, X)
HOLES[3] = np.nan
GONE[3] = True


def table(n=60, seed=0):
    """Numbers, a category that they follow, a flag and integers, with holes."""
    rng = np.random.RandomState(seed)
    kind = rng.randint(3, size=n)
    frame = pd.DataFrame(
        {
            "size": kind + 0.1 * rng.randn(n),
            "kind": pd.Categorical(np.array(["low", "mid", "top"])[kind]),
            "word": np.array(["a", "b", "b"], object)[kind],
            "flag": pd.array(kind > 0, "boolean"),
            "count": pd.array(10 * kind + rng.randint(2, size=n), "Int64"),
        }
    )
    for column in frame.columns:
        frame.loc[rng.uniform(size=n) < 0.15, column] = None
    return frame


TABLE = table()


def imputer(**params):
    return UHopImputer(random_state=0, **params)


@parametrize_with_checks(
    [
        imputer(),
        imputer(add_indicator=True, keep_empty_features=True, categorical_features=[0]),
    ]
)
def test_estimator_checks(estimator, check):
    check(estimator)


# --- what stays ----------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_observed_entries_are_the_same_to_the_bit(dtype):
    holes = HOLES.astype(dtype)
    filled = imputer().fit_transform(holes)
    assert filled.dtype == dtype
    assert np.isfinite(filled).all()
    np.testing.assert_array_equal(filled[~GONE], holes[~GONE])
    assert np.isnan(holes[GONE]).all()


def test_frames_come_back_as_they_were():
    filled = imputer().fit_transform(TABLE)
    assert not filled.isna().any(axis=None)
    pd.testing.assert_series_equal(filled.dtypes, TABLE.dtypes)
    pd.testing.assert_frame_equal(
        filled.where(TABLE.notna()), TABLE.where(TABLE.notna())
    )
    whole = filled.copy()
    pd.testing.assert_frame_equal(imputer().fit(TABLE).transform(whole), filled)


def test_rows_do_not_know_each_other():
    fitted = imputer().fit(HOLES)
    whole = fitted.transform(HOLES)
    for rows in (slice(0, 1), slice(3, 4), slice(10, 40)):
        np.testing.assert_allclose(
            fitted.transform(HOLES[rows]), whole[rows], rtol=1e-9
        )
    with config_context(working_memory=0.02):
        np.testing.assert_allclose(fitted.transform(HOLES), whole, rtol=1e-9)


# --- what is filled ------------------------------------------------------------------


def test_rows_with_nothing_get_what_is_usual():
    filled = imputer().fit(HOLES).transform(HOLES[3:4])
    np.testing.assert_allclose(filled[0], np.nanmean(HOLES, axis=0))
    nothing = TABLE.reindex([-1])
    filled = imputer().fit(TABLE).transform(nothing)
    assert filled["kind"].iloc[0] == TABLE["kind"].mode()[0]
    assert filled["word"].iloc[0] == TABLE["word"].mode()[0]


def test_a_plane_is_found_exactly():
    rng = np.random.RandomState(0)
    rows = rng.randn(80, 3) @ rng.randn(3, 6)
    gone = rng.uniform(size=rows.shape) < 0.2
    gone[:, 0] = False
    filled = imputer().fit_transform(np.where(gone, np.nan, rows))
    error = np.sqrt(np.mean((filled - rows)[gone] ** 2)) / rows.std()
    assert error < 0.2


def test_a_step_is_found():
    """No line: a column that jumps with another one."""
    rng = np.random.RandomState(0)
    rows = rng.uniform(-1, 1, size=(300, 3))
    rows[:, 2] = np.abs(rows[:, 0]) > 0.5
    gone = rng.uniform(size=300) < 0.2
    holes = rows.copy()
    holes[gone, 2] = np.nan
    filled = imputer().fit_transform(holes)
    assert np.mean((filled - rows)[gone, 2] ** 2) < 0.3 * rows[:, 2].var()


def test_categories_follow_the_numbers():
    frame = table(90)
    full = imputer().fit(TABLE).transform(frame)
    sure = frame["kind"].isna() & frame["size"].notna()
    kinds = np.array(["low", "mid", "top"])
    expected = kinds[frame["size"][sure].round().clip(0, 2).astype(int)]
    assert (full["kind"][sure] == expected).mean() > 0.9


def test_probabilities_are_of_the_values_filled_in():
    fitted = imputer().fit(TABLE)
    filled = fitted.transform(TABLE)
    nominal = TABLE.columns[fitted.is_categorical_]
    assert list(nominal) == ["kind", "word", "flag"]
    shares = fitted.impute_proba(TABLE)
    for name, values, share in zip(
        nominal,
        np.array(fitted.categories_, object)[fitted.is_categorical_],
        shares,
        strict=True,
    ):
        np.testing.assert_allclose(share.sum(axis=1), 1)
        assert list(values[share.argmax(axis=1)]) == list(filled[name])
        known = TABLE[name].notna().to_numpy()
        assert (share[known].max(axis=1) == 1).all()
        assert (share[~known].max(axis=1) < 1).all()


def test_values_never_met_count_as_missing():
    frame = TABLE.copy()
    frame["word"] = frame["word"].astype(object)
    frame.loc[0, "word"] = "never"
    filled = imputer().fit(TABLE).transform(frame)
    assert filled["word"].iloc[0] in ("a", "b")


@pytest.mark.parametrize("sentinel", [-1, "?", None])
def test_missing_values(sentinel):
    if sentinel is None or sentinel == "?":
        rows = np.where(np.isnan(HOLES), sentinel, HOLES.astype(object))
        found = imputer(missing_values=sentinel).fit_transform(rows).astype(float)
    else:
        rows = np.where(np.isnan(HOLES), sentinel, HOLES)
        found = imputer(missing_values=sentinel).fit_transform(rows)
    np.testing.assert_allclose(found, imputer().fit_transform(HOLES))


def test_integers_stay_integers():
    rows = np.where(GONE, -1, (10 * X).round()).astype(int)
    filled = imputer(missing_values=-1).fit_transform(rows)
    assert filled.dtype == rows.dtype
    assert (filled >= 0).all()


@pytest.mark.parametrize("keep", [False, True])
def test_columns_without_entries(keep):
    rows = np.column_stack([HOLES[:, 0], np.full(len(HOLES), np.nan), HOLES[:, 1:]])
    fitted = imputer(keep_empty_features=keep).fit(rows)
    filled = fitted.transform(rows)
    assert filled.shape[1] == len(fitted.get_feature_names_out()) == 4 + keep
    if keep:
        np.testing.assert_array_equal(filled[:, 1], 0)


def test_weights_are_copies_and_zero_is_none():
    weights = np.random.RandomState(1).randint(0, 3, size=len(HOLES))
    one = imputer().fit(HOLES, sample_weight=weights).transform(HOLES)
    many = imputer().fit(np.repeat(HOLES, weights, axis=0)).transform(HOLES)
    np.testing.assert_allclose(one, many)


# --- how sure ------------------------------------------------------------------------


def wide(n, seed):
    rng = np.random.RandomState(seed)
    rows = rng.standard_t(4, size=(n, 5)) @ np.random.RandomState(9).randn(5, 5)
    gone = rng.uniform(size=rows.shape) < 0.2
    return rows, gone, np.where(gone, np.nan, rows)


def test_intervals_of_draws_cover_what_they_say():
    _, _, train = wide(250, 0)
    rows, gone, holes = wide(400, 1)
    draws = np.stack(imputer().fit(train).sample(holes, 60, random_state=0))
    low, high = np.quantile(draws, [0.05, 0.95], axis=0)
    covered = ((rows >= low) & (rows <= high))[gone].mean()
    assert 0.85 < covered < 0.95
    assert (draws[:, ~gone] == rows[~gone]).all()


def test_standard_deviations_are_those_of_the_errors():
    _, _, train = wide(250, 0)
    rows, gone, holes = wide(400, 1)
    filled, std = imputer().fit(train).transform(holes, return_std=True)
    ratio = ((filled - rows) / np.where(gone, std, 1))[gone]
    assert 0.75 < np.sqrt(np.mean(ratio**2)) < 1.3
    assert (std[~gone] == 0).all()


def test_draws_of_a_row_go_together():
    """Two columns that are one and the same are so in every draw, nearly."""
    rng = np.random.RandomState(0)
    rows = rng.randn(200, 3)
    rows[:, 1] = rows[:, 0] + 0.01 * rng.randn(200)
    fitted = imputer().fit(rows)
    draws = np.stack(fitted.sample([[np.nan, np.nan, 0.0]], 200, random_state=0))[:, 0]
    assert np.corrcoef(draws[:, 0], draws[:, 1])[0, 1] > 0.9


def test_draws_are_of_their_seed():
    fitted = imputer().fit(TABLE)
    first, again, other = (
        fitted.sample(TABLE, 1, random_state=s)[0] for s in (0, 0, 1)
    )
    pd.testing.assert_frame_equal(first, again)
    assert not first.equals(other)


# --- donors --------------------------------------------------------------------------


def test_donors_are_rows_that_know_the_feature():
    weights = np.ones(len(HOLES))
    weights[:5] = 0
    fitted = imputer().fit(HOLES, sample_weight=weights)
    shares = fitted.association(HOLES[:7], 2)
    np.testing.assert_allclose(shares.sum(axis=1), 1)
    assert (shares[:, np.isnan(HOLES[:, 2])] == 0).all()
    assert (shares[:, :5] == 0).all()
    indices, heaviest = fitted.association(HOLES[:7], 2, top=3)
    np.testing.assert_array_equal(np.take_along_axis(shares, indices, 1), heaviest)
    np.testing.assert_array_equal(heaviest[:, 0], shares.max(axis=1))


def test_donors_by_name():
    fitted = imputer().fit(TABLE)
    by_name, by_position = (fitted.association(TABLE, f) for f in ("kind", 1))
    np.testing.assert_array_equal(by_name, by_position)
    for wrong in ("colour", 5, -1):
        with pytest.raises(ValueError, match="feature must be"):
            fitted.association(TABLE, wrong)


# --- manners -------------------------------------------------------------------------


@pytest.mark.parametrize("frame", [False, True])
def test_indicators_and_back(frame):
    rows = TABLE if frame else HOLES
    fitted = imputer(add_indicator=True).fit(rows)
    filled = fitted.transform(rows)
    names = fitted.get_feature_names_out()
    assert len(names) == filled.shape[1]
    assert names[-1].startswith("missingindicator_")
    back = fitted.inverse_transform(filled)
    if frame:
        pd.testing.assert_frame_equal(back, rows, check_dtype=False)
    else:
        np.testing.assert_array_equal(back, rows)
    with pytest.raises(ValueError, match="add_indicator"):
        imputer().fit(rows).inverse_transform(rows)


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_set_output(library):
    pytest.importorskip(library)
    fitted = imputer().fit(HOLES).set_output(transform=library)
    out = fitted.transform(HOLES)
    assert type(out).__module__.startswith(library)
    assert list(out.columns) == ["x0", "x1", "x2", "x3"]


def test_polars_in_polars_out():
    polars = pytest.importorskip("polars")
    frame = polars.DataFrame({"a": [1.0, None, 3.0] * 5, "b": ["x", "y", None] * 5})
    filled = imputer().fit_transform(frame)
    assert filled.schema == frame.schema
    assert not filled.null_count().sum_horizontal()[0]


def test_in_a_pipeline_and_a_search():
    rows, y = make_regression(60, 5, random_state=0)
    rows[RNG.uniform(size=rows.shape) < 0.1] = np.nan
    model = make_pipeline(imputer(), Ridge())
    search = GridSearchCV(model, {"uhopimputer__add_indicator": [True, False]}, cv=2)
    assert np.isfinite(search.fit(rows, y).best_score_)
    columns = make_column_transformer(
        (imputer(), ["size", "count"]), (imputer(), ["kind", "word", "flag"])
    )
    assert columns.fit_transform(TABLE).shape == (60, 5)


def test_pickles_and_skops():
    fitted = imputer().fit(TABLE)
    expected = fitted.transform(TABLE)
    pd.testing.assert_frame_equal(
        pickle.loads(pickle.dumps(fitted)).transform(TABLE), expected
    )
    data = skops.io.dumps(fitted)
    trusted = skops.io.get_untrusted_types(data=data)
    assert all(name.startswith("skuhop.") for name in trusted)
    pd.testing.assert_frame_equal(
        skops.io.loads(data, trusted=trusted).transform(TABLE), expected
    )


@pytest.mark.parametrize(
    "params, words",
    [
        ({"add_indicator": 1}, "add_indicator"),
        ({"keep_empty_features": "yes"}, "keep_empty_features"),
        ({"device": 3}, "device"),
        ({"categorical_features": "some"}, "categorical_features"),
    ],
)
def test_bad_parameters_change_nothing(params, words):
    fitted = imputer().fit(HOLES)
    before = fitted.transform(HOLES)
    with pytest.raises(ValueError, match=words):
        clone(fitted).set_params(**params).fit(HOLES)
    with pytest.raises(ValueError, match="infinity"):
        fitted.fit(np.full_like(HOLES, np.inf))
    np.testing.assert_array_equal(fitted.transform(HOLES), before)


def test_bad_draws_and_unfitted():
    with pytest.raises(InvalidParameterError, match="n_draws"):
        imputer().fit(HOLES).sample(HOLES, 0)
    for method in ("transform", "impute_proba", "sample"):
        with pytest.raises(NotFittedError):
            getattr(imputer(), method)(HOLES)
    assert not hasattr(imputer(), "association")


def test_words_among_numbers_are_named():
    with pytest.raises(ValueError, match="Column 'word' of X must be numbers"):
        imputer(categorical_features=["kind", "flag"]).fit(TABLE)
