"""Sparse weights are an optimum: rows are solved in steps, and differentiated in none.

At the optimum the steps that led there do not matter. With weights ``w_i p_i``,
``p_i = f(z_i - tau)`` and a threshold tau that a constraint fixes, the gradient of a
loss with the derivatives g is ``a_i (g_i - <q, g>)``, less ``q_i`` times the sum of
that, where ``a_i = w_i f'(z_i - tau)`` and q says how tau follows the scores. All of it
can be had from the weights, which are what is kept for the backward pass.

Rejected: to let autograd record the steps. It keeps every step's gaps, and its gradient
is that of steps which stopped where rounding did.

References
----------
Blondel, Martins, Niculae, "Learning with Fenchel-Young losses", JMLR 2020 (arXiv
1901.02324). Peters, Niculae, Martins, "Sparse sequence-to-sequence models", ACL 2019
(arXiv 1905.05702): the Jacobian of entmax.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from skuhop.retrieval.thresholds import (
    multiply_copies,
    solve_entmax,
    solve_ksubsets,
    solve_normmax,
)

_AT_ONCE = 2**16
"""Scores solved at a time on the CPU: the steps then stay in the cache."""


class Optimum(NamedTuple):
    """A rule whose weights are solved for.

    Attributes
    ----------
    solve : callable
        ``(z, w, theta) -> weights`` for scores (n, m).
    gradients : callable
        ``(g, p, w, theta, needs) -> (of z, of w, of theta)`` for derivatives g (n, m)
        and weights p per copy; what is not in `needs` may be None.
    """

    solve: Callable
    gradients: Callable


def _sum(values: Tensor) -> Tensor:
    return values.sum(-1, keepdim=True)


def entmax_gradients(g, p, w, alpha, needs):
    """``f'(z - tau) = p ** (2 - alpha)`` where there is weight."""
    a = multiply_copies(torch.where(p > 0, p ** (2 - alpha), 0), w)
    centred = g - _sum(a * g) / _sum(a)
    of_w = p * centred if needs[1] else None
    of_alpha = None
    if needs[2]:
        slope = p * (1 / (alpha - 1) - _log(p)) / (alpha - 1)
        of_alpha = _sum(multiply_copies(slope * centred, w))
    return a * centred, of_w, of_alpha


def normmax_gradients(g, p, w, gamma, needs):
    """``p / |p| = (z - tau) ** (1 / (gamma - 1))``, and tau follows p itself."""
    size = _sum(multiply_copies(p**gamma, w)) ** (1 / gamma)
    unit = p / size
    slope = torch.where(p > 0, unit ** (2 - gamma), 0) * size / (gamma - 1)
    centred = g - _sum(multiply_copies(p * g, w))
    moved = multiply_copies(slope * centred, w)
    rest = _sum(moved)
    of_w = of_gamma = None
    if needs[1]:
        of_w = p * centred - rest * size * (gamma - 1) / gamma * unit**gamma
    if needs[2]:
        log_unit = _log(unit)
        direct = _sum(multiply_copies(p * log_unit * centred, w)) / (gamma - 1)
        of_gamma = (
            rest * size / gamma * _sum(multiply_copies(unit**gamma * log_unit, w))
        )
        of_gamma = of_gamma - direct
    return moved - multiply_copies(p, w) * rest, of_w, of_gamma


def ksubsets_gradients(g, p, w, k, needs):
    """Weights between 0 and 1 / k move with the threshold, the others not at all."""
    full = 1 - 64 * torch.finfo(p.dtype).eps
    a = multiply_copies(((p > 0) & (k * p < full)).to(p.dtype) / k, w)
    count = _sum(a)
    mean = _sum(a * g) / count.where(count > 0, 1)
    # Where no weight is free, or all k patterns are needed, copies alone move weights.
    centred = g - torch.where(count > 0, mean, _sum(multiply_copies(p * g, w)))
    return a * centred, p * centred if needs[1] else None, None


def _log(p: Tensor) -> Tensor:
    """Logarithm of weights, 0 where there is none."""
    return torch.where(p > 0, p, 1).log()


RULES = {
    "entmax": Optimum(solve_entmax, entmax_gradients),
    "normmax": Optimum(solve_normmax, normmax_gradients),
    "ksubsets": Optimum(solve_ksubsets, ksubsets_gradients),
}


def solve_rows(
    z: Tensor, w: Tensor | None, theta: Tensor | None, number: float, rule: str
) -> Tensor:
    """Solve rows (n, m), on the CPU as many at a time as the cache holds."""
    solve = RULES[rule].solve
    if z.device.type != "cpu" or z.numel() <= _AT_ONCE:
        return solve(z, w, number if theta is None else theta)
    weights = torch.empty_like(z)
    for rows in _row_slices(z):
        own_w = w if w is None or w.ndim == 1 else w[rows]
        weights[rows] = solve(z[rows], own_w, number if theta is None else theta[rows])
    return weights


def _row_slices(z: Tensor) -> list[slice]:
    step = max(1, _AT_ONCE // max(1, z.shape[1]))
    return [slice(start, start + step) for start in range(0, len(z), step)]


# A compiler cannot follow steps whose number depends on the scores: to it they are one
# operation.
_solve_op = torch.library.custom_op(
    "skuhop::solve_rows",
    solve_rows,
    mutates_args=(),
    schema="(Tensor z, Tensor? w, Tensor? theta, float number, str rule) -> Tensor",
)
_solve_op.register_fake(lambda z, w, theta, number, rule: torch.empty_like(z))


class _AtOptimum(torch.autograd.Function):
    """Weights of rows, with the gradient of the optimum."""

    @staticmethod
    def forward(ctx, z, w, theta, number, rule):
        """Solve; only the weights are kept."""
        solve = _solve_op if torch.compiler.is_compiling() else solve_rows
        weights = solve(z, w, theta, number, rule)
        ctx.save_for_backward(weights, w, theta)
        ctx.number, ctx.rule = number, rule
        return weights

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, g):
        """Gradients of scores, multiplicities and the rule's parameter."""
        weights, w, theta = ctx.saved_tensors
        of_rows = RULES[ctx.rule].gradients
        needs = ctx.needs_input_grad
        whole = torch.compiler.is_compiling() or weights.device.type != "cpu"
        parts = []
        for rows in [slice(None)] if whole else _row_slices(weights):
            own_w = w if w is None or w.ndim == 1 else w[rows]
            own_theta = ctx.number if theta is None else theta[rows]
            p = weights[rows] if w is None else weights[rows] / own_w
            parts.append(of_rows(g[rows], p, own_w, own_theta, needs))
        of_z, of_w, of_theta = (
            None if column[0] is None else torch.cat(column)
            for column in zip(*parts, strict=True)
        )
        if of_w is not None and w.ndim == 1:
            of_w = of_w.sum(0)
        return of_z, of_w, of_theta, None, None


def weights_at_optimum(
    rule: str, z: Tensor, w: Tensor | None, theta: Tensor | float
) -> Tensor:
    """Weights of scores (..., m) by a row of `RULES`.

    `theta` is the rule's parameter: a number, or a tensor that broadcasts over the rows
    and ends in a dimension of 1.

    Raises
    ------
    ValueError
        If the multiplicities are not those of the m patterns.
    """
    if z.ndim == 0 or (w is not None and w.shape[-1] != z.shape[-1]):
        raise ValueError(
            "Scores must be (..., n_patterns), and multiplicities (n_patterns,) or of "
            f"the shape of the scores; got {tuple(z.shape)} and "
            f"{None if w is None else tuple(w.shape)}."
        )
    rows = z.reshape(-1, z.shape[-1])
    if w is not None and w.ndim > 1:
        w = w.expand(z.shape).reshape(rows.shape)
    number = 0.0
    if isinstance(theta, Tensor):
        theta = theta.to(z).expand(*z.shape[:-1], 1).reshape(-1, 1)
    else:
        number, theta = theta, None
    given = rows, w, theta, number, rule
    if torch.compiler.is_compiling() or _needs_gradient(rows, w, theta):
        return _AtOptimum.apply(*given).reshape(z.shape)
    return solve_rows(*given).reshape(z.shape)


def _needs_gradient(*tensors: Tensor | None) -> bool:
    return torch.is_grad_enabled() and any(
        tensor is not None and tensor.requires_grad for tensor in tensors
    )
