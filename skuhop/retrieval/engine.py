"""The engine: chunks over queries and patterns, bounded memory.

Softmax-like separations stream: blocks of patterns pass by once, and a running
maximum, normaliser and answer are kept per query, as in online softmax. The other
separations see all scores of a query at once, a few queries at a time.

Rejected: streaming the sparse separations by their exact candidate rule. Their
support is often wide at small beta, so the worst case needs the whole row anyway.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from skuhop.retrieval.scorers import Query, Scorer
from skuhop.retrieval.separations import Separation

# Scores per streamed block. Smaller ones stay in a CPU's cache but make so many small
# parallel steps that a busy machine spends its time waiting at their ends.
_BLOCK = {"cpu": 2**24, "cuda": 2**26, "mps": 2**24}
_BLOCK_ROWS = 1024
# A separation that sees whole rows holds several numbers per score: smaller chunks.
_DENSE_BLOCK = {"cpu": 2**21, "cuda": 2**25, "mps": 2**22}
# Fewer rows than this starve the matrix product.
_FEWEST_ROWS = 64
# Numbers per query and pattern that a separation holds at its peak.
_SEPARATION_WIDTH = 5


class Memory(NamedTuple):
    """What Stage II works on.

    Attributes
    ----------
    scorer : Scorer
        Gives the scores of a query.
    separation : Separation
        Turns them into weights.
    params : mapping
        Parameters of the separation.
    patterns : Tensor of shape (M, v)
        What is read out: the patterns, or other values that belong to them.
    weights : Tensor of shape (M,) or None
        Multiplicity of the patterns; None is one each.
    complete : bool
        Whether the queries it is for have all entries.
    """

    scorer: Scorer
    separation: Separation
    params: Mapping
    patterns: Tensor
    weights: Tensor | None
    complete: bool = True

    @property
    def streams(self) -> bool:
        """Whether one pass over blocks of patterns will do."""
        return self.separation.streams and self.scorer.streams


def row_chunks(n_rows: int, bytes_per_row: int, budget: int) -> Iterator[slice]:
    """Slices of rows that together need at most `budget` bytes, one row at least."""
    step = max(1, budget // max(1, bytes_per_row))
    for start in range(0, n_rows, step):
        yield slice(start, min(start + step, n_rows))


def _shifted(memory: Memory, query: Query, scores: Tensor) -> Tensor:
    """Scores measured from "nothing stored", where the separation cares."""
    if memory.separation.shift_invariant:
        return scores
    shift = memory.scorer.null(query)
    if query.offset is not None:
        shift = shift - query.offset
    return scores - shift[:, None]


def _dense_weights(memory: Memory, query: Query) -> tuple[Tensor, Tensor]:
    """Scores and weights of all patterns for a few queries."""
    scores = memory.scorer.block(query, 0, memory.scorer.n_patterns)
    scores = _shifted(memory, query, scores)
    weights = memory.separation.weights(scores, memory.weights, **memory.params)
    return scores, weights


def _stream(memory: Memory, X: Tensor, budget: int, read: bool):
    """One pass over the patterns: log-normaliser and, if `read`, the answer."""
    scorer, patterns = memory.scorer, memory.patterns
    query = scorer.prepare(X)
    n, cell = len(X), X.element_size() * scorer.width
    limit = max(n, min(_BLOCK[X.device.type], budget // cell))
    width = min(scorer.n_patterns, max(1, limit // n))
    log_weights = None if memory.weights is None else memory.weights.log()
    answer = X.new_zeros((n, patterns.shape[1])) if read else None
    if memory.separation.null:
        top, total = scorer.null(query), X.new_ones(n)
        top = top if query.offset is None else top - query.offset
    else:
        top, total = X.new_full((n,), -torch.inf), X.new_zeros(n)
    for start in range(0, scorer.n_patterns, width):
        stop = min(start + width, scorer.n_patterns)
        scores = scorer.block(query, start, stop)
        if log_weights is not None:
            scores += log_weights[start:stop]
        higher = torch.maximum(top, scores.amax(1))
        scores.sub_(higher[:, None]).exp_()
        fade = (top - higher).exp_()
        total.mul_(fade).add_(scores.sum(1))
        if read:
            answer.mul_(fade[:, None]).addmm_(scores, patterns[start:stop])
        top = higher
    if read:
        answer /= total[:, None]
    normaliser = total.log_().add_(top)
    return answer, normaliser if query.offset is None else normaliser + query.offset


def _stream_rows(memory: Memory, X: Tensor, budget: int) -> Iterator[slice]:
    """Rows per pass: enough to feed the matrix product, few enough for memory."""
    row = X.element_size() * (memory.scorer.row_width + memory.scorer.width)
    wide = -(-_BLOCK[X.device.type] // memory.scorer.n_patterns)
    rows = min(max(_BLOCK_ROWS, wide), max(1, budget // (2 * row)))
    return row_chunks(len(X), 1, rows)


def _dense_rows(memory: Memory, X: Tensor, budget: int) -> Iterator[slice]:
    """Rows whose scores of all patterns fit in memory, and in cache if few suffice."""
    cell = X.element_size() * (memory.scorer.width + _SEPARATION_WIDTH)
    cells = max(_DENSE_BLOCK[X.device.type], _FEWEST_ROWS * memory.scorer.n_patterns)
    row = cell * memory.scorer.n_patterns
    step = min(budget, cell * cells) // row
    encoded = X.element_size() * memory.scorer.row_width
    return row_chunks(len(X), 1, max(1, min(step, budget // (row + encoded))))


def answers(memory: Memory, X: Tensor, budget: int) -> Tensor:
    """Compute ``Xi^T Sep(beta s(Xi, x))``, the answer to every row x."""
    out = X.new_empty((len(X), memory.patterns.shape[1]))
    if memory.streams:
        for rows in _stream_rows(memory, X, budget):
            out[rows] = _stream(memory, X[rows], budget // 2, read=True)[0]
        return out
    for rows in _dense_rows(memory, X, budget):
        _, weights = _dense_weights(memory, memory.scorer.prepare(X[rows]))
        torch.mm(weights, memory.patterns, out=out[rows])
    return out


def conjugates(memory: Memory, X: Tensor, budget: int) -> Tensor:
    """``Psi*(beta K(Xi, x))``, shape (n,), for every row x."""
    out = X.new_empty(len(X))
    if memory.streams:
        for rows in _stream_rows(memory, X, budget):
            out[rows] = _stream(memory, X[rows], budget // 2, read=False)[1]
        return out
    for rows in _dense_rows(memory, X, budget):
        query = memory.scorer.prepare(X[rows])
        scores, weights = _dense_weights(memory, query)
        out[rows] = memory.separation.conjugate(
            scores, weights, memory.weights, **memory.params
        )
        if query.offset is not None:
            out[rows] += query.offset
    return out


def energies(memory: Memory, X: Tensor, budget: int) -> Tensor:
    """``s(x, x) / 2 - Psi*(beta s(Xi, x)) / beta``, shape (n,).

    U-Hop, equation 3.4, with the similarity in the place of the kernel. With the
    Euclidean similarity ``-|x - xi|^2 / 2`` it is minus the logarithm of a kernel
    density up to scale, and with a likelihood minus its logarithm.
    """
    out = conjugates(memory, X, budget).neg_()
    for rows in row_chunks(len(X), 4 * X.element_size() * X.shape[1], budget):
        out[rows] += memory.scorer.prepare(X[rows]).self_score / 2
    return out.div_(memory.scorer.beta)


def associations(memory: Memory, X: Tensor, budget: int, top: int | None = None):
    """Compute weights (n, M), or indices and weights of the `top` heaviest."""
    width = memory.scorer.n_patterns if top is None else top
    weights = X.new_empty((len(X), width))
    indices = None if top is None else weights.to(torch.int64)
    for rows in _dense_rows(memory, X, budget):
        _, dense = _dense_weights(memory, memory.scorer.prepare(X[rows]))
        if top is None:
            weights[rows] = dense
        else:
            weights[rows], indices[rows] = dense.topk(top, dim=1)
    return weights if top is None else (indices, weights)


def best_patterns(memory: Memory, X: Tensor, budget: int) -> Tensor:
    """Find the pattern (n,) of the highest score, log-weight included."""
    out = torch.empty(len(X), dtype=torch.int64, device=X.device)
    for rows in _dense_rows(memory, X, budget):
        query = memory.scorer.prepare(X[rows])
        scores = memory.scorer.block(query, 0, memory.scorer.n_patterns)
        if memory.weights is not None:
            scores += memory.weights.log()
        out[rows] = scores.argmax(1)
    return out


def iterate(memory: Memory, X: Tensor, budget: int, steps: int, tol: float) -> Tensor:
    """Stage II: up to `steps` updates ``x <- T(x)``.

    A row rests once an update moves it by less than `tol` times its length, so
    its answer does not depend on the other rows.
    """
    state, moving = X, None
    for step in range(steps):
        if moving is None:
            new, old = answers(memory, state, budget), state
            state = new
        else:
            old = state[moving]
            new = answers(memory, old, budget)
            state[moving] = new
        if step + 1 == steps:
            break
        moved = torch.linalg.vector_norm(new - old, dim=1)
        still = moved > tol * torch.linalg.vector_norm(old, dim=1)
        moving = still.nonzero()[:, 0] if moving is None else moving[still]
        if len(moving) == 0:
            break
    return state
