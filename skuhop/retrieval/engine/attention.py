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
from typing import cast

import torch
from torch import Tensor
from torch.nn import functional

from skuhop.retrieval.chunks import row_chunks
from skuhop.retrieval.engine.memory_record import Memory
from skuhop.retrieval.engine.partial_results import (
    Sums,
    TooManyCandidates,
    block_partial,
    finalise,
    joined,
)
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


def fused(memory: Memory, X: Tensor, budget: int):
    """Arguments of torch's fused attention, or None where it would not stream.

    It streams on the CPU if vectors and values are equally wide; otherwise it would
    make all scores at once. Where the keys are the patterns moved by the origin they
    are the values too, and come from the cache the second time.

    Returns
    -------
    arguments : tuple or None
        An iterator of rows and their vectors, the keys, the values, the bias, and what
        answers are to be multiplied by, and added to then, None for neither.
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
    chunks = row_chunks(len(X), row, budget)
    vectors = ((rows, scores.vectors(X[rows])[None, None]) for rows in chunks)
    return vectors, scores.keys[None, None], values[None, None], bias, back


def attention(memory: Memory, X: Tensor, budget: int, out: Tensor) -> bool:
    """Put answers by fused attention into `out`; False if it would not stream."""
    found = fused(memory, X, budget)
    if found is None:
        return False
    vectors, keys, values, bias, back = found
    for rows, query in vectors:
        answer = functional.scaled_dot_product_attention(
            query, keys, values, attn_mask=bias, scale=1.0
        )
        out[rows] = _moved(answer[0, 0], back)
    return True


def half_attention(memory: Memory, X: Tensor, budget: int, out: Tensor) -> bool:
    """Put answers in bfloat16 by fused attention into `out`; False if it does not pay.

    A bias is three more features, rounded one after the other, so that their sum has
    all its bits: with a mask the kernel would not be the fast one.
    """
    scores = _linear(memory)
    if scores is None or len(X) < _ENOUGH or not _is_half(memory, X):
        return False
    bias = _bias(memory, scores)
    parts = [] if bias is None else _bits(bias - bias.amax())
    origin = memory.patterns.mean(0)
    longest = max(len(origin), scores.keys.shape[1] + len(parts))
    width = -(-longest // _ALIGNED) * _ALIGNED
    n_bytes = 2 * width  # of a row of bfloat16
    if width > _WIDEST or 4 * n_bytes * len(scores.keys) > budget:
        return False

    def rounded(*columns):
        joined = torch.cat([column.bfloat16() for column in columns], 1)
        return functional.pad(joined, (0, width - joined.shape[1]))[None, None]

    keys = rounded(scores.keys, *parts)
    values = rounded(memory.patterns - origin)
    row = X.element_size() * memory.scorer.row_width + 3 * n_bytes
    for rows in row_chunks(len(X), row, budget // 2):
        vectors = scores.vectors(X[rows])
        query = rounded(vectors, *[torch.ones_like(vectors[:, :1])] * len(parts))
        answer = functional.scaled_dot_product_attention(query, keys, values, scale=1.0)
        out[rows] = answer[0, 0, :, : len(origin)].to(out.dtype).add_(origin)
    return True


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
    found = fused(memory, X, budget)
    if kernel is None or found is None:
        return None
    vectors, keys, values, bias, back = found
    parts = []
    for _, query in vectors:
        answer, top = kernel(query, keys, values, attn_mask=bias, scale=1.0)
        top = top.to(X.dtype)[0, 0]
        parts.append(Sums(top, torch.ones_like(top), _moved(answer[0, 0], back)))
    return joined(parts)


def _moved(answer: Tensor, back: tuple[float, Tensor | None] | None) -> Tensor:
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


def peaked_answers(
    memory: Memory, X: Tensor, cells: int, budget: int, out: Tensor
) -> int:
    """Answer queries as long as few patterns have weight in their answers.

    Patterns are left out whose weights, all together, are below the rounding of the
    answer: ``M exp(s - max s) < eps / 2``.

    Parameters
    ----------
    memory : Memory
    X : Tensor of shape (n, d)
    cells : int
        Scores to hold at once, if that is enough for a few queries.
    budget : int
        Bytes of memory to keep to.
    out : Tensor of shape (n, v)
        Where answers go.

    Returns
    -------
    done : int
        How many queries, from the first, have been answered; others have too many
        patterns in their answers, or it does not pay.
    """
    n_patterns = memory.scorer.n_patterns
    rows = min(len(X), max(_FEWEST_ROWS, cells // n_patterns))
    affordable = budget // (2 * X.element_size() * (memory.scorer.width + 1))
    if (
        not _is_plain(memory, X)
        or memory.weights is not None
        or not memory.scorer.streams
        or memory.patterns.shape[1] < _LONG
        or len(X) * memory.patterns.numel() < _MANY
        or rows * n_patterns > min(_MOST, affordable)
        # Few queries take as long as the patterns need to come from memory, once.
        or (len(X) <= _FEW and _reads_once(memory))
    ):
        return 0
    rule = _peaked(n_patterns, X.dtype), memory.params
    start = 0
    while start < len(X):
        some = slice(start, start + (rows if start else min(rows, _FEWEST_ROWS)))
        query = memory.scorer.prepare(X[some])
        scores = memory.scorer.block(query, 0, n_patterns)
        start += len(scores)
        try:
            most = int(_SHARE * scores.numel())
            part = block_partial(*rule, scores, None, None, most=most)
        except TooManyCandidates:
            out[some] = softmax(scores, None) @ memory.patterns
            break
        found, _ = finalise(*rule, part, memory.patterns, budget=budget // 4)
        out[some] = cast(Tensor, found)
    return start


def _peaked(n_patterns: int, dtype: torch.dtype) -> Separation:
    """Softmax with a floor below which weights are lost in the rounding."""
    below = math.log(2 * n_patterns / torch.finfo(dtype).eps)
    return SEPARATIONS["softmax"]._replace(
        lift=None, floor=lambda z, w: z.amax(1, keepdim=True) - below
    )
