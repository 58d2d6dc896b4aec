"""The inverse temperature that ``beta="auto"`` stands for."""

from __future__ import annotations

import torch
from torch import Tensor


def attention_beta(features: Tensor, weights: Tensor | None) -> float:
    """``sqrt(r) / mean(|phi|^2)``: 1 / sqrt(r) for features of unit variance."""
    squared = features.square().sum(1)
    mean = squared.mean() if weights is None else squared @ weights / weights.sum()
    return features.shape[1] ** 0.5 / max(mean.item(), torch.finfo(mean.dtype).tiny)
