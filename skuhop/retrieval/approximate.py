"""Very large memories: candidates from an index, finished exactly, checked by a bound.

An index gives the k patterns with the best scores. The separation is then solved on
these alone, exactly. Every other pattern scores at most the k-th score s_k, which
bounds the weight that is missing: for softmax by ``(M - k) exp(s_k - lse)``, the
log-normaliser taken over the candidates; where the separation has a threshold nothing
is missing once s_k lies below that of the candidates. Rows whose bound is above the
tolerance are asked again with more candidates, and at last of the whole memory.

The bound takes the index at its word. An index may miss some of the k best, and what
it missed is not in the bound: among a million images a graph lost single noisy queries
altogether (doc/engine.md). A memory that must not miss anything does without an index.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from skuhop.retrieval.chunks import row_chunks
from skuhop.retrieval.engine import Memory, answers, origin_of
from skuhop.retrieval.ranking import best_patterns
from skuhop.retrieval.scorers import Query


class Nearest(NamedTuple):
    """An index over the keys of a memory.

    Attributes
    ----------
    search : callable
        ``(vectors, k) -> indices``, (n, r) to (n, k): the k keys of the highest score.
    tol : float
        Largest weight that may be missing.
    candidates : sequence of int
        Patterns to ask for, and to ask for again where the bound is too large.
    tail : Tensor of shape (m,) or None
        Positions drawn from all patterns, with which the weight that is missing is
        estimated instead of being looked for; see `tails`.
    """

    search: Callable[[Tensor, int], Tensor]
    tol: float
    candidates: Sequence[int]
    tail: Tensor | None = None


class Found(NamedTuple):
    """Candidates of some rows.

    Attributes
    ----------
    indices, weights, scores : Tensor of shape (n, k)
        Positions, retrieval weights among each other, and scores.
    own : Tensor of shape (n, k) or None
        Their multiplicities.
    missing : Tensor of shape (n,)
        Bound of the weight of all other patterns; infinite if fewer were found.
    """

    indices: Tensor
    weights: Tensor
    scores: Tensor
    own: Tensor | None
    missing: Tensor

    def take(self, rows: Tensor) -> Found:
        """Keep some of the rows."""
        return Found(*(None if field is None else field[rows] for field in self))


def ask(memory: Memory, query: Query, k: int) -> Found:
    """Ask the index for k candidates, and rank them exactly."""
    scorer, separation = memory.scorer, memory.separation
    indices = memory.nearest.search(query.encoded[0] / scorer.beta, k)
    lost = (indices < 0).any(1)  # The search of a graph may end with fewer.
    indices = indices.clamp_min(0)
    scores = scorer.pairs(query, indices)
    origin = origin_of(memory, query)
    scores = scores if origin is None else scores - origin[:, None]
    own = None if memory.weights is None else memory.weights[indices]
    weights = separation.weights(scores, own, **memory.params)
    missing = _missing(memory, scores, own).masked_fill_(lost, torch.inf)
    return Found(indices, weights, scores, own, missing)


def _missing(memory: Memory, scores: Tensor, own: Tensor | None) -> Tensor:
    """Bound (n,) of the weight of all patterns that score at most the k-th score."""
    separation, params = memory.separation, memory.params
    n_patterns, k = memory.scorer.n_patterns, scores.shape[1]
    if k == n_patterns:
        return torch.zeros_like(scores[:, 0])
    least = scores.amin(1, keepdim=True)
    if separation.lift is None:
        return (separation.floor(scores, own, **params) < least).to(scores)[:, 0]
    top = scores.amax(1, keepdim=True)
    rest = float(n_patterns - k)
    if own is not None:
        rest = (memory.weights.sum() - own.sum(1)).clamp_min(0)
    lifted = separation.lift(scores.clone(), top, **params)
    lifted = lifted if own is None else lifted * own
    rest = rest * separation.lift(least.clone(), top, **params)[:, 0]
    return rest / (lifted.sum(1) + rest)


def settle(memory: Memory, X: Tensor, budget: int, take: Callable, exact: Callable):
    """Answer every row from candidates where the bound allows it, else exactly.

    `take(rows, found)` gets the former, `exact(rows)` what is left.
    """
    open_rows = torch.arange(len(X), device=X.device)
    r = memory.scorer.keys.shape[1]
    for k in memory.nearest.candidates:
        k = min(k, memory.scorer.n_patterns)
        left = []
        row = X.element_size() * (2 * k * (r + 8) + memory.scorer.row_width)
        for part in row_chunks(len(open_rows), row, min(budget, 2**26)):
            rows = open_rows[part]
            found = ask(memory, memory.scorer.prepare(X[rows]), k)
            safe = found.missing <= memory.nearest.tol
            take(rows[safe], found.take(safe))
            left.append(rows[~safe])
        open_rows = torch.cat(left) if left else open_rows
        if len(open_rows) == 0:
            return
    exact(open_rows)


def read_found(memory: Memory, found: Found) -> Tensor:
    """Answers (n, v) of the candidates alone.

    Those are read that have a weight above the rounding of the answer.
    """
    k, eps = found.weights.shape[1], torch.finfo(found.weights.dtype).eps
    heavy = found.weights > eps / (2 * k)
    starts = torch.nn.functional.pad(heavy.sum(1).cumsum(0), (1, 0))[:-1]
    return torch.nn.functional.embedding_bag(
        found.indices[heavy],
        memory.patterns,
        starts,
        mode="sum",
        per_sample_weights=found.weights[heavy],
    )


def indexed_answers(memory: Memory, X: Tensor, budget: int) -> Tensor:
    """As `answers`, but at most ``memory.nearest.tol`` of the weight may be missing."""
    out = X.new_empty((len(X), memory.patterns.shape[1]))

    def take(rows, found):
        out[rows] = read_found(memory, found)

    def exact(rows):
        out[rows] = answers(memory._replace(nearest=None), X[rows], budget)

    settle(memory, X, budget, take, exact)
    return out


def indexed_best(memory: Memory, X: Tensor, budget: int) -> Tensor:
    """As `best_patterns`, among the candidates."""
    out = torch.empty(len(X), dtype=torch.int64, device=X.device)

    def take(rows, found):
        best = found.weights.argmax(1, keepdim=True)
        out[rows] = found.indices.gather(1, best)[:, 0]

    def exact(rows):
        out[rows] = best_patterns(memory._replace(nearest=None), X[rows], budget)

    settle(memory, X, budget, take, exact)
    return out


def missing_weight(memory: Memory, X: Tensor, budget: int) -> Tensor:
    """Bound (n,) of the weight that `indexed_answers` leaves out of each answer."""
    out = X.new_zeros(len(X))

    def take(rows, found):
        out[rows] = found.missing

    settle(memory, X, budget, take, lambda rows: None)
    return out
