"""Answers, energies and partial results: one exact pass, in bounded memory.

Blocks of patterns pass by once; what they leave per query is merged by the rules of
`partial_results`, so that no separation needs all scores of a query. Where the scores
are one matrix product and the separation is softmax, torch's fused attention does the
same in one parallel section, which matters most on a busy machine.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from skuhop.retrieval.engine.attention import (
    attention,
    attention_sums,
    half_attention,
    peaked_answers,
)
from skuhop.retrieval.engine.memory_record import Memory, multiplicity, origin_of
from skuhop.retrieval.engine.partial_results import (
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
from skuhop.retrieval.engine.passes import (
    block_ranges,
    blocks,
    gives_exponentials,
    passes,
    plan_pass,
)
from skuhop.retrieval.scores import Query, Scorer
from skuhop.retrieval.units import largest


def partial_result(memory: Memory, budget: int, read: bool, first: int = 0) -> Callable:
    """Make the work of one pass: the partial result of all patterns."""
    separation, rule = memory.separation, memory.rule
    if gives_exponentials(memory):
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


def _lifted_result(memory: Memory, read: bool) -> Callable:
    """Make the work of one pass from the scorer's own exponentials."""

    def work(query, width, most):
        part, origin = None, origin_of(memory, query)
        for start, stop in block_ranges(memory.scorer.n_patterns, width):
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
    cells = plan_pass(memory, X, budget, read=True).cells
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
