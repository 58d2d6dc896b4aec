"""Queries with holes, answered column by column."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from skuhop.answering.imputation.stored_rows import (
    ColumnView,
    Imputation,
    StoredRows,
    lines_as_values,
    normalise,
    view_column,
    view_rows,
)
from skuhop.retrieval import (
    Gaussian,
    blend,
    candidate_columns,
    donor_weights,
    row_chunks,
)
from skuhop.support import to_numpy, to_tensor, working_memory

_ARRAYS = 4
"""Arrays of queries by donors that a chunk needs at once."""


class Asked(NamedTuple):
    """Queries beside the stored rows, on a device."""

    imputation: Imputation
    gaussian: Gaussian
    stored: StoredRows
    queries: StoredRows
    completed: Tensor


class Answer(NamedTuple):
    """What is said of a column where it is missing.

    Attributes
    ----------
    rows : ndarray of shape (m,), int
        Rows in which it is missing.
    values : ndarray of shape (m,) or (m, v)
        Numbers, or probabilities of the values of a nominal column.
    std : ndarray of shape (m,)
        Expected error of a number; of a nominal column the probability to be wrong.
    """

    rows: np.ndarray
    values: np.ndarray
    std: np.ndarray


def pose_queries(imputation: Imputation, X: np.ndarray, device: torch.device) -> Asked:
    """Put queries of numbers and codes (m, d), with NaN, beside the stored rows."""
    gaussian = Gaussian(
        to_tensor(imputation.mean, device), to_tensor(imputation.covariance, device)
    )
    coordinates = imputation.coordinates
    stored = view_rows(
        imputation.rows, imputation.multiplicity, coordinates, gaussian, device
    )
    queries = view_rows(X, np.ones(len(X)), coordinates, gaussian, device)
    return Asked(imputation, gaussian, stored, queries, queries.complete(gaussian))


def _view(asked: Asked, column: int) -> ColumnView:
    imputation = asked.imputation
    return view_column(
        asked.stored,
        asked.gaussian,
        imputation.coordinates,
        column,
        int(imputation.n_values[column]),
    )


def answer_column(asked: Asked, column: int) -> Answer:
    """Say what a column is in the queries that miss it, in the units of the column."""
    rows = asked.queries.codes[:, column].isnan().nonzero()[:, 0]
    view, outcomes = _view(asked, column), []
    shares = to_tensor(asked.imputation.shares[column], rows.device)
    precision = to_tensor(asked.imputation.precisions[column], rows.device)
    row_bytes = 8 * _ARRAYS * (len(view.known) + asked.completed.shape[1])
    for chunk in row_chunks(len(rows), row_bytes, working_memory()):
        some = asked.completed[rows[chunk]]
        weights = donor_weights(some, view.donors, precision)
        outcomes.append(_blend_chunk(asked, view, column, rows[chunk], weights, shares))
    values, std = (torch.cat(parts) for parts in zip(*outcomes, strict=True))
    return _in_units(asked, column, rows, values, std)


def _blend_chunk(asked, view, column, rows, weights, shares):
    """Values (m, v) and standard deviations (m,), in coordinates."""
    imputation = asked.imputation
    group = imputation.coordinates.group(column)
    lines = asked.completed[rows][:, group]
    line = lines_as_values(lines, imputation.coordinates, column, view.centre)
    candidates = candidate_columns(weights, view.values, view.lines, line, view.centre)
    nominal = bool(imputation.n_values[column])
    values = blend(normalise(candidates) if nominal else candidates, shares)
    # The Gaussian's mean is no answer to a row that says nothing: it is one of rows
    # that have been completed.
    silent = ~asked.queries.solved.observed[rows].any(1)
    values = torch.where(silent[:, None], view.centre, values)
    if nominal:
        return values, 1 - values.amax(1)
    own = asked.queries.variances[rows, group.start]
    variance = own * expect_spread(weights, view, float(imputation.spreads[column]))
    return values, variance.sqrt()


def expect_spread(weights: Tensor, view: ColumnView, mean_spread: float) -> Tensor:
    """Factor (m,) of the variance where donors disagree more, or less, than elsewhere.

    Half of it is what donors say along the line; the other half is 1, for few donors
    that agree may be wrong all the same.
    """
    spread = donor_spread(weights, view)
    return (
        (1 + spread / mean_spread) / 2 if mean_spread > 0 else torch.ones_like(spread)
    )


def donor_spread(weights: Tensor, view: ColumnView) -> Tensor:
    """Weighted variance (m,) of the donors' deviations from their lines."""
    off = (view.values - view.lines)[:, 0]
    return (weights @ off.square() - (weights @ off).square()).clamp_min(0)


def _in_units(asked, column, rows, values, std):
    """Bring an answer to the units of the column."""
    imputation = asked.imputation
    values, std = to_numpy(values), to_numpy(std)
    if not imputation.n_values[column]:
        at = imputation.coordinates.group(column).start
        mean, scale = imputation.coordinates.mean[at], imputation.coordinates.scale[at]
        calibration = np.sqrt(np.mean(imputation.residuals[column] ** 2))
        values, std = values[:, 0] * scale + mean, std * scale * calibration
    return Answer(to_numpy(rows), values, std)


def weigh_donors(asked: Asked, column: int) -> np.ndarray:
    """Weights (m, n) of all stored rows in every query; of those without it, 0."""
    view = _view(asked, column)
    precision = to_tensor(asked.imputation.precisions[column], view.known.device)
    weights = donor_weights(asked.completed, view.donors, precision)
    out = weights.new_zeros(len(weights), len(asked.stored.codes))
    out[:, view.known] = weights
    return to_numpy(out)
