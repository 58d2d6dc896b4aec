"""Shares of the candidates in an answer, from entries that were hidden."""

from __future__ import annotations

import torch
from torch import Tensor

STEPS = 200


def learn_shares(candidates: Tensor, values: Tensor, weights: Tensor) -> Tensor:
    """Shares (k,) on the simplex of the least squared error.

    Exponentiated gradients from equal shares (Kivinen and Warmuth, "Exponentiated
    gradient versus gradient descent for linear predictors", 1997).

    Parameters
    ----------
    candidates : Tensor of shape (k, m, v)
        Answers for hidden entries.
    values : Tensor of shape (m, v)
        The entries.
    weights : Tensor of shape (m,)
        Multiplicities.
    """
    off = (candidates - values).flatten(1)
    weighted = off * weights.repeat_interleave(values.shape[1])
    squares = weighted @ off.T / weights.sum()
    shares = torch.full_like(squares[0], 1 / len(squares))
    rate = 2 / squares.diagonal().max().clamp_min(1e-12)
    for _ in range(STEPS):
        shares = shares * (-rate * (squares @ shares)).exp()
        shares = shares / shares.sum()
    return shares


def learn_mixture(likelihoods: Tensor, weights: Tensor) -> Tensor:
    """Shares (k,) on the simplex of the largest likelihood, by EM.

    Parameters
    ----------
    likelihoods : Tensor of shape (k, m)
        Probability that a candidate gives to what a hidden entry was.
    weights : Tensor of shape (m,)
        Multiplicities.
    """
    shares = torch.full_like(likelihoods[:, 0], 1 / len(likelihoods))
    for _ in range(STEPS):
        joint = shares[:, None] * likelihoods
        blamed = joint / joint.sum(0).clamp_min(1e-12)
        shares = blamed @ weights
        shares = shares / shares.sum().clamp_min(1e-12)
    return shares
