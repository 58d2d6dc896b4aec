"""What a head may have of its own: parameters, and a feature map Phi."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from skuhop.exceptions import InvalidParameterError
from skuhop.retrieval import SEPARATIONS

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
_STARTS = {"alpha": 1.5, "gamma": 2.0}
"""Where parameters of separations start that are learned."""


def check_choice(name: str, value, *allowed):
    """Give a value back that is among those allowed."""
    names = [n for a in allowed for n in ([None] if a is None else a)]
    if value not in names:
        shown = "None or the name of a function of torch" if None in names else names
        raise InvalidParameterError(
            f"The {name!r} parameter must be one of {shown}. Got {value!r}."
        )
    return value


def per_head(value):
    """Give numbers (H,) of the heads the dimensions of scores (B, H, L, S)."""
    is_one_each = isinstance(value, Tensor) and value.ndim == 1
    return value[:, None, None] if is_one_each else value


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
            return per_head(RANGES[self.name][0](self.raw))
        return per_head(self.value)


def build_scaling(scaling, beta, size: int | None, num_heads: int) -> HeadParameter:
    """Make beta from its two names; by default that of heads of a size, or one."""
    if None not in (scaling, beta):
        raise InvalidParameterError(
            "scaling and beta are two names of one parameter: give one of them. "
            f"Got scaling={scaling!r} and beta={beta!r}."
        )
    start = 1.0 if size is None else size**-0.5
    value = beta if scaling is None else scaling
    return HeadParameter("beta", start if value is None else value, start, num_heads)


def build_separation(separation: str, given: Mapping, num_heads: int) -> nn.ModuleDict:
    """Make the parameters of a separation, refusing those of others."""
    defaults = SEPARATIONS[separation].defaults
    for name, value in given.items():
        if value is not None and name not in defaults:
            raise InvalidParameterError(
                f"The parameter {name!r} is not one of separation={separation!r}, "
                f"which has {sorted(defaults)}. Got {value!r}."
            )
    heads = {}
    for name, default in defaults.items():
        value = default if given[name] is None else given[name]
        heads[name] = HeadParameter(name, value, _STARTS.get(name, default), num_heads)
    return nn.ModuleDict(heads)


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
