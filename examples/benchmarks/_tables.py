"""The tables of the classification benchmark and the preprocessing all models share."""

import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from sklearn import datasets
from sklearn.compose import make_column_transformer
from sklearn.impute import SimpleImputer
from sklearn.model_selection import StratifiedKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

BUNDLED = {
    "iris": datasets.load_iris,
    "wine": datasets.load_wine,
    "breast_cancer": datasets.load_breast_cancer,
    "digits": datasets.load_digits,
}
#: Written down from a rule, not measured: shown apart, in no mean.
RULE_GENERATED = ("balance_scale", "car", "tic_tac_toe")
#: Sets with a test set of their own, asked for with --large.
LARGE = ("adult", "banking77", "mnist")

_MISSING = """{file} is absent. A table is a file <name>.npz with X (n, d), y (n,) and
cat (d,): 0 for a numeric column, otherwise its number of levels. For instance take
sklearn.datasets.fetch_openml(name, as_frame=True), ordinal-encode the nominal columns,
then numpy.savez_compressed. The bundled tables ({bundled}) need no file."""


class Split(NamedTuple):
    """One training and one test set, preprocessed."""

    X: np.ndarray
    y: np.ndarray
    X_test: np.ndarray
    y_test: np.ndarray


def table_names(folder: Path) -> list[str]:
    """Names of all tables at hand: those in the folder, then the bundled ones."""
    found = sorted(file.stem for file in (folder / "tabular").glob("*.npz"))
    return [name for name in found if name not in LARGE] + list(BUNDLED)


def _load(name: str, folder: Path):
    """X, y and the number of levels of each column."""
    if name in BUNDLED:
        X, y = BUNDLED[name](return_X_y=True)
        return X, y, np.zeros(X.shape[1], int)
    file = folder / "tabular" / f"{name}.npz"
    if not file.exists():
        raise FileNotFoundError(_MISSING.format(file=file, bundled=", ".join(BUNDLED)))
    with np.load(file) as table:
        return table["X"].astype(float), table["y"].astype(int), table["cat"]


def preprocessing(levels: np.ndarray):
    """Impute, one-hot encode what is nominal, standardise: the same for all models."""
    numeric = make_pipeline(SimpleImputer(strategy="median"), StandardScaler())
    nominal = make_pipeline(
        SimpleImputer(strategy="most_frequent"),
        OneHotEncoder(handle_unknown="ignore", sparse_output=False),
        StandardScaler(),
    )
    parts = [(numeric, np.flatnonzero(levels == 0)), (nominal, np.flatnonzero(levels))]
    return make_column_transformer(*(part for part in parts if len(part[1])))


def _prepared(levels, X, y, X_test, y_test) -> Split:
    steps = preprocessing(levels)
    return Split(steps.fit_transform(X), y, steps.transform(X_test), y_test)


def folds(name: str, folder: Path, n_folds: int, seed: int) -> Iterator[Split]:
    """Stratified folds of a table; the preprocessing is fitted on each training set."""
    X, y, levels = _load(name, folder)
    folds_of = StratifiedKFold(n_folds, shuffle=True, random_state=seed)
    with warnings.catch_warnings():
        # Some tables have classes of fewer rows than there are folds.
        warnings.simplefilter("ignore", UserWarning)
        parts = list(folds_of.split(X, y))
    for train, test in parts:
        yield _prepared(levels, X[train], y[train], X[test], y[test])


def large(name: str, folder: Path) -> Split:
    """Load a large set with its own test set."""
    files = {
        "adult": "tabular/adult.npz",
        "banking77": "banking77_minilm.npz",
        "mnist": "mnist.npz",
    }
    file = folder / files[name]
    if not file.exists():
        raise FileNotFoundError(_MISSING.format(file=file, bundled=", ".join(BUNDLED)))
    with np.load(file) as data:
        parts = [data[key] for key in ("X", "y", "X_test", "y_test")]
        levels = data.get("cat", None)
    X, y, X_test, y_test = parts
    if name == "adult":
        return _prepared(levels, X.astype(float), y, X_test.astype(float), y_test)
    scale = 255 if name == "mnist" else 1
    flat = (A.reshape(len(A), -1).astype(np.float32) / scale for A in (X, X_test))
    X, X_test = flat
    return Split(X, y, X_test, y_test)
