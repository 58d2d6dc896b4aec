"""Stage I in a training loop: Phi learns to separate what a model stores."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import cycle, islice
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from skuhop.exceptions import InvalidParameterError
from skuhop.learning import Adam
from skuhop.nn.head_parameters import HeadLinear


@runtime_checkable
class _Separable(Protocol):
    """A layer whose feature map can learn to separate what it stores."""

    feature_map: nn.Module | None

    def separation_loss(self, loss: str = "average") -> Tensor:
        """Loss of the stored patterns of the last forward pass."""


def separation_of_heads(
    feature_map: Callable, keys: Tensor, padding: Tensor | None, loss: Callable
) -> Tensor:
    """Mean separation loss of the features of keys (B, H, S, D).

    Padding, (B, S), is left out; memories of fewer than two patterns have nothing to
    separate and count as nothing.
    """
    features = feature_map(keys)
    if padding is None:
        return torch.func.vmap(torch.func.vmap(loss))(features).mean()
    losses = [
        loss(head[~hidden])
        for memory, hidden in zip(features, padding, strict=True)
        for head in memory
        if (~hidden).sum() > 1
    ]
    return torch.stack(losses).mean() if losses else features.sum() * 0


def separate(
    model: nn.Module,
    data: Tensor | Iterable,
    steps: int,
    *,
    loss: str = "average",
    learning_rate: float = 1e-3,
) -> list[float]:
    """Move the feature maps of a model's Hopfield layers to separate what they store.

    The separation steps of U-Hop's second algorithm, to be called between the task's:
    every step passes a batch through the model, without gradients, and moves the Phi of
    all Hopfield layers, and nothing else, against the sum of their separation losses
    (Adam). Rows of a linear Phi are then divided by their length, as in the paper.

    Parameters
    ----------
    model : Module
        With Hopfield layers that have a `feature_map`.

    data : Tensor or iterable
        A batch, or batches that are gone through in turns. A batch is a tensor, or a
        tuple of what the model takes.

    steps : int
        Number of steps.

    loss : {"average", "max", "logsumexp"}, default="average"
        As in :class:`skuhop.UHopMemory`.

    learning_rate : float, default=1e-3
        Of Adam.

    Returns
    -------
    losses : list of float
        Separation loss before every step.

    Raises
    ------
    InvalidParameterError
        If no Hopfield layer of the model has a feature map.

    References
    ----------
    Wu, Hu, Hsiao, Liu, "Uniform memory retrieval with larger capacity for modern
    Hopfield models", ICML 2024 (arXiv 2404.03827), algorithm 2.

    Examples
    --------
    >>> import torch
    >>> from skuhop.nn import HopfieldLayer, separate
    >>> layer = HopfieldLayer(input_size=4, quantity=6, feature_map="linear")
    >>> losses = separate(layer, torch.randn(2, 3, 4), steps=20, learning_rate=1e-2)
    >>> losses[-1] < losses[0]
    True
    """
    layers = [m for m in model.modules() if isinstance(m, _Separable)]
    layers = [layer for layer in layers if layer.feature_map is not None]
    maps = [layer.feature_map for layer in layers if layer.feature_map is not None]
    parameters = [p for phi in maps for p in phi.parameters() if p.requires_grad]
    if not parameters:
        raise InvalidParameterError(
            "separate needs a 'model' with a Hopfield layer that has a feature_map. "
            f"Got {type(model).__name__} without any."
        )
    if isinstance(data, Tensor):
        data = [data]
    optimiser, losses = Adam(parameters, learning_rate), []
    for batch in islice(cycle(data), steps):
        _pass_through(model, layers, batch)
        total = torch.stack([layer.separation_loss(loss) for layer in layers]).sum()
        gradients = torch.autograd.grad(total, parameters, allow_unused=True)
        optimiser.step(gradients)
        for phi in maps:
            if isinstance(phi, HeadLinear):
                phi.normalise_rows()
        losses.append(total.item())
    return losses


@torch.no_grad()
def _pass_through(model: nn.Module, layers: list, batch) -> None:
    """Let the layers meet a batch, in the mode that the model is in."""
    modes = [layer.training for layer in layers]
    for layer in layers:
        layer.training = True  # which is when a layer keeps what it stores
    try:
        model(*batch) if isinstance(batch, tuple) else model(batch)
    finally:
        for layer, mode in zip(layers, modes, strict=True):
            layer.training = mode
