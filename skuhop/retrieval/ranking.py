"""Who takes part in an answer: retrieval weights, all or the heaviest, and the best.

Only all weights of a query need all its scores; the heaviest come from the same pass
over blocks of patterns as the answers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

import torch
from torch import Tensor

from skuhop.retrieval.engine import (
    DENSE_BLOCK,
    FEWEST_ROWS,
    Memory,
    blocks,
    multiplicity,
    partial_result,
    passes,
    row_chunks,
)
from skuhop.retrieval.partials import (
    Candidates,
    Sums,
    common_scale,
    finalise,
    padded,
    unnormalised,
)
from skuhop.retrieval.scorers import Query
from skuhop.retrieval.separations import Separation

# Numbers per query and pattern that a separation holds at its peak.
_SEPARATION_WIDTH = 5


def associations(memory: Memory, X: Tensor, budget: int, top: int | None = None):
    """Compute weights (n, M), or indices and weights of the `top` heaviest."""
    if top is not None:
        return _heaviest(memory, X, budget, top)
    weights = X.new_empty((len(X), memory.scorer.n_patterns))
    for rows in _dense_rows(memory, X, budget):
        weights[rows] = _dense_weights(memory, memory.scorer.prepare(X[rows]))
    return weights


def _heaviest(memory: Memory, X: Tensor, budget: int, top: int):
    """Find indices and weights, (n, top) each, of the heaviest patterns."""
    weights = X.new_empty((len(X), top))
    indices = torch.empty((len(X), top), dtype=torch.int64, device=X.device)
    n_patterns = memory.scorer.n_patterns
    if memory.separation.lift is None:
        work = partial_result(memory, budget, False)
        for rows, _, part in passes(memory, X, budget, work):
            found = _candidates_by_weight(
                *memory.rule, part, n_patterns, top, budget // 4
            )
            indices[rows], weights[rows] = found
        return indices, weights
    for rows, _, (found, near) in passes(memory, X, budget, _ranked(memory, top)):
        weights[rows], indices[rows] = found, near
    return indices, weights


def _ranked(memory: Memory, top: int) -> Callable:
    """Make the work of one pass: weights and indices of the heaviest patterns."""
    rule = memory.rule

    def work(query, width, most):
        whole = near = None
        for start, stop, scores in blocks(memory, query, width):
            top_score, lifted = unnormalised(
                *rule, scores, multiplicity(memory, start, stop)
            )
            heavy, where = lifted.topk(min(top, stop - start), dim=1)
            part = Sums(top_score, lifted.sum(1), heavy)
            where += start
            if whole is not None:
                parts = _side_by_side(*rule, [whole, part])
                where = torch.cat([near, where], 1)
                heavy, kept = parts.answer.topk(min(top, where.shape[1]), dim=1)
                part, where = parts._replace(answer=heavy), where.gather(1, kept)
            whole, near = part, where
        return finalise(*rule, whole)[0], near

    return work


def best_patterns(memory: Memory, X: Tensor, budget: int) -> Tensor:
    """Find the pattern (n,) of the highest score, log-weight included."""
    out = torch.empty(len(X), dtype=torch.int64, device=X.device)
    log_weights = None if memory.weights is None else memory.weights.log()

    def work(query, width, most):
        best = where = None
        for start in range(0, memory.scorer.n_patterns, width):
            stop = min(start + width, memory.scorer.n_patterns)
            scores = memory.scorer.block(query, start, stop)
            if log_weights is not None:
                scores += log_weights[start:stop]
            value, index = scores.max(1)
            index += start
            if best is not None:
                value = torch.maximum(best, value)
                index = torch.where(value > best, index, where)
            best, where = value, index
        return where

    for rows, _, found in passes(memory, X, budget, work):
        out[rows] = found
    return out


def _dense_weights(memory: Memory, query: Query) -> Tensor:
    """Weights of all patterns for a few queries."""
    _, _, scores = next(blocks(memory, query, memory.scorer.n_patterns))
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
    for some in padded(part, budget):
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


def _side_by_side(separation, params, parts: Sequence[Sums]) -> Sums:
    """Merge sums whose answers belong to different patterns: (n, a) and (n, b)."""
    top, total, answers = common_scale(separation, params, parts)
    return Sums(top, total, torch.cat(answers, 1))
