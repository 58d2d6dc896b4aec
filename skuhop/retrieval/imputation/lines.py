"""Conditional means of a Gaussian: the line along which a row says what it lacks.

With K the inverse of the covariance of the observed entries, padded by zeros, and
``a = K (x - mean)``, all conditional means are ``mean + covariance a``: an observed
entry gets itself, a missing one its regression on what is observed. What the row would
say without some observed entries G follows from the same K,

    a - K[:, G] inv(K[G, G]) a[G],

so that every entry can be hidden in turn at the price of one product (the inverse of a
matrix less some rows and columns: Golub and Van Loan, "Matrix computations", 2.1.4).
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class Gaussian(NamedTuple):
    """Mean (D,) and covariance (D, D) of the coordinates."""

    mean: Tensor
    covariance: Tensor


class Solved(NamedTuple):
    """Rows against a Gaussian.

    Attributes
    ----------
    inverses : Tensor of shape (m, D, D)
        K of every distinct set of observed entries.
    numbers : Tensor of shape (n,)
        Which of the sets a row has.
    pulls : Tensor of shape (n, D)
        ``a = K (x - mean)``, zero where missing.
    observed : Tensor of shape (n, D)
        Whether an entry is there.
    """

    inverses: Tensor
    numbers: Tensor
    pulls: Tensor
    observed: Tensor


_BATCH = 2**22
"""Numbers in a stack of matrices at once."""


def solve_masks(Z: Tensor, gaussian: Gaussian) -> Solved:
    """Solve every row for its observed entries.

    Parameters
    ----------
    Z : Tensor of shape (n, D)
        Rows, NaN where missing.
    gaussian : Gaussian
        Positive definite.
    """
    observed = ~Z.isnan()
    masks, numbers = observed.unique(dim=0, return_inverse=True)
    step = max(1, _BATCH // max(1, Z.shape[1] ** 2))
    inverses = [_invert(part, gaussian.covariance) for part in masks.split(step)]
    K = torch.cat(inverses) if inverses else Z.new_zeros(0, *[Z.shape[1]] * 2)
    deviations = torch.where(observed, Z - gaussian.mean, 0)
    return Solved(K, numbers, _multiply(K, numbers, deviations), observed)


def _invert(masks, covariance):
    """Inverses of the observed parts, zero elsewhere."""
    m = masks.to(covariance.dtype)
    both = m[:, :, None] * m[:, None, :]
    padded = covariance * both + torch.diag_embed(1 - m)
    return torch.cholesky_inverse(torch.linalg.cholesky(padded)) * both


def _multiply(K, numbers, vectors):
    """``K[numbers[i]] @ vectors[i]`` for every row i."""
    step = max(1, _BATCH // max(1, K.shape[-1] ** 2))
    parts = [
        torch.einsum("nij,nj->ni", K[some], rows)
        for some, rows in zip(numbers.split(step), vectors.split(step), strict=True)
    ]
    return torch.cat(parts) if parts else vectors


def multiply_solved(solved: Solved, vectors: Tensor) -> Tensor:
    """``K_i @ vectors[i]`` for every row i, shape (n, D)."""
    return _multiply(solved.inverses, solved.numbers, vectors)


def complete(solved: Solved, gaussian: Gaussian) -> Tensor:
    """Conditional means (n, D) of all entries; an observed one has itself."""
    return gaussian.mean + solved.pulls @ gaussian.covariance


def complete_without(solved: Solved, gaussian: Gaussian, group: slice) -> Tensor:
    """Conditional means (n, D) as if the coordinates of a group were missing too."""
    K = solved.inverses[:, :, group]
    inside = K[:, group, :]
    absent = (inside.diagonal(dim1=1, dim2=2) == 0).to(K.dtype)
    # Of what is missing anyway nothing is taken away.
    factor = torch.linalg.solve(inside + torch.diag_embed(absent), K, left=False)
    off = torch.einsum("nig,ng->ni", factor[solved.numbers], solved.pulls[:, group])
    return gaussian.mean + (solved.pulls - off) @ gaussian.covariance


def lines_of_hidden(Z: Tensor, solved: Solved, group: slice) -> Tensor:
    """Conditional means (n, g) of the coordinates of a group as if they were missing.

    Those of `complete_without` where they are there; NaN where they are not.
    """
    inside = solved.inverses[:, group, group]
    absent = (inside.diagonal(dim1=1, dim2=2) == 0).to(inside.dtype)
    inverses = torch.linalg.inv(inside + torch.diag_embed(absent))
    off = _multiply(inverses, solved.numbers, solved.pulls[:, group])
    return Z[:, group] - off


def conditional_variances(solved: Solved, gaussian: Gaussian) -> Tensor:
    """Variances (n, D) of the entries given what is observed; 0 of observed ones."""
    S = gaussian.covariance
    explained = torch.einsum("ij,mjk,ki->mi", S, solved.inverses, S)
    variances = (S.diagonal() - explained).clamp_min(0)[solved.numbers]
    return variances.where(~solved.observed, 0)
