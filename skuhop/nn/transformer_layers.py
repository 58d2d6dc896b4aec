"""Encoder and decoder layers of a transformer whose attention is a Hopfield layer."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy

import torch
from torch import Tensor, nn

from skuhop.exceptions import InvalidParameterError
from skuhop.nn.hflayers_weights import load_hflayers
from skuhop.nn.hopfield import Hopfield


class _Residual(nn.Module):
    """The feed-forward half that both layers end in."""

    def __init__(
        self, size: int | None, dim_feedforward: int, dropout: float, activation: str
    ):
        if size is None:
            raise InvalidParameterError(
                "A transformer's layer needs Hopfield layers with an input_size. Got "
                "input_size=None."
            )
        super().__init__()
        self.linear_residual = nn.Linear(size, dim_feedforward)
        self.dropout_residual = nn.Dropout(dropout)
        self.linear_output = nn.Linear(dim_feedforward, size)
        self.norm_output = nn.LayerNorm(size)
        self.dropout_output = nn.Dropout(dropout)
        self.activation_residual = getattr(torch, activation)

    def _feed_forward(self, X: Tensor) -> Tensor:
        hidden = self.activation_residual(self.linear_residual(X))
        hidden = self.linear_output(self.dropout_residual(hidden))
        return self.norm_output(X + self.dropout_output(hidden))

    def reset_parameters(self) -> None:
        """Draw all parameters anew, linear maps as torch does."""
        for module in self.children():
            reset = getattr(module, "reset_parameters", None)
            if reset is not None:
                reset()

    def load_hflayers(self, state_dict: Mapping[str, Tensor]) -> None:
        """Load the weights of the same layer of the package hflayers.

        Parameters
        ----------
        state_dict : mapping of str to Tensor
            What its ``state_dict()`` gave.
        """
        load_hflayers(self, state_dict)


class HopfieldEncoderLayer(_Residual):
    """Encoder layer of a transformer with a Hopfield layer as its attention.

    Parameters
    ----------
    hopfield_association : Hopfield
        Copied.

    dim_feedforward : int, default=2048
        Width of the feed-forward part.

    dropout : float, default=0.1
        Of the answers and of the feed-forward part.

    activation : str, default="relu"
        Name of a function of torch.
    """

    def __init__(
        self,
        hopfield_association: Hopfield,
        dim_feedforward: int = 2048,
        dropout: float = 0.1,
        activation: str = "relu",
    ) -> None:
        size = hopfield_association.input_size
        super().__init__(size, dim_feedforward, dropout, activation)
        self.hopfield_association = deepcopy(hopfield_association)
        self.norm_residual = nn.LayerNorm(size)
        self.dropout_hopfield_association = nn.Dropout(dropout)
        self.reset_parameters()

    def forward(
        self,
        src: Tensor,
        src_mask: Tensor | None = None,
        src_key_padding_mask: Tensor | None = None,
    ) -> Tensor:
        """Encode patterns (B, S, d), under masks as in :meth:`Hopfield.forward`."""
        answers = self.hopfield_association(src, src_key_padding_mask, src_mask)
        src = self.norm_residual(src + self.dropout_hopfield_association(answers))
        return self._feed_forward(src)


class HopfieldDecoderLayer(_Residual):
    """Decoder layer of a transformer with Hopfield layers as its attentions.

    Parameters
    ----------
    hopfield_association_self, hopfield_association_cross : Hopfield
        Among the patterns that come, and from them to the encoder's. Copied.

    dim_feedforward, dropout, activation
        As in :class:`HopfieldEncoderLayer`.
    """

    def __init__(
        self,
        hopfield_association_self: Hopfield,
        hopfield_association_cross: Hopfield,
        dim_feedforward: int = 2048,
        dropout: float = 0.1,
        activation: str = "relu",
    ) -> None:
        size = hopfield_association_self.input_size
        super().__init__(size, dim_feedforward, dropout, activation)
        self.hopfield_association_self = deepcopy(hopfield_association_self)
        self.hopfield_association_cross = deepcopy(hopfield_association_cross)
        self.norm_residual_self = nn.LayerNorm(size)
        self.norm_residual_cross = nn.LayerNorm(size)
        self.dropout_hopfield_association_self = nn.Dropout(dropout)
        self.dropout_hopfield_association_cross = nn.Dropout(dropout)
        self.reset_parameters()

    def forward(
        self,
        tgt: Tensor,
        memory: Tensor,
        tgt_mask: Tensor | None = None,
        memory_mask: Tensor | None = None,
        tgt_key_padding_mask: Tensor | None = None,
        memory_key_padding_mask: Tensor | None = None,
    ) -> Tensor:
        """Decode patterns (B, L, d) with the encoder's (B, S, d), under masks."""
        answers = self.hopfield_association_self(tgt, tgt_key_padding_mask, tgt_mask)
        tgt = tgt + self.dropout_hopfield_association_self(answers)
        tgt = self.norm_residual_self(tgt)
        answers = self.hopfield_association_cross(
            (memory, tgt, memory), memory_key_padding_mask, memory_mask
        )
        tgt = tgt + self.dropout_hopfield_association_cross(answers)
        return self._feed_forward(self.norm_residual_cross(tgt))
