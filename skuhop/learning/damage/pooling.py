"""Logarithmic pooling: how much to trust each expert, learned from known answers.

An expert gives every pattern a log-likelihood for a query. The pool is
``z = sum_e theta_e f_e`` with ``theta >= 0``: an expert that is over-confident, as
every likelihood that takes features for independent is, gets an exponent below one,
and one that is wrong about the damage gets none.
"""

from __future__ import annotations

import torch
from torch import Tensor

RIDGE = 2e-4
"""Pull of the exponents toward the best single expert."""
_START_EXPONENTS = (1.0, 0.3, 0.1, 0.03, 0.01, 0.003)


def fit_exponents(scores: Tensor, right: Tensor, log_weights: Tensor | None) -> Tensor:
    """Exponents (E,) that make the right patterns likeliest; a convex problem.

    Starts from the best single expert at the best of a few exponents, and never
    gives back anything worse than that.

    Parameters
    ----------
    scores : Tensor of shape (n, M, E)
        Log-likelihoods of the experts.
    right : Tensor of shape (n,)
        Index of the right pattern.
    log_weights : Tensor of shape (M,) or None
        Log-weights of the patterns.
    """
    _, n_patterns, n_experts = scores.shape
    prior = scores.new_zeros(n_patterns) if log_weights is None else log_weights
    scores = scores - scores.mean(1, keepdim=True)

    def loss(exponents):
        pooled = scores @ exponents + prior
        own = pooled.gather(1, right[:, None])[:, 0]
        return (torch.logsumexp(pooled, 1) - own).mean()

    starts = torch.eye(n_experts, dtype=scores.dtype, device=scores.device)
    starts = torch.cat([starts * value for value in _START_EXPONENTS])
    losses = torch.stack([loss(start) for start in starts])
    start = starts[losses.argmin()]
    scale = start.max()
    # theta = root ** 2 keeps the exponents from going below zero.
    root = (start.sqrt() + 0.03 * scale.sqrt()).requires_grad_(True)
    optimiser = torch.optim.LBFGS([root], max_iter=60, line_search_fn="strong_wolfe")

    def closure():
        optimiser.zero_grad()
        pull = ((root.square() - start) / scale).square().sum()
        value = loss(root.square()) + RIDGE * pull
        value.backward()
        return value

    optimiser.step(closure)
    exponents = root.detach().square()
    better = torch.isfinite(exponents).all() and loss(exponents) < losses.min()
    return exponents if better else start
