"""Regression: UHopRegressor at its defaults against tuned peers.

Targets are measurements: the disease progression of scikit-learn's diabetes, and in
each table that has some, the numeric column of the most values, from all other columns.
Rows of a table with missing entries are left out, of more than 1,000 the first are
taken. Three folds, the same preprocessing for all models, y standardised on the
training rows; peers are searched with three inner folds.

Errors are squared, in variances of y. "ratio" is the geometric mean over the tables of
a model's error by that of UHopRegressor; errors below 0.001 count as that there.
Seconds are of processor time.

Run it with ``python examples/benchmarks/regression.py --data FOLDER``, where FOLDER
holds ``tabular/*.npz`` as classification.py wants them; without it diabetes stands
alone. ``--tables`` and ``--models`` choose. Numbers go to ``benchmark_results``.
"""

from __future__ import annotations

import argparse
import time
import warnings
from pathlib import Path

import numpy as np
import torch
from _report import machine, markdown_rows, write_tables
from _tables import RULE_GENERATED, preprocessing, table_names
from scipy.stats import rankdata
from sklearn.datasets import load_diabetes
from sklearn.ensemble import HistGradientBoostingRegressor, RandomForestRegressor
from sklearn.linear_model import RidgeCV
from sklearn.model_selection import GridSearchCV, KFold
from sklearn.neighbors import KNeighborsRegressor
from sklearn.svm import SVR

from skuhop import CrossFitting, UHopRegressor

MOST_ROWS = 1000
FEWEST_VALUES = 20
"""A column of fewer values is taken for levels."""
FLOOR = 1e-3


def _searched(estimator, **grid):
    return GridSearchCV(estimator, grid, cv=3, scoring="neg_mean_squared_error")


MODELS = {
    "ridge": lambda: RidgeCV(np.logspace(-2, 4, 13)),
    "k nearest neighbours": lambda: _searched(
        KNeighborsRegressor(),
        n_neighbors=[1, 3, 5, 10, 20, 40],
        weights=["uniform", "distance"],
        p=[1, 2],
    ),
    "SVR": lambda: _searched(
        SVR(),
        C=[0.3, 1, 3, 10, 30, 100],
        gamma=["scale", 0.003, 0.01, 0.03, 0.1, 0.3],
        epsilon=[0.03, 0.1],
    ),
    "forest": lambda: _searched(
        RandomForestRegressor(200, random_state=0), max_features=[0.33, 1.0]
    ),
    "boosting": lambda: _searched(
        HistGradientBoostingRegressor(max_iter=150, random_state=0),
        learning_rate=[0.05, 0.15],
        max_leaf_nodes=[6, 31],
    ),
    "UHopRegressor, linear_share=0": lambda: UHopRegressor(
        training=CrossFitting(linear_share=0), random_state=0
    ),
    "UHopRegressor()": lambda: UHopRegressor(random_state=0),
}
OWN = "UHopRegressor()"


def targets(folder: Path | None):
    """Yield names, X, y and levels of the columns of X."""
    yield "diabetes, progression", *load_diabetes(return_X_y=True), np.zeros(10, int)
    names = table_names(folder) if folder else []
    for name in names:
        file = folder / "tabular" / f"{name}.npz"
        if name in RULE_GENERATED or not file.exists():
            continue
        with np.load(file) as table:
            X, levels = table["X"].astype(float), table["cat"]
        X = X[~np.isnan(X).any(axis=1)][:MOST_ROWS]
        values = [
            len(np.unique(column)) * (n == 0)
            for column, n in zip(X.T, levels, strict=True)
        ]
        chosen = int(np.argmax(values))
        if len(X) < 100 or values[chosen] < FEWEST_VALUES:
            continue
        others = np.arange(X.shape[1]) != chosen
        yield f"{name}, column {chosen}", X[:, others], X[:, chosen], levels[others]


def errors(models, X, y, levels):
    """Mean error over the folds, and seconds of fit and predict, of every model."""
    found = {name: [] for name in models}
    for train, test in KFold(3, shuffle=True, random_state=0).split(X):
        steps = preprocessing(levels).fit(X[train])
        rows, asked = steps.transform(X[train]), steps.transform(X[test])
        known = (y[train] - y[train].mean()) / y[train].std()
        wanted = (y[test] - y[train].mean()) / y[train].std()
        for name in models:
            begin = time.process_time()
            model = MODELS[name]().fit(rows, known)
            fitted = time.process_time()
            error = np.square(model.predict(asked) - wanted).mean()
            done = time.process_time()
            found[name].append((error, fitted - begin, done - fitted))
    return {name: np.mean(each, axis=0) for name, each in found.items()}


def summary(models, found):
    """Rows of the table of means."""
    table = np.array([[one[name] for name in models] for one in found])
    error = np.maximum(table[..., 0], FLOOR)
    ranks = rankdata(table[..., 0], axis=1)
    own = error[:, [models.index(OWN)]] if OWN in models else error
    ratios = np.exp(np.log(error / own).mean(axis=0))
    for i, name in enumerate(models):
        yield {
            "model": name,
            "mean error": f"{table[:, i, 0].mean():.4f}",
            "median error": f"{np.median(table[:, i, 0]):.4f}",
            "ratio": f"{ratios[i]:.3f}",
            "rank": f"{ranks[:, i].mean():.2f}",
            "fit s": f"{table[:, i, 1].mean():.2f}",
            "predict s": f"{table[:, i, 2].mean():.3f}",
        }


def main():
    """Run what is asked for, print the tables and write them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path)
    parser.add_argument("--models", nargs="+", choices=MODELS, default=list(MODELS))
    parser.add_argument("--tables", type=int, help="only the first so many")
    parser.add_argument("--out", default="benchmark_results/regression.csv")
    options = parser.parse_args()
    torch.set_num_threads(1)
    rows, found = [], []
    for name, X, y, levels in list(targets(options.data))[: options.tables]:
        with warnings.catch_warnings():
            # A level that a training fold lacks makes a constant column.
            warnings.simplefilter("ignore", UserWarning)
            found.append(errors(options.models, X, y, levels))
        each = {model: f"{found[-1][model][0]:.4f}" for model in options.models}
        rows.append({"target": name, "n": len(X), "d": X.shape[1]} | each)
        print(*rows[-1].values(), sep=" | ", flush=True)
    tables = [list(summary(options.models, found)), rows]
    write_tables(options.out, tables)
    texts = [[{k: str(v) for k, v in row.items()} for row in t] for t in tables]
    print(*map(markdown_rows, texts), machine(), sep="\n\n")


if __name__ == "__main__":
    main()
