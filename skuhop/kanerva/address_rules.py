"""Addresses: where in a memory of slots a row is written and looked for.

Fixed functions of the row. Both kinds have a kernel of one shape,
``exp(-beta |x - y|^2 / 2)``, so that beta says for both how far a row is felt.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor


def softmax_addresses(X: Tensor, anchors: Tensor, beta: float) -> Tensor:
    """``softmax(-beta |x - a_k|^2 / 2)`` over landmarks a_k, shape (K, d)."""
    squared = anchors.square().sum(1)
    return torch.softmax(beta * torch.addmm(-squared / 2, X, anchors.T), 1)


def fourier_addresses(X: Tensor, anchors: Tensor, beta: float) -> Tensor:
    """Random Fourier features of the kernel, scaled to a squared length of 1 in mean.

    Anchors are frequencies, standard normal, with a phase in the last column. Rahimi
    and Recht, "Random features for large-scale kernel machines", NeurIPS 2007.
    """
    phase = X @ (beta**0.5 * anchors[:, :-1]).T + anchors[:, -1]
    return phase.cos_().mul_((2 / len(anchors)) ** 0.5)


ADDRESSES: dict[str, Callable[[Tensor, Tensor, float], Tensor]] = {
    "softmax": softmax_addresses,
    "fourier": fourier_addresses,
}
