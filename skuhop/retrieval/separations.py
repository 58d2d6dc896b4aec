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

from skuhop.retrieval.optima import weights_at_optimum
from skuhop.retrieval.thresholds import (
    find_ksubsets_threshold,
    find_threshold,
    normalise_copies,
    total,
)


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


_FLOOR_STEPS = 8
"""Newton's steps rise to the threshold: after any number of them it is a floor."""


def _per_copy(p: Tensor, w: Tensor | None) -> Tensor:
    return p if w is None else p / w


def _safe(floor: Tensor, *sizes: Tensor) -> Tensor:
    """Floor less the rounding of what it is the sum of."""
    size = sum(size.abs() for size in sizes)
    return floor - 8 * torch.finfo(floor.dtype).eps * size


def softmax(z, w):
    """``exp(z_i) / sum_j exp(z_j)``."""
    return torch.softmax(z if w is None else z + w.log(), -1)


def _exponential(z, top):
    return z.sub_(top).exp_()


def _softmax_conjugate(z, p, w):
    return torch.logsumexp(z if w is None else z + w.log(), -1)


def softmax1(z, w):
    """``exp(z_i) / (1 + sum_j exp(z_j))``: the missing weight is on "nothing"."""
    z = torch.nn.functional.pad(z if w is None else z + w.log(), (0, 1))
    return torch.softmax(z, -1)[..., :-1]


def _softmax1_conjugate(z, p, w):
    z = torch.nn.functional.pad(z if w is None else z + w.log(), (0, 1))
    return torch.logsumexp(z, -1)


def entmax(z, w, alpha):
    """Tsallis alpha-entmax: ``[(alpha - 1) z - tau]_+ ** (1 / (alpha - 1))``."""
    return weights_at_optimum("entmax", z, w, alpha)


def _entmax_floor(z, w, alpha):
    top = z.amax(-1, keepdim=True)
    scaled = (z - top) * (alpha - 1)
    tau = find_threshold(scaled, w, 1 / (alpha - 1), _FLOOR_STEPS) / (alpha - 1)
    return _safe(top + tau, top, tau)


def _entmax_conjugate(z, p, w, alpha):
    copies = _per_copy(p, w)
    entropy = (copies - copies**alpha) / (alpha * (alpha - 1))
    return (p * _keep_weighted(z, p)).sum(-1) + total(entropy, w)[..., 0]


def normmax(z, w, gamma):
    """``argmax_p <z, p> - ||p||_gamma``."""
    return weights_at_optimum("normmax", z, w, gamma)


def _normmax_floor(z, w, gamma):
    top = z.amax(-1, keepdim=True)
    tau = find_threshold(z - top, w, gamma / (gamma - 1), _FLOOR_STEPS)
    return _safe(top + tau, top, tau)


def _normmax_conjugate(z, p, w, gamma):
    norm = total(_per_copy(p, w) ** gamma, w)[..., 0] ** (1 / gamma)
    return (p * _keep_weighted(z, p)).sum(-1) - norm + 1


def ksubsets(z, w, k):
    """Euclidean projection onto ``{0 <= p <= 1, sum p = k}``, divided by k.

    The division makes the answer the mean of the k patterns that win clearly
    rather than their sum, and leaves ``k = 1`` to be sparsemax. A memory of fewer
    than k patterns answers with all of them.
    """
    return weights_at_optimum("ksubsets", z, w, k)


def _ksubsets_floor(z, w, k):
    _, origin, tau, few = find_ksubsets_threshold(z, w, k)
    return torch.where(few, -torch.inf, _safe(origin + tau, origin, tau + 1))


def _ksubsets_conjugate(z, p, w, k):
    copies = _per_copy(p, w) * k
    entropy = (copies - copies**2) / (2 * k)
    return (p * _keep_weighted(z, p)).sum(-1) + total(entropy, w)[..., 0]


def polynomial(z, w, degree):
    """``max(z_i, 0) ** degree``, normalised.

    Where no score is positive nothing is left to normalise: the best pattern
    answers, which is also the limit as the best score falls to zero.
    """
    return normalise_copies(_powers(z, z.amax(-1, keepdim=True), degree), w)


def _powers(z, top, degree):
    powers = (z.clamp_min(0) / torch.where(top > 0, top, 1)) ** degree
    return torch.where(top > 0, powers, (z == top).to(z.dtype))


def hard_max(z, w):
    """All weight on the best pattern, shared between exact ties."""
    return normalise_copies(_is_top(z, z.amax(-1, keepdim=True)), w)


def _is_top(z, top):
    return (z == top).to(z.dtype)


def _max_conjugate(z, p, w):
    return z.amax(-1)


def _keep_weighted(z: Tensor, p: Tensor) -> Tensor:
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
"""Rules by name.

To add a separation: write its weights, its conjugate where it has an energy, and one of
`lift` and `floor`, whichever it has; a rule that is solved for gets its solution and
gradients in ``optima.RULES`` and calls `weights_at_optimum`. Add the row. A rule with
numbers gets a class in ``choices/question_choices.py``, named in the faces of `choices`
and `skuhop` and in ``parameters._SHARED``. Name it in the docstrings of the estimators
and in the grid of ``tests/estimators/test_memory_checks.py``, which a test compares
with this table. The tests over the table then try the rule.
"""


def separation_rule(name: str, params: Mapping) -> tuple[Separation, Mapping]:
    """Row of the table and its parameters; entmax at alpha = 1 is its limit softmax."""
    if name == "entmax" and params["alpha"] == 1:
        return SEPARATIONS["softmax"], {}
    return SEPARATIONS[name], params
