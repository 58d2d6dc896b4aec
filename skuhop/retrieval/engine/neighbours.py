"""Nearest patterns and how far they are: what neighbours estimators answer.

Scores rank, weights and separations do not count. The distances of the few that were
found are then taken from differences, so that a pattern is at distance 0 from itself,
which the small difference of large products is not.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor
from torch.nn.functional import embedding

from skuhop.retrieval.chunks import row_chunks
from skuhop.retrieval.engine.memory_record import Memory
from skuhop.retrieval.engine.passes import passes
from skuhop.retrieval.scores import Query

_GROUP = 16
"""Scores of which only the best takes part in the first look for the highest."""


class _Best(NamedTuple):
    """Highest scores of a part, and their positions in the whole memory, (n, k)."""

    scores: Tensor
    positions: Tensor


def nearest_patterns(memory: Memory, X: Tensor, budget: int, k: int):
    """Find the k nearest patterns: positions and distances (n, k), the nearest first.

    Parameters
    ----------
    memory : Memory
        Scores by a similarity that has a distance, all but the dot product, at a beta
        of one.
    X : Tensor of shape (n, d)
        Queries.
    budget : int
        Bytes of memory to keep to.
    k : int
        At most the number of patterns.
    """
    indices = torch.empty((len(X), k), dtype=torch.int64, device=X.device)
    apart = X.new_empty((len(X), k))
    for rows, query, (scores, at) in _search(memory, X, budget, k):
        far = _distances(memory, query, at, scores, budget)
        far, order = far.sort(dim=1, stable=True)
        indices[rows], apart[rows] = at.gather(1, order), far
    return indices, apart


def highest_patterns(memory: Memory, X: Tensor, budget: int, k: int) -> Tensor:
    """Positions (n, k) of the patterns with the highest scores, in no order."""
    found = [best.positions for _, _, best in _search(memory, X, budget, k)]
    return torch.cat(found)


def _search(memory: Memory, X: Tensor, budget: int, k: int) -> Iterator[tuple]:
    """Yield some rows at a time, as queries, and their highest scores."""
    for turn in passes(memory, X, budget, wide=True):
        with turn:
            query, best = memory.scorer.prepare(X[turn.rows]), cast(_Best, None)
            for start, stop in turn.blocks(memory):
                scores = memory.scorer.block(query, start, stop)
                scores, near = find_highest(scores, min(k, stop - start))
                part = _Best(scores, near.add_(start))
                best = part if best is None else _merge(best, part, k)
            yield turn.rows, query, best


def find_highest(scores: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Find the k highest of scores (n, m), as `topk` does, most of them unsorted.

    They are in the k groups with the highest maxima, which a sweep finds.
    """
    n, m = scores.shape
    n_groups = m // _GROUP
    if n_groups <= 2 * k:
        return scores.topk(k, dim=1)
    # Neighbours are of different groups: maxima of whole rows are eight times faster.
    groups = scores[:, : n_groups * _GROUP].unflatten(1, (_GROUP, n_groups))
    best = groups.amax(1).topk(k, dim=1, sorted=False).indices
    inside = torch.arange(0, n_groups * _GROUP, n_groups, device=scores.device)
    columns = (best[:, :, None] + inside).view(n, -1)
    rest = torch.arange(n_groups * _GROUP, m, device=scores.device).expand(n, -1)
    columns = torch.cat([columns, rest], 1)
    highest, place = scores.gather(1, columns).topk(k, dim=1)
    return highest, columns.gather(1, place)


def _merge(best: _Best, part: _Best, k: int) -> _Best:
    """Highest scores of two parts together."""
    scores, positions = (torch.cat(pair, 1) for pair in zip(best, part, strict=True))
    scores, kept = scores.topk(min(k, scores.shape[1]), dim=1)
    return _Best(scores, positions.gather(1, kept))


def _distances(memory: Memory, query: Query, at: Tensor, scores: Tensor, budget: int):
    """Distances (n, k) of patterns at (n, k) that have these scores."""
    scorer: Any = memory.scorer
    if not memory.complete:
        return distances_of_scores(scorer.similarity, scores)
    rows = torch.arange(len(at), device=at.device)[:, None]
    return distances_of_keys(scorer, query, rows, at, budget)


def distances_of_scores(similarity, scores: Tensor) -> Tensor:
    """Distances from scores at a beta of one: squared ones are halved, or angles."""
    if similarity.compare is not None:
        return -scores
    squared = -2 * scores if similarity.degree else 2 - 2 * scores
    return squared.clamp_min(0).sqrt()


def distances_of_keys(scorer: Any, query: Query, rows: Tensor, at: Tensor, budget: int):
    """Distances of queries in rows from patterns at positions, by their features.

    Rows and positions are both (m,), or (n, 1) and (n, k).
    """
    vectors, order = query.encoded[0], 1
    if scorer.similarity.compare is None:
        vectors, order = vectors / scorer.beta, 2
    apart = vectors.new_empty(at.shape)
    row = 3 * vectors.element_size() * vectors.shape[1] * at[:1].numel()
    for part in row_chunks(len(at), row, budget // 2):
        difference = embedding(at[part], scorer.keys) - vectors[rows[part]]
        apart[part] = torch.linalg.vector_norm(difference, ord=order, dim=-1)
    return apart.mul_(scorer.feature_unit) if scorer.similarity.degree else apart
