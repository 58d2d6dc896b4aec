"""Tables as people have them: read column by column, and given back as they were."""

import numpy as np
import pandas as pd
import pytest

from skuhop.tables import (
    Fill,
    as_table,
    decode_column,
    encode,
    hold_objects,
    learn_coding,
    learn_coordinates,
    mark_missing,
    resolve_categorical,
    to_coordinates,
)


def frame():
    """Every dtype of pandas that a table has, with holes where it can."""
    return pd.DataFrame(
        {
            "float": [0.1, np.nan, 3.0, 1e300],
            "single": np.array([0.1, np.nan, 3, 4], np.float32),
            "int": [1, 2, 3, 4],
            "Int": pd.array([1, None, 3, 4], "Int64"),
            "Float": pd.array([1.5, None, 3, 4], "Float64"),
            "bool": [True, False, True, True],
            "boolean": pd.array([True, None, False, True], "boolean"),
            "object": ["a", None, "b", "a"],
            "string": pd.array(["a", None, "b", "a"], "string"),
            "category": pd.Categorical(["x", None, "y", "x"], ["y", "x", "unused"]),
            "numbers": np.array([1, None, 2.5, np.nan], object),
        }
    )


NOMINAL = {"bool", "boolean", "object", "string", "category"}


def polars_frame():
    polars = pytest.importorskip("polars")
    return polars.DataFrame(
        {
            "float": [0.1, None, 3.0, float("nan")],
            "int": [1, None, 3, 4],
            "boolean": [True, None, False, True],
            "string": ["a", None, "b", "a"],
        },
    ).with_columns(
        polars.Series("category", ["x", None, "y", "x"], dtype=polars.Categorical),
        polars.Series("enum", ["x", None, "y", "x"], dtype=polars.Enum(["y", "x"])),
    )


def arrow_frame():
    pytest.importorskip("pyarrow")
    columns = ["float", "Int", "boolean", "string"]
    return frame()[columns].convert_dtypes(dtype_backend="pyarrow")


def read(X, **kwargs):
    table = as_table(X)
    names = getattr(X, "columns", None)
    nominal = resolve_categorical("from_dtype", table, names)
    coding = learn_coding(table, nominal, **kwargs)
    return table, coding, encode(table, coding)


@pytest.mark.parametrize("value", [None, np.nan, pd.NA, pd.NaT, float("nan")])
def test_what_is_missing(value):
    values = np.array(["a", value, 1.0], object)
    np.testing.assert_array_equal(mark_missing(values), [False, True, False])


@pytest.mark.parametrize(
    "values, sentinel",
    [
        (np.array([1, -1, 2]), -1),
        (np.array([1.0, -1.0, 2.0]), -1),
        (np.array(["a", "?", "b"]), "?"),
        (np.array(["a", "?", 1.0], object), "?"),
    ],
)
def test_what_the_user_calls_missing(values, sentinel):
    np.testing.assert_array_equal(mark_missing(values, sentinel), [False, True, False])
    assert not mark_missing(values, "other").any()


def test_dtypes_say_what_is_nominal():
    X = frame()
    nominal = resolve_categorical("from_dtype", as_table(X), X.columns)
    assert set(X.columns[nominal]) == NOMINAL


def test_holes_are_where_pandas_has_them():
    X = frame()
    np.testing.assert_array_equal(np.isnan(read(X)[2]), X.isna().to_numpy())


def test_numbers_are_read_as_pandas_reads_them():
    X = frame()
    codes = read(X)[2]
    for name in set(X.columns) - NOMINAL:
        expected = pd.to_numeric(X[name]).to_numpy(float, na_value=np.nan)
        np.testing.assert_array_equal(codes[:, X.columns.get_loc(name)], expected)


@pytest.mark.parametrize("make", [frame, polars_frame, arrow_frame])
def test_codes_lead_back_to_values_and_dtypes_stay(make):
    """Each hole is filled with the first row's entry of the column."""
    X = make()
    table, coding, codes = read(X)
    fills = {}
    for column in np.flatnonzero(np.isnan(codes).any(axis=0)):
        rows = np.flatnonzero(np.isnan(codes[:, column]))
        values = np.repeat(codes[0, column], len(rows))
        fills[column] = Fill(rows, decode_column(values, column, table, coding))
    filled = table.fill(fills)
    assert type(filled) is type(X)
    assert list(filled.columns) == list(X.columns)
    before, after = as_table(X), as_table(filled)
    for column, name in enumerate(X.columns):
        assert filled[name].dtype == X[name].dtype, name
        values, originals = after.objects(column), before.objects(column)
        holes = np.isnan(codes[:, column])
        assert (values[~holes] == originals[~holes]).all(), name
        assert (values[holes] == originals[0]).all(), name
    # What was given has not changed.
    np.testing.assert_array_equal(np.isnan(read(X)[2]), np.isnan(codes))


def test_values_never_met_are_missing():
    _, coding, _ = read(pd.DataFrame({"a": ["x", "y"], "b": [1.0, 2]}))
    other = pd.DataFrame({"a": ["x", "a longer word"], "b": [1.0, 2]})
    np.testing.assert_array_equal(
        encode(as_table(other), coding), [[0, 1], [np.nan, 2]]
    )
    # NumPy's text would be cut to the width of what fit has met.
    _, coding, _ = read(np.array([["x"], ["y"]]))
    assert np.isnan(encode(as_table(np.array([["xylophone"]])), coding)).all()


@pytest.mark.parametrize(
    "given, marked",
    [
        (None, []),
        ([], []),
        ([0, 2], ["a", "c"]),
        (np.array([True, False, False]), ["a"]),
        (["c"], ["c"]),
        (pd.Index(["b"]), ["b"]),
    ],
)
def test_categorical_features_as_scikit_learn_has_them(given, marked):
    X = pd.DataFrame(np.zeros((2, 3)), columns=["a", "b", "c"])
    nominal = resolve_categorical(given, as_table(X), X.columns)
    assert list(X.columns[nominal]) == marked


@pytest.mark.parametrize(
    "given, words",
    [
        ("all", "from_dtype"),
        ([True, False], "for each of the 3"),
        ([3], r"\[0, 2\]"),
        ([-1], r"\[0, 2\]"),
        (["d"], r"Got \['d'\]"),
        ([0.5], "from_dtype"),
        ([["a"]], "from_dtype"),
        (["a", 1], "names|from_dtype"),
    ],
)
def test_other_categorical_features_are_refused(given, words):
    X = pd.DataFrame(np.zeros((2, 3)), columns=["a", "b", "c"])
    with pytest.raises(ValueError, match=f"categorical_features.*({words})"):
        resolve_categorical(given, as_table(X), X.columns)


def test_names_need_names():
    with pytest.raises(ValueError, match="names of columns"):
        resolve_categorical(["a"], as_table(np.zeros((2, 2))), None)


@pytest.mark.parametrize("wrong", [np.inf, "word", 1j, pd.Timestamp("2020-01-01")])
def test_columns_of_numbers_hold_numbers(wrong):
    X = pd.DataFrame({"a": np.array([1.0, wrong], object)})
    coding = learn_coding(as_table(X), np.array([False]))
    with pytest.raises(ValueError, match="Column 'a' of X must"):
        encode(as_table(X), coding)


def test_values_of_a_nominal_column_are_of_one_kind():
    X = pd.DataFrame({"a": ["x", 1]})
    with pytest.raises(TypeError, match="Column 'a'"):
        learn_coding(as_table(X), np.array([True]))


def test_lists_that_mix_keep_their_numbers():
    X = hold_objects([["a", 1.5], [None, 2]])
    assert X.dtype == object
    assert X[0, 1] == 1.5
    assert hold_objects([[1, 2]]) == [[1, 2]]


def test_coordinates_are_standardised_with_weights():
    rng = np.random.RandomState(0)
    X = np.column_stack([rng.normal(5, 3, 40), rng.randint(3, size=40)])
    X[rng.uniform(size=X.shape) < 0.2] = np.nan
    weights = rng.randint(1, 4, size=40).astype(float)
    coordinates = learn_coordinates(X, np.array([False, True]), weights)
    copies = np.repeat(X, weights.astype(int), axis=0)
    Z = to_coordinates(copies, coordinates)
    np.testing.assert_allclose(np.nanmean(Z, axis=0), 0, atol=1e-12)
    np.testing.assert_allclose(np.nanstd(Z, axis=0), 1)
    # Two of three indicators say the third, and a hole is one in all of a column.
    assert list(coordinates.columns) == [0, 1, 1]
    np.testing.assert_array_equal(np.isnan(Z), np.isnan(copies)[:, [0, 1, 1]])
    assert (Z[:, 0][~np.isnan(Z[:, 0])] <= coordinates.high[0]).all()


def test_coordinates_of_numbers_of_any_size():
    X = np.array([[1e300, 1e-300, 7.0], [2e300, 3e-300, 7.0]])
    coordinates = learn_coordinates(X, np.zeros(3, bool), np.ones(2))
    Z = to_coordinates(X, coordinates)
    np.testing.assert_allclose(Z, [[-1, -1, 0], [1, 1, 0]])


def test_columns_without_entries_have_no_coordinates():
    X = np.array([[np.nan, 1.0], [np.nan, 2.0]])
    coordinates = learn_coordinates(X, np.zeros(2, bool), np.ones(2))
    assert list(coordinates.columns) == [1]
    assert coordinates.group(0) == slice(0, 0)
