"""Scores of all members at once, and what they retrieve."""

from __future__ import annotations

import torch
from torch import Tensor

from skuhop.learning.losses import LOSSES
from skuhop.retrieval.similarities import Similarity


def member_scores(rule: Similarity, queries: Tensor, memory: Tensor) -> Tensor:
    """Scores (K, a, b) of features (K, a, r) and (K, b, r), member by member."""
    if rule.compare is not None:
        return -torch.cdist(queries, memory, p=1)
    (a, bias_a), (b, bias_b) = _encode(rule, queries), _encode(rule, memory)
    scores = a @ b.mT
    return scores if bias_a is None else scores + bias_a[..., None] + bias_b[:, None]


def _encode(rule, features):
    vectors, bias = rule.encode(features.flatten(0, 1))
    shape = features.shape[:2]
    return vectors.unflatten(0, shape), None if bias is None else bias.unflatten(
        0, shape
    )


def leave_one_out(
    scores: Tensor,
    values: Tensor,
    weights: Tensor,
    valid: Tensor,
    groups: Tensor | None = None,
) -> Tensor:
    """Answers (K, q, v) that patterns retrieve from the others by softmax.

    Parameters
    ----------
    scores : Tensor of shape (K, q, m)
        Times beta. The q queries are the first q of the m candidates.
    values : Tensor of shape (K, m, v)
        Of the candidates.
    weights, valid : Tensor of shape (K, m)
        Of the candidates; those that are not valid are not there.
    groups : Tensor of shape (K, m) or None
        If given, a query is left out with all of its group.
    """
    absent = ~valid[:, None] | torch.eye(
        *scores.shape[1:], dtype=torch.bool, device=scores.device
    )
    if groups is not None:
        absent = absent | (groups[:, : scores.shape[1], None] == groups[:, None])
    scores = scores + weights.log()[:, None]
    # Not minus infinity: a query that is left with nothing gets the plain mean.
    least = torch.finfo(scores.dtype).min
    return torch.softmax(scores.masked_fill(absent, least), 2) @ values


def separation_loss(name: str, features: Tensor, weights: Tensor, valid: Tensor):
    """U-Hop's losses, which know no labels, member by member."""
    return torch.stack(
        [
            LOSSES[name](phi[there], w[there])
            for phi, w, there in zip(features, weights, valid, strict=True)
        ]
    )
