"""From a fitted memory to the layer that answers alike, and back.

The memory's estimator is asked for its fitted attributes alone: layers do not know
estimators.
"""

from __future__ import annotations

import copy

import numpy as np
import torch
from torch import Tensor, nn

from skuhop.choices import Updates, name_of
from skuhop.exceptions import InvalidParameterError
from skuhop.retrieval import SEPARATIONS, SIMILARITIES, tensor_of
from skuhop.support import has_nan, mean_row, unit_of

_NAMES = {"components": "linear.weight", "out": "out.weight"}
"""Of the state of a memory's feature map, under the names of `RowMLP`."""


class RowMLP(nn.Module):
    """``W x + U tanh(V x + b)`` on rows: the feature map "mlp" of a memory."""

    def __init__(self, n_features: int, n_components: int, n_hidden: int):
        super().__init__()
        self.linear = nn.Linear(n_features, n_components, bias=False)
        self.hidden = nn.Linear(n_features, n_hidden)
        self.out = nn.Linear(n_hidden, n_components, bias=False)

    def forward(self, X: Tensor) -> Tensor:
        """Map rows."""
        return self.linear(X) + self.out(torch.tanh(self.hidden(X)))


def options_of(memory) -> dict:
    """Arguments of the layer that answers as a fitted memory does.

    Raises
    ------
    InvalidParameterError
        If no layer does; names the parameter.
    """
    _check_memory(memory)
    bare = ("stored_pattern", "state_pattern", "pattern_projection")
    norms = {f"normalize_{name}{a}": False for name in bare for a in ("", "_affine")}
    static = {f"{name}_as_static": True for name in bare}
    n_patterns, n_features = memory.patterns_.shape
    updates = Updates.of(memory.update_steps)
    return {
        **norms,
        **static,
        **memory.separation_params_,
        "input_size": n_features,
        "hidden_size": n_features,
        "disable_out_projection": True,
        "quantity": n_patterns,
        "separation": name_of(memory.separation),
        "beta": float(memory.beta),
        "similarity": memory.similarity,
        "feature_map": _build_feature_map(memory),
        "answer": updates.answer,
        "update_steps_max": updates.steps - 1,
        "update_steps_eps": 0.0,
    }


def _check_memory(memory) -> None:
    """Refuse what has no layer."""
    allowed = {
        "similarity": tuple(SIMILARITIES),
        "beta": "a number",
        "separation": tuple(SEPARATIONS),
    }
    centred = memory.similarity in SIMILARITIES and (
        SIMILARITIES[memory.similarity].centred
    )
    if centred and SEPARATIONS[name_of(memory.separation)].null:
        # A memory's "nothing" is the mean pattern among distances, a layer's is 0.
        allowed["separation"] = tuple(k for k, v in SEPARATIONS.items() if not v.null)
    for name, values in allowed.items():
        value = name_of(getattr(memory, name))
        known = value != "auto" if values == "a number" else value in values
        if not known:
            raise InvalidParameterError(
                f"A layer answers as a memory whose {name!r} parameter is one of "
                f"{values}. Got {value!r}."
            )
    if has_nan(memory.patterns_):
        raise InvalidParameterError(
            "A layer's patterns have all entries; patterns of this memory contain NaN."
        )
    if memory.alignment_:
        raise InvalidParameterError(
            "A layer has one feature map for stored and state patterns; this memory, "
            f"with loss={memory.loss!r}, has learned two."
        )


def _build_feature_map(memory) -> nn.Module | None:
    """Rebuild the learned feature map as a module."""
    state = {name: tensor_of(a) for name, a in memory.feature_map_state_.items()}
    if memory.selection_["kept"] == "identity" or not state:
        return None
    n_features = memory.patterns_.shape[1]
    if callable(memory.feature_map):
        module = memory.feature_map(n_features)
    elif memory.feature_map == "linear":
        module = nn.Linear(n_features, len(state["components"]), bias=False)
        state = {"weight": state["components"]}
    else:
        module = RowMLP(n_features, *state["out"].shape)
        state = {_NAMES.get(name, name): value for name, value in state.items()}
    module.to(tensor_of(memory.patterns_)).load_state_dict(state)
    return module


@torch.no_grad()
def fill_from_memory(layer, memory) -> None:
    """Give a layer the patterns of a memory, in their dtype."""
    patterns = tensor_of(memory.patterns_)
    layer.to(patterns.dtype)
    shape = layer.lookup_weights.shape
    layer.lookup_weights.copy_(patterns.reshape(shape))
    if memory.sample_weight_ is not None:
        layer.multiplicity = tensor_of(memory.sample_weight_).to(patterns)


def memory_like(memory, layer):
    """Copy a fitted memory, with the patterns, Phi and beta that a layer has now.

    Raises
    ------
    InvalidParameterError
        If the layer is not one that came from a memory such as this.
    """
    patterns = layer.lookup_weights.detach().flatten(0, 1).cpu().numpy().copy()
    bare = layer.project_state is None and layer.project_stored is None
    if not bare or patterns.shape != memory.patterns_.shape:
        raise InvalidParameterError(
            "The 'memory' must be the one that the layer came from by from_memory. Got "
            f"patterns of shape {memory.patterns_.shape} for a layer of "
            f"{patterns.shape}, {'without' if bare else 'with'} projections."
        )
    filled = copy.deepcopy(memory)
    filled.beta = float(layer.scaling())
    filled.patterns_ = patterns.astype(memory.patterns_.dtype)
    filled.mean_ = mean_row(filled.patterns_, filled.sample_weight_)
    filled.unit_ = unit_of(filled.patterns_)
    if layer.feature_map is not None:
        names = {ours: theirs for theirs, ours in _NAMES.items()}
        if memory.feature_map == "linear":
            names = {"weight": "components"}
        filled.feature_map_state_ = {
            names.get(name, name): np.array(value.cpu().numpy())
            for name, value in layer.feature_map.state_dict().items()
        }
        if "components" in filled.feature_map_state_:
            filled.components_ = filled.feature_map_state_["components"]
    return filled
