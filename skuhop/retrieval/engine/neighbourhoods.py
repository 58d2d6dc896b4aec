"""All patterns within a radius of queries, however many these are.

Scores tell which patterns may be within, with room for their rounding; distances of
those few come from differences, as those of the nearest do.
"""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor

from skuhop.retrieval.engine.memory_record import Memory
from skuhop.retrieval.engine.neighbours import distances_of_keys, distances_of_scores
from skuhop.retrieval.engine.passes import passes
from skuhop.retrieval.scores import Query

_ROUNDINGS = 64
"""Roundings of its terms by which a score may miss the distance it stands for."""
_LAST_PLACES = 4
"""Roundings of features by which a pattern on the boundary may be beyond it."""


def patterns_within(memory: Memory, X: Tensor, budget: int, radius: float) -> list:
    """Find all patterns within a radius: positions and distances, a pair for each row.

    Parameters are those of `nearest_patterns`, but for the radius. What is beyond it by
    no more than rounding is on it.

    Returns
    -------
    found : list of n tuples
        Positions (m,), rising, and distances (m,).
    """
    found: list = []
    for turn in passes(memory, X, budget):
        with turn:
            query, parts = memory.scorer.prepare(X[turn.rows]), []
            least = _lower_bound(memory, query, radius)
            for start, stop in turn.blocks(memory):
                scores = memory.scorer.block(query, start, stop)
                rows, columns = (scores >= least).nonzero(as_tuple=True)
                parts.append((rows, columns + start, scores[rows, columns]))
            rows, at, scores = map(torch.cat, zip(*parts, strict=True))
            apart, most = _measure(memory, query, rows, at, scores, radius, budget)
            inside = (apart <= most).nonzero()[:, 0]
            inside = inside[rows[inside].argsort(stable=True)]
            sizes = rows[inside].bincount(minlength=len(X[turn.rows])).tolist()
            apart = apart[inside].clamp_max_(radius)
            found += zip(at[inside].split(sizes), apart.split(sizes), strict=True)
    return found


def _lower_bound(memory: Memory, query: Query, radius: float) -> Tensor | float:
    """Score of a block that patterns within a radius reach, whatever its rounding."""
    scorer: Any = memory.scorer
    similarity, vectors = scorer.similarity, query.encoded[0]
    eps = _ROUNDINGS * torch.finfo(vectors.dtype).eps
    if not similarity.degree:
        return 1 - radius * radius / 2 - eps
    if not memory.complete:
        length = radius * radius / 2 if similarity.compare is None else radius
        return -length * (1 + eps)
    radius = radius / scorer.feature_unit
    if similarity.compare is not None:
        size = vectors.abs().sum(1, keepdim=True) + scorer.keys.abs().sum(1).amax()
        return -scorer.beta * (radius + eps * (radius + size))
    # Scores of blocks lack what is the same for all patterns.
    offset = cast(Tensor, query.offset)[:, None]
    terms = scorer.beta * radius * radius - 2 * (offset + scorer.bias.amin())
    return -(scorer.beta * radius * radius + eps * terms) / 2 - offset


def _measure(memory: Memory, query: Query, rows, at, scores, radius, budget: int):
    """Distances (m,) of pairs, and the radius as rounding of features leaves it."""
    scorer: Any = memory.scorer
    if not memory.complete:
        return distances_of_scores(scorer.similarity, scores), radius
    apart = distances_of_keys(scorer, query, rows, at, budget)
    eps = _LAST_PLACES * torch.finfo(apart.dtype).eps
    return apart, radius + eps * (radius + _size_of_features(scorer))


def _size_of_features(scorer: Any) -> float:
    """Give the largest entry of features, in the user's units."""
    if not scorer.similarity.degree:
        return 1.0
    size = scorer.keys.abs().amax().item()
    if scorer.origin is not None:
        size += scorer.origin.abs().amax().item()
    return size * scorer.feature_unit
