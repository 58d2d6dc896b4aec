"""Masks: which stored patterns may answer which state patterns."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from skuhop.exceptions import InvalidParameterError


class Masks(NamedTuple):
    """Masks over scores (B, H, L, S), to which they broadcast.

    Attributes
    ----------
    blocked : bool Tensor or None
        Whether a pattern may not answer.
    bias : float Tensor or None
        What is added to the scores.
    """

    blocked: Tensor | None
    bias: Tensor | None

    def extend(self) -> Masks:
        """Masks for one more stored pattern, at the end, that may always answer."""
        return Masks(*(m if m is None else _extend(m) for m in self))

    def apply(self, scores: Tensor) -> Tensor:
        """Scores with the bias, minus infinity where a pattern may not answer."""
        if self.bias is not None:
            scores = scores + self.bias.to(scores.dtype)
        if self.blocked is not None:
            scores = scores.masked_fill(self.blocked, -torch.inf)
        return scores

    def dead_rows(self) -> Tensor | None:
        """State patterns (..., L, 1) that no stored pattern may answer, None if all."""
        blocked = self.blocked
        if self.bias is not None:
            unreachable = self.bias == -torch.inf
            blocked = unreachable if blocked is None else blocked | unreachable
        return None if blocked is None else blocked.all(-1, keepdim=True)

    def revive(self, dead: Tensor | None) -> Masks:
        """Masks without those of dead rows, whose answers are replaced by zeros."""
        if dead is None:
            return self
        blocked = None if self.blocked is None else self.blocked & ~dead
        bias = None if self.bias is None else self.bias.masked_fill(dead, 0)
        return Masks(blocked, bias)


def _extend(mask: Tensor) -> Tensor:
    """Add a column of zeros, or of False."""
    return torch.cat([mask, torch.zeros_like(mask[..., :1])], -1)


def join_masks(padding: Tensor | None, association: Tensor | None, shape) -> Masks:
    """Check the masks of a forward pass against the shape (B, H, L, S) of its scores.

    Raises
    ------
    InvalidParameterError
        Names the mask, the shapes allowed and the shape received.
    """
    batch, heads, states, stored = shape
    blocked = bias = None
    if padding is not None:
        _check_mask(
            "stored_pattern_padding_mask", padding, [(batch, stored)], (torch.bool,)
        )
        blocked = padding[:, None, None, :]
    if association is not None:
        allowed = [
            (states, stored),
            (batch * heads, states, stored),
            (batch, heads, states, stored),
        ]
        _check_mask("association_mask", association, allowed, None)
        if association.ndim == 3:
            association = association.view(shape)
        if association.dtype == torch.bool:
            blocked = association if blocked is None else blocked | association
        else:
            bias = association
    return Masks(blocked, bias)


def _check_mask(name: str, mask: Tensor, shapes: list, dtypes: tuple | None) -> None:
    if dtypes is None:
        known = mask.dtype == torch.bool or mask.is_floating_point()
    else:
        known = mask.dtype in dtypes
    if tuple(mask.shape) not in shapes or not known:
        kinds = "boolean or float" if dtypes is None else "boolean"
        raise InvalidParameterError(
            f"{name} must be a {kinds} tensor of one of the shapes {shapes}; got "
            f"{mask.dtype} of shape {tuple(mask.shape)}."
        )
