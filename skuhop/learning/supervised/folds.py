"""Which rows a member learns from, and which it is watched on."""

from __future__ import annotations

import torch
from torch import Tensor

from skuhop.learning.supervised.problem import Problem, Settings


def stratified_folds(strata: Tensor, n_folds: int, generator) -> Tensor:
    """Fold of every row; strata are spread evenly and so are the sizes.

    Strata are classes, or numbers, of which neighbours go to different folds.
    """
    order = torch.randperm(len(strata), generator=generator)
    by_stratum = order[strata.cpu()[order].argsort(stable=True)]
    folds = torch.empty_like(order)
    folds[by_stratum] = torch.arange(len(strata), device=order.device) % n_folds
    return folds.to(strata.device)


def parts_of(folds: Tensor, n_folds: int, generator) -> list[tuple[Tensor, Tensor]]:
    """Rows left out by, and rows of, every member, in random order.

    Distinct rows come sorted, and of a large set only the first of these are looked at.
    """
    order = torch.randperm(len(folds), generator=generator).to(folds)
    shuffled = folds[order]
    return [(order[shuffled == k], order[shuffled != k]) for k in range(n_folds)]


def draw_folds(problem: Problem, settings: Settings):
    """Rows left out by, and rows of, every member, and the generator that drew them."""
    generator = torch.Generator().manual_seed(settings.seed)
    strata = problem.target.order(problem.values)
    if problem.groups is None:
        n_folds = min(settings.n_folds, len(strata) // 2)
        folds = stratified_folds(strata, n_folds, generator)
    else:
        sizes = torch.bincount(problem.groups)
        sums = torch.bincount(problem.groups, strata)
        n_folds = min(settings.n_folds, len(sizes))
        folds = stratified_folds(sums / sizes, n_folds, generator)[problem.groups]
    return parts_of(folds, n_folds, generator), generator
