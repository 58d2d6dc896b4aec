"""Repeated rows: tables that are nothing but cells, against the frequencies of cells.

Columns are nominal, two to five of them with two to four levels, so rows repeat, 10 to
50 to a cell, and their values are noisy: labels at a rate that every cell has, or
counts around a mean. What is the best that can be known of a cell is the mean of its
rows, a little of the mean of all mixed in. Rates follow no rule, one column, a sum over
columns, parity, or are rare.

Losses are expected ones, by the true rates: log-loss of labels, squared error of counts
in variances of what the cell leaves open. "ratio" is their geometric mean over the
tables against the better, table by table, of the two smoothed means. Columns are
one-hot encoded for all but boosting, which takes them as categories. Seconds are of
processor time.

Run it with ``python examples/benchmarks/repeated_rows.py``; ``--tables`` says how many.
Numbers go to ``benchmark_results``.
"""

from __future__ import annotations

import argparse
import itertools
import time
from typing import NamedTuple

import numpy as np
import torch
from _report import machine, markdown_rows, write_tables
from sklearn.ensemble import (
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
)
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

from skuhop import UHopClassifier, UHopRegressor

LEAVES = {"min_samples_leaf": [1, 2, 5, 10, 20], "ccp_alpha": [0, 1e-3, 1e-2]}
BOOSTING = {"learning_rate": [0.05, 0.15], "max_leaf_nodes": [6, 31]}
SMOOTHED = "cell means, one row of the mean", "cell means, half a row of each class"


class Table(NamedTuple):
    """Cells, the rows drawn from them, and what is true of every cell."""

    cells: np.ndarray
    rows: np.ndarray
    y: np.ndarray
    truth: np.ndarray
    n_per_cell: int
    rule: str


def _rates(rule, cells, rng):
    """Rate of every cell, in (0, 1)."""
    n = len(cells)
    return {
        "none": lambda: rng.beta(0.5, 0.5, n).clip(0.01, 0.99),
        "one column": lambda: np.where(cells[:, 0] == 0, 0.8, 0.2),
        "sum": lambda: 1 / (1 + np.exp(2 * (cells.sum(1) - cells.sum(1).mean()))),
        "parity": lambda: np.where(cells.sum(1) % 2, 0.9, 0.1),
        "rare": lambda: rng.beta(1, 15, n).clip(0.01, 0.99),
    }[rule]()


RULES = "none", "one column", "sum", "parity", "rare"


def draw(seed, counts):
    """Draw a table of labels or of counts."""
    rng = np.random.RandomState(seed)
    levels = rng.randint(2, 5, size=rng.randint(2, 6))
    while np.prod(levels) > 100:
        levels = levels[:-1]
    cells = np.array(list(itertools.product(*map(range, levels))))
    rule, n_per_cell = RULES[seed % len(RULES)], rng.choice([10, 20, 50])
    truth = _rates(rule, cells, rng)
    rows = rng.randint(len(cells), size=n_per_cell * len(cells))
    if counts:
        truth = 10 * truth
        y = rng.poisson(truth[rows]).astype(float)
    else:
        y = (rng.uniform(size=len(rows)) < truth[rows]).astype(int)
    return Table(cells, rows, y, truth, n_per_cell, rule)


def loss(table, answers, counts):
    """Loss that answers to every cell are to expect."""
    if counts:
        return 1 + np.mean((answers - table.truth) ** 2) / np.mean(table.truth)
    p, rate = answers.clip(1e-9, 1 - 1e-9), table.truth
    return -np.mean(rate * np.log(p) + (1 - rate) * np.log(1 - p))


def cell_means(table, smoothing):
    """Answers that are means of cells, smoothed."""
    n = np.bincount(table.rows, minlength=len(table.cells))
    sums = np.bincount(table.rows, table.y, len(table.cells))
    if smoothing == SMOOTHED[0]:
        return (sums + table.y.mean()) / (n + 1)
    return (sums + 1) / (n + 2)


def models(counts):
    """Peers with their best settings, and ours at its defaults."""
    tree, boosting, own, scoring = (
        (
            DecisionTreeRegressor,
            HistGradientBoostingRegressor,
            UHopRegressor,
            "neg_mean_squared_error",
        )
        if counts
        else (
            DecisionTreeClassifier,
            HistGradientBoostingClassifier,
            UHopClassifier,
            "neg_log_loss",
        )
    )
    kind = boosting(min_samples_leaf=5, random_state=0)
    return {
        "tree": _encoded(
            GridSearchCV(tree(random_state=0), LEAVES, cv=5, scoring=scoring)
        ),
        "boosting": GridSearchCV(kind, BOOSTING, cv=3, scoring=scoring),
        f"{own.__name__}()": _encoded(own(random_state=0)),
    }


def _encoded(model):
    return make_pipeline(OneHotEncoder(sparse_output=False), model)


def measure(table, counts):
    """Loss and seconds of every model on a table."""
    found = {
        name: (loss(table, cell_means(table, name), counts), 0.0)
        for name in SMOOTHED[: 1 if counts else 2]
    }
    n_columns = table.cells.shape[1]
    for name, model in models(counts).items():
        begin = time.process_time()
        if name == "boosting":
            model.set_params(estimator__categorical_features=[*range(n_columns)])
        model.fit(table.cells[table.rows], table.y)
        seconds = time.process_time() - begin
        if counts:
            answers = model.predict(table.cells)
        else:
            answers = model.predict_proba(table.cells)[:, 1]
        found[name] = loss(table, answers, counts), seconds
    return found


def summary(kind, results):
    """Rows of the table of means."""
    names = list(results[0])
    table = np.array([[each[name] for name in names] for each in results])
    losses, seconds = table[..., 0], table[..., 1]
    smoothed = [i for i, name in enumerate(names) if name in SMOOTHED]
    ratios = losses / losses[:, smoothed].min(axis=1, keepdims=True)
    for i, name in enumerate(names):
        yield {
            "values": kind,
            "model": name,
            "mean loss": f"{losses[:, i].mean():.4f}",
            "ratio": f"{np.exp(np.log(ratios[:, i]).mean()):.4f}",
            "worst ratio": f"{ratios[:, i].max():.3f}",
            "fit s": f"{seconds[:, i].mean():.2f}",
        }


def main():
    """Run what is asked for, print the tables and write them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tables", type=int, default=20, help="of either kind")
    parser.add_argument("--out", default="benchmark_results/repeated_rows.csv")
    options = parser.parse_args()
    torch.set_num_threads(1)
    means = []
    for counts in (False, True):
        kind, results = "counts" if counts else "labels", []
        for seed in range(options.tables):
            table = draw(seed, counts)
            if len(np.unique(table.y)) == 1:
                continue
            results.append(measure(table, counts))
            shape = f"{len(table.cells)} cells of {table.n_per_cell}"
            losses = {name: f"{found[0]:.4f}" for name, found in results[-1].items()}
            print(kind, table.rule, shape, losses, flush=True)
        means += summary(kind, results)
    write_tables(options.out, [means])
    print(markdown_rows(means), machine(), sep="\n\n")


if __name__ == "__main__":
    main()
