"""Rows with weights and values: what is dropped, filled and balanced before fitting."""

from __future__ import annotations

import numpy as np
from sklearn.utils.class_weight import compute_class_weight


def ones_unless(weights, X):
    return np.ones(len(X), X.dtype) if weights is None else weights


def product(weights, factors):
    """Weights times factors, None if all are one."""
    total = factors if weights is None else weights * factors
    return None if (total == 1).all() else total


def positive_rows(X, values, weights):
    """Rows of positive weight."""
    if weights is None or (weights > 0).all():
        return X, values, weights
    kept = weights > 0
    return X[kept], values[kept], weights[kept]


def column_means(X, weights):
    """Weighted means of what is known; 0 where nothing is."""
    known = ~np.isnan(X)
    share = known * ones_unless(weights, X)[:, None]
    total = share.sum(axis=0)
    sums = (share * np.where(known, X, 0)).sum(axis=0)
    return (sums / np.where(total > 0, total, 1)).astype(X.dtype)


def filled(X, mean):
    return np.where(np.isnan(X), mean, X)


def class_weights(class_weight, classes, codes, weights):
    """Weight of every class; "balanced" makes the classes weigh the same."""
    if isinstance(class_weight, dict):
        y = classes if codes is None else classes[codes]
        return compute_class_weight(class_weight, classes=classes, y=y)
    if class_weight is None or codes is None:
        return np.ones(len(classes))
    counts = np.bincount(codes, weights=weights, minlength=len(classes))
    present = counts > 0
    share = counts.sum() / present.sum() / np.where(present, counts, 1)
    return np.where(present, share, 1.0)
