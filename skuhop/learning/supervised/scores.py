"""Scores of all members at once, and the losses on them."""

from __future__ import annotations

import torch
from torch import Tensor

from skuhop.learning.losses import LOSSES
from skuhop.retrieval.similarities import Similarity

_FLOOR = 1e-8
"""Least probability whose logarithm enters the loss."""


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


def label_log_loss(
    scores: Tensor,
    labels: Tensor,
    weights: Tensor,
    valid: Tensor,
    n_classes: int,
    smoothing: float,
) -> Tensor:
    """Cross-entropy of leave-one-out retrieval, shape (K,), summed over no member.

    Parameters
    ----------
    scores : Tensor of shape (K, q, m)
        Times beta. The q queries are the first q of the m candidates.
    labels, weights, valid : Tensor of shape (K, m)
        Of the candidates; those that are not valid are not there.
    n_classes : int
    smoothing : float
        Share of the target that is spread over all classes.
    """
    n_queries = scores.shape[1]
    absent = ~valid[:, None] | torch.eye(
        n_queries, scores.shape[2], dtype=torch.bool, device=scores.device
    )
    scores = scores + weights.log()[:, None]
    one_hot = torch.nn.functional.one_hot(labels, n_classes).to(scores)
    p = torch.softmax(scores.masked_fill(absent, -torch.inf), 2) @ one_hot
    target = (1 - smoothing) * one_hot[:, :n_queries] + smoothing / n_classes
    losses = -(target * p.clamp_min(_FLOOR).log()).sum(2)
    # A query without another pattern of its class cannot be right: it teaches nothing.
    partners = (one_hot * valid[..., None]).sum(1).gather(1, labels[:, :n_queries])
    counted = weights[:, :n_queries] * (valid[:, :n_queries] & (partners > 1))
    total = counted.sum(1)
    return (counted * losses).sum(1) / total.where(total > 0, 1)


def separation_loss(name: str, features: Tensor, weights: Tensor, valid: Tensor):
    """U-Hop's losses, which know no labels, member by member."""
    return torch.stack(
        [
            LOSSES[name](phi[there], w[there])
            for phi, w, there in zip(features, weights, valid, strict=True)
        ]
    )
