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
    defaults : mapping
        Parameters and their defaults.
    null : bool
        Whether a stored "nothing" of score 0 takes part. Without it the weights do
        not change when all scores of a query shift together.
    shift_invariant : bool
        Whether ``weights(z + c) == weights(z)``.
    """

    weights: Callable
    conjugate: Callable | None
    defaults: Mapping = MappingProxyType({})
    null: bool = False
    shift_invariant: bool = True

    @property
    def streams(self) -> bool:
        """Whether blocks of patterns merge by running maximum and normaliser."""
        return self.weights in (softmax, softmax1)


_NEWTON_STEPS = 100
_BISECTION_STEPS = 60


def _multiply(p: Tensor, w: Tensor | None) -> Tensor:
    return p if w is None else p * w


def _total(values: Tensor, w: Tensor | None) -> Tensor:
    return values.sum(1, keepdim=True) if w is None else values @ w[:, None]


def _per_copy(p: Tensor, w: Tensor | None) -> Tensor:
    return p if w is None else p / w


def threshold(z: Tensor, w: Tensor | None, exponent: float) -> Tensor:
    """Root tau of ``sum_i w_i (z_i - tau)_+ ** exponent = 1`` for every row.

    The left side is convex and falls with tau for ``exponent >= 1``, so Newton's
    steps from a point left of the root rise to it monotonically: no sorting, and
    the end is reached when no step rises any more.
    """
    start = z if w is None else z - w ** (-1 / exponent)
    tau = start.amax(1, keepdim=True) - float(w is None)
    for _ in range(_NEWTON_STEPS):
        gap = (z - tau).clamp_min_(0)
        slope = gap ** (exponent - 1) if exponent != 1 else (gap > 0).to(z.dtype)
        excess = _total(slope * gap, w) - 1
        step = excess / _total(slope, w).mul_(exponent)
        risen = tau + step.clamp_min_(0)
        if torch.equal(risen, tau):
            break
        tau = risen
    return tau


def softmax(z, w):
    """``exp(z_i) / sum_j exp(z_j)``."""
    return torch.softmax(z if w is None else z + w.log(), 1)


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
    p = (z - threshold(z, w, exponent)).clamp_min_(0) ** exponent
    return _normalise(p, w)


def _entmax_conjugate(z, p, w, alpha):
    copies = _per_copy(p, w)
    entropy = (copies - copies**alpha) / (alpha * (alpha - 1))
    return (p * _masked(z, p)).sum(1) + _total(entropy, w)[:, 0]


def sparsemax(z, w):
    """Euclidean projection onto the simplex: entmax at alpha = 2."""
    return entmax(z, w, 2.0)


def _sparsemax_conjugate(z, p, w):
    return _entmax_conjugate(z, p, w, 2.0)


def normmax(z, w, gamma):
    """``argmax_p <z, p> - ||p||_gamma``."""
    exponent = gamma / (gamma - 1)
    z = z - z.amax(1, keepdim=True)
    gap = (z - threshold(z, w, exponent)).clamp_min_(0)
    return _normalise(gap ** (exponent - 1), w)


def _normmax_conjugate(z, p, w, gamma):
    norm = _total(_per_copy(p, w) ** gamma, w)[:, 0] ** (1 / gamma)
    return (p * _masked(z, p)).sum(1) - norm + 1


def ksubsets(z, w, k):
    """Euclidean projection onto ``{0 <= p <= 1, sum p = k}``, divided by k.

    The division makes the answer the mean of the k patterns that win clearly
    rather than their sum, and leaves ``k = 1`` to be sparsemax. A memory of fewer
    than k patterns answers with all of them.
    """
    mass = float(z.shape[1] if w is None else w.sum())
    if mass <= k:
        ones = torch.ones_like(z)
        return _normalise(ones, w)
    # The threshold is at most 1 below the k-th best score: measured from there,
    # scores beyond 2 on either side have the same weight as at 2.
    z = (z - _kth_best(z, w, k)).clamp(-2, 2)
    low, high = torch.full_like(z[:, :1], -1), torch.zeros_like(z[:, :1])
    for _ in range(_BISECTION_STEPS):
        middle = (low + high) / 2
        heavy = _total((z - middle).clamp_(0, 1), w) > k
        low, high = torch.where(heavy, middle, low), torch.where(heavy, high, middle)
    gap = z - (low + high) / 2
    # With the active set known the threshold is linear: solve for it exactly.
    full, free = (gap >= 1).to(z.dtype), ((gap > 0) & (gap < 1)).to(z.dtype)
    count = _total(free, w)
    tau = (_total(free * z, w) + _total(full, w) - k) / count.clamp_min(1e-30)
    tau = torch.where(count > 0, tau, (low + high) / 2)
    return _normalise((z - tau).clamp_(0, 1), w)


def _kth_best(z: Tensor, w: Tensor | None, k: int) -> Tensor:
    """Score of rank k, from the best, every pattern counted `w` times."""
    if w is None:
        return z.topk(k, dim=1).values[:, -1:]
    z, order = z.sort(1, descending=True)
    rank = (w[order].cumsum(1) < k).sum(1, keepdim=True)
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
    top = z.amax(1, keepdim=True)
    powers = (z.clamp_min(0) / torch.where(top > 0, top, 1)) ** degree
    return _normalise(torch.where(top > 0, powers, (z == top).to(z.dtype)), w)


def hard_max(z, w):
    """All weight on the best pattern, shared between exact ties."""
    return _normalise((z == z.amax(1, keepdim=True)).to(z.dtype), w)


def _max_conjugate(z, p, w):
    return z.amax(1)


def _normalise(p: Tensor, w: Tensor | None) -> Tensor:
    p = _multiply(p, w)
    return p / p.sum(1, keepdim=True)


def _masked(z: Tensor, p: Tensor) -> Tensor:
    """Scores where there is weight: ``0 * -inf`` must count as nothing."""
    return torch.where(p > 0, z, 0)


SEPARATIONS = {
    "softmax": Separation(softmax, _softmax_conjugate),
    "sparsemax": Separation(sparsemax, _sparsemax_conjugate),
    "entmax": Separation(entmax, _entmax_conjugate, {"alpha": 1.5}),
    "normmax": Separation(normmax, _normmax_conjugate, {"gamma": 2.0}),
    "ksubsets": Separation(ksubsets, _ksubsets_conjugate, {"k": 2}),
    "softmax1": Separation(softmax1, _softmax1_conjugate, {}, True, False),
    "polynomial": Separation(polynomial, None, {"degree": 4}, False, False),
    "max": Separation(hard_max, _max_conjugate),
}
