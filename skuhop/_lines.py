"""Linear models of scikit-learn, as Stage I asks for them: one for a kind of values."""

from __future__ import annotations

import warnings
from functools import cache

import numpy as np

from skuhop.learning.supervised import Line, LineKind

_TOL = 1e-3
"""Gradient at which a logistic regression is taken for learned."""


@cache
def _threads():
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()


def _one_thread():
    """Keep BLAS to one thread: with two, products as small as these take six times."""
    return _threads().limit(limits=1, user_api="blas")


def _fit_logistic(Z, values, weights, penalty):
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    codes, n_classes = values.argmax(1), values.shape[1]
    known = np.unique(codes)
    line = Line(np.zeros((n_classes, Z.shape[1])), np.full(n_classes, -np.inf))
    line.intercept[known] = 0
    if len(known) == 1:
        return line
    with warnings.catch_warnings():
        # An unfinished line is worth what the rows left out say.
        warnings.simplefilter("ignore", ConvergenceWarning)
        model = LogisticRegression(C=1 / penalty, tol=_TOL)
        with _one_thread():
            model.fit(Z, codes, sample_weight=weights)
    # Of two classes only the second has scores.
    rows = known if len(known) > 2 else known[1:]
    line.coef[rows], line.intercept[rows] = model.coef_, model.intercept_
    return line


def _fit_ridge(Z, values, weights, penalty):
    from scipy.linalg import LinAlgWarning
    from sklearn.linear_model import Ridge

    with _one_thread(), warnings.catch_warnings():
        warnings.simplefilter("ignore", LinAlgWarning)
        model = Ridge(alpha=penalty).fit(Z, values, sample_weight=weights)
    return Line(np.atleast_2d(model.coef_), np.atleast_1d(model.intercept_))


LOGISTIC = LineKind(_fit_logistic, lambda scores: scores.softmax(1), (1, 10, 100))
RIDGE = LineKind(
    _fit_ridge, lambda scores: scores, (0.01, 0.1, 1, 10, 100, 1000), trend=0.5
)
