"""Which coordinates a column is compared by: those that few random trees split it by.

A precision for every pair of a column and a coordinate can be learned by gradient, but
not from a few hundred rows, and where a single cut decides there is no gradient to
follow. Extremely randomised trees (Geurts, Ernst, Wehenkel, Machine Learning 63, 2006)
see lines, cuts and combinations alike; the share of the variance that they take away by
a coordinate is its precision. Their own predictions add nothing to those of the kernel
that has them as precisions, so that nothing else of the trees remains.
"""

from __future__ import annotations

import numpy as np
from sklearn import config_context
from sklearn.tree import ExtraTreeRegressor

N_TREES, FEWEST_IN_LEAF, MOST_ROWS = 10, 5, 1000


def learn_importances(
    rows: np.ndarray, values: np.ndarray, weights: np.ndarray, rng
) -> np.ndarray:
    """Shares (D,) of the coordinates in what trees know of a column; they sum to one.

    Parameters
    ----------
    rows : ndarray of shape (n, D)
        Coordinates, completed, with the column hidden.
    values : ndarray of shape (n, v)
        The column.
    weights : ndarray of shape (n,)
        Multiplicities.
    rng : RandomState
        Draws bootstraps and splits.
    """
    n, D = rows.shape
    rows = np.ascontiguousarray(rows, dtype=np.float32)
    values = np.ascontiguousarray(values, dtype=np.float64)
    total, size = np.zeros(D), min(n, MOST_ROWS)
    # Hundreds of trees of a few rows: checks would take longer than they do.
    with config_context(skip_parameter_validation=True):
        for _ in range(N_TREES):
            drawn = np.bincount(rng.randint(n, size=size), minlength=n)
            some = np.flatnonzero(drawn)
            tree = ExtraTreeRegressor(min_samples_leaf=FEWEST_IN_LEAF, random_state=rng)
            tree.fit(
                rows[some],
                values[some],
                sample_weight=(drawn * weights)[some],
                check_input=False,
            )
            total += tree.tree_.compute_feature_importances()
    return total / total.sum() if total.any() else np.full(D, 1 / D)
