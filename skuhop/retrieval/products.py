"""How Stage II multiplies queries with keys, and weights with values.

A product is a function ``(a, b, bias=None) -> a @ b + bias`` of float matrices. The
engine and the scorers are given one; which it is, the estimators say.
"""

from __future__ import annotations

import torch
from torch import Tensor

_GIVES_FULL_SUMS = tuple(map(int, torch.__version__.split(".")[:2])) >= (2, 8)

_NARROW = 64
"""Columns up to which MKL is faster, up to four times, if they are made as rows."""


_COPIED = 2**18
"""Numbers copied at a time: they stay in the cache, and two threads fetch them."""


def exact(a: Tensor, b: Tensor, bias: Tensor | None = None) -> Tensor:
    """Multiply in the dtype of the factors; without a bias also batches of matrices."""
    if bias is not None:
        return torch.addmm(bias, a, b)
    narrow = b.shape[-1] <= _NARROW and a.device.type == "cpu"
    return (b.mT @ a.mT).mT if narrow else a @ b


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


def gather_products(keys: Tensor, indices: Tensor, vectors: Tensor) -> Tensor:
    """Products (n, k) of every vector, (n, r), with its own k of the keys, (M, r).

    On the CPU a few queries at a time: copies of their keys are multiplied before they
    leave the cache, and `index_select` copies several times as fast as an index in
    brackets.
    """
    if keys.device.type != "cpu":
        return (keys[indices] @ vectors[:, :, None])[:, :, 0]
    found = vectors.new_empty(indices.shape)
    k, r = indices.shape[1], keys.shape[1]
    n = max(1, _COPIED // max(1, k * r))
    parts = zip(found.split(n), indices.split(n), vectors.split(n), strict=True)
    for scores, chosen, queries in parts:
        copied = keys.index_select(0, chosen.reshape(-1)).view(-1, k, r)
        for row, own, vector in zip(scores, copied, queries, strict=True):
            torch.mv(own, vector, out=row)
    return found
