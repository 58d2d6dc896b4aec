"""Feature maps of several members at once: numeric embeddings, MLP, linear.

Cross-fitting learns one feature map per fold. They have the same shape, so they are
learned as one: parameters carry the member as their first axis, and a step of all
members is a few batched matrix products. A member is a function of parameters and
rows, ``(tensors, Z) -> features`` with Z of shape (K, n, d), in training and in
retrieval alike, so there is no module to rebuild.

Rejected: a module and a loop per member. On small tables nearly all of the time is
the overhead of the calls, and eight folds took six times as long.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import cache
from typing import NamedTuple

import torch
from torch import Tensor

from skuhop.learning.user_modules import Draws, Factory, build_module, call_apart

Tensors = Mapping[str, Tensor]
HIDDEN = 128
"""Width of the hidden layer of "mlp" and "periodic"."""
N_FREQUENCIES = 8
"""Frequencies of each numeric feature."""
EMBEDDING = 8
"""Width of the embedding of each numeric feature."""
SPREAD = 0.3
"""Standard deviation of the frequencies at the start, in turns per unit."""
MAX_EMBEDDED = 64
"""More features than this are not embedded: the map is then "mlp"."""


class MemberMap(NamedTuple):
    """A kind of feature map for K members.

    Attributes
    ----------
    begin : callable
        ``(Z, n_members, n_components, seed, indicators=None) -> tensors``: where
        learning starts. Indicators, bool (d,), are the columns of Z that stand for
        values of a nominal column.
    features : callable
        ``(tensors, Z, training) -> (K, n, r)`` for rows Z of shape (K, n, d).
    multiply : tuple of str
        Tensors (K, d, m) that rows are multiplied by, if nothing else is done with
        rows: then they may be given as coordinates, see `spans`.
    together : bool
        Whether members cannot be learned apart from each other: they share a module.
    """

    begin: Callable[..., dict[str, Tensor]]
    features: Callable[[Tensors, Tensor, bool], Tensor]
    multiply: tuple[str, ...] = ()
    together: bool = False


def _normal(generator, like, *shape):
    return torch.randn(*shape, generator=generator, dtype=like.dtype).to(like.device)


def _begin_linear(Z, n_members, n_components, seed, indicators=None):
    """Random orthogonal map: angles are as in the input, or nearly so."""
    generator = torch.Generator().manual_seed(seed)
    d, width = Z.shape[1], max(Z.shape[1], n_components)
    square = _normal(generator, Z, n_members, width, min(d, n_components))
    return {"linear": _orthogonal(square, d, n_components)}


def _orthogonal(matrices, d, r):
    """Orthonormal columns of (K, max(d, r), min(d, r)), turned to shape (K, d, r)."""
    basis = torch.linalg.qr(matrices)[0]
    return basis.mT.contiguous() if d < r else basis * max(1.0, d / r) ** 0.5


def _linear(tensors, Z, training=False):
    return Z @ tensors["linear"]


def _begin_mlp(Z, n_members, n_components, seed, indicators=None):
    return _begin_hidden(Z, n_members, n_components, seed, Z.shape[1])


def _begin_hidden(Z, n_members, n_components, seed, n_inputs):
    start = _begin_linear(Z, n_members, n_components, seed)
    generator = torch.Generator().manual_seed(seed + 1)
    inward = _normal(generator, Z, n_members, n_inputs, HIDDEN)
    outward = _normal(generator, Z, n_members, HIDDEN, n_components)
    return {
        **start,
        "inward": inward / math.sqrt(n_inputs),
        "bias": 0.1 * _normal(generator, Z, n_members, 1, HIDDEN),
        "outward": outward / math.sqrt(HIDDEN),
    }


def _hidden(tensors, Z, inputs):
    hidden = torch.nn.functional.gelu(
        torch.baddbmm(tensors["bias"], inputs, tensors["inward"])
    )
    return torch.baddbmm(Z @ tensors["linear"], hidden, tensors["outward"])


def _mlp(tensors, Z, training=False):
    return _hidden(tensors, Z, Z)


def _begin_periodic(Z, n_members, n_components, seed, indicators=None):
    embedded = _worth_embedding(Z, indicators)
    n_inputs = Z.shape[1] + len(embedded) * EMBEDDING
    start = _begin_hidden(Z, n_members, n_components, seed, n_inputs)
    if len(embedded) == 0:
        return start
    generator = torch.Generator().manual_seed(seed + 2)
    spread = 2 * math.pi * SPREAD
    shape = (n_members, 1, len(embedded), N_FREQUENCIES)
    mix = _normal(generator, Z, n_members, 2 * N_FREQUENCIES, EMBEDDING)
    return {
        **start,
        "embedded": embedded,
        "frequencies": spread * _normal(generator, Z, *shape),
        "mix": mix / math.sqrt(2 * N_FREQUENCIES),
        "mix_bias": Z.new_zeros((n_members, 1, EMBEDDING)),
    }


def _worth_embedding(Z: Tensor, indicators: Tensor | None = None) -> Tensor:
    """Features of more than two values, or none if there are too many of them.

    Any function of two values is linear, so an embedding has nothing to add. Nor has it
    for indicators, which are between their two values where they are unknown.
    """
    low, high = Z.amin(0), Z.amax(0)
    several = ((low < Z) & (high > Z)).any(0)
    if indicators is not None:
        several &= ~indicators
    embedded = several.nonzero()[:, 0]
    return embedded if len(embedded) <= MAX_EMBEDDED else embedded[:0]


class _Waves(torch.autograd.Function):
    """``[cos a, sin a]`` (K, 2 f, n); each is the other's derivative."""

    @staticmethod
    def forward(ctx, angles):
        waves = torch.cat([angles.cos(), angles.sin()], 1)
        ctx.save_for_backward(waves)
        return waves

    @staticmethod
    def backward(ctx, gradient):
        cosines, sines = ctx.saved_tensors[0].chunk(2, 1)
        of_cosines, of_sines = gradient.chunk(2, 1)
        return (of_sines * cosines).addcmul_(of_cosines, sines, value=-1)


def _periodic(tensors, Z, training=False):
    """``relu(A [cos(c z), sin(c z)] + a)`` of every numeric feature beside z itself.

    Gorishniy et al., "On embeddings for numerical features in tabular deep learning",
    NeurIPS 2022, with A shared among the features. Waves are rows here: as columns,
    few and long, their products would take four times as long.
    """
    if "embedded" not in tensors:
        return _mlp(tensors, Z)
    numeric = Z[..., tensors["embedded"]]
    frequencies = tensors["frequencies"].permute(0, 3, 1, 2).contiguous()
    waves = _Waves.apply(frequencies * numeric[:, None]).flatten(2)
    embedding = torch.relu(
        torch.baddbmm(tensors["mix_bias"].mT, tensors["mix"].mT, waves)
    )
    embedding = embedding.unflatten(2, numeric.shape[1:]).permute(0, 2, 3, 1)
    return _hidden(tensors, Z, torch.cat([Z, embedding.flatten(2)], -1))


def custom_members(factory: Factory) -> MemberMap:
    """Members of a module that the user writes, ``n_features -> Module``."""
    draws = Draws(0)

    @cache
    def skeleton(n_features, dtype, device):
        with torch.no_grad():
            like = torch.empty((0, n_features), dtype=dtype, device=device)
            return build_module(factory, like, Draws(0))

    def begin(Z, n_members, n_components, seed, indicators=None):
        nonlocal draws
        draws = Draws(seed)
        modules = [build_module(factory, Z, draws) for _ in range(n_members)]
        states = [module.state_dict() for module in modules]
        return {name: torch.stack([s[name] for s in states]) for name in states[0]}

    def features(tensors, Z, training=False):
        module = skeleton(Z.shape[2], Z.dtype, Z.device)
        members = range(len(Z))
        states = [{name: t[k] for name, t in tensors.items()} for k in members]
        # Only what learns goes on drawing: an answer is the same every time.
        return torch.stack(
            call_apart(module, states, Z, training, draws if training else Draws(0))
        )

    return MemberMap(begin, features, together=True)


MEMBER_MAPS = {
    "periodic": MemberMap(_begin_periodic, _periodic, ("linear", "inward")),
    "mlp": MemberMap(_begin_mlp, _mlp, ("linear", "inward")),
    "linear": MemberMap(_begin_linear, _linear, ("linear",)),
}
"""Feature maps of members, by name.

To add one: write how K members begin and how they map rows, all at once. Add the row,
and name it in the docstrings of the classifier and the regressor.
"""


def member_map(feature_map: str | Callable) -> MemberMap:
    """Row of the table, or one made for a callable."""
    return (
        custom_members(feature_map)
        if callable(feature_map)
        else MEMBER_MAPS[feature_map]
    )


def is_learned(name: str, tensor: Tensor) -> bool:
    """Whether a tensor of a member is learned; positions and counters are not."""
    return tensor.is_floating_point() and "running_" not in name
