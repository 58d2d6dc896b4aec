"""What a step of Stage I compares with what."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from skuhop.learning.supervised.problem import Problem

FULL_BATCH = 256
"""Up to so many patterns every one is a query and a memory in every step."""
CANDIDATE_SHARE = 0.2
"""Share of the other patterns that a batch of a larger set is compared with."""
FEW = 10
"""Columns of no more values are taken for levels of something nominal."""
MAX_CANDIDATES = 2048
"""Most patterns that a batch is compared with beside itself."""


def _pad(parts: list[Tensor]) -> tuple[Tensor, Tensor]:
    """Row indices of the members as (K, m), and which are no padding."""
    longest = max(map(len, parts))
    index = torch.stack([torch.cat([p, p[:1].repeat(longest - len(p))]) for p in parts])
    lengths = torch.tensor([len(p) for p in parts], device=index.device)
    return index, torch.arange(longest, device=index.device) < lengths[:, None]


def size_of_batch(shortest: int, batch_size: int) -> tuple[int, int]:
    """How many queries are compared with how many candidates, themselves among them.

    Small sets are taken whole. Of larger ones a batch is compared with itself and
    with a random share of the rest, as in ModernNCA.
    """
    if shortest <= max(FULL_BATCH, batch_size):
        return shortest, shortest
    extra = min(int(CANDIDATE_SHARE * (shortest - batch_size)), MAX_CANDIDATES)
    return batch_size, batch_size + extra


def batches(
    parts: list[Tensor], batch_size: int, generators: Sequence[torch.Generator]
):
    """Endless ``(indices, valid, n_queries)``; queries come first.

    Every member has a generator.
    """
    shortest = min(map(len, parts))
    n_queries, n_candidates = size_of_batch(shortest, batch_size)
    if n_queries == shortest:
        index, valid = _pad(parts)
        while True:
            yield index, valid, index.shape[1]
    valid = torch.ones(
        (len(parts), n_candidates), dtype=torch.bool, device=parts[0].device
    )
    while True:
        drawn = [
            part[torch.randperm(len(part), generator=draws)[:n_candidates]]
            for part, draws in zip(parts, generators, strict=True)
        ]
        yield torch.stack(drawn), valid, n_queries


def without_repeats(
    problem: Problem, parts: list[Tensor]
) -> tuple[Problem, list[Tensor]]:
    """Rows that are alike but for their values, once, with the weight of all.

    A loss that knows no values has nothing to part in them: the closest pair is at
    distance 0 whatever is learned.
    """
    _, place = problem.Z.unique(dim=0, return_inverse=True)
    n_places = int(place.max()) + 1
    totals = problem.weights.new_zeros(n_places).index_add(0, place, problem.weights)

    def once(rows):
        position = torch.arange(len(rows), device=rows.device)
        first = position.new_full((n_places,), len(rows))
        first = first.scatter_reduce(0, place[rows], position, "amin")
        return rows[first[place[rows]] == position]

    return problem._replace(weights=totals[place]), [once(rows) for rows in parts]


def few_valued(Z: Tensor) -> Tensor:
    """Columns of two to FEW values, as levels have; shape (d,)."""
    ordered = Z.sort(0)[0]
    further = (ordered[1:] != ordered[:-1]).sum(0)
    return (further > 0) & (further < FEW)


def find_levels(problem: Problem) -> Tensor:
    """Columns (d,) of levels: indicators, and others of few values."""
    levels = few_valued(problem.Z)
    return levels if problem.indicators is None else levels | problem.indicators


def drop_entries(
    Z: Tensor,
    columns: Tensor,
    share: float,
    generators: Sequence[torch.Generator | None],
    source: Tensor | None = None,
) -> Tensor:
    """Set a random share of the entries of some columns to 0, for some members.

    Members learn the levels of nominal columns by heart, unless entries are missing
    now and then; where levels follow a rule, every one of them counts. So there are
    members of both kinds. Measurements are left alone: what tells classes apart is
    often a small difference of two of them.

    Parameters
    ----------
    Z : Tensor of shape (K, n, d)
    columns : Tensor of shape (d,)
    share : float
    generators : sequence of torch.Generator or None
        Of every member, None where nothing is dropped. On the CPU, so that every device
        draws the same.
    source : Tensor of shape (d,), default=None
        Number of the table's column that each is an indicator of: what is missing is
        missing in all of its indicators. None is a column of its own for each.
    """
    if not columns.any():
        return Z
    kept = torch.ones(Z.shape, dtype=torch.bool, device="cpu")
    for stays, draws in zip(kept, generators, strict=True):
        if draws is not None:
            drawn = torch.rand(stays.shape, generator=draws, device="cpu") >= share
            stays[:] = drawn if source is None else drawn[:, source.cpu()]
    return Z * (kept.to(Z.device) | ~columns)
