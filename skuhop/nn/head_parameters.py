"""What a head may have of its own: parameters, and a feature map Phi."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from skuhop.exceptions import InvalidParameterError

HIDDEN = 128
"""Width of the hidden layer of the feature map "mlp"."""
RANGES = {
    "beta": (torch.exp, math.log),
    # alpha from 1.02 on: nearer to 1 the exponents grow beyond what float32 holds.
    "alpha": (
        lambda raw: 1.02 + 0.98 * torch.sigmoid(raw),
        lambda alpha: torch.logit(torch.tensor((alpha - 1.02) / 0.98)).item(),
    ),
    "gamma": (
        lambda raw: 1.1 + torch.nn.functional.softplus(raw),
        lambda gamma: math.log(math.expm1(gamma - 1.1)),
    ),
}
"""Of what can be learned: from all numbers to those allowed, and back."""


def _one_each(value: Tensor) -> Tensor:
    """Give a value for every head (H,) the dimensions of scores (B, H, L, S)."""
    return value[:, None, None] if value.ndim == 1 else value


class HeadParameter(nn.Module):
    """A number, a tensor with a number for every head, or "learn".

    Parameters
    ----------
    name : str
        Of the parameter, for messages and for the range of "learn".
    value : float, Tensor of shape (num_heads,) or "learn"
    start : float
        Where "learn" starts.
    num_heads : int
    """

    def __init__(self, name: str, value, start: float, num_heads: int):
        super().__init__()
        self.name, self.start = name, start
        self.learned = isinstance(value, str) and value == "learn" and name in RANGES
        if self.learned:
            self.raw = nn.Parameter(torch.empty(num_heads, device=None))
            self.reset_parameters()
        elif isinstance(value, Tensor) and value.shape in ((), (num_heads,)):
            self.register_buffer("value", value.detach().clone())
        elif isinstance(value, int | float) and value > 0:
            self.value = value
        else:
            learn = ", or 'learn'" if name in RANGES else ""
            raise InvalidParameterError(
                f"The {name!r} parameter must be a positive number, a tensor of shape "
                f"({num_heads},) with a number for every head{learn}. Got {value!r}."
            )

    def reset_parameters(self) -> None:
        """Put what is learned back to its start."""
        if self.learned:
            nn.init.constant_(self.raw, RANGES[self.name][1](self.start))

    def forward(self) -> Tensor | float:
        """Give the number, or the numbers (H, 1, 1) of the heads."""
        if self.learned:
            return _one_each(RANGES[self.name][0](self.raw))
        return _one_each(self.value) if isinstance(self.value, Tensor) else self.value


class HeadLinear(nn.Module):
    """``W_h x`` for every head h; W starts as the identity."""

    def __init__(self, num_heads: int, size: int):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(num_heads, size, size, device=None))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Make every W the identity."""
        with torch.no_grad():
            self.weight.zero_().diagonal(dim1=1, dim2=2).fill_(1)

    @torch.no_grad()
    def normalise_rows(self) -> None:
        """Divide rows of every W by their length, as the paper's first algorithm."""
        self.weight.div_(torch.linalg.vector_norm(self.weight, dim=2, keepdim=True))

    def forward(self, X: Tensor) -> Tensor:
        """Map vectors (B, H, S, D)."""
        return X @ self.weight.mT


class HeadMLP(nn.Module):
    """``W_h x + U_h tanh(V_h x + b_h)``: it starts as the identity."""

    def __init__(self, num_heads: int, size: int):
        super().__init__()
        self.linear = HeadLinear(num_heads, size)
        self.hidden = nn.Parameter(torch.empty(num_heads, HIDDEN, size, device=None))
        self.bias = nn.Parameter(torch.empty(num_heads, 1, HIDDEN, device=None))
        self.out = nn.Parameter(torch.empty(num_heads, size, HIDDEN, device=None))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Start anew, as the identity."""
        bound = self.hidden.shape[2] ** -0.5
        self.linear.reset_parameters()
        nn.init.uniform_(self.hidden, -bound, bound)
        nn.init.uniform_(self.bias, -bound, bound)
        nn.init.zeros_(self.out)

    def forward(self, X: Tensor) -> Tensor:
        """Map vectors (B, H, S, D)."""
        hidden = torch.tanh(X @ self.hidden.mT + self.bias)
        return self.linear(X) + hidden @ self.out.mT


HEAD_MAPS: dict[str, Callable[[int, int], nn.Module]] = {
    "linear": HeadLinear,
    "mlp": HeadMLP,
}


def build_head_map(feature_map, num_heads: int, size: int | None) -> nn.Module | None:
    """Make Phi for heads of a size, from what the layers take for `feature_map`."""
    if feature_map is None or isinstance(feature_map, nn.Module):
        return feature_map
    if size is not None and isinstance(feature_map, str) and feature_map in HEAD_MAPS:
        return HEAD_MAPS[feature_map](num_heads, size)
    module = feature_map(size) if callable(feature_map) else None
    if not isinstance(module, nn.Module):
        raise InvalidParameterError(
            f"The 'feature_map' parameter must be None, one of {sorted(HEAD_MAPS)} in "
            "a layer with a hidden_size, a module, or a callable ``hidden_size -> "
            f"module``. Got {feature_map!r}."
        )
    return module
