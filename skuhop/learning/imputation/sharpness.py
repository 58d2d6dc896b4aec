"""How sharply donors are told apart, column by column."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from skuhop.retrieval import (
    Donors,
    candidate_columns,
    donor_distances,
    weigh_distances,
)

SHARPNESS = (3.0, 10.0, 30.0, 100.0, 300.0)
"""Sums of the precisions that are tried; coordinates have variance 1."""


class Column(NamedTuple):
    """A column as the rows say it that know it.

    Attributes
    ----------
    donors : Donors
        The n rows, with the column hidden.
    values, lines : Tensor of shape (n, v)
        The column, and what the line of a row says without it.
    centre : Tensor of shape (v,)
        What the column is in general.
    """

    donors: Donors
    values: Tensor
    lines: Tensor
    centre: Tensor


def choose_sharpness(
    column: Column, importances: Tensor, folds: Tensor, watched: Tensor, lines: Tensor
) -> tuple[float, Tensor, Tensor]:
    """Choose the size of the precisions by completing donors from each other.

    Parameters
    ----------
    column : Column
        What is completed.
    importances : Tensor of shape (f, D)
        How the precisions of the coordinates compare, learned without the rows of
        every fold; they sum to one.
    folds : Tensor of shape (n,)
        Folds of the donors.
    watched : Tensor of shape (m,)
        Positions of the donors that are completed.
    lines : Tensor of shape (m, v)
        Lines of the watched that have been learned without them.

    Returns
    -------
    sharpness : float
        That of the least squared error, of values or of values along the line.
    candidates : Tensor of shape (k, m, v)
        The answers with it.
    weights : Tensor of shape (m, n)
        The donors' weights with it.
    """
    trials = []
    truth = column.values[watched]
    multiplicity = column.donors.multiplicity[watched]
    distances = _measure_distances(column.donors, importances, folds, watched)
    for sharpness in SHARPNESS:
        weights = weigh_distances(sharpness * distances, column.donors.multiplicity)
        answers = candidate_columns(
            weights, column.values, column.lines, lines, column.centre
        )
        off = (answers[2:] - truth).square().sum(2)
        error = float((off @ multiplicity).min())
        trials.append((error, sharpness, answers, weights))
    return min(trials, key=lambda trial: trial[0])[1:]


def _measure_distances(donors, importances, folds, watched):
    """Distances (m, n) between donors by their folds' importances, none to itself."""
    distances = donors.rows.new_empty(len(watched), len(donors.rows))
    for fold, importance in enumerate(importances):
        rows = folds[watched] == fold
        queries = donors.rows[watched[rows]]
        distances[rows] = donor_distances(queries, donors, importance)
    return distances.scatter_(1, watched[:, None], torch.inf)
