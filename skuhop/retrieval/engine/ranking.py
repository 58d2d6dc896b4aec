"""Who takes part in an answer: retrieval weights, all or the heaviest, and the best.

Only all weights of a query need all its scores; the heaviest come from the same pass
over blocks of patterns as the answers.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple, cast

import torch
from torch import Tensor

from skuhop.retrieval.chunks import row_chunks
from skuhop.retrieval.engine.answers_and_energies import sum_up
from skuhop.retrieval.engine.memory_record import Memory, multiplicity, origin_of
from skuhop.retrieval.engine.partial_results import (
    Candidates,
    Sums,
    common_scale,
    finalise,
    join_queries,
    lift_scores,
    merge,
    pad_candidates,
)
from skuhop.retrieval.engine.passes import DENSE_BLOCK, FEWEST_ROWS, Pass, passes
from skuhop.retrieval.scores import Query
from skuhop.retrieval.separations import Separation

# Numbers per query and pattern that a separation holds at its peak.
_SEPARATION_WIDTH = 5


def associations(memory: Memory, X: Tensor, budget: int, top: int | None = None):
    """Compute weights (n, M), or indices and weights of the `top` heaviest."""
    if top is not None:
        return heaviest(memory, X, budget, top)
    weights = X.new_empty((len(X), memory.scorer.n_patterns))
    for rows in _dense_rows(memory, X, budget):
        weights[rows] = _dense_weights(memory, memory.scorer.prepare(X[rows]))
    return weights


class Ranked(NamedTuple):
    """The heaviest patterns of a part, where weights are `Sums`.

    Attributes
    ----------
    top, total : Tensor of shape (n,)
        As for `Sums`, of all patterns of the part.
    heavy : Tensor of shape (n, k)
        Unnormalised weights of the heaviest, the heaviest first.
    indices : Tensor of shape (n, k)
        Their positions in the whole memory.
    """

    top: Tensor
    total: Tensor
    heavy: Tensor
    indices: Tensor


class Best(NamedTuple):
    """The pattern of the highest score, log-weight included, of a part.

    Attributes
    ----------
    score : Tensor of shape (n,)
    position : Tensor of shape (n,)
        Its position in the whole memory.
    """

    score: Tensor
    position: Tensor


def heaviest(memory: Memory, X: Tensor, budget: int, top: int):
    """Find indices and weights, (n, top) each, of the heaviest patterns."""
    weights = X.new_empty((len(X), top))
    indices = torch.empty((len(X), top), dtype=torch.int64, device=X.device)
    n_patterns = memory.scorer.n_patterns
    for turn in passes(memory, X, budget):
        with turn:
            query = memory.scorer.prepare(X[turn.rows])
            part = _rank(memory, query, turn, budget, 0, top)
            indices[turn.rows], weights[turn.rows] = finalise_heaviest(
                *memory.rule, part, n_patterns, top, budget // 4
            )
    return indices, weights


def heaviest_partial(
    memory: Memory, X: Tensor, budget: int, first: int = 0, top: int = 1
) -> Ranked | Candidates:
    """Rank the patterns of a shard; parameters as for `partial`.

    Merge the shards' results with `merge_heaviest`, then `finalise_heaviest`.
    """
    parts = []
    for turn in passes(memory, X, budget):
        with turn:
            query = memory.scorer.prepare(X[turn.rows])
            part = _rank(memory, query, turn, budget, first, top)
            if isinstance(part, Candidates):
                part = part._replace(rows=part.rows + turn.rows.start)
            parts.append(part)
    return join_queries(parts)


def _rank(
    memory: Memory, query: Query, turn: Pass, budget: int, first: int, top: int
) -> Ranked | Candidates:
    """Rank the patterns of a memory, or of a shard, for the queries of one pass."""
    if memory.separation.lift is None:
        part = sum_up(memory, query, turn, budget, False, first)
        return cast(Candidates, part)
    rule, whole = memory.rule, cast(Ranked, None)
    origin = None if memory.separation.shift_invariant else memory.scorer.null(query)
    for start, stop in turn.blocks(memory):
        scores = memory.scorer.block(query, start, stop)
        scores = scores if origin is None else scores.sub_(origin[:, None])
        weights = multiplicity(memory, start, stop)
        best, lifted = lift_scores(*rule, scores, weights)
        heavy, near = lifted.topk(min(top, stop - start), dim=1)
        part = Ranked(best, lifted.sum(1), heavy, near.add_(first + start))
        whole = part if whole is None else merge_heaviest(*rule, [whole, part], top)
    return whole


def merge_heaviest(
    separation: Separation, params: Mapping, parts: Sequence, top: int, budget=2**26
):
    """Ranked patterns of several parts together."""
    if separation.lift is None:
        return merge(separation, params, parts, budget)
    if len(parts) == 1:
        return parts[0]
    sums = [Sums(*part[:3]) for part in parts]
    best, total, heavy = common_scale(separation, params, sums)
    heavy, indices = torch.cat(heavy, 1), torch.cat([p.indices for p in parts], 1)
    heavy, kept = heavy.topk(min(top, heavy.shape[1]), dim=1)
    return Ranked(best, total, heavy, indices.gather(1, kept))


def finalise_heaviest(
    separation: Separation,
    params: Mapping,
    part: Ranked | Candidates,
    n_patterns: int,
    top: int,
    budget: int = 2**26,
):
    """Positions and weights, (n, top) each, of the heaviest patterns of the whole."""
    rule = separation, params
    if isinstance(part, Candidates):
        return _candidates_by_weight(*rule, part, n_patterns, top, budget)
    return part.indices, finalise(*rule, Sums(*part[:3]))[0]


def best_patterns(memory: Memory, X: Tensor, budget: int) -> Tensor:
    """Find the pattern (n,) of the highest score, log-weight included."""
    return best_partial(memory, X, budget).position


def best_partial(memory: Memory, X: Tensor, budget: int, first: int = 0) -> Best:
    """Find the best pattern of a shard; parameters as for `partial`."""
    position = torch.empty(len(X), dtype=torch.int64, device=X.device)
    out = Best(X.new_empty(len(X)), position)
    for turn in passes(memory, X, budget):
        with turn:
            query = memory.scorer.prepare(X[turn.rows])
            part = _find_best(memory, query, turn, first)
            out.score[turn.rows], out.position[turn.rows] = part
    return out


def _find_best(memory: Memory, query: Query, turn: Pass, first: int) -> Best:
    """Best patterns of a memory, or of a shard, for the queries of one pass."""
    whole = cast(Best, None)  # There is a first block.
    log_weights = None if memory.weights is None else memory.weights.log()
    for start, stop in turn.blocks(memory):
        scores = memory.scorer.block(query, start, stop)
        if log_weights is not None:
            scores += log_weights[start:stop]
        score, index = scores.max(1)
        part = Best(score, index.add_(first + start))
        whole = part if whole is None else merge_best([whole, part])
    return whole


def merge_best(parts: Sequence[Best]) -> Best:
    """Best patterns of several parts together; of equals the one of the first part."""
    best = parts[0]
    for part in parts[1:]:
        higher = part.score > best.score
        position = torch.where(higher, part.position, best.position)
        best = Best(torch.maximum(best.score, part.score), position)
    return best


def _dense_weights(memory: Memory, query: Query) -> Tensor:
    """Weights of all patterns for a few queries."""
    origin = origin_of(memory, query)
    scores = memory.scorer.block(query, 0, memory.scorer.n_patterns)
    scores = scores if origin is None else scores.sub_(origin[:, None])
    return memory.separation.weights(scores, memory.weights, **memory.params)


def _dense_rows(memory: Memory, X: Tensor, budget: int) -> Iterator[slice]:
    """Rows whose weights of all patterns fit in memory, and in cache if few suffice."""
    cell = X.element_size() * (memory.scorer.width + _SEPARATION_WIDTH)
    cells = max(DENSE_BLOCK[X.device.type], FEWEST_ROWS * memory.scorer.n_patterns)
    row = cell * memory.scorer.n_patterns
    step = min(budget, cell * cells) // row
    encoded = X.element_size() * memory.scorer.row_width
    return row_chunks(len(X), 1, max(1, min(step, budget // (row + encoded))))


def _candidates_by_weight(
    separation: Separation,
    params: Mapping,
    part: Candidates,
    n_patterns: int,
    top: int,
    budget: int = 2**26,
) -> tuple[Tensor, Tensor]:
    """Positions and weights, (n, top) each, of the heaviest candidates of the whole.

    Where fewer have weight, patterns without any fill up.
    """
    shape = (len(part.floor), top)
    indices = part.indices.new_empty(shape)
    weights = part.scores.new_empty(shape)
    for some in pad_candidates(part, budget):
        n, width = some.scores.shape
        p = separation.weights(some.scores, some.weights, **params)
        taken = p.new_full((n, width), -1)
        taken[some.row, some.column] = p[some.row, some.column]
        own = part.indices.new_zeros((n, width))
        own[some.row, some.column] = part.indices[some.entries]
        # Among the first `width + top` patterns, `top` are no candidates.
        spare = torch.arange(min(n_patterns, width + top), device=own.device)
        free = p.new_zeros((n, len(spare)))
        inside = own[some.row, some.column] < len(spare)
        row = some.row[inside]
        free[row, own[row, some.column[inside]]] = -1
        every = torch.cat([own, spare.expand(n, -1)], 1)
        best, place = torch.cat([taken, free], 1).topk(top, dim=1)
        weights[some.rows], indices[some.rows] = best, every.gather(1, place)
    return indices, weights
