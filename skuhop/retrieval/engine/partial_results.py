"""Partial results over a part of the patterns, and how they become one.

No separation needs the scores of all patterns at once. Every one is one of two kinds:

- *Sums* (softmax, softmax1, polynomial, max): unnormalised weights are a function of
  the score and the best score, so a best score, a total and an unnormalised answer
  per query are enough, as in online softmax.
- *Candidates* (sparsemax, entmax, normmax, ksubsets): the threshold below which weights
  are zero can only rise when patterns are added. So the support of the whole lies
  inside the union of the supports of its parts: keep those, solve once at the end.

The rules are exact: up to rounding, any way to cut the patterns gives the same answer.
The engine applies them to blocks of one memory, and shards of a memory may use the
same three functions: `partial` where a shard lives, `merge` and `finalise` where the
answer is wanted.

References
----------
Milakov and Gimelshein, "Online normalizer calculation for softmax", 2018 (arXiv
1805.02867). For the threshold: ``sum_i w_i f(z_i - tau) = const`` with f >= 0 rising,
so a further term can only raise tau.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Literal, NamedTuple, overload

import torch
from torch import Tensor
from torch.nn import functional

from skuhop.retrieval.separations import Separation

_GROUP = 64
"""Scores of which only the best takes part in the first look for candidates."""
_CELL = 8
"""Numbers per candidate that solving for the weights holds at its peak."""


class Sums(NamedTuple):
    """A part's best scores, totals and unnormalised answers.

    Attributes
    ----------
    top : Tensor of shape (n,)
        Best score of every query.
    total : Tensor of shape (n,)
        Sum of the unnormalised weights, with that of score `top` being one.
    answer : Tensor of shape (n, v) or None
        Sum of the values times these weights.
    """

    top: Tensor
    total: Tensor
    answer: Tensor | None


class Candidates(NamedTuple):
    """The patterns of a part that may have weight, as a ragged list of c entries.

    Attributes
    ----------
    floor : Tensor of shape (n,)
        Score below which a pattern has no weight, as far as the part can say.
    rows : Tensor of shape (c,), integer
        The query that an entry belongs to.
    indices : Tensor of shape (c,), integer
        The pattern, as a position in the whole memory.
    scores : Tensor of shape (c,)
        Its score.
    weights : Tensor of shape (c,) or None
        Its multiplicity; None is one each.
    values : Tensor of shape (c, v) or None
        What it reads out. None leaves that to `finalise`, which then needs `values`
        of the whole memory.
    """

    floor: Tensor
    rows: Tensor
    indices: Tensor
    scores: Tensor
    weights: Tensor | None
    values: Tensor | None


Partial = Sums | Candidates


def empty_result(
    separation: Separation, weights: Tensor | None, values: Tensor
) -> Partial:
    """Partial result for no queries at all, which no block of scores can give."""
    none, nowhere = values.new_empty(0), values.new_empty(0, dtype=torch.int64)
    if separation.lift is not None:
        return Sums(none, none, values[:0])
    own = None if weights is None else none
    return Candidates(none, nowhere, nowhere, none, own, values[:0])


class TooManyCandidatesError(Exception):
    """More candidates than the caller has memory for: ask fewer queries at once."""


def sums_of(top: Tensor, lifted: Tensor, values: Tensor | None, product: Callable):
    """Make sums of best scores (n,), unnormalised weights (n, m) and values (m, v)."""
    answer = None if values is None else product(lifted, values)
    return Sums(top, lifted.sum(1), answer)


def lift_scores(separation, params, scores, weights) -> tuple[Tensor, Tensor]:
    """Best scores (n,) and unnormalised weights (n, m); may overwrite the scores."""
    top = scores.amax(1)
    lifted = separation.lift(scores, top[:, None], **params)
    return top, lifted if weights is None else lifted.mul_(weights)


def block_candidates(
    separation: Separation,
    params: Mapping,
    scores: Tensor,
    weights: Tensor | None = None,
    first: int = 0,
    floor: Tensor | None = None,
    most: int | None = None,
) -> Candidates:
    """Candidates of one block of scores, for a separation that has a floor.

    Parameters
    ----------
    separation : Separation
        A row of ``SEPARATIONS``.
    params : mapping
        All its parameters.
    scores : Tensor of shape (n, m)
        ``beta * s(x, xi)`` of n queries and the block's m patterns.
    weights : Tensor of shape (m,) or None, default=None
        Multiplicities of the patterns; None is one each.
    first : int, default=0
        Position of the block's first pattern in the whole memory.
    floor : Tensor of shape (n,) or None, default=None
        Floor of other blocks, so that fewer candidates are left.
    most : int or None, default=None
        Number of candidates to stop at.

    Raises
    ------
    TooManyCandidatesError
        If there may be more than `most`.
    """
    assert separation.floor is not None  # It has no lift.
    groups, rest = _in_groups(scores)
    best, new, n_groups = groups.amax(2), None, groups.shape[1]
    if n_groups:
        # Less weight on a group's best gives a lower floor: on the safe side.
        least = None
        if weights is not None:
            least = weights[: n_groups * _GROUP].view(-1, _GROUP).amin(1)
        new = separation.floor(best, least, **params)[:, 0]
    if new is None or not new.isfinite().all():
        new = separation.floor(scores, weights, **params)[:, 0]
    floor = new if floor is None else torch.maximum(new, floor)
    parts = [_near(groups, best, floor, most)]
    if rest is not None:
        rows, columns, inside = _near(rest, rest.amax(2), floor, most)
        parts.append((rows, columns + n_groups * _GROUP, inside))
    rows, columns, inside = map(torch.cat, zip(*parts, strict=True))
    if most is not None and inside.numel() > most:
        raise TooManyCandidatesError
    near = (inside >= floor[rows, None]) & (inside > -torch.inf)
    entry, column = near.nonzero(as_tuple=True)
    rows, columns = rows[entry], columns[entry] + column
    own = None if weights is None else weights[columns]
    return Candidates(floor, rows, columns + first, inside[entry, column], own, None)


def _in_groups(scores: Tensor) -> tuple[Tensor, Tensor | None]:
    """Scores in groups (n, g, 64), not copied, and the rest as one more, filled up."""
    n_groups, n_rest = divmod(scores.shape[1], _GROUP)
    groups = scores[:, : n_groups * _GROUP].unflatten(1, (n_groups, _GROUP))
    if not n_rest:
        return groups, None
    rest = scores[:, n_groups * _GROUP :]
    return groups, functional.pad(rest, (0, _GROUP - n_rest), value=-torch.inf)[:, None]


def _near(groups: Tensor, best: Tensor, floor: Tensor, most: int | None):
    """Rows, first columns and scores of the groups whose best is at the floor."""
    rows, near = (best >= floor[:, None]).nonzero(as_tuple=True)
    if most is not None and len(rows) * _GROUP > most:
        raise TooManyCandidatesError
    return rows, near * _GROUP, groups[rows, near]


def merge(
    separation: Separation,
    params: Mapping,
    parts: Sequence[Partial],
    budget: int = 2**26,
) -> Partial:
    """Partial result of several parts together, in any order.

    Parameters
    ----------
    separation, params
        As for `block_candidates`.
    parts : sequence of Sums or of Candidates
        Partial results of disjoint parts, for the same queries.
    budget : int, default=2**26
        Bytes of memory to keep to.

    Returns
    -------
    part : Sums or Candidates
        The partial result of their union. Candidates below the union's own floor are
        gone.
    """
    if len(parts) == 1:
        return parts[0]
    if separation.lift is None:
        return merge_candidates(separation, params, parts, budget)
    return merge_sums(separation, params, parts)


def merge_sums(separation, params, parts) -> Sums:
    """As `merge`, for Sums."""
    top, total, answers = common_scale(separation, params, parts)
    return Sums(top, total, None if answers[0] is None else sum(answers))


def common_scale(separation, params, parts):
    """Best score and total of all parts, and their answers on one scale."""
    top = torch.stack([part.top for part in parts]).amax(0)
    totals, answers = [], []
    for part in parts:
        fade = separation.lift(part.top[:, None].clone(), top[:, None], **params)
        totals.append(part.total * fade[:, 0])
        answers.append(None if part.answer is None else part.answer * fade)
    return top, sum(totals), answers


def merge_candidates(separation, params, parts, budget) -> Candidates:
    """As `merge`, for Candidates."""
    floor = torch.stack([part.floor for part in parts]).amax(0)
    columns = list(zip(*(part[1:] for part in parts), strict=True))
    whole = Candidates._make(
        [floor, *(None if c[0] is None else torch.cat(c) for c in columns)]
    )
    own = torch.empty_like(floor)
    for some in pad_candidates(whole, budget):
        own[some.rows] = separation.floor(some.scores, some.weights, **params)[:, 0]
    floor = torch.maximum(floor, own)
    near = (whole.scores >= floor[whole.rows]).nonzero()[:, 0]
    own = (None if column is None else column[near] for column in whole[1:])
    return Candidates._make([floor, *own])


def join_queries(parts):
    """One partial result of all queries from those of some queries each."""
    columns = zip(*parts, strict=True)
    return type(parts[0])(*(None if c[0] is None else torch.cat(c) for c in columns))


class _Rows(NamedTuple):
    """Some rows' candidates side by side: entry e stands at (row[e], column[e])."""

    rows: slice
    entries: Tensor
    row: Tensor
    column: Tensor
    scores: Tensor
    weights: Tensor | None


def pad_candidates(part: Candidates, budget: int):
    """Yield candidates of some rows at a time as matrices, filled up with -inf."""
    order = part.rows.argsort(stable=True)
    counts = torch.bincount(part.rows, minlength=len(part.floor))
    starts = functional.pad(counts.cumsum(0), (1, 0))
    widest = max(1, int(counts.max())) if len(counts) else 1
    step = max(1, budget // (_CELL * part.scores.element_size() * widest))
    for start in range(0, len(counts), step):
        stop = min(start + step, len(counts))
        entries = order[starts[start] : starts[stop]]
        rows = part.rows[entries]
        column = torch.arange(len(entries), device=rows.device)
        column = column - (starts[rows] - starts[start])
        row, shape = rows - start, (stop - start, widest)
        scores = part.scores.new_full(shape, -torch.inf)
        scores[row, column] = part.scores[entries]
        weights = None
        if part.weights is not None:
            weights = part.weights.new_ones(shape)
            weights[row, column] = part.weights[entries]
        yield _Rows(slice(start, stop), entries, row, column, scores, weights)


@overload
def finalise(
    separation: Separation,
    params: Mapping,
    part: Partial,
    values: Tensor | None = None,
    read: Literal[True] = True,
    budget: int = 2**26,
) -> tuple[Tensor, Tensor | None]: ...


@overload
def finalise(
    separation: Separation,
    params: Mapping,
    part: Partial,
    values: Tensor | None = None,
    *,
    read: bool,
    budget: int = 2**26,
) -> tuple[Tensor | None, Tensor | None]: ...


def finalise(
    separation: Separation,
    params: Mapping,
    part: Partial,
    values: Tensor | None = None,
    read: bool = True,
    budget: int = 2**26,
) -> tuple[Tensor | None, Tensor | None]:
    """Answer and conjugate of the whole from its partial result.

    Parameters
    ----------
    separation, params
        As for `block_candidates`.
    part : Sums or Candidates
        Partial result of all patterns.
    values : Tensor of shape (M, v) or None, default=None
        What the whole memory reads out, for Candidates that carry no values.
    read : bool, default=True
        Whether the answer is wanted.
    budget : int, default=2**26
        Bytes of memory to keep to.

    Returns
    -------
    answer : Tensor of shape (n, v) or None
        Weighted mean of the values; None if not wanted.
    conjugate : Tensor of shape (n,) or None
        ``Psi*`` of the scores; None where the separation has no energy.
    """
    if isinstance(part, Sums):
        return _finalise_sums(separation, params, part, read)
    assert separation.conjugate is not None  # Rules with a threshold have one.
    conjugate, answer = torch.empty_like(part.floor), None
    source = values if part.values is None else part.values
    if read:
        assert source is not None  # The whole memory's, where parts carry none.
        answer = part.scores.new_empty((len(part.floor), source.shape[1]))
    for some in pad_candidates(part, budget):
        p = separation.weights(some.scores, some.weights, **params)
        conjugate[some.rows] = separation.conjugate(
            some.scores, p, some.weights, **params
        )
        if answer is not None and source is not None:
            own = part.indices[some.entries] if part.values is None else some.entries
            answer[some.rows] = _sum_by_weight(some, p, own, source)
    return answer, conjugate


def _finalise_sums(separation, params, part, read):
    """As `finalise`, for Sums."""
    conjugate = None
    if separation.conjugate is not None:
        # All patterns together count like one of the best score, so many times.
        conjugate = separation.conjugate(
            part.top[:, None], None, part.total[:, None], **params
        )
    if not read:
        return None, conjugate
    if separation.null:
        zero = torch.zeros_like(part.top)
        nothing = Sums(zero, zero + 1, torch.zeros_like(part.answer))
        part = merge_sums(separation, params, [part, nothing])
    return part.answer / part.total[:, None], conjugate


def _sum_by_weight(some: _Rows, p: Tensor, indices: Tensor, source: Tensor) -> Tensor:
    """Sum ``p * source`` for every row, over entries that have weight."""
    p = p[some.row, some.column]
    kept = p.nonzero()[:, 0]
    counts = torch.bincount(some.row[kept], minlength=len(some.scores))
    return functional.embedding_bag(
        indices[kept],
        source,
        functional.pad(counts.cumsum(0), (1, 0)),
        mode="sum",
        per_sample_weights=p[kept],
        include_last_offset=True,
    )
