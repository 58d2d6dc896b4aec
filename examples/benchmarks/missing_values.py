"""Missing values on real tables: UHopMemory against scikit-learn's imputers.

Numeric columns of each table, rows that have them all. Three quarters of the rows are
stored (or fitted on) complete; of the others a share of the entries is hidden at
random. Columns are standardised on the training rows, so errors are in standard
deviations of the column: the root of the mean squared error of the hidden entries.

The peers get the same training rows and their settings are tuned on a fifth of them,
with as large a share hidden: KNNImputer over the number of neighbours and both kinds of
weights; IterativeImputer over its estimator and over being fitted on complete rows or
on rows with gaps. UHopMemory is not tuned: ``missing="new"`` learns what it needs in
`fit`. Its default, ``missing="copy"``, is shown as well: it looks for the one stored
pattern that a query is a copy of, and these queries are none.

The last table takes the time at 10,000 stored and 10,000 incomplete rows, each with one
gap at least: fit and transform with the settings a user gets, one after the other in
one process.

Run it with ``python examples/benchmarks/missing_values.py --data FOLDER``, where FOLDER
has a folder `tabular` of tables as `_tables.py` describes them; the tables that come
with scikit-learn are always there. Numbers go to ``benchmark_results``.
"""

from __future__ import annotations

import argparse
import itertools
import time
from pathlib import Path

import numpy as np
from _report import machine, markdown_rows, write_tables
from _tables import BUNDLED, RULE_GENERATED, _load, table_names
from sklearn.ensemble import ExtraTreesRegressor
from sklearn.experimental import enable_iterative_imputer  # noqa: F401
from sklearn.impute import IterativeImputer, KNNImputer, SimpleImputer
from sklearn.linear_model import BayesianRidge

from skuhop import UHopMemory

SHARES = (0.1, 0.3)
FEWEST_COLUMNS, MOST_COLUMNS = 4, 100
NEIGHBOURS = (1, 2, 3, 5, 10, 20, 40)
MOST_FOR_TREES = 20_000
"""Training rows times columns up to which IterativeImputer is tried with trees."""


def tables(folder, most_rows):
    """Name and complete numeric rows of every table, shuffled."""
    for name in [*table_names(folder), "adult"]:
        if name in (*RULE_GENERATED, "digits"):
            continue
        if name not in BUNDLED and not (folder / "tabular" / f"{name}.npz").exists():
            continue
        X, _, levels = _load(name, folder)
        X = X[:, levels == 0]
        X = X[np.isfinite(X).all(axis=1)]
        if FEWEST_COLUMNS <= X.shape[1] <= MOST_COLUMNS:
            yield name, X[np.random.RandomState(0).permutation(len(X))[:most_rows]]


def hide(X, share, rng):
    """X with a share of its entries unknown, at least one known entry in each row."""
    hidden = rng.uniform(size=X.shape) < share
    hidden[hidden.all(axis=1), 0] = False
    return np.where(hidden, np.nan, X)


def with_gap(X, queries, rng):
    """Hide an entry in the rows of the queries that have all."""
    rows = np.flatnonzero(~np.isnan(queries).any(axis=1))
    queries[rows, rng.randint(X.shape[1], size=len(rows))] = np.nan
    return queries


def split(X, share, seed):
    """Standardised training rows, test rows, and the latter with entries hidden."""
    rng = np.random.RandomState(seed)
    X = X[rng.permutation(len(X))]
    n_test = len(X) // 4
    train = X[n_test:]
    varies = train.std(axis=0) > 0
    mean, spread = train[:, varies].mean(axis=0), train[:, varies].std(axis=0)
    test, train = (
        (X[:n_test, varies] - mean) / spread,
        (train[:, varies] - mean) / spread,
    )
    return train, test, hide(test, share, rng)


def error(completed, truth, queries):
    """Root of the mean squared error of what was hidden."""
    return np.sqrt(np.mean((completed - truth)[np.isnan(queries)] ** 2))


def knn_candidates(train):
    """KNNImputer over neighbours and weights."""
    for weights in ("uniform", "distance"):
        for k in NEIGHBOURS:
            if k < 0.8 * len(train):
                yield False, KNNImputer(n_neighbors=k, weights=weights)


def iterative_candidates(train):
    """IterativeImputer, on complete rows and on rows with gaps."""
    estimators = [BayesianRidge()]
    if train.size <= MOST_FOR_TREES:
        estimators.append(ExtraTreesRegressor(20, min_samples_leaf=3, random_state=0))
    for estimator in estimators:
        # Wide tables are predicted from the columns that correlate most.
        nearest = None if train.shape[1] <= 40 else 20
        imputer = IterativeImputer(
            estimator, n_nearest_features=nearest, max_iter=10, random_state=0
        )
        if not isinstance(estimator, BayesianRidge):
            imputer.set_params(max_iter=3)
        for gaps in (False, True):
            yield gaps, imputer


def fitted(candidate, train, share, rng):
    """Fit a candidate on complete rows, or on rows with gaps."""
    gaps, imputer = candidate
    return imputer.fit(hide(train, share, rng) if gaps else train)


def tuned(candidates, train, share, seed):
    """Fit the candidate that completes a fifth of the training rows best."""
    rng = np.random.RandomState(seed)
    part = len(train) // 5
    truth, queries = train[:part], hide(train[:part], share, rng)
    errors = [
        error(fitted(c, train[part:], share, rng).transform(queries), truth, queries)
        for c in candidates
    ]
    return fitted(candidates[int(np.argmin(errors))], train, share, rng)


def methods(train, share, seed):
    """Name and fitted imputer, one after the other."""
    yield "SimpleImputer", SimpleImputer().fit(train)
    yield "KNNImputer, tuned", tuned([*knn_candidates(train)], train, share, seed)
    iterative = [*iterative_candidates(train)]
    yield "IterativeImputer, tuned", tuned(iterative, train, share, seed)
    for missing in ("new", "copy"):
        memory = UHopMemory(
            "identity", similarity="euclidean", missing=missing, random_state=seed
        )
        yield f"UHopMemory, missing={missing!r}", memory.fit(train)


def one_cell(name, X, share, seeds):
    """Errors of all methods on one table, in the mean over the seeds."""
    found = {}
    for seed in seeds:
        train, test, queries = split(X, share, seed)
        for method, imputer in methods(train, share, seed):
            completed = imputer.transform(queries)
            found.setdefault(method, []).append(error(completed, test, queries))
    errors = {method: float(np.mean(values)) for method, values in found.items()}
    return {
        "table": name,
        "hidden": share,
        "rows": len(X),
        "columns": X.shape[1],
    }, errors


def summary(cells):
    """Mean error, and the geometric mean of its ratio to KNNImputer."""
    reference = np.array([errors["KNNImputer, tuned"] for _, errors in cells])
    hidden = np.array([about["hidden"] for about, _ in cells])
    for method in cells[0][1]:
        errors = np.array([e[method] for _, e in cells])
        ratio = np.log(errors / reference)
        row = {"method": method, "mean error": f"{errors.mean():.3f}"}
        for share in SHARES:
            row[f"ratio to KNNImputer, {share:.0%} hidden"] = (
                f"{np.exp(ratio[hidden == share].mean()):.3f}"
            )
        row["ratio, all"] = f"{np.exp(ratio.mean()):.3f}"
        row["worst ratio"] = f"{np.exp(ratio.max()):.2f}"
        row["better than KNNImputer"] = f"{(ratio < 0).sum()} of {len(cells)}"
        yield row


def seconds(imputer, train, queries):
    """Seconds of fit and transform, the less of two times."""
    found = []
    for _ in range(2):
        start = time.perf_counter()
        imputer.fit(train).transform(queries)
        found.append(time.perf_counter() - start)
    return min(found)


def speed(folder, n_rows=10_000):
    """Seconds at 10,000 stored and 10,000 incomplete rows."""
    rng = np.random.RandomState(0)
    sources = {f"random {d}": rng.normal(size=(2 * n_rows, d)) for d in (20, 60)}
    for name, X in tables(folder, 2 * n_rows):
        if len(X) == 2 * n_rows:
            sources[name] = X
    for name, X in sources.items():
        X = (X - X.mean(axis=0)) / X.std(axis=0)
        for dtype, share in itertools.product(("float32", "float64"), SHARES):
            train = X[:n_rows].astype(dtype)
            truth = X[n_rows:].astype(dtype)
            queries = with_gap(truth, hide(truth, share, rng), rng)
            memory = UHopMemory("identity", similarity="euclidean", missing="new")
            ours = seconds(memory, train, queries)
            knn = seconds(KNNImputer(), train, queries)
            iterative = seconds(IterativeImputer(), train, queries)
            yield {
                "table": name,
                "columns": str(X.shape[1]),
                "type": dtype,
                "hidden": f"{share:.0%}",
                "UHopMemory (s)": f"{ours:.2f}",
                "KNNImputer (s)": f"{knn:.2f}",
                "IterativeImputer (s)": f"{iterative:.2f}",
                "KNNImputer / UHopMemory": f"{knn / ours:.1f}",
            }


def main():
    """Run both tables."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", type=Path, default=Path("."))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--most-rows", type=int, default=2500)
    parser.add_argument("--out", default="benchmark_results/missing_values.csv")
    args = parser.parse_args()
    print(machine(), end="\n\n")
    cells = []
    for name, X in tables(args.data, args.most_rows):
        for share in SHARES:
            cells.append(one_cell(name, X, share, range(args.seeds)))
            print(
                name,
                share,
                {k: f"{v:.3f}" for k, v in cells[-1][1].items()},
                flush=True,
            )
    rows = [
        {**{k: str(v) for k, v in about.items()}}
        | {method: f"{value:.3f}" for method, value in errors.items()}
        for about, errors in cells
    ]
    outcome = [list(summary(cells)), rows, list(speed(args.data))]
    print("\n" + "\n\n".join(markdown_rows(table) for table in outcome))
    write_tables(args.out, outcome)


if __name__ == "__main__":
    main()
