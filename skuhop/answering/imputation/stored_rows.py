"""The stored rows, seen as donors of one column after the other."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from skuhop.retrieval import (
    Donors,
    Gaussian,
    Solved,
    complete,
    complete_without,
    conditional_variances,
    solve_masks,
)
from skuhop.support import to_tensor
from skuhop.tables import Coordinates, to_coordinates


class Imputation(NamedTuple):
    """All that has been learned, in NumPy.

    Attributes
    ----------
    rows, multiplicity : ndarray of shape (n, d) and (n,)
        Distinct rows of numbers and codes, NaN where missing, and their weights.
    n_values : ndarray of shape (d,), int
        How many values a nominal column has; 0 for numbers.
    coordinates : Coordinates
        Of the rows, D in number.
    mean, covariance : ndarray of shape (D,) and (D, D)
        The Gaussian.
    precisions : ndarray of shape (d, D)
        By which donors of a column are compared.
    shares : ndarray of shape (d, k)
        Of the candidates in the answer for a column.
    spreads : ndarray of shape (d,)
        Mean variance of what donors say of a number along the line.
    residuals : ndarray of shape (d, q)
        Quantiles of the errors of hidden numbers, in parts of the expected ones.
    """

    rows: np.ndarray
    multiplicity: np.ndarray
    n_values: np.ndarray
    coordinates: Coordinates
    mean: np.ndarray
    covariance: np.ndarray
    precisions: np.ndarray
    shares: np.ndarray
    spreads: np.ndarray
    residuals: np.ndarray


class StoredRows(NamedTuple):
    """Rows against the Gaussian, as tensors.

    Attributes
    ----------
    codes : Tensor of shape (n, d)
        Numbers and codes.
    multiplicity : Tensor of shape (n,)
        Weights.
    Z : Tensor of shape (n, D)
        Coordinates, NaN where missing.
    solved : Solved
        The rows for what they have.
    variances : Tensor of shape (n, D)
        Of the missing coordinates.
    low, high : Tensor of shape (D,)
        Range to which completed coordinates are kept: lines know no bounds.
    """

    codes: Tensor
    multiplicity: Tensor
    Z: Tensor
    solved: Solved
    variances: Tensor
    low: Tensor
    high: Tensor

    def complete(self, gaussian: Gaussian) -> Tensor:
        """Coordinates (n, D), completed along the lines."""
        lines = complete(self.solved, gaussian).clamp(self.low, self.high)
        return torch.where(self.Z.isnan(), lines, self.Z)

    def complete_without(self, gaussian: Gaussian, group: slice) -> Tensor:
        """Coordinates (n, D), completed as if a column were missing in all rows."""
        lines = complete_without(self.solved, gaussian, group)
        lines = lines.clamp_(self.low, self.high)
        rows = torch.where(self.Z.isnan(), lines, self.Z)
        rows[:, group] = lines[:, group]
        return rows


def view_rows(
    X: np.ndarray, weights: np.ndarray, coordinates: Coordinates, gaussian, device
) -> StoredRows:
    """Rows as tensors, solved for what they have."""
    Z = to_tensor(to_coordinates(X, coordinates), device)
    solved = solve_masks(Z, gaussian)
    return StoredRows(
        to_tensor(X, device),
        to_tensor(weights, device),
        Z,
        solved,
        conditional_variances(solved, gaussian),
        to_tensor(coordinates.low, device),
        to_tensor(coordinates.high, device),
    )


class ColumnView(NamedTuple):
    """The rows that know a column, with the column hidden.

    Attributes
    ----------
    known : Tensor of shape (n,)
        Positions of the rows.
    donors : Donors
        The rows.
    values, lines : Tensor of shape (n, v)
        The column, a number or the indicators of all its values, and what the lines of
        the rows say of it.
    centre : Tensor of shape (v,)
        Mean of the values.
    """

    known: Tensor
    donors: Donors
    values: Tensor
    lines: Tensor
    centre: Tensor


def view_column(
    stored: StoredRows,
    gaussian: Gaussian,
    coordinates: Coordinates,
    column: int,
    n_values: int,
) -> ColumnView:
    """See the stored rows as donors of a column."""
    group = coordinates.group(column)
    known = (~stored.codes[:, column].isnan()).nonzero()[:, 0]
    rows = stored.complete_without(gaussian, group)[known]
    variances = stored.variances[known]
    weights = stored.multiplicity[known]
    if n_values:
        codes = stored.codes[known, column].long()
        values = torch.nn.functional.one_hot(codes, n_values).to(rows)
    else:
        values = stored.Z[known, group]
    centre = weights @ values / weights.sum()
    lines = lines_as_values(rows[:, group], coordinates, column, centre)
    return ColumnView(known, Donors(rows, variances, weights), values, lines, centre)


def lines_as_values(
    lines: Tensor, coordinates: Coordinates, column: int, centre: Tensor
) -> Tensor:
    """Coordinates (m, g) of a column as its number or its values' shares (m, v).

    Values without an indicator share what the others leave as they do everywhere.
    """
    group = coordinates.group(column)
    if np.isnan(coordinates.codes[group]).all():
        return lines
    mean, scale, codes = (
        to_tensor(numbers[group], lines.device)
        for numbers in (coordinates.mean, coordinates.scale, coordinates.codes)
    )
    given, at = lines * scale + mean, codes.long()
    rest = centre.clone()
    rest[at] = 0
    shares = (1 - given.sum(1, keepdim=True)) * rest / rest.sum().clamp_min(1e-12)
    shares[:, at] = given
    return shares


def normalise(shares: Tensor) -> Tensor:
    """Shares (..., v) as probabilities: lines may leave the simplex."""
    shares = shares.clamp_min(1e-6)
    return shares / shares.sum(-1, keepdim=True)
