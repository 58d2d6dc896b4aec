"""Feature maps Phi: where each starts, and how its learned state is kept.

A feature map is prepared for training as a module with the inputs it shall see, and
leaves training as NumPy arrays, from which `restore` builds it again on any device.

Rows may have been divided by a unit (see `retrieval.units`): states are made to fit,
and a user's module sees rows as they were.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from skuhop.learning.saved_state import numpy_state
from skuhop.learning.user_modules import (
    Drawing,
    Draws,
    Factory,
    build_module,
    call_apart,
)
from skuhop.retrieval import FeatureMap, tensor_of

State = Mapping[str, np.ndarray]
HIDDEN = 128
"""Width of the hidden layer of "mlp"."""


class Trainable(NamedTuple):
    """A feature map ready for Stage I.

    Attributes
    ----------
    module : Module
        Its parameters are what Stage I learns.
    project : callable
        ``(n, d) -> (n, p)``: rows as the module wants them.
    export : callable
        ``() -> state``: the learned state as NumPy arrays.
    """

    module: nn.Module
    project: Callable[[Tensor], Tensor]
    export: Callable[[], dict[str, np.ndarray]]


def span_basis(patterns: Tensor, n_components: int | None) -> Tensor | None:
    """Orthonormal basis (d, r) of the span of the patterns; None is all of R^d.

    With W0 = I every gradient of a separation loss lies in that span, so an r x r
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


class SpanLinear(nn.Module):
    """``W z`` on coordinates z in the span, W0 = I."""

    def __init__(self, rank: int, like: Tensor):
        super().__init__()
        eye = torch.eye(rank, dtype=like.dtype, device=like.device)
        self.weight = nn.Parameter(eye)

    def forward(self, Z):
        """Apply W to rows."""
        return Z @ self.weight.T


class SpanMLP(nn.Module):
    """``W z + U tanh(V z + b)``, W0 = I and U0 = 0: it starts as the identity."""

    def __init__(self, rank: int, like: Tensor):
        super().__init__()
        self.linear = SpanLinear(rank, like)
        self.hidden = nn.Linear(rank, HIDDEN).to(like)
        self.out = nn.Parameter(like.new_zeros((rank, HIDDEN)))

    def forward(self, Z):
        """Apply the map to rows."""
        return self.linear(Z) + torch.tanh(self.hidden(Z)) @ self.out.T


def _begin_in_span(build: Callable[[int, Tensor], nn.Module], export_names: Mapping):
    """Start of a module on the span; weights named there move back to R^d."""

    def begin(patterns, n_components, start, seed=0):
        basis = span_basis(patterns, n_components)
        rank = patterns.shape[1] if basis is None else basis.shape[1]
        module = Draws(seed).run(build, rank, patterns)

        def project(X):
            return X if basis is None else X @ basis

        def export():
            state = {}
            for name, value in module.state_dict().items():
                lifted = basis is not None and name in export_names["rows"]
                value = value @ basis.T if lifted else value
                state[export_names["names"].get(name, name)] = value
            return numpy_state(state)

        if start is not None and fits(start, export()):
            state = {}
            for name, value in module.state_dict().items():
                old = torch.tensor(start[export_names["names"].get(name, name)])
                lifted = name in export_names["rows"]
                state[name] = project(old.to(value)) if lifted else old
            module.load_state_dict(state)
        return Trainable(module, project, export)

    return begin


_LINEAR = {"names": {"weight": "components"}, "rows": {"weight"}}
_MLP = {
    "names": {"linear.weight": "components"},
    "rows": {"linear.weight", "hidden.weight"},
}


def _restore_linear(state: State, like: Tensor):
    components = tensor_of(state["components"]).to(like)
    return lambda X: X @ components.T


def _restore_mlp(state: State, like: Tensor):
    tensors = {k: tensor_of(v).to(like) for k, v in state.items()}

    def features(X):
        hidden = torch.addmm(tensors["hidden.bias"], X, tensors["hidden.weight"].T)
        return X @ tensors["components"].T + torch.tanh(hidden) @ tensors["out"].T

    return features


def custom(factory: Factory):
    """Start of a feature map that the user writes: ``n_features -> Module``."""

    def begin(patterns, n_components, start, seed=0):
        draws = Draws(seed)
        module = build_module(factory, patterns, draws)
        if start is not None and fits(start, numpy_state(module.state_dict())):
            module.load_state_dict(_tensors(start))
        return Trainable(
            Drawing(module, draws),
            lambda X: X,
            lambda: numpy_state(module.state_dict()),
        )

    return begin


def restore_custom(factory: Factory):
    """Rebuild a user's module from its state, in evaluation mode."""

    def restore(state: State, like: Tensor):
        with torch.no_grad():
            module = build_module(factory, like, Draws(0))
        module.load_state_dict(_tensors(state))
        module.requires_grad_(False)
        return lambda X: call_apart(module, [{}], [X], False, Draws(0))[0]

    return restore


def _tensors(state: State) -> dict[str, Tensor]:
    return {name: torch.tensor(array) for name, array in state.items()}


def fits(start: Mapping, state: Mapping) -> bool:
    """Whether an earlier state has the names and the shapes of this one."""
    shapes = [{k: tuple(np.shape(a)) for k, a in s.items()} for s in (start, state)]
    return shapes[0] == shapes[1]


class FeatureMapKind(NamedTuple):
    """How a feature map begins Stage I and comes back for Stage II.

    `keeps_unit` as in `FeatureMap`.
    """

    begin: Callable[[Tensor, int | None, State | None, int], Trainable]
    restore: Callable[[State, Tensor], Callable[[Tensor], Tensor]]
    keeps_unit: bool = True


FEATURE_MAPS = {
    "linear": FeatureMapKind(_begin_in_span(SpanLinear, _LINEAR), _restore_linear),
    "mlp": FeatureMapKind(_begin_in_span(SpanMLP, _MLP), _restore_mlp),
}
"""Feature maps of one set of patterns, by name; those of members are `MEMBER_MAPS`.

To add one: write how it begins and how it comes back from its state, in the span of the
patterns if it begins with a linear map. Add the row, the powers of a unit of parameters
that are no plain weights to `_POWERS`, and the name to the docstring of `UHopMemory`.
"""


def feature_map_kind(feature_map) -> FeatureMapKind | None:
    """Row of the table, one made for a callable, or None for the identity."""
    if callable(feature_map):
        return FeatureMapKind(custom(feature_map), restore_custom(feature_map), False)
    return FEATURE_MAPS.get(feature_map)


_POWERS = {"hidden.weight": 1, "out": -1}
"""Powers of a unit that parameters are multiplied by for rows divided by it."""


def state_for_unit(state: State, unit: float) -> dict[str, np.ndarray]:
    """Make the state of a map in the table fit for rows divided by a unit."""
    return {k: v * unit ** _POWERS.get(k, 0) for k, v in state.items()}


def restore(
    kind: FeatureMapKind | None,
    state: State,
    alignment: State,
    like: Tensor,
    unit: float = 1.0,
) -> FeatureMap | None:
    """Rebuild a feature map in the dtype and on the device of `like`.

    Parameters
    ----------
    kind : FeatureMapKind or None
        None is the identity.
    state : mapping
        What the `export` of a `Trainable` gave.
    alignment : mapping
        Empty, or the `scale` and `shift` that queries are to get before Phi.
    like : Tensor
        Patterns.
    unit : float, default=1
        What rows have been divided by.
    """
    if kind is None:
        return None
    keeps_unit = kind.keeps_unit
    state = state_for_unit(state, unit) if keeps_unit else state
    features = kind.restore(state, like)
    patterns = queries = Restored(features, None if keeps_unit else unit)
    if alignment:
        scale, shift = (
            tensor_of(np.asarray(alignment[key]) / divisor).to(like)
            for key, divisor in (("scale", 1.0), ("shift", unit))
        )
        queries = replace(patterns, scale=scale, shift=shift)
    return FeatureMap(patterns, queries, keeps_unit)


@dataclass(frozen=True)
class Restored:
    """A learned feature map for rows in a unit, as `restore` makes it.

    Attributes
    ----------
    features : callable
        ``(n, d) -> (n, r)``.
    unit : float or None
        What rows are multiplied by for a map that takes them as they were.
    scale, shift : Tensor or None
        What queries are aligned by before.
    """

    features: Callable[[Tensor], Tensor]
    unit: float | None
    scale: Tensor | None = None
    shift: Tensor | None = None

    def __call__(self, X: Tensor) -> Tensor:
        """Map rows."""
        if self.scale is not None and self.shift is not None:
            X = X * self.scale + self.shift
        return self.features(X if self.unit is None else X * self.unit)


def choose_kind(feature_map, selection: Mapping):
    """Kind of the feature map that Stage II is to use; None is the identity."""
    return None if selection["kept"] == "identity" else feature_map_kind(feature_map)
