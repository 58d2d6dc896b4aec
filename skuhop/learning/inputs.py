"""How rows are standardised before any learned map of the classifier sees them."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

CLIP = 3.0
"""Standardised inputs z become ``z / sqrt(1 + (z / CLIP)^2)``, as in RealMLP."""


class Inputs(NamedTuple):
    """How rows are standardised before any learned map sees them.

    Attributes
    ----------
    centre, scale : Tensor of shape (d,)
        ``(x - centre) * scale``; the scale of a constant feature is 0.
    """

    centre: Tensor
    scale: Tensor

    def __call__(self, X: Tensor) -> Tensor:
        """Standardise rows and bound what lies far out, smoothly."""
        Z = self.unbounded(X)
        return Z * torch.rsqrt(1 + (Z / CLIP).square())

    def unbounded(self, X: Tensor) -> Tensor:
        """Standardise rows, and no more."""
        return (X - self.centre) * self.scale


def standardisation(X: Tensor, w: Tensor | None) -> Inputs:
    """Weighted mean and inverse standard deviation of every feature."""
    share = X.new_full((len(X),), 1 / len(X)) if w is None else w / w.sum()
    centre = share @ X
    deviation = (share @ (X - centre).square()).sqrt()
    # What is left of a constant feature is the rounding of its mean.
    noise = 16 * torch.finfo(X.dtype).eps * X.abs().amax(0)
    varies = deviation > noise
    return Inputs(centre, torch.where(varies, 1 / deviation.where(varies, 1), 0))


def common_scale(inputs: Inputs) -> Inputs | None:
    """Divide all features by one spread instead; None if that is the same."""
    varying = inputs.scale > 0
    spreads = 1 / inputs.scale[varying]
    if len(spreads) < 2 or spreads.max() < 1.05 * spreads.min():
        return None
    return Inputs(inputs.centre, varying / spreads.square().mean().sqrt())
