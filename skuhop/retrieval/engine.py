"""The engine: chunks of queries, blocks of patterns, one exact pass, bounded memory.

Blocks of patterns pass by once; what they leave per query is merged by the rules of
`partials`, so that no separation needs all scores of a query. Where the scores are one
matrix product and the separation is softmax, torch's fused attention does the same in
one parallel section, which matters most on a busy machine.

With several threads blocks are as large as the cache bears: small ones make so many
short parallel steps that a busy machine spends its time waiting at their ends. One
thread waits for nobody, and takes blocks for which the allocator does not ask the
system for fresh pages every time: up to four times faster than blocks that leave the
cache.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from skuhop.retrieval.attention import (
    attention,
    attention_sums,
    half_attention,
    peaked_answers,
)
from skuhop.retrieval.partials import (
    Candidates,
    Partial,
    TooManyCandidates,
    block_partial,
    finalise,
    joined,
    merge,
    nothing_asked,
    sums_of,
)
from skuhop.retrieval.products import exact
from skuhop.retrieval.scorers import Query, Scorer
from skuhop.retrieval.separations import SEPARATIONS, Separation
from skuhop.retrieval.units import largest

# Scores per block; bytes where one thread works alone; and the fewest rows of one.
_BLOCK = {"cpu": (2**22, 1024), "cuda": (2**26, 1024), "mps": (2**24, 1024)}
_BLOCK_ALONE = (2**22, 512)
# A scorer that needs all patterns at once holds much more: smaller chunks of rows, but
# fewer than some starve the matrix product.
DENSE_BLOCK = {"cpu": 2**21, "cuda": 2**25, "mps": 2**22}
FEWEST_ROWS = 64
# Bytes per candidate at its peak, and the most that are kept.
_CANDIDATE = 64
_MOST_CANDIDATES = 2**21


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
    nearest : Nearest or None
        An index that finds good patterns without looking at all; see `approximate`.
    product : callable
        How weights and values are multiplied; see `products`.
    """

    scorer: Scorer
    separation: Separation
    params: Mapping
    patterns: Tensor
    weights: Tensor | None
    complete: bool = True
    nearest: NamedTuple | None = None
    product: Callable = exact

    @property
    def rule(self) -> tuple[Separation, Mapping]:
        """The separation and its parameters."""
        return self.separation, self.params


def origin_of(memory: Memory, query: Query) -> Tensor | None:
    """Score of "nothing stored" (n,), for separations that measure scores from there.

    Without `query.offset`, like the scores of a block.
    """
    if memory.separation.shift_invariant:
        return None
    return memory.scorer.null(query)


def _ranges(n_patterns: int, width: int):
    """Yield start and stop of all blocks of patterns."""
    for start in range(0, n_patterns, width):
        yield start, min(start + width, n_patterns)


def blocks(memory: Memory, query: Query, width: int):
    """Yield start, stop and scores of all blocks of patterns."""
    origin = origin_of(memory, query)
    for start, stop in _ranges(memory.scorer.n_patterns, width):
        scores = memory.scorer.block(query, start, stop)
        yield start, stop, scores if origin is None else scores.sub_(origin[:, None])


def multiplicity(memory: Memory, start: int, stop: int) -> Tensor | None:
    """Weights of the patterns of a block."""
    return None if memory.weights is None else memory.weights[start:stop]


class _Plan(NamedTuple):
    """How much to do at once: rows, scores in a block, candidates."""

    rows: int
    cells: int
    most: int

    def width(self, memory: Memory, n_rows: int) -> int:
        """Patterns per block for so many rows."""
        if not memory.scorer.streams:
            return memory.scorer.n_patterns
        return max(1, self.cells // n_rows)


def _block(memory: Memory, X: Tensor) -> tuple[int, int]:
    """Scores per block, and the fewest rows of one.

    Steps without logarithms wait for main memory where a block leaves the cache, and
    take three times as long: with several threads their blocks are small too.
    """
    small = torch.get_num_threads() == 1 or _lifts(memory)
    if X.device.type == "cpu" and small:
        n_bytes, rows = _BLOCK_ALONE
        return n_bytes // X.element_size(), rows
    return _BLOCK[X.device.type]


def _plan(memory: Memory, X: Tensor, budget: int, read: bool = False) -> _Plan:
    """Keep to the budget, with blocks as large as pay."""
    scorer, device = memory.scorer, X.device.type
    n_values = 2 * memory.patterns.shape[1] if read else 0
    row = X.element_size() * (scorer.row_width + scorer.width + n_values)
    most = max(1, min(_MOST_CANDIDATES, budget // (4 * _CANDIDATE)))
    cells = budget // (2 * X.element_size() * (scorer.width + 1))
    if scorer.streams:
        block, fewest = _block(memory, X)
        cells = min(block, cells)
        rows = max(fewest, -(-block // scorer.n_patterns))
    else:
        cells = min(cells, max(DENSE_BLOCK[device], FEWEST_ROWS * scorer.n_patterns))
        rows = cells // scorer.n_patterns
    return _Plan(max(1, min(rows, budget // (4 * row))), cells, most)


def passes(memory: Memory, X: Tensor, budget: int, work: Callable):
    """Yield rows and ``work(query, width, most)``; fewer rows if candidates abound."""
    plan = _plan(memory, X, budget, read=True)
    start, step = 0, plan.rows
    while start < len(X):
        rows = slice(start, min(start + step, len(X)))
        n_rows = rows.stop - rows.start
        query = memory.scorer.prepare(X[rows])
        try:
            width = plan.width(memory, n_rows)
            found = work(query, width, plan.most if n_rows > 1 else None)
        except TooManyCandidates:
            step = -(-n_rows // 4)
            continue
        yield rows, query, found
        start = rows.stop


def partial_result(memory: Memory, budget: int, read: bool, first: int = 0) -> Callable:
    """Make the work of one pass: the partial result of all patterns."""
    separation, rule = memory.separation, memory.rule
    if _lifts(memory):
        return _lifted_result(memory, read)

    def work(query, width, most):
        part = None
        for start, stop, scores in blocks(memory, query, width):
            new = block_partial(
                *rule,
                scores,
                multiplicity(memory, start, stop),
                memory.patterns[start:stop] if read else None,
                first + start,
                None if part is None or separation.lift else part.floor,
                most,
                memory.product,
            )
            part = new if part is None else merge(*rule, [part, new], budget // 4)
            if most and separation.lift is None and len(part.scores) > most:
                raise TooManyCandidates
        return part

    return work


def _lifts(memory: Memory) -> bool:
    """Whether the scorer gives the exponentials that the separation makes of scores.

    Only on the CPU: elsewhere steps count and not the arithmetic.
    """
    exponential = memory.separation.lift is SEPARATIONS["softmax"].lift
    on_cpu = memory.patterns.device.type == "cpu"
    return exponential and on_cpu and hasattr(memory.scorer, "lift")


def _lifted_result(memory: Memory, read: bool) -> Callable:
    """Make the work of one pass from the scorer's own exponentials."""

    def work(query, width, most):
        part, origin = None, origin_of(memory, query)
        for start, stop in _ranges(memory.scorer.n_patterns, width):
            top, lifted = memory.scorer.lift(query, start, stop)
            own = multiplicity(memory, start, stop)
            new = sums_of(
                top if origin is None else top - origin,
                lifted if own is None else lifted.mul_(own),
                memory.patterns[start:stop] if read else None,
                memory.product,
            )
            part = new if part is None else merge(*memory.rule, [part, new])
        return part

    return work


def partial(
    memory: Memory,
    X: Tensor,
    budget: int = 2**28,
    first: int = 0,
    read: bool = True,
) -> Partial:
    """Partial result of a memory that is a shard of a larger one.

    Merge the shards' results with `merge`, then read the answer out with `finalise`.

    Parameters
    ----------
    memory : Memory
        The shard: its patterns, and a scorer that scores queries as those of all other
        shards do (the same feature map, mean and beta).
    X : Tensor of shape (n, d)
        Queries, the same for all shards.
    budget : int, default=2**28
        Bytes of memory to keep to, the result not counted.
    first : int, default=0
        Position of the shard's first pattern in the whole memory.
    read : bool, default=True
        Whether the answer is wanted; energies do without it.

    Returns
    -------
    part : Sums or Candidates
        For Sums n * (v + 2) numbers; for Candidates the patterns that may have weight.
    """
    if len(X) == 0:
        return nothing_asked(memory.separation, memory.weights, memory.patterns)
    sums = attention_sums(memory, X, budget) if read else None
    if sums is not None:
        return sums
    parts, work = [], partial_result(memory, budget, read, first)
    for rows, _, part in passes(memory, X, budget, work):
        if isinstance(part, Candidates):
            values = memory.patterns[part.indices - first] if read else None
            part = part._replace(rows=part.rows + rows.start, values=values)
        parts.append(part)
    return joined(parts)


def answers(memory: Memory, X: Tensor, budget: int) -> Tensor:
    """Compute ``Xi^T Sep(beta s(Xi, x))``, the answer to every row x."""
    out = X.new_empty((len(X), memory.patterns.shape[1]))
    cells = _plan(memory, X, budget, read=True).cells
    done = peaked_answers(memory, X, cells, budget, out)
    X, left = X[done:], out[done:]
    if len(X) == 0 or any(
        fused(memory, X, budget, left) for fused in (attention, half_attention)
    ):
        return out
    work = partial_result(memory, budget, True)
    for rows, _, part in passes(memory, X, budget, work):
        found, _ = finalise(*memory.rule, part, memory.patterns, budget=budget // 4)
        left[rows] = found
    return out


def null_weights(memory: Memory, X: Tensor, budget: int) -> Tensor:
    """Weight (n,) of "nothing stored", for separations in which it takes part.

    ``1 / (1 + sum_i exp(z_i))`` for softmax1 (Hu et al., ICML 2024, arXiv 2404.03828),
    scores measured from that of nothing: the conjugate's exponential, inverted.
    """
    out = X.new_empty(len(X))
    work = partial_result(memory, budget, False)
    for rows, _, part in passes(memory, X, budget, work):
        _, conjugate = finalise(*memory.rule, part, read=False, budget=budget // 4)
        out[rows] = null_of(conjugate)
    return out


def null_of(conjugate: Tensor) -> Tensor:
    """Weights (n,) of "nothing stored" from the conjugate, which is overwritten."""
    return conjugate.neg_().exp_()


def energies(memory: Memory, X: Tensor, budget: int) -> Tensor:
    """``s(x, x) / 2 - Psi*(beta s(Xi, x)) / beta``, shape (n,).

    U-Hop, equation 3.4, with the similarity in the place of the kernel. With the
    Euclidean similarity ``-|x - xi|^2 / 2`` it is minus the logarithm of a kernel
    density up to scale, and with a likelihood minus its logarithm.
    """
    out = X.new_empty(len(X))
    work = partial_result(memory, budget, False)
    for rows, query, part in passes(memory, X, budget, work):
        _, found = finalise(*memory.rule, part, read=False, budget=budget // 4)
        out[rows] = energies_of(memory, query, found)
    return out


def energies_of(memory: Memory, query: Query, conjugate: Tensor) -> Tensor:
    """Energies (n,) of queries from the conjugate that `finalise` gives.

    Of the memory only what the scorer knows of queries and of "nothing stored" counts:
    any shard of a memory will do.
    """
    for common in (origin_of(memory, query), query.offset):
        conjugate = conjugate if common is None else conjugate + common
    scorer = memory.scorer
    _check_energies(scorer, conjugate.dtype)
    return (query.self_score / 2 - conjugate).div_(scorer.beta).mul_(scorer.energy_unit)


def _check_energies(scorer: Scorer, dtype: torch.dtype) -> None:
    """Refuse energies that no number stands for.

    Raises
    ------
    ValueError
        Names their size.
    """
    info = torch.finfo(dtype)
    if not info.tiny <= scorer.energy_unit <= info.max:
        raise ValueError(
            f"Energies of patterns of this size are about {scorer.energy_unit:.0e}, "
            f"which {dtype} cannot hold: scale X, or use beta='auto'."
        )


def iterate(
    memory: Memory,
    X: Tensor,
    budget: int,
    steps: int,
    tol: float,
    update: Callable = answers,
) -> Tensor:
    """Stage II: up to `steps` updates ``x <- T(x)``.

    `update` is T, `answers` or what stands in for it.
    A row rests once an update moves it by less than `tol` times its length, so
    its answer does not depend on the other rows.
    """
    state, moving = X, None
    for step in range(steps):
        if moving is None:
            new, old = update(memory, state, budget), state
            state = new
        else:
            old = state[moving]
            new = update(memory, old, budget)
            state[moving] = new
        if step + 1 == steps:
            break
        size = largest(old)
        size = torch.where(size > 0, size, 1)
        moved, length = (
            torch.linalg.vector_norm(rows / size, dim=1) for rows in (new - old, old)
        )
        still = moved > tol * length
        moving = still.nonzero()[:, 0] if moving is None else moving[still]
        if len(moving) == 0:
            break
    return state
