"""Kinds of values that patterns carry: what an answer is worth, as a table's rows.

An answer is weights times values, whatever the values are: rows of zeros and a one for
labels, standardised numbers for regression. What differs is the loss, and that is all
that a row says. Before a loss sees an answer it is reduced to its `residue`, which is
affine in it: so a mixture with the prior can be taken of residues, which for labels
are one number instead of one for every class.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from skuhop.retrieval import exact

_FLOOR = 1e-8
"""Least probability whose logarithm enters the loss."""
_FEW_CLASSES = 32
"""Up to so many classes a product takes less time than to look for the right one."""
_DOUBT = 0.02
"""Share of a uniform in the watched probabilities, which bounds what one miss costs."""


class Target(NamedTuple):
    """A kind of values.

    Attributes
    ----------
    order : callable
        ``values (n, v) -> (n,)``: rows that are neighbours in this order are spread
        over the folds.
    teach : callable
        ``(answers, values, weights, copies, smoothing) -> (K,)``: loss of every member
        in a batch; see `log_loss`.
    residue : callable
        ``(answers (n, v), values (n, v)) -> (n, u)``: what the loss depends on, an
        affine function of the answers.
    judge : callable
        ``(stored (m, v), values (n, v)) -> judgement``, a function of weights (a, m) of
        the stored rows, and of which of the n they are for: the residue of their
        answers, and the weight (a, 1) that went to "nothing stored" and is to go to the
        prior.
    cost : callable
        ``residue -> (n,)``: loss of every row.
    doubt : callable
        ``share -> float``: loss of a row that no stored row explains, as far as it
        depends on the share of the prior.
    watched : callable
        ``(residue, v) -> (n,)``: loss that early stopping looks at.
    """

    order: Callable[[Tensor], Tensor]
    teach: Callable[[Tensor, Tensor, Tensor, Tensor, float], Tensor]
    residue: Callable[[Tensor, Tensor], Tensor]
    judge: Callable[[Tensor, Tensor], Callable[[Tensor, slice], tuple[Tensor, Tensor]]]
    cost: Callable[[Tensor], Tensor]
    doubt: Callable[[float], float]
    watched: Callable[[Tensor, int], Tensor]


def classes_of(values: Tensor) -> Tensor:
    """Position of the one in every row."""
    return values.argmax(-1)


def log_loss(
    answers: Tensor, values: Tensor, weights: Tensor, copies: Tensor, smoothing: float
) -> Tensor:
    """Cross-entropy of leave-one-out retrieval, shape (K,), summed over no member.

    Parameters
    ----------
    answers : Tensor of shape (K, q, v)
        Of the q queries, which are the first q of the m candidates.
    values : Tensor of shape (K, m, v)
        Of the candidates.
    weights, copies : Tensor of shape (K, m)
        Of the candidates; those without a copy are not there.
    smoothing : float
        Share of the target that is spread over all classes.
    """
    n_queries, n_classes = answers.shape[1:]
    own = values[:, :n_queries]
    target = (1 - smoothing) * own + smoothing / n_classes
    losses = -(target * answers.clamp_min(_FLOOR).log()).sum(2)
    # A query without another row of its class cannot be right: it teaches nothing.
    n_rows = (values * copies[..., None]).sum(1).gather(1, classes_of(own))
    counted = weights[:, :n_queries] * ((copies[:, :n_queries] > 0) & (n_rows > 1))
    return _mean_by_weight(losses, counted)


def squared_error(
    answers: Tensor, values: Tensor, weights: Tensor, copies: Tensor, smoothing: float
) -> Tensor:
    """Squared error of leave-one-out retrieval, shape (K,); as `log_loss`.

    The mean over standardised columns, so that every column counts the same. There is
    nothing to smooth in numbers.
    """
    n_queries = answers.shape[1]
    losses = (answers - values[:, :n_queries]).square().mean(2)
    return _mean_by_weight(losses, weights[:, :n_queries] * (copies[:, :n_queries] > 0))


def _mean_by_weight(losses: Tensor, weights: Tensor) -> Tensor:
    total = weights.sum(1)
    return (weights * losses).sum(1) / total.where(total > 0, 1)


def _right(answers: Tensor, values: Tensor) -> Tensor:
    """Probability of the right class."""
    return answers.gather(1, classes_of(values)[:, None])


def _judge_labels(stored: Tensor, values: Tensor):
    """Of many classes only rows of the right one are counted: no answer is made."""
    classes, right_classes = classes_of(stored), classes_of(values)[:, None]
    few = stored.shape[1] <= _FEW_CLASSES

    def judge(weights, rows):
        if few:
            answers = exact(weights, stored)
            right = answers.gather(1, right_classes[rows])
            spent = answers.sum(1, keepdim=True)
        else:
            right = weights.where(classes == right_classes[rows], 0).sum(1, True)
            spent = weights.sum(1, keepdim=True)
        return right, (1 - spent).clamp_min_(0)

    return judge


def _judge_numbers(stored: Tensor, values: Tensor):
    """Numbers are centred: what no row gets is at their mean by itself."""

    def judge(weights, rows):
        return exact(weights, stored) - values[rows], weights.new_zeros(len(weights), 1)

    return judge


def _surprise(right: Tensor) -> Tensor:
    return -torch.log(right)[:, 0]


def _surprise_of_doubt(right: Tensor, n_classes: int) -> Tensor:
    return _surprise((1 - _DOUBT) * right + _DOUBT / n_classes)


def _mean_square(errors: Tensor, n_columns: int = 1) -> Tensor:
    return errors.square().mean(1)


LABELS = Target(
    order=classes_of,
    teach=log_loss,
    residue=_right,
    judge=_judge_labels,
    cost=_surprise,
    doubt=lambda share: -math.log(share),
    watched=_surprise_of_doubt,
)
NUMBERS = Target(
    order=lambda values: values.mean(1),
    teach=squared_error,
    residue=torch.sub,
    judge=_judge_numbers,
    cost=_mean_square,
    doubt=lambda share: 0.0,
    watched=_mean_square,
)
