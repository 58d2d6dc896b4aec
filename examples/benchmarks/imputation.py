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
import json
import time
import warnings
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
from sklearn.ensemble import ExtraTreesRegressor
from sklearn.exceptions import ConvergenceWarning
from sklearn.experimental import enable_iterative_imputer  # noqa: F401
from sklearn.impute import IterativeImputer, KNNImputer, SimpleImputer
from sklearn.linear_model import BayesianRidge

NEIGHBOURS = (1, 2, 3, 5, 10, 20, 40)


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


def measure(method, cell, seed):
    """Errors and seconds of one method on one cell."""
    start = time.perf_counter()
    complete = complete_by_mode if method == "SimpleImputer" else complete_by_peer
    completed = complete(PEERS[method], cell, seed)
    seconds = time.perf_counter() - start
    return {
        "numeric": numeric_error(completed, cell),
        "nominal": nominal_error(completed, cell),
        "seconds": seconds,
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
            if self.file:
                with self.file.open("a") as stream:
                    stream.write(json.dumps([key, self.outcomes[key]]) + "\n")
        return self.outcomes[key]


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", type=Path, default=Path("."))
    parser.add_argument("--tables", nargs="*")
    parser.add_argument("--methods", nargs="*", default=list(PEERS))
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--cache", type=Path)
    args = parser.parse_args()
    measured = Measured(args.cache)
    for name in args.tables or names_of_tables(args.data):
        for seed in range(args.seeds):
            for pattern in PATTERNS:
                cell = make_cell(name, args.data, pattern, seed)
                for method in args.methods:
                    key = (name, pattern, seed, method)
                    outcome = measured.look_up(key, lambda: measure(method, cell, seed))
                    print(*key, outcome, flush=True)


if __name__ == "__main__":
    main()
