"""Kernels: a feature map of several members, and the similarity that compares features.

Several kernels are one: the scores of all members add up, so that there is one feature
map with one memory, whatever it was made of.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

import torch
from torch import Tensor

from skuhop.learning.members.member_maps import member_map
from skuhop.retrieval import SIMILARITIES

PAIR = (("periodic", "cosine"), ("linear", "euclidean"))
"""What ``feature_map="auto"`` learns: one kernel that bends, and one that cannot, which
is the better one where there are few rows and much noise."""
_ROWS = 1024
"""Rows whose waves are held at a time."""


class Kernel(NamedTuple):
    """A feature map of K members and a similarity.

    Attributes
    ----------
    feature_map : str or callable
        As the estimators name it.
    similarity : str
        A row of SIMILARITIES.
    betas : ndarray or Tensor of shape (K,)
        Inverse temperatures; empty before they are learned.
    state : mapping of str to ndarray or Tensor
        Parameters of the members; empty for the untrained kernel, which compares the
        inputs as they are.
    """

    feature_map: str | Callable
    similarity: str
    betas: Any = ()
    state: Mapping = MappingProxyType({})


def kernels_of(feature_map: str | Callable, similarity: str) -> list[Kernel]:
    """Kernels to learn, from what the estimators were told."""
    pairs = PAIR if feature_map == "auto" else ((feature_map, "cosine"),)
    return [
        Kernel(kind, usual if similarity == "auto" else similarity)
        for kind, usual in pairs
    ]


def joint_features(
    kernels: Sequence[Kernel],
) -> tuple[Callable[[Tensor], Tensor], str]:
    """Features of all members side by side, and the similarity that sums their scores.

    ``mean_k beta_k s(phi_k(u), phi_k(v))`` is again a similarity, of features that
    hold the members as blocks: the members are one feature map with one memory. Their
    votes one by one are no better and cost a pass over the memory each. Blocks that are
    compared by their angle have a common length, so the distance between them is their
    cosine up to a constant, and they may stand beside blocks compared by distance.

    Parameters
    ----------
    kernels : sequence of Kernel
        Their numbers as tensors. Kernels of different similarities are of "cosine" and
        "euclidean".

    Returns
    -------
    features : callable
        ``(n, d) -> (n, r)``, r summed over members and kernels.
    similarity : str
        What to compare them with, at beta 1.
    """
    blocks = [_block(kernel) for kernel in kernels]
    names = {"dot" if _is_angular(k.similarity) else k.similarity for k in kernels}

    def features(Z):
        with torch.no_grad():
            return torch.cat(
                [
                    torch.cat([block(rows) for block in blocks], 1)
                    for rows in Z.split(_ROWS)
                ]
            )

    return features, names.pop() if len(names) == 1 else "euclidean"


def _is_angular(similarity: str) -> bool:
    """Whether scores are an inner product of what the similarity encodes."""
    rule = SIMILARITIES[similarity]
    probe = torch.ones(1, 2, device="cpu")
    return rule.compare is None and rule.encode(probe)[1] is None


def _block(kernel: Kernel) -> Callable[[Tensor], Tensor]:
    """Features of the members of one kernel, ``(n, d) -> (n, K r)``."""
    rule, betas = SIMILARITIES[kernel.similarity], kernel.betas
    kind = member_map(kernel.feature_map) if kernel.state else None
    factors = betas / len(betas)
    # A distance grows with its vectors, a product or a square with their squares.
    factors = (factors if rule.compare is not None else factors.sqrt())[:, None, None]
    angular = _is_angular(kernel.similarity)

    def block(Z):
        if kind is None:
            phi = Z[None]  # Rows may be of any size, and angles see none.
        else:
            phi = kind.features(kernel.state, Z.expand(len(betas), *Z.shape), False)
        if angular:
            phi = rule.encode(phi.flatten(0, 1))[0].unflatten(0, phi.shape[:2])
        return (factors * phi).transpose(0, 1).flatten(1)

    return block
