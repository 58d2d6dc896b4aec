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

N_FOLDS, N_TREES, FEWEST_IN_LEAF, MOST_ROWS = 3, 4, 5, 1000
"""Trees are of each fold's complement: what is chosen for a row has not seen it."""


def learn_importances(
    rows: np.ndarray, values: np.ndarray, weights: np.ndarray, rng
) -> tuple[np.ndarray, np.ndarray]:
    """Learn the shares of the coordinates in what trees know of a column.

    Parameters
    ----------
    rows : ndarray of shape (n, D)
        Coordinates, completed, with the column hidden.
    values : ndarray of shape (n, v)
        The column.
    weights : ndarray of shape (n,)
        Multiplicities.
    rng : RandomState
        Draws folds, bootstraps and splits.

    Returns
    -------
    importances : ndarray of shape (N_FOLDS, D)
        Shares without the rows of every fold; they sum to one.
    folds : ndarray of shape (n,), int
        Which fold a row is in.
    """
    folds = rng.permutation(len(rows)) % N_FOLDS
    rows = np.ascontiguousarray(rows, dtype=np.float32)
    values = np.ascontiguousarray(values, dtype=np.float64)
    importances = np.zeros((N_FOLDS, rows.shape[1]))
    # Not above: half of scikit-learn comes with it.
    from sklearn.tree import ExtraTreeRegressor

    # Hundreds of trees of a few rows: checks would take longer than they do.
    with config_context(skip_parameter_validation=True):
        for fold in range(N_FOLDS):
            others = np.flatnonzero(folds != fold)
            for _ in range(N_TREES):
                drawn = rng.choice(others, min(len(others), MOST_ROWS))
                some, copies = np.unique(drawn, return_counts=True)
                tree = ExtraTreeRegressor(
                    min_samples_leaf=FEWEST_IN_LEAF, random_state=rng
                )
                tree.fit(
                    rows[some],
                    values[some],
                    sample_weight=copies * weights[some],
                    check_input=False,
                )
                importances[fold] += tree.tree_.compute_feature_importances()
    total = importances.sum(axis=1, keepdims=True)
    shares = importances / np.where(total > 0, total, 1)
    return np.where(total > 0, shares, 1 / rows.shape[1]), folds
