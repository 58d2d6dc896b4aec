"""How rows are standardised before any learned map of the classifier sees them."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from skuhop.retrieval import powers_of_two

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
        Z = self.standardise_only(X)
        return Z * torch.rsqrt(1 + (Z / CLIP).square())

    def standardise_only(self, X: Tensor) -> Tensor:
        """Standardise rows, and no more.

        At the centre what is left is the rounding of the mean, and of what fills a gap
        with it: zero, lest a direction be made of it.
        """
        info = torch.finfo(X.dtype)
        Z = (X - self.centre) * self.scale
        rounding = 16 * info.eps * (1 + self.centre.abs() * self.scale)
        # Squares are to be finite, and beyond some size nothing changes any more.
        most = info.max**0.5
        return Z.masked_fill(Z.abs() <= rounding, 0).clamp_(-most, most)


def standardisation(X: Tensor, w: Tensor | None, eps: float | None = None) -> Inputs:
    """Weighted mean and inverse standard deviation of every feature.

    `eps` is the rounding of the rows, if not that of their dtype.
    """
    share = X.new_full((len(X),), 1 / len(X)) if w is None else w / w.sum()
    size = X.abs().amax(0)
    rounding = 16 * (eps or torch.finfo(X.dtype).eps) * size
    centre = share @ X
    # The mean of a centred feature is rounding as well.
    centre = centre.masked_fill(centre.abs() <= rounding, 0)
    unit = powers_of_two(size)
    deviation = (share @ ((X - centre) / unit).square()).sqrt() * unit
    # What is left of a constant feature is the rounding of its mean.
    varies = deviation > rounding
    return Inputs(centre, torch.where(varies, 1 / deviation.where(varies, 1), 0))


def common_scale(inputs: Inputs) -> Inputs | None:
    """Divide all features by one spread instead; None if that is the same."""
    varying = inputs.scale > 0
    spreads = 1 / inputs.scale[varying]
    if len(spreads) < 2 or spreads.max() < 1.05 * spreads.min():
        return None
    largest = spreads.max()
    common = (spreads / largest).square().mean().sqrt() * largest
    return Inputs(inputs.centre, varying / common)
