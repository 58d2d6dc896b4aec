"""Weights of hflayers under our names."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

_CORE = "association_core."
_RENAMED = {
    "out_proj.weight": "project_answer.weight",
    "out_proj.bias": "project_answer.bias",
    "q_proj_weight": "project_state.weight",
    "k_proj_weight": "project_stored.weight",
    "v_proj_weight": "project_values.weight",
    "bias_k": "bias_stored",
    "bias_v": "bias_values",
    "p_norm_weight": "norm_hopfield_space.weight",
    "p_norm_bias": "norm_hopfield_space.bias",
}
_PROJECTIONS = ("project_state", "project_stored", "project_values")
"""In the order in which hflayers keeps their rows in one tensor."""


def load_hflayers(model: nn.Module, state_dict: Mapping[str, Tensor]) -> None:
    """Load a state of hflayers into a model in which its layers became ours.

    Parameters
    ----------
    model : Module
        A layer, or any model whose attributes have the names that they had with
        hflayers.

    state_dict : mapping of str to Tensor
        What its ``state_dict()`` gave with hflayers.

    Raises
    ------
    RuntimeError
        If names or shapes are not those of the model.
    """
    state: dict[str, Tensor] = {}
    expected = model.state_dict()
    for name, value in state_dict.items():
        # Pooling and lookup held a layer there that ours are.
        name = "." + name
        name = name.replace(".hopfield.", ".")[1:]
        prefix, core, rest = name.rpartition(_CORE)
        if core and rest in ("in_proj_weight", "in_proj_bias"):
            state |= _split(prefix, rest.removeprefix("in_proj_"), value, expected)
        else:
            state[prefix + _RENAMED.get(rest, rest) if core else name] = value
    # Parameters that hflayers did not have stay as they are.
    ours = {n: v for n, v in expected.items() if _is_ours(n)}
    model.load_state_dict(ours | state)


def _is_ours(name: str) -> bool:
    parts = name.split(".")
    return bool({"feature_map", "separation_params", "scaling"}.intersection(parts))


def _split(prefix, kind, value, expected) -> dict[str, Tensor]:
    """Rows of one tensor as those of the projections that there are."""
    parts, start = {}, 0
    for projection in _PROJECTIONS:
        name = f"{prefix}{projection}.{kind}"
        if name in expected:
            stop = start + len(expected[name])
            parts[name] = value[start:stop]
            start = stop
    return parts
