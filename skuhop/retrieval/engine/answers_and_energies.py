"""Answers, energies and partial results: one exact pass, in bounded memory.

Blocks of patterns pass by once; what they leave per query is merged by the rules of
`partial_results`, so that no separation needs all scores of a query. Where the scores
are one matrix product and the separation is softmax, torch's fused attention does the
same in one parallel section, which matters most on a busy machine.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor

from skuhop.retrieval.engine.attention import (
    answer_by_attention,
    answer_by_half_attention,
    answer_peaked,
    attention_sums,
)
from skuhop.retrieval.engine.memory_record import Memory, multiplicity, origin_of
from skuhop.retrieval.engine.partial_results import (
    Candidates,
    Partial,
    TooManyCandidatesError,
    block_candidates,
    empty_result,
    finalise,
    join_queries,
    lift_scores,
    merge_candidates,
    merge_sums,
    sums_of,
)
from skuhop.retrieval.engine.passes import Pass, passes
from skuhop.retrieval.scores import Query, Scorer

SHORTCUTS = answer_peaked, answer_by_attention, answer_by_half_attention
"""Ways to answers that do without partial results, tried in this order.

Each is a function ``(memory, X, budget, out) -> n`` that puts the answers to the first
n queries into `out`, and says how many these are: none where it does not pay.
"""


def sum_up(
    memory: Memory, query: Query, turn: Pass, budget: int, read: bool, first: int = 0
) -> Partial:
    """Partial result of all patterns, for the queries of one pass."""
    rule, part = memory.rule, cast(Partial, None)  # There is a first block.
    # Not by functions that choose: who looks for the arithmetic is to find it near.
    origin = None if memory.separation.shift_invariant else memory.scorer.null(query)
    budget //= 4
    for start, stop in turn.blocks(memory):
        scores = memory.scorer.block(query, start, stop)
        scores = scores if origin is None else scores.sub_(origin[:, None])
        weights = multiplicity(memory, start, stop)
        if memory.separation.lift is not None:
            values = memory.patterns[start:stop] if read else None
            new = sums_of(*lift_scores(*rule, scores, weights), values, memory.product)
            part = new if part is None else merge_sums(*rule, [part, new])
            continue
        floor = part.floor if isinstance(part, Candidates) else None
        new = block_candidates(*rule, scores, weights, first + start, floor, turn.most)
        part = new if part is None else merge_candidates(*rule, [part, new], budget)
        if turn.most and len(part.scores) > turn.most:
            raise TooManyCandidatesError
    return part


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
        return empty_result(memory.separation, memory.weights, memory.patterns)
    sums = attention_sums(memory, X, budget) if read else None
    if sums is not None:
        return sums
    parts = []
    for turn in passes(memory, X, budget):
        with turn:
            query = memory.scorer.prepare(X[turn.rows])
            part = sum_up(memory, query, turn, budget, read, first)
            if isinstance(part, Candidates):
                values = memory.patterns[part.indices - first] if read else None
                rows = part.rows + turn.rows.start
                part = part._replace(rows=rows, values=values)
            parts.append(part)
    return join_queries(parts)


def answers(memory: Memory, X: Tensor, budget: int) -> Tensor:
    """Compute ``Xi^T Sep(beta s(Xi, x))``, the answer to every row x."""
    out = X.new_empty((len(X), memory.patterns.shape[1]))
    done = 0
    for shortcut in SHORTCUTS:
        done += shortcut(memory, X[done:], budget, out[done:])
        if done == len(X):
            return out
    X, rest = X[done:], out[done:]
    for turn in passes(memory, X, budget):
        with turn:
            query = memory.scorer.prepare(X[turn.rows])
            part = sum_up(memory, query, turn, budget, True)
            values = memory.patterns
            rest[turn.rows], _ = finalise(
                *memory.rule, part, values, budget=budget // 4
            )
    return out


def null_weights(memory: Memory, X: Tensor, budget: int) -> Tensor:
    """Weight (n,) of "nothing stored", for separations in which it takes part.

    ``1 / (1 + sum_i exp(z_i))`` for softmax1 (Hu et al., ICML 2024, arXiv 2404.03828),
    scores measured from that of nothing: the conjugate's exponential, inverted.
    """
    out = X.new_empty(len(X))
    for turn in passes(memory, X, budget):
        with turn:
            query = memory.scorer.prepare(X[turn.rows])
            part = sum_up(memory, query, turn, budget, False)
            _, conjugate = finalise(*memory.rule, part, read=False, budget=budget // 4)
            assert conjugate is not None  # Rules with a null have one.
            out[turn.rows] = null_of(conjugate)
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
    for turn in passes(memory, X, budget):
        with turn:
            query = memory.scorer.prepare(X[turn.rows])
            part = sum_up(memory, query, turn, budget, False)
            _, conjugate = finalise(*memory.rule, part, read=False, budget=budget // 4)
            assert conjugate is not None  # Who asks for energies has looked.
            out[turn.rows] = energies_of(memory, query, conjugate)
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
