"""Rows of UHopImputer one by one: forgotten, merged, asked in part, named."""

import copy
import pickle
from functools import cache

import numpy as np
import pandas as pd
import pytest

from skuhop import UHopImputer

RNG = np.random.RandomState(0)
N = 40
LEARNED = ("mean_", "covariance_", "precisions_", "shares_", "spreads_", "residuals_")
LEARNED += ("coordinates_", "categories_", "is_categorical_", "indicator_features_")
GONE = np.arange(N) % 5 == 1
IDS = np.array([f"row {i}" for i in range(N)])
WEIGHTS = {"ones": None, "weights": 1.0 + np.arange(N) % 3}


def table(n=N, seed=0):
    """Numbers and a category that they follow, with holes; some rows come twice."""
    rng = np.random.RandomState(seed)
    kind = rng.randint(3, size=n)
    frame = pd.DataFrame(
        {
            "size": kind + 0.1 * rng.randn(n),
            "kind": np.array(["low", "mid", "top"], object)[kind],
            "count": 10.0 * kind + rng.randn(n),
        }
    )
    for column in frame.columns:
        frame.loc[rng.uniform(size=n) < 0.15, column] = None
    frame.iloc[n // 2 : n // 2 + 4] = frame.iloc[:4].to_numpy()
    return frame


TABLE, QUERIES = table(), table(12, seed=1)


@cache
def learn(weights):
    return UHopImputer(random_state=0).fit(
        TABLE, sample_weight=WEIGHTS[weights], row_ids=IDS
    )


def fit_once(weights="ones"):
    return copy.deepcopy(learn(weights))


def store(imputer, rows, **more):
    """Make an imputer with the learned columns of another that stores other rows."""
    other = UHopImputer(random_state=0).fit(rows, **more)
    vars(other).update({name: getattr(imputer, name) for name in LEARNED})
    return other


def answers(imputer, **where):
    filled, std = imputer.transform(QUERIES, return_std=True, **where)
    drawn = imputer.sample(QUERIES, random_state=0, **where)[0]
    yield filled.drop(columns="kind").to_numpy()
    yield std
    yield drawn.drop(columns="kind").to_numpy()
    yield from imputer.impute_proba(QUERIES, **where)


def assert_same(imputer, other, **where):
    pairs = zip(answers(imputer, **where), answers(other), strict=True)
    for found, expected in pairs:
        np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("weights", WEIGHTS)
def test_forgotten_rows_were_never_stored(weights):
    imputer, given = fit_once(weights), WEIGHTS[weights]
    whole = copy.deepcopy(imputer)
    imputer.forget(GONE)
    rest = None if given is None else given[~GONE]
    other = store(imputer, TABLE[~GONE], sample_weight=rest)
    assert_same(imputer, other)
    for name in ("rows_", "multiplicity_", "row_numbers_", "sample_weight_"):
        np.testing.assert_array_equal(getattr(imputer, name), getattr(other, name))
    np.testing.assert_array_equal(
        imputer.association(QUERIES, "size"), other.association(QUERIES, "size")
    )
    before, after = (next(answers(one)) for one in (whole, imputer))
    assert not np.allclose(before, after)
    assert_same(pickle.loads(pickle.dumps(imputer)), other)


def test_ways_to_name_rows():
    ways = [
        {"rows": np.flatnonzero(GONE)},
        {"row_ids": IDS[GONE]},
        {"rows": pd.Series(GONE)},
    ]
    expected = fit_once().forget(GONE)
    for way in ways:
        found = fit_once().forget(**way)
        np.testing.assert_array_equal(found.row_ids_, IDS[~GONE])
        assert_same(found, expected)


def test_rows_are_found_by_what_they_hold_holes_too():
    imputer, rows = fit_once(), TABLE[GONE]
    assert rows.isna().any(axis=None)
    assert_same(imputer.forget(X=rows), fit_once().forget(GONE))
    # Of two copies the newer goes, then the other, and then there is none.
    twice = fit_once().forget(X=TABLE[:1])
    np.testing.assert_array_equal(twice.row_ids_, np.delete(IDS, N // 2))
    twice.forget(X=TABLE[:1])
    with pytest.raises(ValueError, match="rows that are stored"):
        twice.forget(X=TABLE[:1])


def test_a_part_of_a_weight_may_go():
    weights = WEIGHTS["weights"]
    imputer = fit_once("weights").forget([2, 4], sample_weight=[2, 0.5])
    less = weights.copy()
    less[[2, 4]] -= [2, 0.5]
    assert_same(imputer, store(imputer, TABLE, sample_weight=less))


@pytest.mark.parametrize("weights", WEIGHTS)
def test_learning_anew_is_a_fit_to_what_is_left(weights):
    given = WEIGHTS[weights]
    rest = None if given is None else given[~GONE]
    other = UHopImputer(random_state=0).fit(TABLE[~GONE], sample_weight=rest)
    found = fit_once(weights).forget(GONE, relearn=True)
    assert_same(found, other)
    np.testing.assert_allclose(found.covariance_, other.covariance_)


@pytest.mark.parametrize("weights", WEIGHTS)
def test_a_filter_is_an_imputer_of_the_allowed_rows(weights):
    imputer = fit_once(weights)
    few, before = copy.deepcopy(imputer).forget(GONE), dict(vars(imputer))
    for where in (~GONE, IDS[~GONE]):
        assert_same(imputer, few, where=where)
        weight = imputer.association(QUERIES, "size", where=where)
        expected = few.association(QUERIES, "size")
        np.testing.assert_allclose(weight[:, ~GONE], expected)
        assert not weight[:, GONE].any()
        at, _ = imputer.association(QUERIES, "size", top=3, where=where)
        there, _ = few.association(QUERIES, "size", top=3)
        np.testing.assert_array_equal(at, np.flatnonzero(~GONE)[there])
    assert vars(imputer) == before


@pytest.mark.parametrize("weights", WEIGHTS)
def test_merging_is_storing_both(weights):
    imputer = fit_once(weights)
    one, two = (copy.deepcopy(imputer).forget(m) for m in (GONE, ~GONE))
    before = list(answers(two))
    other = copy.deepcopy(one)
    assert one.merge(two) is one
    assert_same(one, imputer)
    for found, expected in zip(answers(two), before, strict=True):
        np.testing.assert_array_equal(found, expected)
    assert_same(two.merge(other), imputer)
    assert sorted(one.row_ids_) == sorted(two.row_ids_) == sorted(IDS)
    np.testing.assert_array_equal(one.row_ids_[: (~GONE).sum()], IDS[~GONE])


BAD = {
    "nothing": ({}, "one of rows"),
    "position": ({"rows": [N]}, f"integers from 0 to {N - 1}"),
    "mask": ({"rows": [True]}, rf"shape \({N},\)"),
    "name": ({"row_ids": ["row 77"]}, "row_ids of stored rows.*row 77"),
    "not stored": ({"X": QUERIES[:1]}, r"rows that are stored.*\[0\]"),
    "columns": ({"X": [[1.0, "low"]]}, "2 features|feature names"),
    "all": ({"rows": range(N)}, "leave a stored row"),
    "a column": ({"rows": TABLE["kind"].notna()}, r"knows each column.*\['kind'\]"),
}


@pytest.mark.parametrize("case", BAD)
@pytest.mark.filterwarnings("ignore:X does not have valid feature names")
def test_what_cannot_be_forgotten_leaves_all_as_it_was(case):
    request, message = BAD[case]
    imputer = fit_once()
    before = dict(vars(imputer))
    with pytest.raises(ValueError, match=message):
        imputer.forget(**request)
    assert vars(imputer) == before


def test_rows_without_weight_are_no_loss():
    weights = np.where(GONE, 0.0, 1.0)
    imputer = UHopImputer(random_state=0).fit(TABLE, sample_weight=weights)
    gone = np.flatnonzero(~GONE)[:3]
    found = copy.deepcopy(imputer).forget(gone)
    np.testing.assert_array_equal(found.sample_weight_, np.delete(weights, gone))
    with pytest.raises(ValueError, match="rows that are stored"):
        imputer.forget(np.flatnonzero(GONE)[:1])


def test_what_does_not_match_is_not_merged():
    imputer = fit_once()
    before = dict(vars(imputer))
    renamed = TABLE.replace("low", "high")
    others = {
        "row_ids must be given": store(imputer, TABLE),
        "same categories_": UHopImputer().fit(renamed, row_ids=IDS),
        "same n_features_in_": UHopImputer().fit(TABLE[["size", "kind"]]),
        "another UHopImputer": TABLE,
    }
    for message, other in others.items():
        with pytest.raises(ValueError, match=message):
            imputer.merge(other)
    assert vars(imputer) == before


def test_bad_filters():
    imputer = fit_once()
    for where, message in (
        (np.zeros(N, bool), "allow a stored row"),
        ([True], "boolean mask"),
        (["row 77"], "row_ids of stored rows"),
        (TABLE["size"].isna(), "where must allow a row that knows each column.*size"),
    ):
        with pytest.raises(ValueError, match=message):
            imputer.transform(QUERIES, where=where)
