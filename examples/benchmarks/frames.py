"""Frames with words and holes: as they are, encoded by hand, and boosting.

Tables with nominal columns, of each at most 400 rows, five folds, log-loss of what is
left out; with ``hidden`` so many more of the entries are missing in all rows.

- by hand: UHopClassifier after the preparation that the classification benchmark
  shares (median or most frequent value, indicators, standardised).
- frames: UHopClassifier with default settings on a data frame of numbers and
  categories.
- boosting: scikit-learn's, with native categories and missing values, searched.

Run it with ``python examples/benchmarks/frames.py --data FOLDER``, where FOLDER has a
folder `tabular` of tables as `_tables.py` describes them.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pandas as pd
from _classifiers import _searched
from _holes import hide_at_random, with_holes
from _report import machine, markdown_rows, write_tables
from _tables import RULE_GENERATED, _load, preprocessing, table_names
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.metrics import log_loss
from sklearn.model_selection import StratifiedKFold
from sklearn.pipeline import make_pipeline

from skuhop import UHopClassifier

MOST_ROWS, N_FOLDS = 400, 5
HIDDEN = (0.0, 0.1, 0.3)


def boosting():
    """Gradient boosting that takes frames, with its best setting.

    How many trees matters most: of 320 rows more than 60 are usually too many.
    """
    trees = HistGradientBoostingClassifier(
        categorical_features="from_dtype", random_state=0
    )
    grid = {"max_iter": [15, 30, 60, 120], "max_leaf_nodes": [3, 6, 15]}
    return _searched(trees, grid, "neg_log_loss")


def make_frame(X, levels):
    """Columns of numbers, and of categories where they are nominal."""
    columns = {}
    for position, (values, n) in enumerate(zip(X.T, levels, strict=True)):
        words = [None if np.isnan(v) else f"level {v:.0f}" for v in values]
        dtype = pd.CategoricalDtype([f"level {k}" for k in range(n)])
        columns[f"x{position}"] = pd.Series(words, dtype=dtype) if n else values
    return pd.DataFrame(columns)


def measure(name, folder, hidden, seed=0):
    """Mean log-loss of each of the ways over the folds."""
    X, y, levels = _load(name, folder)
    rows = np.random.RandomState(seed).permutation(len(X))[:MOST_ROWS]
    X, y = X[rows], y[rows]
    kept = np.isin(y, [c for c in np.unique(y) if (y == c).sum() >= N_FOLDS])
    X, y = with_holes(X[kept], (hide_at_random, hidden), seed), y[kept]
    frame = make_frame(X, levels)
    ways = {
        "by hand": (
            X,
            lambda: make_pipeline(
                preprocessing(levels), UHopClassifier(random_state=seed)
            ),
        ),
        "frames": (frame, lambda: UHopClassifier(random_state=seed)),
        "boosting": (frame, boosting),
    }
    losses = {way: [] for way in ways}
    folds = StratifiedKFold(N_FOLDS, shuffle=True, random_state=seed)
    for train, test in folds.split(X, y):
        for way, (table, make) in ways.items():
            parts = (
                (table.iloc[train], table.iloc[test])
                if way != "by hand"
                else (table[train], table[test])
            )
            model = make().fit(parts[0], y[train])
            proba = model.predict_proba(parts[1])
            losses[way].append(log_loss(y[test], proba, labels=model.classes_))
    return {way: np.mean(values) for way, values in losses.items()}


def main():
    """Measure all tables with nominal columns."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", type=Path, default=Path("."))
    parser.add_argument("--tables", nargs="*")
    parser.add_argument("--hidden", nargs="*", type=float, default=HIDDEN)
    parser.add_argument("--out", default="benchmark_results/frames.csv")
    args = parser.parse_args()
    print(machine(), end="\n\n")
    names = args.tables or [
        name
        for name in (*table_names(args.data), "adult")
        if name not in RULE_GENERATED and _load(name, args.data)[2].any()
    ]
    rows = []
    for hidden in args.hidden:
        for name in names:
            found = measure(name, args.data, hidden)
            row = {"hidden": f"{hidden:.0%}", "table": name}
            rows.append(row | {way: f"{loss:.3f}" for way, loss in found.items()})
            print(*rows[-1].values(), flush=True)
    print("\n" + markdown_rows(rows))
    write_tables(args.out, [rows])


if __name__ == "__main__":
    main()
