"""Which copies of which rows a member learns from, and which it is watched on."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from skuhop.learning.supervised.targets import Target

SMALLEST = 8
"""Fewer patterns than this teach nothing."""


class Division(NamedTuple):
    """Distinct rows divided among the members, copy by copy.

    A row of which there are copies is left out by every member in part, as if each copy
    were a row of its own: left out as a whole, the rows of another value in its place
    would be all that a member knows there, and all that it says would be wrong.

    Attributes
    ----------
    rows : Tensor of shape (n,)
        Distinct rows, each as often as there are members that leave out some of it.
    copies : Tensor of shape (n,)
        How many.
    parts : list of (Tensor, Tensor)
        Positions in `rows` of what is left out by, and what is known to, every member,
        in random order. Empty where there is too little to learn from.
    generator : torch.Generator
        What has drawn them.
    """

    rows: Tensor
    copies: Tensor
    parts: list[tuple[Tensor, Tensor]]
    generator: torch.Generator


def deal(strata: Tensor, copies: Tensor, n_folds: int, generator) -> Tensor:
    """How many copies of every row go to each fold, (n, n_folds).

    Strata are spread evenly, so are the copies of a row, and so are the sizes. Strata
    are classes, or numbers, of which neighbours go to different folds.
    """
    order = torch.randperm(len(strata), generator=generator)
    by_stratum = order[strata.cpu()[order].argsort(stable=True)]
    # Copies are dealt one by one: row i gets the places first[i] to last[i] - 1, and a
    # fold every n_folds-th place.
    last = copies.cpu().long()[by_stratum].cumsum(0)[:, None]
    first = last - copies.cpu().long()[by_stratum][:, None]
    fold = torch.arange(n_folds, device=last.device)
    before_last, before_first = (
        (end - fold + n_folds - 1).div(n_folds, rounding_mode="floor")
        for end in (last, first)
    )
    dealt = torch.empty_like(before_last)
    dealt[by_stratum] = before_last - before_first
    return dealt.to(strata.device)


def parts_of(folds: Tensor, n_folds: int, generator) -> list[tuple[Tensor, Tensor]]:
    """Rows left out by, and rows of, every member, in random order.

    Distinct rows come sorted, and of a large set only the first of these are looked at.
    """
    order = torch.randperm(len(folds), generator=generator).to(folds)
    shuffled = folds[order]
    return [(order[shuffled == k], order[shuffled != k]) for k in range(n_folds)]


def divide(
    target: Target,
    values: Tensor,
    copies: Tensor,
    groups: Tensor | None,
    n_folds: int,
    seed: int,
) -> Division:
    """Divide distinct rows among members.

    Parameters
    ----------
    target : Target
        What kind of values they are.
    values : Tensor of shape (n, v)
        Rows that are neighbours in their order are spread over the folds.
    copies : Tensor of shape (n,)
        How many rows each stands for.
    groups : Tensor of shape (n,) or None
        Numbers from 0; a group is left out as a whole.
    n_folds : int
        Members that are wanted; there may be fewer for want of rows.
    seed : int
    """
    generator = torch.Generator().manual_seed(seed)
    if copies.sum() < SMALLEST or not (values != values[:1]).any():
        everything = torch.arange(len(values), device=values.device)
        return Division(everything, copies, [], generator)
    order = target.order(values)
    if groups is None:
        n_folds = min(n_folds, int(copies.sum()) // 2)
        dealt = deal(order, copies, n_folds, generator)
    else:
        sizes = torch.bincount(groups)
        means = torch.bincount(groups, order) / sizes
        n_folds = min(n_folds, len(sizes))
        dealt = deal(means, torch.ones_like(means), n_folds, generator)[groups]
        dealt = dealt * copies.long()[:, None]
    rows, folds = dealt.nonzero(as_tuple=True)
    parts = parts_of(folds, n_folds, generator)
    return Division(rows, dealt[rows, folds].to(copies), parts, generator)
