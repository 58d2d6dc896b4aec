"""Tables as people have them, given to the estimators whole."""

import pickle

import numpy as np
import pandas as pd
import pytest
import scipy.sparse
import skops.io
import torch
from sklearn.base import clone
from sklearn.compose import make_column_transformer
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from sklearn.utils import get_tags

from skuhop import (
    CrossFitting,
    KanervaMemory,
    UHopClassifier,
    UHopMemory,
    UHopRegressor,
)
from skuhop.exceptions import InsufficientMemoryError
from skuhop.learning.members.member_maps import MEMBER_MAPS
from skuhop.learning.supervised.batches import drop_entries

N = 90
RNG = np.random.RandomState(0)
KIND = RNG.randint(3, size=N)
WORDS = np.array(["pea", "bean", "lentil"], object)[KIND]
NUMBERS = RNG.normal(size=(N, 2)) + KIND[:, None]
Y = np.where(KIND == 1, "climbs", "stands")


def with_gaps(values, seed):
    """Some entries None."""
    gone = np.random.RandomState(seed).rand(N) < 0.15
    return [None if g else v for v, g in zip(values, gone, strict=True)]


def frame():
    """Every dtype that a table has, with holes where it can."""
    return pd.DataFrame(
        {
            "float": with_gaps(NUMBERS[:, 0], 0),
            "single": NUMBERS[:, 1].astype(np.float32),
            "Int": pd.array(with_gaps(KIND.tolist(), 1), "Int64"),
            "bool": KIND > 0,
            "boolean": pd.array(with_gaps((KIND == 1).tolist(), 2), "boolean"),
            "object": with_gaps(WORDS, 3),
            "string": pd.array(with_gaps(WORDS, 4), "string"),
            "category": pd.Categorical(with_gaps(WORDS, 5)),
        }
    )


FRAME = frame()
NOMINAL = np.array([False, False, False, True, True, True, True, True])
WORD = FRAME[["float", "category"]].dropna().reset_index(drop=True)
KINDS = [UHopClassifier, UHopRegressor]
FEW = {"max_iter": 5, "n_components": 8, "random_state": 0}


def quick(kind, **params):
    return kind(training=CrossFitting(n_folds=2), **FEW, **params)


def target(kind, rows=slice(None)):
    return (Y if kind is UHopClassifier else NUMBERS.sum(axis=1))[rows]


def answer(estimator, X):
    return getattr(estimator, "predict_proba", estimator.predict)(X)


def arrow_frame():
    pytest.importorskip("pyarrow")
    return FRAME.convert_dtypes(dtype_backend="pyarrow")


def polars_frame():
    polars = pytest.importorskip("polars")
    columns = {name: with_gaps(column, 9) for name, column in FRAME.items()}
    gaps = {n: [None if pd.isna(v) else v for v in c] for n, c in columns.items()}
    return polars.DataFrame(gaps)


def objects():
    return FRAME.astype(object).to_numpy()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("make", [frame, arrow_frame, polars_frame, objects])
def test_tables_go_straight_in(kind, make):
    X, y = make(), target(kind)
    model = quick(kind).fit(X, y)
    np.testing.assert_array_equal(model.is_categorical_, NOMINAL)
    assert model.n_features_in_ == 8
    assert model.patterns_.shape == (N, 3 + 2 + 2 + 3 + 3 + 3)
    assert np.isfinite(answer(model, X)).all()
    assert model.score(X, y) > 0.8
    np.testing.assert_allclose(model.association(X).sum(axis=1), 1)
    again = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(answer(again, X), answer(model, X))
    model.partial_fit(X[:5], y[:5])
    assert len(model.patterns_) == N + 5


@pytest.mark.parametrize("kind", KINDS)
def test_nominal_columns_are_indicators(kind):
    """As by hand: one column for each value, and the mean where nothing is known."""
    X = FRAME[["float", "category"]]
    model = quick(kind).fit(X, target(kind))
    assert model.categories_[0] is None
    np.testing.assert_array_equal(model.categories_[1], ["bean", "lentil", "pea"])
    by_hand = np.column_stack([X["float"], pd.get_dummies(X["category"], dtype=float)])
    by_hand[X["category"].isna(), 1:] = np.nan
    by_hand = np.where(np.isnan(by_hand), np.nanmean(by_hand, axis=0), by_hand)
    np.testing.assert_allclose(model.patterns_, by_hand, rtol=1e-12)
    np.testing.assert_allclose(model.mean_, by_hand.mean(axis=0), rtol=1e-12)


@pytest.mark.parametrize("kind", KINDS)
def test_numbers_answer_as_if_there_were_no_tables(kind):
    y, single = target(kind), NUMBERS.astype(np.float32)
    gaps = np.where(RNG.rand(N, 2) < 0.1, np.nan, NUMBERS)
    for X in (NUMBERS, single, gaps, pd.DataFrame(gaps), gaps.astype(object)):
        plain = quick(kind, categorical_features=None).fit(X, y)
        model = quick(kind).fit(X, y)
        assert not model.is_categorical_.any()
        assert model.categories_ == [None, None]
        np.testing.assert_array_equal(answer(model, X), answer(plain, X))


@pytest.mark.parametrize("kind", KINDS)
def test_codes_are_named_by_mask_positions_or_names(kind):
    codes = np.column_stack([NUMBERS[:, 0], KIND, KIND > 1]).astype(np.float32)
    names = pd.DataFrame(codes, columns=["number", "kind", "last"])
    y, expected = target(kind), None
    for X, columns in (
        (codes, [False, True, True]),
        (codes, [1, 2]),
        (names, ["kind", "last"]),
    ):
        model = quick(kind, categorical_features=columns).fit(X, y)
        np.testing.assert_array_equal(model.is_categorical_, [False, True, True])
        found = answer(model, X)
        if expected is not None:
            np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
        expected = found
    assert model.patterns_.shape == (N, 6)
    assert model.patterns_.dtype == answer(model, X).dtype


def test_columns_are_nominal_that_boosting_takes_for_such():
    X = FRAME[["float", "category"]]
    boosting = HistGradientBoostingClassifier(max_iter=1).fit(X, Y)
    model = quick(UHopClassifier).fit(X, Y)
    np.testing.assert_array_equal(model.is_categorical_, boosting.is_categorical_)


@pytest.mark.parametrize("kind", KINDS)
def test_unseen_categories_count_as_missing(kind):
    model = quick(kind).fit(FRAME, target(kind))
    unseen, missing = FRAME[:20].copy(), FRAME[:20].copy()
    unseen["object"], missing["object"] = "chickpea", None
    np.testing.assert_array_equal(answer(model, unseen), answer(model, missing))
    model.partial_fit(unseen, target(kind)[:20])
    expected = np.tile(model.mean_[7:10], (20, 1))
    np.testing.assert_allclose(model.patterns_[N:, 7:10], expected)


@pytest.mark.parametrize("kind", KINDS)
def test_missing_is_the_mean(kind):
    """The same in queries as in what is stored, lest a hole be a mark of its own."""
    model = quick(kind).fit(WORD, target(kind)[: len(WORD)])
    holes = WORD.copy()
    holes.loc[::2, "category"] = None
    holes.loc[::3, "float"] = None
    rows = np.column_stack(
        [holes["float"], pd.get_dummies(holes["category"], dtype=float)]
    )
    rows[holes["category"].isna(), 1:] = np.nan
    rows = np.where(np.isnan(rows), model.mean_, rows)
    plain = clone(model).set_params(categorical_features=None).fit(rows, rows[:, 0] > 0)
    for name, value in vars(model).items():
        if name[-1] == "_" and name not in ("feature_names_in_", "n_features_in_"):
            setattr(plain, name, value)
    plain.is_categorical_, plain.categories_ = np.zeros(4, bool), [None] * 4
    np.testing.assert_allclose(answer(model, holes), answer(plain, rows), rtol=1e-9)


@pytest.mark.parametrize("kind", KINDS)
def test_weights_are_copies(kind):
    copies = np.random.RandomState(1).randint(3, size=N)
    # A value that no row of weight has is not known.
    X, y = FRAME.assign(float=NUMBERS[:, 0]), target(kind)
    X.loc[np.flatnonzero(copies == 0)[0], "object"] = "chickpea"
    order = np.repeat(np.arange(N), copies)
    weighted = quick(kind).fit(X, y, sample_weight=copies)
    repeated = quick(kind).fit(X.iloc[order], y[order])
    assert "chickpea" not in weighted.categories_[5]
    np.testing.assert_allclose(
        answer(weighted, X), answer(repeated, X), rtol=1e-6, atol=1e-9
    )


@pytest.mark.parametrize("kind", KINDS)
def test_tables_inside_scikit_learn(kind, tmp_path):
    y = target(kind)
    few = make_column_transformer(
        (StandardScaler(), ["float", "single"]), remainder="passthrough"
    ).set_output(transform="pandas")
    whole = FunctionTransformer().set_output(transform="pandas")
    search = GridSearchCV(
        make_pipeline(whole, few, quick(kind)),
        {f"{kind.__name__.lower()}__n_components": [4, 8]},
        cv=2,
    ).fit(FRAME, y)
    model = search.best_estimator_[-1]
    assert model.is_categorical_.sum() == 5
    assert search.score(FRAME, y) > 0.7
    skops.io.dump(model, tmp_path / "model.skops")
    types = skops.io.get_untrusted_types(file=tmp_path / "model.skops")
    again = skops.io.load(tmp_path / "model.skops", trusted=types)
    rows = search.best_estimator_[:-1].transform(FRAME)
    np.testing.assert_array_equal(answer(again, rows), answer(model, rows))


@pytest.mark.parametrize("kind", KINDS)
def test_what_no_column_may_be(kind):
    y = target(kind)
    model = quick(kind).fit(FRAME, y)
    with pytest.raises(ValueError, match="same order"):
        model.predict(FRAME[FRAME.columns[::-1]])
    with pytest.raises(ValueError, match="8 features"):
        quick(kind).fit(objects(), y).predict(objects()[:, :3])
    dates = FRAME.assign(date=pd.Timestamp(2026, 11, 28))
    with pytest.raises(ValueError, match="'date' of X must be numbers"):
        quick(kind).fit(dates, y)
    infinite = FRAME.assign(single=np.inf)
    with pytest.raises(ValueError, match="'single' of X must not have infinite"):
        model.predict(infinite)
    names = pd.DataFrame({"name": [f"row {i}" for i in range(300)]})
    with pytest.raises(ValueError, match=r"'name'.*at most 255.*300"):
        quick(kind).fit(names, np.arange(300) % 2)
    with pytest.raises(ValueError, match=r"names of columns of X.*'weight'"):
        quick(kind, categorical_features=["weight"]).fit(FRAME, y)
    assert not hasattr(quick(kind), "is_categorical_")


def test_a_failed_fit_leaves_the_columns_as_they_were():
    model = quick(UHopClassifier).fit(FRAME, Y)
    before = dict(vars(model))
    with pytest.raises(ValueError, match="infinite"):
        model.fit(FRAME[["category", "single"]].assign(single=np.inf), Y)
    assert vars(model) == before


def test_holes_and_words_do_not_cost_what_by_hand_would_not():
    """Nearly as good as with the columns that a third of the entries was taken from."""
    rng = np.random.RandomState(3)
    kind = rng.randint(4, size=400)
    X = pd.DataFrame({"kind": np.array(list("abcd"), object)[kind]})
    X["number"] = rng.normal(size=400) + (kind % 2)
    X["copy"] = X["kind"]
    y = np.where(rng.rand(400) < 0.9, kind // 2, 1 - kind // 2)
    holes = X.mask(rng.rand(*X.shape) < 0.3)
    model = UHopClassifier(max_iter=30, training=CrossFitting(n_folds=2))
    model.set_params(random_state=0).fit(holes[:250], y[:250])
    # Both words are missing in 9 % of the rows, and one in ten is noise.
    assert model.score(holes[250:], y[250:]) > 0.8


# --- the memory ----------------------------------------------------------------------

MEMORY = UHopMemory(max_iter=3, random_state=0)
COMPLETE = FRAME.dropna().reset_index(drop=True)


def test_a_memory_gives_frames_back():
    memory = clone(MEMORY).fit(COMPLETE)
    np.testing.assert_array_equal(memory.is_categorical_, NOMINAL)
    assert memory.patterns_.shape == (len(COMPLETE), 16)
    pd.testing.assert_frame_equal(memory.transform(COMPLETE), COMPLETE)
    holes = COMPLETE.copy()
    holes.loc[::2, "category"] = None
    holes.loc[1::2, "boolean"] = None
    holes.loc[::3, "float"] = np.nan
    holes.loc[1::3, "object"] = "never met"
    for output in ("default", "pandas"):
        found = memory.set_output(transform=output).transform(holes)
        pd.testing.assert_frame_equal(found, COMPLETE, atol=1e-3)
    np.testing.assert_array_equal(memory.predict(holes), np.arange(len(COMPLETE)))
    assert memory.score(COMPLETE) == pytest.approx(0, abs=1e-12)
    assert memory.score(holes, COMPLETE) == pytest.approx(0, abs=1e-5)
    again = pickle.loads(pickle.dumps(memory)).transform(holes)
    pd.testing.assert_frame_equal(again, found)
    memory.partial_fit(COMPLETE[:3])
    assert len(memory.patterns_) == len(COMPLETE) + 3


def test_codes_of_a_memory_come_back_as_codes():
    codes = np.column_stack([3 * NUMBERS[:, 0], KIND, KIND == 2]).astype(np.float32)
    memory = clone(MEMORY).set_params(categorical_features=[1, 2]).fit(codes)
    gaps = codes.copy()
    gaps[::2, 1] = np.nan
    found = memory.transform(gaps)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found[1::2], codes[1::2])
    assert np.isin(found[:, 1], [0, 1, 2]).all()
    np.testing.assert_array_equal(found[:, 2], codes[:, 2])


def test_a_mismatch_is_the_same_whatever_the_values():
    words = np.array([["a"], ["b"], ["z"]], object)
    memory = UHopMemory("identity", similarity="euclidean", beta=1.0).fit(words)
    expected = np.full((3, 3), np.exp(-1.0))
    np.fill_diagonal(expected, 1)
    expected /= expected.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(memory.association(words), expected)
    drawn = memory.sample(5, random_state=0)
    assert np.isin(drawn, words).all()


def test_patterns_of_a_memory_may_lack_entries():
    found = clone(MEMORY).fit(FRAME).transform(FRAME)
    assert found.dtypes.equals(FRAME.dtypes)
    assert not found.isna().any(axis=None)


def test_kanerva_names_the_column_of_words():
    memory = KanervaMemory(3)
    with pytest.raises(ValueError, match=r"'category' of X is nominal.*OneHotEncoder"):
        memory.fit(COMPLETE[["float", "category"]])
    memory.fit(NUMBERS)
    with pytest.raises(ValueError, match="Column 1 of X is nominal"):
        memory.transform(np.column_stack([NUMBERS[:, :1], WORDS]).astype(object))


# --- sparse --------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [*KINDS, UHopMemory])
@pytest.mark.parametrize("make", [scipy.sparse.csr_array, scipy.sparse.csc_matrix])
def test_sparse_is_answered_as_dense(kind, make):
    X = np.where(RNG.rand(40, 6) < 0.3, RNG.rand(40, 6), 0)
    y = np.arange(40) % 2
    dense = kind(max_iter=3, random_state=0).fit(X, y)
    sparse = kind(max_iter=3, random_state=0).fit(make(X), y)
    np.testing.assert_array_equal(sparse.patterns_, X)
    ask = "transform" if kind is UHopMemory else "predict"
    np.testing.assert_array_equal(getattr(sparse, ask)(make(X)), getattr(dense, ask)(X))
    sparse.partial_fit(make(X[:3]), *([] if kind is UHopMemory else [y[:3]]))
    assert len(sparse.patterns_) == 43
    assert get_tags(sparse).input_tags.sparse


def test_sparse_of_a_size_that_no_memory_has_is_an_error():
    X = scipy.sparse.csr_array((10**7, 10**9))
    with pytest.raises(InsufficientMemoryError, match=r"X is sparse and takes .* GiB"):
        clone(MEMORY).fit(X)


# --- what Stage I makes of indicators ------------------------------------------------


def test_a_column_is_spared_as_a_whole():
    draws = [None, torch.Generator(), None, torch.Generator()]
    Z, source = torch.ones(4, 50, 5), torch.tensor([0, 1, 1, 1, 2])
    indicators = torch.tensor([False, True, True, True, False])
    rows = drop_entries(Z, indicators, 0.3, draws, source)
    assert (rows[::2] == 1).all()
    assert (rows[:, :, ~indicators] == 1).all()
    spared = rows[1::2, :, 1:4]
    assert 0.5 < spared.mean() < 0.9
    assert (spared == spared[..., :1]).all()


def test_indicators_get_no_waves():
    Z = torch.tensor([[0.1, -1.0], [0.2, 0.0], [0.3, 2.0]])
    begin = MEMBER_MAPS["periodic"].begin
    indicators = torch.tensor([False, True])
    assert begin(Z, 2, 4, 0)["embedded"].tolist() == [0, 1]
    assert begin(Z, 2, 4, 0, indicators)["embedded"].tolist() == [0]
