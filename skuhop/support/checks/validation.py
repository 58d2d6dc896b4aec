"""Checks of weights and draws, and methods that need a fit."""

from __future__ import annotations

from functools import update_wrapper
from types import MethodType

import numpy as np
from sklearn.utils import check_random_state
from sklearn.utils.validation import _check_sample_weight, check_is_fitted

from skuhop.support.checks.entries import check_numbers, check_total
from skuhop.support.checks.parameter_rules import COUNT, check_parameters


def check_draws(n_samples, random_state) -> np.random.RandomState:
    """Check how many rows are wanted, and give what they are drawn with.

    Raises
    ------
    InvalidParameterError
        If `n_samples` is no positive integer.
    """
    check_parameters("sample", {"n_samples": n_samples}, {"n_samples": (COUNT,)})
    return check_random_state(random_state)


def check_weights(sample_weight, X: np.ndarray) -> np.ndarray | None:
    """Weights of the rows of X as finite non-negative numbers, None if all are one.

    Raises
    ------
    ValueError
        If a weight is no number, negative or not finite, if all are zero, or if
        their sum is beyond the range of the dtype of X.
    """
    if sample_weight is None:
        return None
    given = check_numbers(sample_weight, "sample_weight")[()]
    with np.errstate(over="ignore"):
        if not given.astype(X.dtype).any():
            raise ValueError("All sample_weight entries are zero: no row would count.")
    weights = _check_sample_weight(
        given, X, dtype=np.float64, copy=True, ensure_non_negative=True
    )
    check_total(weights, X.dtype, "sample_weight")
    weights = weights.astype(X.dtype)
    return None if (weights == 1).all() else weights


class after_fit:  # noqa: N801 - a decorator
    """Decorator for a method that a fit brings into being.

    On an unfitted estimator the attribute does not exist: NotFittedError is an
    AttributeError too, so ``hasattr`` is False and a call says "not fitted". It is
    meant for answers that are positions in the data given to `fit`, which no
    unfitted estimator can be asked about, not even in principle.
    """

    def __init__(self, method):
        self.method = method
        update_wrapper(self, method)

    def __get__(self, instance, owner=None):
        """Give the plain function on the class, a bound method on a fitted instance."""
        if instance is None:
            return self.method
        check_is_fitted(instance)
        return MethodType(self.method, instance)
