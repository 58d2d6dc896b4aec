"""How Stage II multiplies queries with keys, and weights with values.

A product is a function ``(a, b, bias=None) -> a @ b + bias`` of float matrices. The
engine and the scorers are given one; which it is, the estimators say.
"""

from __future__ import annotations

import torch
from torch import Tensor

_GIVES_FULL_SUMS = tuple(map(int, torch.__version__.split(".")[:2])) >= (2, 8)


def exact(a: Tensor, b: Tensor, bias: Tensor | None = None) -> Tensor:
    """Multiply in the dtype of the factors."""
    return a @ b if bias is None else torch.addmm(bias, a, b)


def bf16(a: Tensor, b: Tensor, bias: Tensor | None = None) -> Tensor:
    """Multiply factors rounded to bfloat16; sums and bias in the factors' dtype.

    Where torch cannot return such sums (on the CPU, or before 2.8), they are rounded to
    bfloat16 as well.
    """
    dtype, a, b = a.dtype, a.bfloat16(), b.bfloat16()
    if a.is_cuda and _GIVES_FULL_SUMS:
        found = torch.mm(a, b, out_dtype=dtype)
    else:
        found = (a @ b).to(dtype)
    return found if bias is None else found.add_(bias)


_CACHED = 2**20
"""Bytes of gathered keys that the processor's cache still holds when they are used."""


def gathered(keys: Tensor, indices: Tensor, vectors: Tensor) -> Tensor:
    """Products (n, k) of every vector, (n, r), with its own k of the keys, (M, r).

    A copy of the keys is multiplied before it leaves the cache, and `index_select`
    makes it several times faster than an index in brackets does.
    """
    (n, k), r = indices.shape, keys.shape[1]
    found = vectors.new_empty((n, k))
    step = max(1, _CACHED // (k * r * keys.element_size()))
    for start in range(0, n, step):
        some = slice(start, start + step)
        own = keys.index_select(0, indices[some].flatten()).view(-1, k, r)
        torch.bmm(own, vectors[some, :, None], out=found[some, :, None])
    return found
