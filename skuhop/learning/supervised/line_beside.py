"""A linear model beside the memory: what a straight line knows, no neighbour need say.

Where the values follow a line, retrieval has to build it out of steps, and far from the
stored rows it has none. So a ridge regression or a logistic regression may have a share
of the answers. It is learned fold by fold like the members, and the rows left out say
how large the share is and how strong the penalty.

Numbers can follow a line and leave it as well: so half of a ridge regression may be
taken off them before anything is learned or stored, and added to every answer. Half
keeps what is left a function of its own where the line is wrong; all of it was better
on some tables and worse on more.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

MAX_TAUGHT = 4096
"""Most rows that a line is learned from."""


class Line(NamedTuple):
    """Linear scores ``coef z + intercept`` of standardised inputs z.

    Attributes
    ----------
    coef : ndarray of shape (v, d)
    intercept : ndarray of shape (v,)
    """

    coef: np.ndarray
    intercept: np.ndarray

    def __call__(self, Z: Tensor) -> Tensor:
        """Scores (n, v) of inputs (n, d)."""
        coef, intercept = (Z.new_tensor(part) for part in self)
        return Z @ coef.T + intercept


class LineKind(NamedTuple):
    """How lines are learned for a kind of values.

    Attributes
    ----------
    fit : callable
        ``(Z, values, weights, penalty) -> Line``, of arrays (n, d), (n, v) and (n,).
    link : callable
        ``scores (n, v) -> answers (n, v)``.
    penalties : sequence of float
        What to try.
    trend : float
        Share of a line that may be taken off the values; 0 where that makes no sense.
    """

    fit: Callable[[np.ndarray, np.ndarray, np.ndarray, float], Line]
    link: Callable[[Tensor], Tensor]
    penalties: Sequence[float]
    trend: float = 0.0


def fit_line(kind: LineKind, Z, values, weights, penalty) -> Line:
    """Learn a line from rows of tensors or arrays, at most `MAX_TAUGHT` of them."""
    Z, values, weights = (
        np.asarray(torch.as_tensor(part[:MAX_TAUGHT]).cpu())
        for part in (Z, values, weights)
    )
    return kind.fit(Z.astype(np.float64), values, weights, penalty)


def lines_left_out(problem, parts):
    """Answer rows that a line has not seen, for every penalty.

    Parameters
    ----------
    problem : Problem
    parts : list of (Tensor, Tensor)
        Rows left out by, and rows of, every member.

    Yields
    ------
    penalty : float
    answers : Tensor of shape (n_rows, v)
        To the rows left out, one member's after the other's, less their trend.
    """
    kind, trend = problem.line, problem.trend
    values = problem.values if trend is None else problem.values + trend
    for penalty in kind.penalties:
        answers = []
        for out, kept in parts:
            known = kept[:MAX_TAUGHT]
            taught = problem.straight, values, problem.weights
            line = fit_line(kind, *(part[known] for part in taught), penalty)
            found = kind.link(line(problem.straight[out]))
            answers.append(found if trend is None else found - trend[out])
        yield penalty, torch.cat(answers)
