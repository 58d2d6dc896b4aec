"""Scores of all members at once, and what they retrieve."""

from __future__ import annotations

import torch
from torch import Tensor

from skuhop.learning.losses import LOSSES
from skuhop.retrieval import Similarity, exact

_ABSENT = -1e30
"""Score of what is not there. Not minus infinity: a query that is left with nothing
gets the plain mean."""


def member_scores(
    rule: Similarity,
    queries: Tensor,
    memory: Tensor,
    betas: Tensor | None = None,
    offsets: Tensor | None = None,
) -> Tensor:
    """Scores (K, a, b) of features (K, a, r) and (K, b, r), member by member.

    Parameters
    ----------
    rule : Similarity
    queries, memory : Tensor of shape (K, a, r) and (K, b, r)
    betas : Tensor of shape (K,) or None
        What the scores are multiplied by.
    offsets : Tensor of shape (K, b) or None
        What is then added to them.
    """
    factors = 1.0 if betas is None else betas[:, None, None]
    if rule.compare is not None:
        scores = -torch.cdist(factors * queries, factors * memory, p=1)
        return scores if offsets is None else scores + offsets[:, None]
    (a, *of_a), (b, *of_b) = _encode(rule, queries), _encode(rule, memory)
    a, of_a = factors * a, [factors * bias for bias in of_a]
    of_b = [factors * bias for bias in of_b]
    of_b += [] if offsets is None else [offsets[..., None]]
    # What is added to a row or a column of scores is one more feature: a pass over the
    # scores would take as long as their product.
    one_a, one_b = torch.ones_like(a[..., :1]), torch.ones_like(b[..., :1])
    a = torch.cat([a, *of_a, *[one_a] * len(of_b)], 2)
    b = torch.cat([b, *[one_b] * len(of_a), *of_b], 2)
    return a @ b.mT


def _encode(rule, features):
    """Vectors (K, n, r), and biases (K, n, 1) if there are any."""
    parts = rule.encode(features.flatten(0, 1))
    shape = *features.shape[:2], -1
    return [part.reshape(shape) for part in parts if part is not None]


def log_weights(weights: Tensor, valid: Tensor) -> Tensor:
    """Logarithms of the weights of candidates, (K, m); those not valid have none."""
    return weights.log().masked_fill(~valid, _ABSENT)


class _SoftmaxAnswers(torch.autograd.Function):
    """``softmax(scores) @ values`` for scores (K, q, m) and values (K, m, v).

    Values are not learned. What autograd makes of the two steps is the same, in twice
    the time: the sum that the derivative of softmax needs is that of answers and
    gradients, and need not be taken over all scores.
    """

    @staticmethod
    def forward(ctx, scores, values):
        weights = torch.softmax(scores, 2)
        answers = exact(weights, values).contiguous()
        ctx.save_for_backward(weights, values, answers)
        return answers

    @staticmethod
    def backward(ctx, gradient):
        weights, values, answers = ctx.saved_tensors
        shift = (gradient * answers).sum(2, keepdim=True)
        left = torch.cat([gradient, -shift], 2)
        right = torch.cat([values, torch.ones_like(values[..., :1])], 2)
        return (left @ right.mT).mul_(weights), None


def leave_one_out(
    scores: Tensor, values: Tensor, copies: Tensor, groups: Tensor | None = None
) -> Tensor:
    """Answers (K, q, v) that patterns retrieve from the others by softmax.

    Parameters
    ----------
    scores : Tensor of shape (K, q, m)
        Times beta, logarithms of weights included. The q queries are the first q of the
        m candidates. Overwritten.
    values : Tensor of shape (K, m, v)
        Of the candidates.
    copies : Tensor of shape (K, m)
        How many rows each stands for: of a query all but one stay.
    groups : Tensor of shape (K, m) or None
        If given, a query is left out with all of its group.
    """
    if groups is None:
        n_left = copies[:, : scores.shape[1]] - 1
        share_left = n_left.clamp_min(0) / (n_left + 1).clamp_min(1)
        # Past autograd, which would copy all scores: a constant has no gradient.
        with torch.no_grad():
            scores.diagonal(dim1=1, dim2=2).add_(share_left.log().clamp_min(_ABSENT))
    else:
        same = groups[:, : scores.shape[1], None] == groups[:, None]
        scores = scores.masked_fill(same, _ABSENT)
    return _SoftmaxAnswers.apply(scores, values)


def separation_loss(name: str, features: Tensor, weights: Tensor, valid: Tensor):
    """U-Hop's losses, which know no labels, member by member."""
    return torch.stack(
        [
            LOSSES[name](phi[there], w[there])
            for phi, w, there in zip(features, weights, valid, strict=True)
        ]
    )
