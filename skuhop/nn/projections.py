"""From patterns (B, n, d) to heads (B, H, n, D), and back."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from skuhop.exceptions import InvalidParameterError
from skuhop.nn.head_parameters import HEAD_MAPS


def head_size(input_size, hidden_size, num_heads, static) -> int | None:
    """Features of every head; None where all patterns come as they are."""
    if hidden_size is not None or (input_size is None and all(static)):
        return hidden_size
    if input_size is None or input_size % num_heads:
        raise InvalidParameterError(
            "input_size must be a multiple of num_heads, unless hidden_size is given. "
            f"Got input_size={input_size} and num_heads={num_heads}."
        )
    return input_size // num_heads


def split_heads(vectors: Tensor, num_heads: int) -> Tensor:
    """Vectors (B, n, H * D) as (B, H, n, D)."""
    batch, n, width = vectors.shape
    return vectors.view(batch, n, num_heads, width // num_heads).transpose(1, 2)


def join_heads(vectors: Tensor) -> Tensor:
    """Vectors (B, H, n, D) as (B, n, H * D)."""
    return vectors.transpose(1, 2).flatten(2)


def project(patterns: Tensor, linear: nn.Linear | None, num_heads: int) -> Tensor:
    """Patterns in heads; static ones, which are not projected, are the same in all."""
    if linear is None:
        return patterns[:, None].expand(-1, num_heads, -1, -1)
    return split_heads(linear(patterns), num_heads)


def append_pattern(vectors: Tensor, pattern: Tensor) -> Tensor:
    """Vectors (B, H, n + 1, D): those given, and a pattern (1, 1, H * D)."""
    batch, heads, _, size = vectors.shape
    pattern = pattern.to(vectors.dtype).view(1, heads, 1, size)
    return torch.cat([vectors, pattern.expand(batch, -1, -1, -1)], 2)


def draw_parameters(module: nn.Module) -> None:
    """Draw weights from N(0, 0.02), as hflayers does; biases are zero.

    A part with parameters of its own kind starts as it says; a feature map that a user
    made is left alone.
    """
    for name, part in module.named_children():
        if name == "feature_map" and type(part) not in HEAD_MAPS.values():
            continue
        if isinstance(part, nn.Linear):
            nn.init.normal_(part.weight, std=0.02)
            if part.bias is not None:
                nn.init.zeros_(part.bias)
        else:
            for inner in part.modules():
                reset = getattr(inner, "reset_parameters", None)
                if reset is not None:
                    reset()
    for parameter in module.parameters(recurse=False):
        nn.init.normal_(parameter, std=0.02)
