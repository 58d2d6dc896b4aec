"""Thresholds: rows of scores solved for the tau that makes their weights sum to one.

Rows are those of scores (n, m); multiplicities `w` are common to all, (m,), or have a
row for each. A parameter is a number, or has a value for each row, (n, 1).
"""

from __future__ import annotations

import torch
from torch import Tensor

_NEWTON_STEPS = 100
_BISECTION_STEPS = 60
_LOOK_EVERY = 6
"""Steps of a bisection between looks whether it may end."""


def total(values: Tensor, w: Tensor | None) -> Tensor:
    """Weighted row sums; `w` is common to all rows or has a row for each."""
    if w is None:
        return values.sum(-1, keepdim=True)
    return values @ w[:, None] if w.ndim == 1 else (values * w).sum(-1, keepdim=True)


def find_threshold(
    z: Tensor, w: Tensor | None, exponent: float, steps: int = _NEWTON_STEPS
) -> Tensor:
    """Root tau of ``sum_i w_i (z_i - tau)_+ ** exponent = 1`` for every row.

    The left side is convex and falls with tau for ``exponent >= 1``, so Newton's
    steps from a point left of the root rise to it monotonically: no sorting, and
    the end is reached when no step rises any more.
    """
    start = z if w is None else z - w ** (-1 / exponent)
    tau = start.amax(-1, keepdim=True) - float(w is None)
    for _ in range(steps):
        risen = tau + _newton_step(z - tau, w, exponent).clamp_min_(0)
        if torch.equal(risen, tau):
            break
        tau = risen
    return tau


def _newton_step(gap: Tensor, w: Tensor | None, exponent: float) -> Tensor:
    """How much to take off every gap towards ``sum_i w_i gap_i ** exponent = 1``."""
    gap = gap.clamp_min(0)
    if isinstance(exponent, Tensor):
        slope = torch.where(gap > 0, gap ** (exponent - 1), 0)
    else:
        slope = gap ** (exponent - 1) if exponent != 1 else (gap > 0).to(gap.dtype)
    excess = total(slope * gap, w) - 1
    return excess / total(slope, w).mul_(exponent)


def _gaps(z: Tensor, w: Tensor | None, exponent: float) -> Tensor:
    """``(z_i - tau)_+``, to the precision of the gaps.

    With a thousand patterns of like scores the gaps are a thousandth and tau near
    one: its last bit, in every gap alike, is then seen in the answer. So the root is
    looked for once more, among the gaps themselves. The first step may go too far
    down, where a score of many copies counts that did not; then steps rise again.
    """
    gap = z - find_threshold(z, w, exponent)
    rest = _newton_step(gap, w, exponent)
    for _ in range(_NEWTON_STEPS):
        risen = rest + _newton_step(gap - rest, w, exponent).clamp_min_(0)
        if torch.equal(risen, rest):
            break
        rest = risen
    return (gap - rest).clamp_min_(0)


def find_ksubsets_threshold(z, w, k):
    """Scores from an origin next to the threshold, that, the threshold, whether few.

    Few is whether there are no more than k patterns, which all have weight.
    """
    missing = z == -torch.inf
    few = total((~missing).to(z.dtype), w) <= k
    best = torch.where(few, 0, _kth_best(z, w, k))
    # The threshold is at most 1 below the k-th best score: measured from there,
    # scores beyond 2 on either side have the same weight as at 2.
    z = (z - best).clamp(-2, 2)
    low, high = torch.full_like(z[..., :1], -1), torch.zeros_like(z[..., :1])
    low, high = _bisect(z, w, k, low, high)
    # Next to a score of many copies bits of the threshold count that it has only as a
    # small number.
    z, origin = z - low, best + low
    low, high = _bisect(z, w, k, torch.zeros_like(low), high - low)
    gap = z - (low + high) / 2
    # With the active set known the threshold is linear: solve for it exactly.
    full, free = (gap >= 1).to(z.dtype), ((gap > 0) & (gap < 1)).to(z.dtype)
    count, rest = total(free, w), total(full, w) - k

    def solve(z, otherwise):
        tau = (total(free * z, w) + rest) / count.clamp_min(1e-30)
        return torch.where(count > 0, tau, otherwise)

    tau = solve(z, (low + high) / 2)
    z, origin = z - tau, origin + tau
    tau = solve(z, torch.zeros_like(tau))
    return z.masked_fill(missing, -torch.inf), origin, tau, few


def _bisect(z, w, k, low, high):
    """Bounds of the threshold, until it is linear between them."""
    for step in range(_BISECTION_STEPS):
        if step % _LOOK_EVERY == 0 and _is_linear(z, low, high):
            break
        middle = (low + high) / 2
        heavy = total((z - middle).clamp_(0, 1), w) > k
        low, high = torch.where(heavy, middle, low), torch.where(heavy, high, middle)
    return low, high


def _is_linear(z: Tensor, low: Tensor, high: Tensor) -> bool:
    """Whether between low and high no score begins to count, or counts in full."""
    begins = (z > low) & (z < high)
    return not (begins | ((z - 1 > low) & (z - 1 < high))).any()


def _kth_best(z: Tensor, w: Tensor | None, k: int) -> Tensor:
    """Score of rank k, from the best, every pattern counted `w` times."""
    if w is None:
        return z.topk(min(int(k), z.shape[-1]), dim=-1).values[..., -1:]
    z, order = z.sort(-1, descending=True)
    w = w[order] if w.ndim == 1 else w.expand(z.shape).gather(-1, order)
    rank = (w.cumsum(-1) < k).sum(-1, keepdim=True)
    return z.gather(-1, rank.clamp_max(z.shape[-1] - 1))


def multiply_copies(p: Tensor, w: Tensor | None) -> Tensor:
    """Multiply weights of single copies by the multiplicities, if there are any."""
    return p if w is None else p * w


def normalise_copies(p: Tensor, w: Tensor | None) -> Tensor:
    """Weights of patterns from those of single copies, divided by their sum."""
    p = multiply_copies(p, w)
    return p / p.sum(-1, keepdim=True)


def solve_entmax(z, w, alpha):
    """Weights of `separations.entmax`."""
    z = (z - z.amax(-1, keepdim=True)) * (alpha - 1)
    exponent = 1 / (alpha - 1)
    return normalise_copies(_gaps(z, w, exponent) ** exponent, w)


def solve_normmax(z, w, gamma):
    """Weights of `separations.normmax`."""
    exponent = gamma / (gamma - 1)
    z = z - z.amax(-1, keepdim=True)
    return normalise_copies(_gaps(z, w, exponent) ** (exponent - 1), w)


def solve_ksubsets(z, w, k):
    """Weights of `separations.ksubsets`."""
    z, _, tau, few = find_ksubsets_threshold(z, w, k)
    p = z.sub(tau).clamp_(0, 1)
    return normalise_copies(torch.where(few, z.isfinite().to(z.dtype), p), w)
