"""A linear-Gaussian memory: slots M, answers ``w^T M`` for addresses w.

Rows x are written at addresses w: ``x = w^T M + noise``, with noise of variance
``sigma_j^2 / s`` in feature j for a row of weight s, and slots that are a priori
``N(0, sigma_j^2 / alpha)``. What has been written is kept as a triangular factor,

    F^T F = sum s w w^T,   F^T Z = sum s w x^T,

and the sum of squares that no slots can explain. A write is one QR decomposition of
the old factor with the new rows below it: recursive least squares as a square-root
information filter. Neither the order of the rows nor the way they are cut into writes
changes these sums, and the error grows with the condition of the addresses and not with
its square, as it does where the sums themselves are kept.

References
----------
Wu, Wayne, Graves, Lillicrap, "The Kanerva machine", ICLR 2018 (arXiv 1804.01756),
equations 6 to 8: the same update, row by row, of mean and covariance. Golub, "Numerical
methods for solving linear least squares problems", 1965; Bierman, "Factorization
methods for discrete sequential estimation", 1977: the factor. Bishop, "Pattern
recognition and machine learning", 2006, section 3.5: the evidence.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

_SMALLEST, _LARGEST, _STEPS = 1e-10, 1e2, 121
"""Prior precisions that the evidence chooses from, in parts of the largest squared
singular value of F, and their number."""
_LEAST_LEFT = 1e-6
"""Share of what a direction of the addresses has held that is left there at least where
rows are taken out: of less the rounding of doubles leaves no digits."""
NOISE_PRIOR = 1e-3
"""Noise as a share of a feature's mean square that one row before the first one has
had, so that a memory with a slot for every row does not believe itself to be exact."""


class Written(NamedTuple):
    """What is left of the rows that were written.

    Attributes
    ----------
    factor : Tensor of shape (K, K)
        F, upper triangular.
    rotated : Tensor of shape (K, d)
        Z.
    residual : Tensor of shape (d,)
        Sum of squares of each feature that is left with the best slots there are.
    address_sum : Tensor of shape (K,)
        ``sum s w``.
    total : Tensor of shape ()
        ``sum s``.
    """

    factor: Tensor
    rotated: Tensor
    residual: Tensor
    address_sum: Tensor
    total: Tensor


class Posterior(NamedTuple):
    """The memory after the rows have been seen.

    Attributes
    ----------
    slots : Tensor of shape (K, d)
        Posterior mean of M.
    precision_factor : Tensor of shape (K, K)
        Upper triangular R, ``R^T R = F^T F + alpha I``: the posterior covariance of a
        feature's slots is ``sigma_j^2 (R^T R)^-1``.
    noise_variance : Tensor of shape (d,)
        ``sigma_j^2``, where its posterior has its mode.
    """

    slots: Tensor
    precision_factor: Tensor
    noise_variance: Tensor


def blank(n_slots: int, like: Tensor) -> Written:
    """Nothing written yet; `like` has a column for every feature."""
    return Written(
        like.new_zeros((n_slots, n_slots)),
        like.new_zeros((n_slots, like.shape[1])),
        like.new_zeros(like.shape[1]),
        like.new_zeros(n_slots),
        like.new_zeros(()),
    )


def write(memory: Written, w: Tensor, X: Tensor, weights: Tensor | None) -> Written:
    """Write rows X, shape (n, d), at addresses w, shape (n, K)."""
    count = float(len(X)) if weights is None else weights.sum()
    address_sum = memory.address_sum + (w.sum(0) if weights is None else weights @ w)
    if weights is not None:
        root = weights.sqrt()[:, None]
        w, X = w * root, X * root
    factor, rotated, left = _eliminate(memory.factor, memory.rotated, w, X)
    return Written(
        factor, rotated, memory.residual + left, address_sum, memory.total + count
    )


def _eliminate(factor: Tensor, rotated: Tensor, w: Tensor, X: Tensor):
    """Put rows below a factor; what is left of X below it as sums of squares."""
    K = w.shape[1]
    reflectors, scale = torch.geqrf(torch.cat([factor, w]))
    right = torch.ormqr(reflectors, scale, torch.cat([rotated, X]), transpose=True)
    triangle = reflectors[:K].triu()
    return triangle.contiguous(), right[:K].contiguous(), right[K:].square().sum(0)


def erase(memory: Written, w: Tensor, X: Tensor, weights: Tensor | None) -> Written:
    """Take rows out again that were written, shape (n, d), at addresses (n, K).

    With ``P = F^-T W^T`` and the Cholesky factor C of what is left, ``C^T C = I - P
    P^T``, the factor becomes ``C F``: the condition is not squared, as it would be by
    way of the sums (Stewart, "The effects of rounding error on an algorithm for
    downdating a Cholesky factorization", 1979).

    Raises
    ------
    ValueError
        If nothing definite would be left: rows that were not written, or the last ones
        that some slot knows.
    """
    count = float(len(X)) if weights is None else weights.sum()
    address_sum = memory.address_sum - (w.sum(0) if weights is None else weights @ w)
    if weights is not None:
        root = weights.sqrt()[:, None]
        w, X = w * root, X * root
    size = memory.factor.diagonal().abs()
    definite = bool(size.min() > _LEAST_LEFT * size.max()) and memory.total > count
    if definite:
        P = torch.linalg.solve_triangular(memory.factor.T, w.T, upper=False)
        left = torch.eye(len(P), dtype=P.dtype, device=P.device) - P @ P.T
        C, failed = torch.linalg.cholesky_ex(left, upper=True)
        definite = not failed and bool(C.diagonal().min() > _LEAST_LEFT)
    if not definite:
        raise ValueError(
            "forget must be given rows that were written, and leave more of them than "
            f"the {len(size)} slots can tell from noise. Got {len(X)} rows that cannot "
            "be taken out: fit a memory of the others."
        )
    rotated = torch.linalg.solve_triangular(C.T, memory.rotated - P @ X, upper=False)
    squares = memory.rotated.square().sum(0) - X.square().sum(0)
    residual = (memory.residual + squares - rotated.square().sum(0)).clamp_min_(0)
    return Written(
        C @ memory.factor, rotated, residual, address_sum, memory.total - count
    )


def unite(memory: Written, other: Written) -> Written:
    """All rows of two memories that have the same addresses."""
    factor, rotated, left = _eliminate(
        memory.factor, memory.rotated, other.factor, other.rotated
    )
    return Written(
        factor,
        rotated,
        memory.residual + other.residual + left,
        memory.address_sum + other.address_sum,
        memory.total + other.total,
    )


def best_alpha(memory: Written) -> float:
    """Prior precision of the largest evidence, the noise levels integrated out.

    In the basis of the singular vectors of F the evidence is a sum over K numbers, so
    all candidates are looked at.
    """
    u, s, _ = torch.linalg.svd(memory.factor)
    squared = s.square()
    largest = squared.max()
    if largest == 0:
        return 1.0
    steps = torch.linspace(0, 1, _STEPS, dtype=s.dtype, device=s.device)
    alpha = largest * _SMALLEST * (_LARGEST / _SMALLEST) ** steps
    shrunk = alpha[:, None] / (squared + alpha[:, None])
    explained = (u.T @ memory.rotated).square()
    known = memory.residual + explained.sum(0)
    left = memory.residual + shrunk @ explained + NOISE_PRIOR * _mean_square(memory)
    left = left[:, known > 0]
    evidence = left.shape[1] * shrunk.log().sum(1) / 2
    evidence -= (memory.total + 1) / 2 * left.log().sum(1)
    return alpha[evidence.argmax()].item()


def _mean_square(memory: Written) -> Tensor:
    return (memory.residual + memory.rotated.square().sum(0)) / memory.total


def posterior(memory: Written, alpha: float) -> Posterior:
    """Slots, their precision and the noise, for a prior of precision `alpha`."""
    like = memory.factor
    prior = torch.eye(len(like), dtype=like.dtype, device=like.device).mul_(alpha**0.5)
    factor, rotated, left = _eliminate(
        memory.factor, memory.rotated, prior, torch.zeros_like(memory.rotated)
    )
    slots = torch.linalg.solve_triangular(factor, rotated, upper=True)
    left = memory.residual + left
    noise = (left + NOISE_PRIOR * _mean_square(memory)) / (memory.total + 1)
    # What never varies, or is explained, leaves the rounding of rows of size 1.
    eps = torch.finfo(noise.dtype).eps
    noise = noise.clamp_min(max(eps * noise.mean().item(), eps**2))
    return Posterior(slots, factor, noise)


def variance(precision_factor: Tensor, w: Tensor) -> Tensor:
    """``w^T (R^T R)^-1 w``, shape (n,): what the slots are not sure of at w."""
    solved = torch.linalg.solve_triangular(precision_factor.T, w.T, upper=False)
    return solved.square().sum(0)


def draw_addresses(
    factor: Tensor, address_sum: Tensor, count: Tensor, noise: Tensor
) -> Tensor:
    """Addresses (n, K) from the Gaussian with the moments of those written.

    `noise` is standard normal, shape (n, K). In exact arithmetic the covariance,
    ``F^T F / count - m m^T``, has no negative eigenvalue.
    """
    mean = address_sum / count
    covariance = factor.T @ factor / count - torch.outer(mean, mean)
    values, vectors = torch.linalg.eigh(covariance)
    return mean + (noise * values.clamp_min(0).sqrt()) @ vectors.T
