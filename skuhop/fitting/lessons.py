"""What classifier and regressor learn from, and what is kept of it as attributes."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from skuhop.support import to_numpy


class Lesson(NamedTuple):
    """What a fit learns from, and what it stores whatever it learns.

    Attributes
    ----------
    X : ndarray of shape (n, d)
        Distinct rows.
    y : ndarray of shape (n,) or (n, n_outputs)
        What belongs to them, in the user's terms.
    values : ndarray of shape (n, v)
        The same, as the target wants it.
    weights : ndarray of shape (n,) or None
        Their multiplicities, which count for the scale of the inputs.
    factors : ndarray of shape (n,)
        What multiplies these in the loss; a row of factor 0 is not learned from.
    whole : ndarray of shape (n, v)
        What answers are made of: `values`, with all columns and in the user's units.
    stored : dict
        Attributes that follow from the rows alone.
    store : callable
        ``(X, y, weights) -> dict``: these attributes for other rows.
    groups : ndarray of shape (n,) or None
        Groups of the rows, numbers from 0: rows of one group do not teach each other.
    """

    X: np.ndarray
    y: np.ndarray
    values: np.ndarray
    weights: np.ndarray | None
    factors: np.ndarray
    whole: np.ndarray
    stored: dict
    store: Callable[..., dict]
    groups: np.ndarray | None = None


def stored_rows(patterns, weights) -> dict:
    """Attributes for stored rows and their weights."""
    plain = weights is None or (weights == 1).all()
    return {"patterns_": patterns, "sample_weight_": None if plain else weights}


def line_attributes(share, line) -> dict:
    """Attributes for the linear model beside the memory, if there is one."""
    coef, intercept = (None, None) if line is None else line
    return {
        "linear_share_": share,
        "linear_coef_": coef,
        "linear_intercept_": intercept,
    }


def learned_attributes(kind, inputs, fitted, lines) -> dict:
    """Attributes that Stage I has learned, with lines of a kind."""
    with np.errstate(divide="ignore"):
        scale = 1 / to_numpy(inputs.scale)
    curve = fitted.loss_curve
    trend = {"trend_coef_": lines.trend} if kind.trend > 0 else {}
    return {
        "mean_": to_numpy(inputs.centre),
        "scale_": scale,
        "kernels_": [kernel._asdict() for kernel in fitted.kernels],
        "prior_weight_": fitted.prior_weight,
        **line_attributes(fitted.linear_share, lines.beside),
        **trend,
        "loss_curve_": curve,
        "loss_": curve[-1] if curve else float("nan"),
        # scikit-learn wants at least one iteration of whatever has a max_iter.
        "n_iter_": max(1, len(curve)),
        "selection_": fitted.selection,
        "stream_": {},
    }
