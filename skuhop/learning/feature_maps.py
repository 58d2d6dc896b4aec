"""Feature maps Phi: where each starts, and how its learned state is kept.

A feature map is prepared for training as a module with the inputs it shall see, and
leaves training as NumPy arrays, from which `restore` builds it again on any device.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

State = Mapping[str, np.ndarray]


class Trainable(NamedTuple):
    """A feature map ready for Stage I.

    Attributes
    ----------
    module : Module
        Its parameters are what Stage I learns.
    inputs : Tensor of shape (M, p)
        The patterns as the module wants them.
    export : callable
        ``() -> state``: the learned state as NumPy arrays.
    """

    module: nn.Module
    inputs: Tensor
    export: Callable[[], dict[str, np.ndarray]]


def span_basis(patterns: Tensor, n_components: int | None) -> Tensor | None:
    """Orthonormal basis (d, r) of the span of the patterns; None is all of R^d.

    With W0 = I every gradient of a linear Stage I lies in that span, so an r x r
    matrix is all there is to learn. Fewer components keep the directions with the
    largest singular values.
    """
    n, d = patterns.shape
    if n_components is not None and n_components < min(n, d):
        _, _, directions = torch.linalg.svd(patterns, full_matrices=False)
        return directions[:n_components].T.contiguous()
    if n < d:
        return torch.linalg.qr(patterns.T.contiguous())[0]
    return None


def _to_numpy(tensor: Tensor) -> np.ndarray:
    return tensor.detach().cpu().numpy().copy()


def linear(patterns: Tensor, n_components: int | None, start: State | None):
    """``Phi(x) = W x`` with W0 = I, learned in the span of the patterns."""
    basis = span_basis(patterns, n_components)
    inputs = patterns if basis is None else patterns @ basis
    rank = inputs.shape[1]
    module = nn.Linear(rank, rank, bias=False, device="meta", dtype=patterns.dtype)
    mixing = torch.eye(rank, dtype=patterns.dtype, device=patterns.device)
    if start is not None and start["components"].shape == (rank, patterns.shape[1]):
        components = torch.as_tensor(start["components"]).to(patterns)
        mixing = components if basis is None else components @ basis
    module.weight = nn.Parameter(mixing)

    def export():
        weight = module.weight.detach()
        components = weight if basis is None else weight @ basis.T
        return {"components": _to_numpy(components)}

    return Trainable(module, inputs, export)


def restore_linear(state: State, like: Tensor) -> Callable[[Tensor], Tensor]:
    """``X -> X W^T`` in the dtype and on the device of `like`."""
    components = torch.as_tensor(np.asarray(state["components"])).to(like)
    return lambda X: X @ components.T


def custom(factory: Callable[[int], nn.Module]):
    """Start of a feature map that the user writes: ``n_features -> Module``."""

    def begin(patterns: Tensor, n_components: int | None, start: State | None):
        module = factory(patterns.shape[1]).to(patterns)
        if start is not None:
            _load(module, start)
        return Trainable(
            module,
            patterns,
            lambda: {k: _to_numpy(v) for k, v in module.state_dict().items()},
        )

    return begin


def restore_custom(factory: Callable[[int], nn.Module]):
    """Rebuild a user's module from its state, in evaluation mode."""

    def restore(state: State, like: Tensor):
        module = factory(like.shape[1]).to(like)
        _load(module, state)
        module.eval().requires_grad_(False)
        return module

    return restore


def _load(module: nn.Module, state: State) -> None:
    module.load_state_dict({k: torch.tensor(v) for k, v in state.items()})


class FeatureMapKind(NamedTuple):
    """How a feature map begins Stage I and comes back for Stage II."""

    begin: Callable[[Tensor, int | None, State | None], Trainable]
    restore: Callable[[State, Tensor], Callable[[Tensor], Tensor]]


FEATURE_MAPS = {"linear": FeatureMapKind(linear, restore_linear)}


def feature_map_kind(feature_map) -> FeatureMapKind | None:
    """Row of the table, one made for a callable, or None for the identity."""
    if callable(feature_map):
        return FeatureMapKind(custom(feature_map), restore_custom(feature_map))
    return FEATURE_MAPS.get(feature_map)
