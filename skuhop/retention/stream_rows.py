"""Rows of a stream, as the rules of retention see them."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class Rows(NamedTuple):
    """Stored rows and new ones together.

    Attributes
    ----------
    keys : Tensor of shape (n, r)
        Their features; Euclidean distances are what counts.
    weights : Tensor of shape (n,)
        Their weights, positive, in the precision of the keys.
    arrivals : Tensor of shape (n,), integer
        Their positions in the stream, all different.
    groups : Tensor of shape (n,), integer
        Rows of different groups, such as classes, cannot stand for each other.
    """

    keys: Tensor
    weights: Tensor
    arrivals: Tensor
    groups: Tensor


class Plan(NamedTuple):
    """What becomes of rows.

    Attributes
    ----------
    slots : Tensor of shape (n,), integer
        The slot of every row, from 0 on, or -1 for a row that goes. A slot has the
        weights of its rows together.
    heads : Tensor of shape (n_slots,), integer
        The row that every slot is called after.
    averaged : bool
        Whether a slot shows the weighted mean of its rows, not its head.
    """

    slots: Tensor
    heads: Tensor
    averaged: bool = False


def first_by(order: Tensor, budget: int) -> Plan:
    """Keep the first `budget` rows of an order, in the sequence in which they stand."""
    kept = torch.zeros_like(order, dtype=torch.bool)
    kept[order[:budget]] = True
    return Plan(number_rows(kept), kept.nonzero()[:, 0])


def number_rows(kept: Tensor) -> Tensor:
    """Slots 0, 1, ... for the rows kept, in their sequence, and -1 for the others."""
    return torch.where(kept, kept.cumsum(0) - 1, -1)
