"""Tables with holes: how entries go missing, and how far what fills them is off.

Every pattern takes complete or incomplete rows and says which further entries are
hidden. At least one entry of each row stays.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
from _tables import BUNDLED, RULE_GENERATED, _load, table_names

MOST_ROWS, LEARN_SHARE = 400, 0.7
MOST_COLUMNS = 100


class Cell(NamedTuple):
    """Rows to learn from and rows to complete, both with holes, and the truth.

    Attributes
    ----------
    train, queries : ndarray of shape (n, d) and (m, d)
        NaN where hidden; nominal columns hold codes.
    truth : ndarray of shape (m, d)
        The rows to complete as they were.
    hidden : ndarray of shape (m, d)
        What to be judged on: hidden in the queries and known in truth.
    levels : ndarray of shape (d,)
        0 for a number, else how many values a nominal column has.
    labels, labels_test : ndarray of shape (n,) and (m,)
        Classes, for a classifier that comes after.
    """

    train: np.ndarray
    queries: np.ndarray
    truth: np.ndarray
    hidden: np.ndarray
    levels: np.ndarray
    labels: np.ndarray
    labels_test: np.ndarray


def hide_at_random(X, rng, share):
    """Every entry with the same probability."""
    return rng.uniform(size=X.shape) < share


def _ranks(column):
    """Ranks in [0, 1] of a column, what is unknown in the middle."""
    ranks = np.full(len(column), 0.5)
    known = ~np.isnan(column)
    order = np.unique(column[known], return_inverse=True, return_counts=True)
    middle = np.cumsum(order[2]) - order[2] / 2
    ranks[known] = middle[order[1]] / max(1, known.sum())
    return ranks


def hide_by_another(X, rng, share):
    """Half of the columns, each the likelier the larger another column's value."""
    order = rng.permutation(X.shape[1])
    goes, stays = order[: (len(order) + 1) // 2], order[(len(order) + 1) // 2 :]
    drivers = rng.choice(stays, size=len(goes))
    hidden = np.zeros(X.shape, bool)
    for column, driver in zip(goes, drivers, strict=True):
        likely = 2 * share * _ranks(X[:, driver])
        hidden[:, column] = rng.uniform(size=len(X)) < likely
    return hidden


def hide_by_itself(X, rng, share):
    """Every entry the likelier the larger its own value."""
    ranks = np.column_stack([_ranks(column) for column in X.T])
    return rng.uniform(size=X.shape) < 2 * share * ranks


def hide_blocks(X, rng, share):
    """Half of the columns, side by side, in some rows."""
    n, d = X.shape
    start, width = rng.randint(d, size=n), max(1, d // 2)
    inside = (np.arange(d) - start[:, None]) % d < width
    return inside & (rng.uniform(size=(n, 1)) < share * d / width)


def hide_columns(X, rng, share):
    """Hide the same columns in every row."""
    d = X.shape[1]
    gone = rng.permutation(d)[: max(1, round(share * d))]
    return np.broadcast_to(np.isin(np.arange(d), gone), X.shape)


#: pattern -> rule and share for the rows to learn from, the same for those to complete
PATTERNS = {
    "MCAR 10 %": ((hide_at_random, 0.1),) * 2,
    "MCAR 30 %": ((hide_at_random, 0.3),) * 2,
    "MAR 30 %": ((hide_by_another, 0.3),) * 2,
    "MNAR 30 %": ((hide_by_itself, 0.3),) * 2,
    "blocks 30 %": ((hide_blocks, 0.3),) * 2,
    "columns 25 %": ((hide_at_random, 0.1), (hide_columns, 0.25)),
}


def with_holes(X, rule, seed):
    """Rows with further entries unknown, one at least left in each."""
    function, share = rule
    rng = np.random.RandomState(seed)
    hidden = np.array(function(X, rng, share))
    bare = (hidden | np.isnan(X)).all(axis=1)
    hidden[bare, rng.randint(X.shape[1], size=bare.sum())] = False
    return np.where(hidden, np.nan, X)


def make_cell(name: str, folder: Path, pattern: str, seed: int, most=MOST_ROWS) -> Cell:
    """Draw rows of a table and hide entries; all by the seed."""
    X, y, levels = _load(name, folder)
    rng = np.random.RandomState(seed)
    rows = rng.permutation(len(X))[:most]
    X, y = X[rows], y[rows]
    n_train = round(LEARN_SHARE * len(X))
    # A column that is the same in all rows to learn from has no unit to judge in.
    train = X[:n_train]
    varies = [len(np.unique(c[~np.isnan(c)])) > 1 for c in train.T]
    X, levels = X[:, varies], np.asarray(levels)[varies]
    rules = PATTERNS[pattern]
    # Which columns a rule picks is one and the same choice in both parts.
    train = with_holes(X[:n_train], rules[0], seed + 1)
    queries = with_holes(X[n_train:], rules[1], seed + 1)
    truth = X[n_train:]
    hidden = np.isnan(queries) & ~np.isnan(truth)
    return Cell(train, queries, truth, hidden, levels, y[:n_train], y[n_train:])


def names_of_tables(folder: Path) -> list[str]:
    """Tables that were measured, not written down from a rule."""
    names = [*table_names(folder)]
    if (folder / "tabular" / "adult.npz").exists():
        names.append("adult")
    few = [
        name
        for name in names
        if name not in RULE_GENERATED
        and _load(name, folder)[0].shape[1] <= MOST_COLUMNS
    ]
    return sorted(set(few), key=lambda name: (name in BUNDLED, name))


def numeric_error(completed: np.ndarray, cell: Cell) -> float:
    """Root mean squared error in standard deviations of the observed columns."""
    numbers = cell.levels == 0
    hidden = cell.hidden[:, numbers]
    if not hidden.any():
        return np.nan
    spread = np.nanstd(cell.train[:, numbers], axis=0)
    off = (completed - cell.truth)[:, numbers] / np.where(spread > 0, spread, 1)
    return float(np.sqrt(np.mean(np.square(off[hidden]))))


def nominal_error(completed: np.ndarray, cell: Cell) -> float:
    """Share of wrong values over that of the most frequent ones."""
    nominal = np.flatnonzero(cell.levels > 0)
    wrong = base = 0
    for column in nominal:
        hidden, truth = cell.hidden[:, column], cell.truth[:, column]
        known = cell.train[:, column][~np.isnan(cell.train[:, column])]
        values, counts = np.unique(known, return_counts=True)
        frequent = values[counts.argmax()]
        wrong += (completed[hidden, column] != truth[hidden]).sum()
        base += (frequent != truth[hidden]).sum()
    return float(wrong / base) if base else np.nan
