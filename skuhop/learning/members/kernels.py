"""Kernels: a feature map of several members, and the similarity that compares features.

Several kernels are one: the scores of all members add up, so that there is one feature
map with one memory, whatever it was made of.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, NamedTuple

import torch
from torch import Tensor

from skuhop.learning.members.member_maps import MemberMap, member_map
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


class _Block(NamedTuple):
    """Features of the members of one kernel, ``(n, d) -> (n, K r)``.

    Attributes
    ----------
    members : MemberMap or None
        None is the untrained kernel.
    kernel : Kernel
    factors : Tensor of shape (K, 1, 1)
        What a member's share in the scores multiplies its features by.
    encode : callable or None
        What comes before the factors where features are compared by their angle.
    """

    members: MemberMap | None
    kernel: Kernel
    factors: Tensor
    encode: Callable | None

    @classmethod
    def of(cls, kernel: Kernel) -> _Block:
        """Make the features that a kernel stands for."""
        rule, betas = SIMILARITIES[kernel.similarity], kernel.betas
        factors = betas / len(betas)
        # A distance grows with its vectors, a product or a square with their squares.
        factors = factors if rule.compare is not None else factors.sqrt()
        encode = rule.encode if _is_angular(kernel.similarity) else None
        members = member_map(kernel.feature_map) if kernel.state else None
        return cls(members, kernel, factors[:, None, None], encode)

    def __call__(self, Z: Tensor) -> Tensor:
        """Map standardised rows, members side by side."""
        if self.members is None:
            phi = Z[None]  # Rows may be of any size, and angles see none.
        else:
            rows = Z.expand(len(self.factors), *Z.shape)
            phi = self.members.features(self.kernel.state, rows, False)
        if self.encode is not None:
            phi = self.encode(phi.flatten(0, 1))[0].unflatten(0, phi.shape[:2])
        return (self.factors * phi).transpose(0, 1).flatten(1)


@dataclass(frozen=True)
class JointFeatures:
    """Features of all members of all kernels side by side, ``(n, d) -> (n, r)``.

    Attributes
    ----------
    blocks : list of callable
        Features of the members of every kernel.
    begin : callable or None, default=None
        What rows go through first, such as being standardised.
    """

    blocks: list[_Block]
    begin: Callable[[Tensor], Tensor] | None = None

    @torch.no_grad()
    def __call__(self, X: Tensor) -> Tensor:
        """Map rows, some at a time."""
        Z = X if self.begin is None else self.begin(X)
        parts = []
        for rows in Z.split(_ROWS):
            features = []
            for block in self.blocks:
                features.append(block(rows))
            parts.append(torch.cat(features, 1))
        return torch.cat(parts)


def joint_features(
    kernels: Sequence[Kernel], begin: Callable[[Tensor], Tensor] | None = None
) -> tuple[JointFeatures, str]:
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
    begin : callable or None, default=None
        What rows go through first.

    Returns
    -------
    features : JointFeatures
    similarity : str
        What to compare them with, at beta 1.
    """
    blocks = [_Block.of(kernel) for kernel in kernels]
    names = {"dot" if _is_angular(k.similarity) else k.similarity for k in kernels}
    similarity = names.pop() if len(names) == 1 else "euclidean"
    return JointFeatures(blocks, begin), similarity


def _is_angular(similarity: str) -> bool:
    """Whether scores are an inner product of what the similarity encodes."""
    rule = SIMILARITIES[similarity]
    probe = torch.ones(1, 2, device="cpu")
    return rule.compare is None and rule.encode(probe)[1] is None
