"""Separations: from the scores of one query to weights over the patterns.

A separation solves ``argmax_p <z, p> - Omega(p)`` over the simplex. Every
function takes the multiplicities `w` of the patterns (None: one each) and treats
a pattern of multiplicity 2 exactly like two copies of it: the copies share one
weight ``p_i``, the constraint is ``sum_i w_i p_i = 1``, and what is returned is
``w_i p_i``. Adding ``log w`` to the scores would be right for softmax alone.

References
----------
Martins et al., "Hopfield-Fenchel-Young networks", 2024 (arXiv 2411.08590):
entmax, normmax, k-subsets. Hu et al., "Outlier-efficient Hopfield layers", ICML
2024 (arXiv 2404.03828): softmax1. Krotov and Hopfield, "Dense associative
memory", NeurIPS 2016: polynomial.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from types import MappingProxyType
from typing import NamedTuple

import torch
from torch import Tensor


class Separation(NamedTuple):
    """One rule that turns scores into weights.

    Attributes
    ----------
    weights : callable
        ``(z, w, **params) -> p``, rows of `p` sum to one (to less for softmax1).
    conjugate : callable or None
        ``(z, p, w, **params) -> Psi*(z)``, the convex conjugate that enters the
        energy, given the maximiser `p`; None where no energy is known.
    lift : callable or None
        ``(z, top, **params) -> u``, unnormalised weights (n, m) of scores z when the
        best score is `top`, shape (n, 1), and one for the best; may overwrite z. None
        where the weight depends on more than the best score.
    floor : callable or None
        ``(z, w, **params) -> tau``, shape (n, 1): a pattern below has no weight in any
        memory that has these scores among its own. None where there is a `lift`.
    defaults : mapping
        Parameters and their defaults.
    null : bool
        Whether a stored "nothing" takes part, whose score is the zero. Without it the
        weights do not change when all scores of a query shift together.
    shift_invariant : bool
        Whether ``weights(z + c) == weights(z)``.
    """

    weights: Callable
    conjugate: Callable | None
    lift: Callable | None = None
    floor: Callable | None = None
    defaults: Mapping = MappingProxyType({})
    null: bool = False
    shift_invariant: bool = True


_NEWTON_STEPS = 100
_FLOOR_STEPS = 8
"""Newton's steps rise to the threshold: after any number of them it is a floor."""
_BISECTION_STEPS = 60
_LOOK_EVERY = 6
"""Steps of a bisection between looks whether it may end."""


def _multiply(p: Tensor, w: Tensor | None) -> Tensor:
    return p if w is None else p * w


def _total(values: Tensor, w: Tensor | None) -> Tensor:
    """Weighted row sums; `w` is common to all rows or has a row for each."""
    if w is None:
        return values.sum(1, keepdim=True)
    return values @ w[:, None] if w.ndim == 1 else (values * w).sum(1, keepdim=True)


def _per_copy(p: Tensor, w: Tensor | None) -> Tensor:
    return p if w is None else p / w


def threshold(
    z: Tensor, w: Tensor | None, exponent: float, steps: int = _NEWTON_STEPS
) -> Tensor:
    """Root tau of ``sum_i w_i (z_i - tau)_+ ** exponent = 1`` for every row.

    The left side is convex and falls with tau for ``exponent >= 1``, so Newton's
    steps from a point left of the root rise to it monotonically: no sorting, and
    the end is reached when no step rises any more.
    """
    start = z if w is None else z - w ** (-1 / exponent)
    tau = start.amax(1, keepdim=True) - float(w is None)
    for _ in range(steps):
        risen = tau + _newton_step(z - tau, w, exponent).clamp_min_(0)
        if torch.equal(risen, tau):
            break
        tau = risen
    return tau


def _newton_step(gap: Tensor, w: Tensor | None, exponent: float) -> Tensor:
    """How much to take off every gap towards ``sum_i w_i gap_i ** exponent = 1``."""
    gap = gap.clamp_min(0)
    slope = gap ** (exponent - 1) if exponent != 1 else (gap > 0).to(gap.dtype)
    excess = _total(slope * gap, w) - 1
    return excess / _total(slope, w).mul_(exponent)


def _gaps(z: Tensor, w: Tensor | None, exponent: float) -> Tensor:
    """``(z_i - tau)_+``, to the precision of the gaps.

    With a thousand patterns of like scores the gaps are a thousandth and tau near
    one: its last bit, in every gap alike, is then seen in the answer. So the root is
    looked for once more, among the gaps themselves. The first step may go too far
    down, where a score of many copies counts that did not; then steps rise again.
    """
    gap = z - threshold(z, w, exponent)
    rest = _newton_step(gap, w, exponent)
    for _ in range(_NEWTON_STEPS):
        risen = rest + _newton_step(gap - rest, w, exponent).clamp_min_(0)
        if torch.equal(risen, rest):
            break
        rest = risen
    return (gap - rest).clamp_min_(0)


def _safe(floor: Tensor, *sizes: Tensor) -> Tensor:
    """Floor less the rounding of what it is the sum of."""
    size = sum(size.abs() for size in sizes)
    return floor - 8 * torch.finfo(floor.dtype).eps * size


def softmax(z, w):
    """``exp(z_i) / sum_j exp(z_j)``."""
    return torch.softmax(z if w is None else z + w.log(), 1)


def _exponential(z, top):
    return z.sub_(top).exp_()


def _softmax_conjugate(z, p, w):
    return torch.logsumexp(z if w is None else z + w.log(), 1)


def softmax1(z, w):
    """``exp(z_i) / (1 + sum_j exp(z_j))``: the missing weight is on "nothing"."""
    z = torch.nn.functional.pad(z if w is None else z + w.log(), (0, 1))
    return torch.softmax(z, 1)[:, :-1]


def _softmax1_conjugate(z, p, w):
    z = torch.nn.functional.pad(z if w is None else z + w.log(), (0, 1))
    return torch.logsumexp(z, 1)


def entmax(z, w, alpha):
    """Tsallis alpha-entmax: ``[(alpha - 1) z - tau]_+ ** (1 / (alpha - 1))``."""
    z = (z - z.amax(1, keepdim=True)) * (alpha - 1)
    exponent = 1 / (alpha - 1)
    return _normalise(_gaps(z, w, exponent) ** exponent, w)


def _entmax_floor(z, w, alpha):
    top = z.amax(1, keepdim=True)
    scaled = (z - top) * (alpha - 1)
    tau = threshold(scaled, w, 1 / (alpha - 1), _FLOOR_STEPS) / (alpha - 1)
    return _safe(top + tau, top, tau)


def _entmax_conjugate(z, p, w, alpha):
    copies = _per_copy(p, w)
    entropy = (copies - copies**alpha) / (alpha * (alpha - 1))
    return (p * _masked(z, p)).sum(1) + _total(entropy, w)[:, 0]


def normmax(z, w, gamma):
    """``argmax_p <z, p> - ||p||_gamma``."""
    exponent = gamma / (gamma - 1)
    z = z - z.amax(1, keepdim=True)
    return _normalise(_gaps(z, w, exponent) ** (exponent - 1), w)


def _normmax_floor(z, w, gamma):
    top = z.amax(1, keepdim=True)
    tau = threshold(z - top, w, gamma / (gamma - 1), _FLOOR_STEPS)
    return _safe(top + tau, top, tau)


def _normmax_conjugate(z, p, w, gamma):
    norm = _total(_per_copy(p, w) ** gamma, w)[:, 0] ** (1 / gamma)
    return (p * _masked(z, p)).sum(1) - norm + 1


def ksubsets(z, w, k):
    """Euclidean projection onto ``{0 <= p <= 1, sum p = k}``, divided by k.

    The division makes the answer the mean of the k patterns that win clearly
    rather than their sum, and leaves ``k = 1`` to be sparsemax. A memory of fewer
    than k patterns answers with all of them.
    """
    z, _, tau, few = _ksubsets_threshold(z, w, k)
    p = z.sub(tau).clamp_(0, 1)
    return _normalise(torch.where(few, z.isfinite().to(z.dtype), p), w)


def _ksubsets_floor(z, w, k):
    _, origin, tau, few = _ksubsets_threshold(z, w, k)
    return torch.where(few, -torch.inf, _safe(origin + tau, origin, tau + 1))


def _ksubsets_threshold(z, w, k):
    """Scores from an origin next to the threshold, that, the threshold, whether few.

    Few is whether there are no more than k patterns, which all have weight.
    """
    missing = z == -torch.inf
    few = _total((~missing).to(z.dtype), w) <= k
    best = torch.where(few, 0, _kth_best(z, w, k))
    # The threshold is at most 1 below the k-th best score: measured from there,
    # scores beyond 2 on either side have the same weight as at 2.
    z = (z - best).clamp(-2, 2)
    low, high = torch.full_like(z[:, :1], -1), torch.zeros_like(z[:, :1])
    low, high = _bisect(z, w, k, low, high)
    # Next to a score of many copies bits of the threshold count that it has only as a
    # small number.
    z, origin = z - low, best + low
    low, high = _bisect(z, w, k, torch.zeros_like(low), high - low)
    gap = z - (low + high) / 2
    # With the active set known the threshold is linear: solve for it exactly.
    full, free = (gap >= 1).to(z.dtype), ((gap > 0) & (gap < 1)).to(z.dtype)
    count, rest = _total(free, w), _total(full, w) - k

    def solved(z, otherwise):
        tau = (_total(free * z, w) + rest) / count.clamp_min(1e-30)
        return torch.where(count > 0, tau, otherwise)

    tau = solved(z, (low + high) / 2)
    z, origin = z - tau, origin + tau
    tau = solved(z, torch.zeros_like(tau))
    return z.masked_fill(missing, -torch.inf), origin, tau, few


def _bisect(z, w, k, low, high):
    """Bounds of the threshold, until it is linear between them."""
    for step in range(_BISECTION_STEPS):
        if step % _LOOK_EVERY == 0 and _is_linear(z, low, high):
            break
        middle = (low + high) / 2
        heavy = _total((z - middle).clamp_(0, 1), w) > k
        low, high = torch.where(heavy, middle, low), torch.where(heavy, high, middle)
    return low, high


def _is_linear(z: Tensor, low: Tensor, high: Tensor) -> bool:
    """Whether between low and high no score begins to count, or counts in full."""
    begins = (z > low) & (z < high)
    return not (begins | ((z - 1 > low) & (z - 1 < high))).any()


def _kth_best(z: Tensor, w: Tensor | None, k: int) -> Tensor:
    """Score of rank k, from the best, every pattern counted `w` times."""
    if w is None:
        return z.topk(min(k, z.shape[1]), dim=1).values[:, -1:]
    z, order = z.sort(1, descending=True)
    w = w[order] if w.ndim == 1 else w.gather(1, order)
    rank = (w.cumsum(1) < k).sum(1, keepdim=True)
    return z.gather(1, rank.clamp_max(z.shape[1] - 1))


def _ksubsets_conjugate(z, p, w, k):
    copies = _per_copy(p, w) * k
    entropy = (copies - copies**2) / (2 * k)
    return (p * _masked(z, p)).sum(1) + _total(entropy, w)[:, 0]


def polynomial(z, w, degree):
    """``max(z_i, 0) ** degree``, normalised.

    Where no score is positive nothing is left to normalise: the best pattern
    answers, which is also the limit as the best score falls to zero.
    """
    return _normalise(_powers(z, z.amax(1, keepdim=True), degree), w)


def _powers(z, top, degree):
    powers = (z.clamp_min(0) / torch.where(top > 0, top, 1)) ** degree
    return torch.where(top > 0, powers, (z == top).to(z.dtype))


def hard_max(z, w):
    """All weight on the best pattern, shared between exact ties."""
    return _normalise(_is_top(z, z.amax(1, keepdim=True)), w)


def _is_top(z, top):
    return (z == top).to(z.dtype)


def _max_conjugate(z, p, w):
    return z.amax(1)


def _normalise(p: Tensor, w: Tensor | None) -> Tensor:
    p = _multiply(p, w)
    return p / p.sum(1, keepdim=True)


def _masked(z: Tensor, p: Tensor) -> Tensor:
    """Scores where there is weight: ``0 * -inf`` must count as nothing."""
    return torch.where(p > 0, z, 0)


SEPARATIONS = {
    "softmax": Separation(softmax, _softmax_conjugate, lift=_exponential),
    # Euclidean projection onto the simplex: entmax at alpha = 2.
    "sparsemax": Separation(
        partial(entmax, alpha=2.0),
        partial(_entmax_conjugate, alpha=2.0),
        floor=partial(_entmax_floor, alpha=2.0),
    ),
    "entmax": Separation(
        entmax, _entmax_conjugate, floor=_entmax_floor, defaults={"alpha": 1.5}
    ),
    "normmax": Separation(
        normmax, _normmax_conjugate, floor=_normmax_floor, defaults={"gamma": 2.0}
    ),
    "ksubsets": Separation(
        ksubsets, _ksubsets_conjugate, floor=_ksubsets_floor, defaults={"k": 2}
    ),
    "softmax1": Separation(
        softmax1,
        _softmax1_conjugate,
        lift=_exponential,
        null=True,
        shift_invariant=False,
    ),
    "polynomial": Separation(
        polynomial, None, lift=_powers, defaults={"degree": 4}, shift_invariant=False
    ),
    "max": Separation(hard_max, _max_conjugate, lift=_is_top),
}


def separation_rule(name: str, params: Mapping) -> tuple[Separation, Mapping]:
    """Row of the table and its parameters; entmax at alpha = 1 is its limit softmax."""
    if name == "entmax" and params["alpha"] == 1:
        return SEPARATIONS["softmax"], {}
    return SEPARATIONS[name], params
