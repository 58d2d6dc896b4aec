"""Tables with holes completed: UHopImputer against scikit-learn's imputers.

Of each table at most 400 rows are taken; seven of ten to learn from, the others to
complete, with entries hidden in both parts by six patterns (`_holes.py`). Errors of
numbers are in standard deviations of the observed column, those of nominal columns in
parts of what the most frequent value errs.

The peers get standardised columns, nominal ones as indicators whose largest says the
value. KNNImputer's number of neighbours and weights are tuned for every table and
pattern on entries hidden from the rows to learn from. missForest is ExtraTrees inside
IterativeImputer. UHopImputer gets the raw columns and no tuning.

Run it with ``python examples/benchmarks/imputation.py --data FOLDER``, where FOLDER has
a folder `tabular` of tables as `_tables.py` describes them; the tables that come with
scikit-learn are always there. ``--cache FILE`` remembers what has been measured.
"""

from __future__ import annotations

import argparse
import itertools
import json
import time
import warnings
from functools import partial
from pathlib import Path

import numpy as np
from _holes import (
    PATTERNS,
    hide_at_random,
    make_cell,
    names_of_tables,
    nominal_error,
    numeric_error,
    with_holes,
)
from _report import machine, markdown_rows, write_tables
from sklearn.ensemble import ExtraTreesRegressor
from sklearn.exceptions import ConvergenceWarning
from sklearn.experimental import enable_iterative_imputer  # noqa: F401
from sklearn.impute import IterativeImputer, KNNImputer, SimpleImputer
from sklearn.linear_model import BayesianRidge

from skuhop import UHopImputer

OURS = "UHopImputer"
NEIGHBOURS = (1, 2, 3, 5, 10, 20, 40)
N_DRAWS, INTERVAL = 100, (0.05, 0.95)


class OneHot:
    """Columns as the peers like them: standardised, nominal ones as indicators."""

    def __init__(self, cell):
        self.values = [
            np.unique(column[~np.isnan(column)]) if levels else None
            for column, levels in zip(cell.train.T, cell.levels, strict=True)
        ]
        rows = self._indicators(cell.train)
        self.mean, spread = np.nanmean(rows, axis=0), np.nanstd(rows, axis=0)
        self.spread = np.where(spread > 0, spread, 1)

    def _indicators(self, X):
        parts = []
        for column, values in zip(X.T, self.values, strict=True):
            part = column[:, None]
            if values is not None:
                part = np.where(np.isnan(part), np.nan, part == values)
            parts.append(part)
        return np.hstack(parts)

    def encode(self, X):
        """Rows as columns of numbers."""
        return (self._indicators(X) - self.mean) / self.spread

    def decode(self, Z):
        """Numbers as rows; of indicators the largest."""
        Z, out, start = Z * self.spread + self.mean, [], 0
        for values in self.values:
            stop = start + (1 if values is None else len(values))
            part = Z[:, start:stop]
            out.append(part[:, 0] if values is None else values[part.argmax(axis=1)])
            start = stop
        return np.column_stack(out)


def tune_neighbours(train, seed):
    """Fit the KNNImputer that completes a fifth of the rows best."""
    part = len(train) // 5
    truth, rest = train[:part], train[part:]
    queries = with_holes(truth, (hide_at_random, 0.2), seed)
    hidden = np.isnan(queries) & ~np.isnan(truth)
    best, least = None, np.inf
    for weights in ("uniform", "distance"):
        for k in NEIGHBOURS:
            imputer = KNNImputer(
                n_neighbors=k, weights=weights, keep_empty_features=True
            )
            completed = imputer.fit(rest).transform(queries)
            error = np.square(completed - truth)[hidden].mean()
            if error < least:
                best, least = imputer, error
    return best


def _ridge(train, seed):
    return IterativeImputer(BayesianRidge(), max_iter=10, random_state=seed)


def _forest(train, seed):
    trees = ExtraTreesRegressor(50, min_samples_leaf=3, random_state=seed)
    return IterativeImputer(trees, max_iter=5, random_state=seed)


PEERS = {
    "SimpleImputer": lambda train, seed: SimpleImputer(),
    "KNNImputer, tuned": tune_neighbours,
    "IterativeImputer, BayesianRidge": _ridge,
    "missForest": _forest,
}


def complete_by_peer(make, cell, seed):
    """Learn and complete by a peer, on the encoding that suits it."""
    encoding = OneHot(cell)
    train, queries = encoding.encode(cell.train), encoding.encode(cell.queries)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        imputer = make(train, seed).set_params(keep_empty_features=True)
        return encoding.decode(imputer.fit(train).transform(queries))


def complete_by_mode(make, cell, seed):
    """Means and most frequent values."""
    numbers = np.flatnonzero(cell.levels == 0)
    nominal = np.flatnonzero(cell.levels)
    out = cell.queries.copy()
    for columns, strategy in ((numbers, "mean"), (nominal, "most_frequent")):
        if len(columns):
            imputer = SimpleImputer(strategy=strategy).fit(cell.train[:, columns])
            out[:, columns] = imputer.transform(cell.queries[:, columns])
    return out


def complete_by_memory(cell, seed):
    """Complete by UHopImputer, and say how many hidden numbers its intervals cover."""
    imputer = UHopImputer(categorical_features=cell.levels > 0, random_state=seed)
    start = time.perf_counter()
    completed = imputer.fit(cell.train).transform(cell.queries)
    seconds = time.perf_counter() - start
    draws = np.stack(imputer.sample(cell.queries, N_DRAWS, random_state=seed))
    # Of one more draw, these quantiles have 90 % between them; numpy's own have 88 %.
    low, high = np.quantile(draws, INTERVAL, axis=0, method="weibull")
    hidden = cell.hidden & (cell.levels == 0)
    inside = ((cell.truth >= low) & (cell.truth <= high))[hidden]
    return completed, seconds, float(inside.mean()) if hidden.any() else np.nan


def measure(method, cell, seed):
    """Errors and seconds of one method on one cell."""
    start, covered = time.perf_counter(), np.nan
    if method == OURS:
        completed, seconds, covered = complete_by_memory(cell, seed)
    else:
        complete = complete_by_mode if method == "SimpleImputer" else complete_by_peer
        completed = complete(PEERS[method], cell, seed)
        seconds = time.perf_counter() - start
    return {
        "numeric": numeric_error(completed, cell),
        "nominal": nominal_error(completed, cell),
        "seconds": seconds,
        "covered": covered,
    }


class Measured:
    """What has been measured, in a file of lines where there is one."""

    def __init__(self, file):
        self.file, self.outcomes = file, {}
        if file and file.exists():
            for line in file.read_text().splitlines():
                key, outcome = json.loads(line)
                self.outcomes[tuple(key)] = outcome

    def look_up(self, key, work):
        """Look up an outcome, or work for it."""
        if key not in self.outcomes:
            self.outcomes[key] = work()
            # What is being worked on is measured anew.
            if self.file and key[-1] != OURS:
                with self.file.open("a") as stream:
                    stream.write(json.dumps([key, self.outcomes[key]]) + "\n")
        return self.outcomes[key]


def mean_of(cells, pattern, method, what):
    """Mean over the cells of a pattern, of those that have such columns."""
    values = [
        found[method].get(what, np.nan) for key, found in cells if key[1] == pattern
    ]
    values = np.array(values, float)
    return values[~np.isnan(values)].mean() if not np.isnan(values).all() else np.nan


def summary(cells, methods):
    """Mean errors by pattern and method."""
    for pattern in PATTERNS:
        for what in ("numeric", "nominal"):
            row = {"pattern": pattern, "columns": what}
            for method in methods:
                row[method] = f"{mean_of(cells, pattern, method, what):.3f}"
            covered = mean_of(cells, pattern, OURS, "covered")
            row["90 % intervals cover"] = f"{covered:.1%}" if what == "numeric" else ""
            yield row


def worst(cells, peers):
    """Tables on which UHopImputer is furthest behind the best peer."""
    rows = []
    for key, found in cells:
        for what in ("numeric", "nominal"):
            best = min(found[peer][what] for peer in peers)
            if best > 0 and np.isfinite(best):
                rows.append((found[OURS][what] / best, *key, what))
    for ratio, table, pattern, seed, what in sorted(rows, reverse=True)[:10]:
        yield {
            "table": table,
            "pattern": pattern,
            "seed": str(seed),
            "columns": what,
            "ratio to the best peer": f"{ratio:.2f}",
        }


def speed():
    """Seconds of fit and transform at 1,000 and 10,000 rows, a tenth of it missing."""
    for n_rows in (1000, 10_000):
        rng = np.random.RandomState(0)
        X = rng.normal(size=(n_rows, 10)) @ rng.normal(size=(10, 10))
        X[rng.uniform(size=X.shape) < 0.1] = np.nan
        row = {"rows": str(n_rows), "columns": "10"}
        imputers = {OURS: UHopImputer(random_state=0), "KNNImputer": KNNImputer()}
        for name, imputer in imputers.items():
            start = time.perf_counter()
            imputer.fit(X).transform(X)
            row[f"{name} (s)"] = f"{time.perf_counter() - start:.2f}"
        yield row


def main():
    """Measure all methods on all cells, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", type=Path, default=Path("."))
    parser.add_argument("--tables", nargs="*")
    parser.add_argument("--methods", nargs="*", default=[*PEERS, OURS])
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--cache", type=Path, help="file of what peers have reached")
    parser.add_argument("--out", default="benchmark_results/imputation.csv")
    args = parser.parse_args()
    print(machine(), end="\n\n")
    measured, cells = Measured(args.cache), []
    names = args.tables or names_of_tables(args.data)
    for key in itertools.product(names, PATTERNS, range(args.seeds)):
        name, pattern, seed = key
        cell = make_cell(name, args.data, pattern, seed)
        found = {
            method: measured.look_up(
                (*key, method), partial(measure, method, cell, seed)
            )
            for method in args.methods
        }
        cells.append((key, found))
        print(*key, found.get(OURS, ""), flush=True)
    if OURS not in args.methods:
        return
    rows = [
        {"table": key[0], "pattern": key[1], "seed": str(key[2]), "columns": what}
        | {method: f"{found[method][what]:.3f}" for method in args.methods}
        for key, found in cells
        for what in ("numeric", "nominal", "seconds")
    ]
    peers = [method for method in args.methods if method != OURS]
    outcome = [list(summary(cells, args.methods)), list(worst(cells, peers))]
    outcome = [table for table in [*outcome, list(speed()), rows] if table]
    print("\n" + "\n\n".join(markdown_rows(table) for table in outcome[:-1]))
    write_tables(args.out, outcome)


if __name__ == "__main__":
    main()
