"""Very large memories: candidates from an index, finished exactly, checked by a bound.

An index gives the k patterns with the best scores. The separation is then solved on
these alone, exactly. What is missing has two parts:

- Every other pattern scores at most the k-th score s_k, if the index is right: for
  softmax they have ``(M - k) exp(s_k - lse)`` of the weight, the log-normaliser taken
  over the candidates; where the separation has a threshold nothing is missing once s_k
  lies below that of the candidates.
- The index may be wrong. In lists of keys of which it found nothing there is the weight
  that a few numbers kept of every list let expect; see `lists`. And as many neighbours
  are lost elsewhere as `fit` saw it lose: such a share of the weight that is not on the
  best candidate.

Rows of which more than the tolerance is missing are asked again with more candidates,
and at last of the whole memory; those of which half is missing of that at once. What is
missing is estimated: a single pattern lost among others that were found is in neither
part. A memory that must not miss anything does without an index.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from skuhop.retrieval.chunks import row_chunks
from skuhop.retrieval.engine import Memory, answers, best_patterns, origin_of
from skuhop.retrieval.index.lists import (
    Lists,
    distances,
    expected_exponentials,
    expected_sums,
    read_lists,
)
from skuhop.retrieval.scores import KernelScorer, Query
from skuhop.retrieval.separations import SEPARATIONS

_CHUNK = 2**24
"""Bytes of a chunk of queries: what is known of all lists then stays in the cache."""
_NOTHING = 1e-6
"""Weight, in parts of that of the best candidate, that need not be known better."""
_HOPELESS = 0.5
"""Weight above which more candidates seldom are enough, and the whole memory is asked
at once: they cost more than that where rows are wide."""


class Nearest(NamedTuple):
    """An index over the keys of a memory.

    Attributes
    ----------
    search : callable
        ``(vectors, k) -> indices``, (n, r) to (n, k): the k keys of the highest score,
        -1 where fewer were found. With `lists` it takes points of their space instead.
    tol : float
        Largest weight that may be missing.
    candidates : sequence of int
        Patterns to ask for, and to ask for again where the bound is too large.
    tail : Tensor of shape (m,) or None
        Positions drawn from all patterns, with which the weight that is missing is
        estimated instead of being looked for; see `tails`.
    lists : Lists or None
        What is known of the keys without the index; None takes it at its word.
    losses : sequence of float
        Share of the neighbours, the nearest apart, that the index loses where it looks
        for so many `candidates`.
    """

    search: Callable[[Tensor, int], Tensor]
    tol: float
    candidates: Sequence[int]
    tail: Tensor | None = None
    lists: Lists | None = None
    losses: Sequence[float] = (0.0, 0.0)


class Found(NamedTuple):
    """Candidates of some rows.

    Attributes
    ----------
    indices, weights, scores : Tensor of shape (n, k)
        Positions, retrieval weights among each other, and scores.
    own : Tensor of shape (n, k) or None
        Their multiplicities.
    missing : Tensor of shape (n,)
        Weight of all other patterns, estimated; infinite if fewer were found.
    """

    indices: Tensor
    weights: Tensor
    scores: Tensor
    own: Tensor | None
    missing: Tensor

    def take(self, rows: Tensor) -> Found:
        """Keep some of the rows."""
        return Found._make(None if field is None else field[rows] for field in self)


def view_index(memory: Memory) -> tuple[KernelScorer, Nearest]:
    """Scorer and index of a memory that has an index, which needs a kernel scorer."""
    scorer, nearest = memory.scorer, memory.nearest
    assert isinstance(scorer, KernelScorer)
    assert isinstance(nearest, Nearest)
    return scorer, nearest


def ask(memory: Memory, query: Query, k: int) -> Found:
    """Ask the index for k candidates, and rank them exactly."""
    (scorer, nearest), separation = view_index(memory), memory.separation
    lists = nearest.lists
    vectors = query.encoded[0] / scorer.beta
    points = vectors if lists is None else lists.space.queries(vectors)
    indices = nearest.search(points, k)
    lost = (indices < 0).any(1)  # The search of a graph may end with fewer.
    indices = indices.clamp_min(0)
    scores = scorer.pairs(query, indices)
    origin = origin_of(memory, query)
    scores = scores if origin is None else scores - origin[:, None]
    own = None if memory.weights is None else memory.weights[indices]
    weights = separation.weights(scores, own, **memory.params)
    beyond = None
    if lists is not None:
        beyond = _Beyond(scorer, lists, query, vectors, points, indices, origin)
    missing = _missing(memory, scores, own, beyond)
    missing += _lost(nearest, k) * (1 - weights.amax(1)).clamp_min_(0)
    missing.masked_fill_(lost, torch.inf)
    return Found(indices, weights, scores, own, missing)


def _lost(nearest: Nearest, k: int) -> float:
    """Share of neighbours that is lost among k candidates."""
    pairs = zip(nearest.candidates, nearest.losses, strict=False)
    return next((loss for most, loss in pairs if k <= most), 0.0)


class _Beyond:
    """The lists of which nothing was found."""

    def __init__(self, scorer, lists, query, vectors, points, indices, origin):
        self.scorer, self.lists, self.query = scorer, lists, query
        self.distances = distances(lists, points)
        self.read = read_lists(lists, indices)
        unit = scorer.bias is None
        self.start, self.slope = lists.space.line(vectors, scorer.beta, unit)
        self.origin = origin

    def sums(self, lift: Callable) -> Tensor:
        """Sum (n,) of a rising function of scores over their patterns, estimated."""
        found = expected_sums(
            self.lists, self.distances, lambda apart: lift(self._scores(apart))
        )
        return found.masked_fill_(self.read, 0).sum(1)

    def exponentials(self, top: Tensor) -> Tensor:
        """Sum (n,) of the exponentials of scores less `top` (n,), from above."""
        start = self.start if self.origin is None else self.start - self.origin
        found = expected_exponentials(self.lists, self.distances, self.slope)
        found.masked_fill_(self.read, -torch.inf)
        # As many times the largest is too much, but mostly nothing all the same.
        total = (found.amax(1) + (start - top)).exp_().mul_(found.shape[1])
        counts = (total > _NOTHING).nonzero()[:, 0]
        summed = found[counts].logsumexp(1).add_((start - top)[counts])
        return total.index_copy_(0, counts, summed.exp_().to(total))

    def _scores(self, apart: Tensor) -> Tensor:
        """Scores (n, L) at squared distances."""
        scores = self.start[:, None] - apart * (self.slope[:, None] / 2)
        scorer = self.scorer
        if scorer.profiled:
            _, offset, scale = self.query.encoded
            scores = scores if offset is None else scores + offset[:, None]
            scores = scorer.similarity.profile(scores, scorer.keys.shape[1], scale)
        return scores if self.origin is None else scores - self.origin[:, None]


def _missing(
    memory: Memory, scores: Tensor, own: Tensor | None, beyond: _Beyond | None
) -> Tensor:
    """Estimate the weight (n,) of all patterns but those found."""
    separation, params = memory.separation, memory.params
    n_patterns, k = memory.scorer.n_patterns, scores.shape[1]
    if k == n_patterns:
        return torch.zeros_like(scores[:, 0])
    least = scores.amin(1, keepdim=True)
    if separation.lift is None:
        assert separation.floor is not None  # Every rule has one of the two.
        floor = separation.floor(scores, own, **params)
        missing = (floor < least).to(scores)[:, 0]
        if beyond is not None:
            missing += beyond.sums(lambda z: (z > floor).to(z))
        return missing.clamp_max_(1)
    top = scores.amax(1, keepdim=True)
    rest = float(n_patterns - k)
    if own is not None and memory.weights is not None:
        rest = (memory.weights.sum() - own.sum(1)).clamp_min(0)
    lifted = separation.lift(scores.clone(), top, **params)
    lifted = lifted if own is None else lifted * own
    rest = rest * separation.lift(least.clone(), top, **params)[:, 0]
    if beyond is not None:
        rest = rest + _lift_beyond(memory, beyond, top)
    return 1 / (1 + lifted.sum(1) / rest)  # One where the rest is infinite.


def _lift_beyond(memory: Memory, beyond: _Beyond, top: Tensor) -> Tensor:
    """Unnormalised weight (n,) beyond, that of a pattern with score `top` being one."""
    lift = memory.separation.lift
    assert lift is not None  # Those with a threshold need no tail.
    if lift is SEPARATIONS["softmax"].lift and not beyond.scorer.profiled:
        return beyond.exponentials(top[:, 0])
    # A better pattern than the best of those found counts like that one.
    return beyond.sums(lambda z: lift(torch.minimum(z, top), top, **memory.params))


def settle(memory: Memory, X: Tensor, budget: int, take: Callable, exact: Callable):
    """Answer every row from candidates where the bound allows it, else exactly.

    `take(rows, found)` gets the former, `exact(rows)` what is left.
    """
    rows_left, hopeless = torch.arange(len(X), device=X.device), []
    scorer, nearest = view_index(memory)
    r = scorer.keys.shape[1]
    for k in nearest.candidates:
        k = min(k, scorer.n_patterns)
        again = []
        row = X.element_size() * (2 * k * (r + 8) + scorer.row_width)
        for part in row_chunks(len(rows_left), row, min(budget, _CHUNK)):
            rows = rows_left[part]
            found = ask(memory, scorer.prepare(X[rows]), k)
            safe = found.missing <= nearest.tol
            take(rows[safe], found.take(safe))
            worth = ~safe & (found.missing <= _HOPELESS)
            again.append(rows[worth])
            hopeless.append(rows[~(safe | worth)])
        rows_left = torch.cat(again) if again else rows_left
        if len(rows_left) == 0:
            break
    rows_left = torch.cat([rows_left, *hopeless]).sort().values
    if len(rows_left):
        exact(rows_left)


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


def answer_from_index(memory: Memory, X: Tensor, budget: int) -> Tensor:
    """As `answers`, but at most ``memory.nearest.tol`` of the weight may be missing."""
    out = X.new_empty((len(X), memory.patterns.shape[1]))

    def take(rows, found):
        out[rows] = read_found(memory, found)

    def exact(rows):
        out[rows] = answers(memory._replace(nearest=None), X[rows], budget)

    settle(memory, X, budget, take, exact)
    return out


def best_from_index(memory: Memory, X: Tensor, budget: int) -> Tensor:
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
    """Estimate the weight (n,) that `answer_from_index` leaves out of each answer."""
    out = X.new_zeros(len(X))

    def take(rows, found):
        out[rows] = found.missing

    settle(memory, X, budget, take, lambda rows: None)
    return out
