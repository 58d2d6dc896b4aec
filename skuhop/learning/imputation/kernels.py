"""How sharply donors are told apart, column by column."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from skuhop.retrieval import Donors, candidate_columns, donor_weights

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
    column: Column, importance: Tensor, watched: Tensor, lines: Tensor
) -> tuple[Tensor, Tensor]:
    """Choose the size of the precisions by completing donors from each other.

    Parameters
    ----------
    column : Column
        What is completed.
    importance : Tensor of shape (D,)
        How the precisions of the coordinates compare; they sum to one.
    watched : Tensor of shape (m,)
        Positions of the donors that are completed.
    lines : Tensor of shape (m, v)
        Lines of the watched that have been learned without them.

    Returns
    -------
    precision : Tensor of shape (D,)
        That of the least squared error, of values or of values along the line.
    candidates : Tensor of shape (k, m, v)
        The answers with it.
    """
    trials = []
    queries, truth = column.donors.rows[watched], column.values[watched]
    multiplicity = column.donors.multiplicity[watched]
    for sharpness in SHARPNESS:
        precision = sharpness * importance
        weights = donor_weights(queries, column.donors, precision, alike=watched)
        answers = candidate_columns(
            weights, column.values, column.lines, lines, column.centre
        )
        off = (answers[2:] - truth).square().sum(2)
        error = float((off @ multiplicity).min())
        trials.append((error, precision, answers))
    _, precision, candidates = min(trials, key=lambda trial: trial[0])
    return precision, candidates
