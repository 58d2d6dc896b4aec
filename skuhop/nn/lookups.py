"""Hopfield layers with patterns of their own: what is asked, or what is stored."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from skuhop.exceptions import InvalidParameterError
from skuhop.nn.bridges import fill_from_memory, memory_like, options_of
from skuhop.nn.hopfield import Hopfield


class HopfieldPooling(Hopfield):
    """Learned state patterns retrieve from the patterns that come: pooling.

    Parameters
    ----------
    input_size : int
        Features of the patterns that come.

    hidden_size, output_size, pattern_size, num_heads, scaling, update_steps_max, \
            update_steps_eps
        As in :class:`Hopfield`.

    quantity : int, default=1
        Number of state patterns.

    trainable : bool, default=True
        Whether they learn.

    **options
        All that :class:`Hopfield` takes.

    Examples
    --------
    >>> import torch
    >>> from skuhop.nn import HopfieldPooling
    >>> pooling = HopfieldPooling(input_size=8, quantity=2)
    >>> bags, padding = torch.randn(4, 10, 8), torch.zeros(4, 10, dtype=torch.bool)
    >>> pooling(bags, stored_pattern_padding_mask=padding).shape
    torch.Size([4, 16])
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int | None = None,
        output_size: int | None = None,
        pattern_size: int | None = None,
        num_heads: int = 1,
        scaling: float | Tensor | str | None = None,
        update_steps_max: int | Tensor | None = 0,
        update_steps_eps: float | Tensor = 1e-4,
        *,
        quantity: int = 1,
        trainable: bool = True,
        **options,
    ) -> None:
        super().__init__(
            input_size,
            hidden_size,
            output_size,
            pattern_size,
            num_heads,
            scaling,
            update_steps_max,
            update_steps_eps,
            **options,
        )
        size = self.hidden_size if self.state_pattern_as_static else input_size
        size = input_size if size is None else size
        self.quantity = quantity
        self.pooling_weights = _patterns(self, quantity, size, trainable)

    def forward(
        self,
        input: Tensor | tuple[Tensor, ...],
        stored_pattern_padding_mask: Tensor | None = None,
        association_mask: Tensor | None = None,
    ) -> Tensor:
        """Pool.

        Parameters
        ----------
        input : Tensor or tuple of 2 Tensors
            Stored patterns (B, S, stored_pattern_size) and pattern projections; one
            tensor is both.

        stored_pattern_padding_mask, association_mask : Tensor, default=None
            As in :meth:`Hopfield.forward`.

        Returns
        -------
        answers : Tensor of shape (B, quantity * output_size)
            What the state patterns retrieve, one after the other.
        """
        answers = super().forward(input, stored_pattern_padding_mask, association_mask)
        return (answers if self.batch_first else answers.transpose(0, 1)).flatten(1)

    def _inputs(self, input):
        if isinstance(input, Tensor):
            stored, values = input, input
        elif isinstance(input, tuple | list) and len(input) == 2:
            stored, values = input
        else:
            raise InvalidParameterError(
                "input must be a tensor, or a tuple of stored patterns and pattern "
                f"projections. Got {type(input).__name__}."
            )
        return stored, _repeat(self, self.pooling_weights, stored), values


class HopfieldLayer(Hopfield):
    """State patterns that come retrieve from learned stored patterns: a lookup.

    Parameters
    ----------
    input_size : int
        Features of the patterns that come.

    hidden_size, output_size, pattern_size, num_heads, scaling, update_steps_max, \
            update_steps_eps
        As in :class:`Hopfield`.

    lookup_weights_as_separated : bool, default=False
        Whether values are patterns of their own, not the stored patterns.

    lookup_targets_as_trainable : bool, default=True
        Whether these learn.

    quantity : int, default=1
        Number of stored patterns.

    trainable : bool, default=True
        Whether they learn.

    **options
        All that :class:`Hopfield` takes.

    Examples
    --------
    >>> import torch
    >>> from skuhop.nn import HopfieldLayer
    >>> layer = HopfieldLayer(input_size=8, quantity=20, separation="sparsemax")
    >>> layer(torch.randn(4, 3, 8)).shape
    torch.Size([4, 3, 8])
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int | None = None,
        output_size: int | None = None,
        pattern_size: int | None = None,
        num_heads: int = 1,
        scaling: float | Tensor | str | None = None,
        update_steps_max: int | Tensor | None = 0,
        update_steps_eps: float | Tensor = 1e-4,
        lookup_weights_as_separated: bool = False,
        lookup_targets_as_trainable: bool = True,
        *,
        quantity: int = 1,
        trainable: bool = True,
        **options,
    ) -> None:
        super().__init__(
            input_size,
            hidden_size,
            output_size,
            pattern_size,
            num_heads,
            scaling,
            update_steps_max,
            update_steps_eps,
            **options,
        )
        static = self.stored_pattern_as_static
        size = self.hidden_size if static else self.stored_pattern_size
        size = input_size if size is None else size
        self.quantity = quantity
        self.lookup_weights = _patterns(self, quantity, size, trainable)
        self.target_weights: nn.Parameter | None
        if lookup_weights_as_separated:
            target = options.get("pattern_projection_size") or size
            self.target_weights = _patterns(
                self, quantity, target, lookup_targets_as_trainable
            )
        else:
            self.register_parameter("target_weights", None)

    @classmethod
    def from_memory(cls, memory) -> HopfieldLayer:
        """Make the layer that answers as a fitted memory does, to be trained on.

        Parameters
        ----------
        memory : UHopMemory
            Fitted, with a similarity by name, a number for `beta`, and no loss that
            learns queries apart. With "euclidean" or "manhattan" not "softmax1".

        Returns
        -------
        layer : HopfieldLayer
            One head, nothing projected; ``layer(X[None])[0]`` is
            ``memory.transform(X)``. Its stored patterns and Phi can learn.

        Raises
        ------
        InvalidParameterError
            If no layer answers as the memory does; names the parameter.

        Examples
        --------
        >>> import numpy as np, torch
        >>> from skuhop import UHopMemory
        >>> from skuhop.nn import HopfieldLayer
        >>> X = np.random.RandomState(0).normal(size=(20, 5))
        >>> memory = UHopMemory(similarity="euclidean", beta=2.0).fit(X)
        >>> layer = HopfieldLayer.from_memory(memory)
        >>> answers = layer(torch.from_numpy(X)[None])[0].detach().numpy()
        >>> np.allclose(answers, memory.transform(X), atol=1e-6)
        True
        """
        layer = cls(**options_of(memory))
        fill_from_memory(layer, memory)
        return layer

    def to_memory(self, memory):
        """Make a memory that answers as this layer does, which came from one.

        Parameters
        ----------
        memory : UHopMemory
            Fitted, the one given to `from_memory`. It is copied.

        Returns
        -------
        memory : UHopMemory
            The copy, with the stored patterns, Phi and beta that the layer has now.

        Raises
        ------
        InvalidParameterError
            If the layer did not come from such a memory.
        """
        return memory_like(memory, self)

    def _inputs(self, input):
        if not isinstance(input, Tensor):
            raise InvalidParameterError(
                f"input must be a tensor of state patterns. Got {type(input).__name__}."
            )
        stored = _repeat(self, self.lookup_weights, input)
        if self.target_weights is None:
            return stored, input, stored
        return stored, input, _repeat(self, self.target_weights, input)


def _patterns(layer: Hopfield, quantity: int, size: int, trainable: bool):
    """Make learned patterns, drawn from N(0, 0.02)."""
    shape = (1, quantity, size) if layer.batch_first else (quantity, 1, size)
    patterns = nn.Parameter(torch.empty(shape, device=None), requires_grad=trainable)
    nn.init.normal_(patterns, std=0.02)
    return patterns


def _repeat(layer: Hopfield, patterns: Tensor, like: Tensor) -> Tensor:
    """Patterns for every memory of a batch."""
    if layer.batch_first:
        return patterns.expand(like.shape[0], -1, -1)
    return patterns.expand(-1, like.shape[1], -1)
