"""The members of a cross-fitted feature map as one feature map with one memory."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from skuhop.learning.embeddings import MemberMap, Tensors
from skuhop.retrieval.similarities import SIMILARITIES

_ROWS = 1024
"""Rows whose waves are held at a time."""


def joint_features(
    kind: MemberMap | None, tensors: Tensors, betas: Tensor, similarity: str
) -> tuple[Callable[[Tensor], Tensor], str]:
    """Features of all members side by side, and the similarity that sums their scores.

    ``mean_k beta_k s(phi_k(u), phi_k(v))`` is again a similarity, of features that
    hold the members as blocks: the members are one feature map with one memory. Their
    votes one by one are no better and cost a pass over the memory each.

    Parameters
    ----------
    kind : MemberMap or None
        None is the identity, of which there is one member.
    tensors : mapping
        Parameters of the members.
    betas : Tensor of shape (K,)
        Inverse temperatures.
    similarity : str
        A row of SIMILARITIES.

    Returns
    -------
    features : callable
        ``(n, d) -> (n, K r)``.
    similarity : str
        What to compare them with, at beta 1.
    """
    rule = SIMILARITIES[similarity]
    factors = betas / len(betas)
    # A distance grows with its vectors, a product or a square with their squares.
    factors = (factors if rule.compare is not None else factors.sqrt())[:, None, None]
    angular = rule.compare is None and rule.encode(betas[None])[1] is None

    def block(Z):
        if kind is None:
            phi = Z[None]
        else:
            phi = kind.features(tensors, Z.expand(len(betas), *Z.shape), False)
        if angular:
            phi = rule.encode(phi.flatten(0, 1))[0].unflatten(0, phi.shape[:2])
        return (factors * phi).transpose(0, 1).flatten(1)

    def features(Z):
        with torch.no_grad():
            return torch.cat([block(rows) for rows in Z.split(_ROWS)])

    return features, "dot" if angular else similarity
