"""Softmax in fewer steps: torch's fused attention, and answers of few patterns.

Where scores are one matrix product, fused attention does it all in one parallel
section, which matters most on a busy machine. On a GPU, with factors of bfloat16, it
keeps the scores of short vectors out of the main memory, whose speed is the limit of
everything else there. And where patterns are long and few of them have weight, as in a
memory that knows the query, the second matrix product is nearly all zeros: the few are
gathered instead. All give the same answer, up to rounding.
"""

from __future__ import annotations

import math
from typing import NamedTuple, cast

import torch
from torch import Tensor
from torch.nn import functional

from skuhop.retrieval.chunks import row_chunks
from skuhop.retrieval.engine.memory_record import Memory
from skuhop.retrieval.engine.partial_results import (
    Sums,
    TooManyCandidatesError,
    block_candidates,
    finalise,
    join_queries,
)
from skuhop.retrieval.engine.passes import plan_pass
from skuhop.retrieval.products import bf16, exact
from skuhop.retrieval.scores import Linear
from skuhop.retrieval.separations import SEPARATIONS, Separation, softmax

_LONG = 320
"""Length of patterns from which reading few of them pays for looking for them."""
_MANY = 2**24
"""Numbers in the second product from which it pays."""
_FEWEST_ROWS = 64
"""Queries that are to fit into a block of all patterns, and that are asked first."""
_MOST = 2**24
"""Scores that such a block may hold."""
_FEW = 16
"""Queries for which reading the patterns takes longer than multiplying them."""
_WIDEST = 256
"""Numbers in the longest vectors that the kernel for bfloat16 takes."""
_ALIGNED = 8
"""It takes multiples of this."""
_ENOUGH = 64
"""Queries from which it pays to round the keys and the values for it."""
_SHARE = 1 / 16
"""Largest share of the scores that may have to be looked at one by one."""


def _is_plain(memory: Memory, X: Tensor) -> bool:
    """Whether this is softmax on the CPU, with all bits of the factors."""
    rule = memory.separation.weights is softmax and memory.product is exact
    return rule and X.device.type == "cpu"


def _linear(memory: Memory) -> Linear | None:
    """Scores as one matrix product, where they are that."""
    linear = getattr(memory.scorer, "linear", None)
    return None if linear is None else linear()


def _bias(memory: Memory, scores: Linear) -> Tensor | None:
    """Add the log-weights to what the keys add to the products themselves."""
    if memory.weights is None:
        return scores.bias
    log_weights = memory.weights.log()
    return log_weights if scores.bias is None else scores.bias + log_weights


class _Fused(NamedTuple):
    """Arguments of torch's fused attention, but for the queries.

    Attributes
    ----------
    keys, values : Tensor of shape (1, 1, M, r)
    bias : Tensor of shape (1, 1, 1, M) or None
    back : pair of float and Tensor or None
        What answers are to be multiplied by, and added to then.
    row : int
        Bytes for a row of queries.
    """

    keys: Tensor
    values: Tensor
    bias: Tensor | None
    back: tuple[float, Tensor | None] | None
    row: int


def _fuse(memory: Memory, X: Tensor) -> _Fused | None:
    """Make the arguments of torch's fused attention; None where it would not stream.

    It streams on the CPU if vectors and values are equally wide; otherwise it would
    make all scores at once. Where the keys are the patterns moved by the origin they
    are the values too, and come from the cache the second time.
    """
    scores, values, back = _linear(memory), memory.patterns, None
    if scores is None or scores.keys.shape != values.shape or not _is_plain(memory, X):
        return None
    if scores.source is values:
        values, back = scores.keys, (scores.unit, scores.origin)
    bias = _bias(memory, scores)
    if bias is not None:
        bias = bias[None, None, None]
    row = X.element_size() * (memory.scorer.row_width + 2 * values.shape[1])
    return _Fused(scores.keys[None, None], values[None, None], bias, back, row)


def answer_by_attention(memory: Memory, X: Tensor, budget: int, out: Tensor) -> int:
    """Put answers by fused attention into `out`: to none if it would not stream."""
    fused = _fuse(memory, X)
    if fused is None:
        return 0
    keys, values, bias, back, row = fused
    for rows in row_chunks(len(X), row, budget):
        query = memory.scorer.prepare(X[rows]).encoded[0]
        answer = functional.scaled_dot_product_attention(
            query[None, None], keys, values, attn_mask=bias, scale=1.0
        )
        out[rows] = _move_back(answer[0, 0], back)
    return len(X)


def answer_by_half_attention(
    memory: Memory, X: Tensor, budget: int, out: Tensor
) -> int:
    """Put answers in bfloat16 by fused attention into `out`: to none if that is slower.

    A bias is three more features, rounded one after the other, so that their sum has
    all its bits: with a mask the kernel would not be the fast one.
    """
    scores = _linear(memory)
    if scores is None or len(X) < _ENOUGH or not _is_half(memory, X):
        return 0
    bias = _bias(memory, scores)
    parts = [] if bias is None else _bits(bias - bias.amax())
    origin = memory.patterns.mean(0)
    longest = max(len(origin), scores.keys.shape[1] + len(parts))
    width = -(-longest // _ALIGNED) * _ALIGNED
    n_bytes = 2 * width  # of a row of bfloat16
    if width > _WIDEST or 4 * n_bytes * len(scores.keys) > budget:
        return 0
    keys = _round(width, scores.keys, *parts)
    values = _round(width, memory.patterns - origin)
    row = X.element_size() * memory.scorer.row_width + 3 * n_bytes
    for rows in row_chunks(len(X), row, budget // 2):
        vectors = memory.scorer.prepare(X[rows]).encoded[0]
        ones = [torch.ones_like(vectors[:, :1])] * len(parts)
        query = _round(width, vectors, *ones)
        answer = functional.scaled_dot_product_attention(query, keys, values, scale=1.0)
        out[rows] = answer[0, 0, :, : len(origin)].to(out.dtype).add_(origin)
    return len(X)


def _round(width: int, *columns: Tensor) -> Tensor:
    """Columns in bfloat16 side by side, filled up with zeros: (1, 1, n, width)."""
    joined = torch.cat([column.bfloat16() for column in columns], 1)
    return functional.pad(joined, (0, width - joined.shape[1]))[None, None]


def _is_half(memory: Memory, X: Tensor) -> bool:
    """Whether this is softmax on a GPU, with factors of bfloat16."""
    rule = memory.separation.weights is softmax and memory.product is bf16
    return rule and X.device.type == "cuda"


def _bits(bias: Tensor) -> list[Tensor]:
    """Three columns of bfloat16 whose sum is the bias."""
    columns = []
    for _ in range(3):
        columns.append(bias.bfloat16()[:, None])
        bias = bias - columns[-1][:, 0].to(bias.dtype)
    return columns


def attention_sums(memory: Memory, X: Tensor, budget: int) -> Sums | None:
    """Make sums by the kernel beneath, which gives the log-normaliser as well.

    torch has no public name for it on the CPU; without it blocks do the same.
    """
    kernel = getattr(
        torch.ops.aten, "_scaled_dot_product_flash_attention_for_cpu", None
    )
    fused = _fuse(memory, X)
    if kernel is None or fused is None:
        return None
    keys, values, bias, back, row = fused
    parts = []
    for rows in row_chunks(len(X), row, budget):
        query = memory.scorer.prepare(X[rows]).encoded[0][None, None]
        answer, top = kernel(query, keys, values, attn_mask=bias, scale=1.0)
        top = top.to(X.dtype)[0, 0]
        parts.append(Sums(top, torch.ones_like(top), _move_back(answer[0, 0], back)))
    return join_queries(parts)


def _move_back(answer: Tensor, back: tuple[float, Tensor | None] | None) -> Tensor:
    """Bring answers out of keys back to where the patterns are."""
    if back is None:
        return answer
    unit, origin = back
    answer = answer if unit == 1 else answer.mul_(unit)
    return answer if origin is None else answer.add_(origin)


def _reads_once(memory: Memory) -> bool:
    """Whether fused attention has keys that are the values too."""
    scores = _linear(memory)
    return scores is not None and scores.source is memory.patterns


def answer_peaked(memory: Memory, X: Tensor, budget: int, out: Tensor) -> int:
    """Answer queries as long as few patterns have weight in their answers.

    Patterns are left out whose weights, all together, are below the rounding of the
    answer: ``M exp(s - max s) < eps / 2``. The first query that has too many of them
    ends it.
    """
    n_patterns = memory.scorer.n_patterns
    rows = _rows_to_look_at(memory, X, budget)
    if not rows:
        return 0
    rule = _peak(n_patterns, X.dtype), memory.params
    start = 0
    while start < len(X):
        some = slice(start, start + (rows if start else min(rows, _FEWEST_ROWS)))
        query = memory.scorer.prepare(X[some])
        scores = memory.scorer.block(query, 0, n_patterns)
        start += len(scores)
        try:
            most = int(_SHARE * scores.numel())
            part = block_candidates(*rule, scores, most=most)
        except TooManyCandidatesError:
            out[some] = softmax(scores, None) @ memory.patterns
            break
        answer, _ = finalise(*rule, part, memory.patterns, budget=budget // 4)
        out[some] = cast(Tensor, answer)
    return start


def _rows_to_look_at(memory: Memory, X: Tensor, budget: int) -> int:
    """Count queries to look at together for patterns of weight; 0 if it is no use."""
    if (
        not _is_plain(memory, X)
        or memory.weights is not None
        # What is left out may be all that has an entry.
        or memory.holes is not None
        or not memory.scorer.streams
        or memory.patterns.shape[1] < _LONG
        or len(X) * memory.patterns.numel() < _MANY
        # Few queries take as long as the patterns need to come from memory, once.
        or (len(X) <= _FEW and _reads_once(memory))
    ):
        return 0
    n_patterns = memory.scorer.n_patterns
    cells = plan_pass(memory, X, budget, read=True).cells
    rows = min(len(X), max(_FEWEST_ROWS, cells // n_patterns))
    affordable = budget // (2 * X.element_size() * (memory.scorer.width + 1))
    return rows if rows * n_patterns <= min(_MOST, affordable) else 0


def _peak(n_patterns: int, dtype: torch.dtype) -> Separation:
    """Softmax with a floor below which weights are lost in the rounding."""
    below = math.log(2 * n_patterns / torch.finfo(dtype).eps)
    return SEPARATIONS["softmax"]._replace(
        lift=None, floor=lambda z, w: z.amax(1, keepdim=True) - below
    )
