"""Separation losses of Stage I: small where the patterns lie far apart.

Each takes features of shape (M, r) and the multiplicities `w` of the patterns (None:
one each), normalises the features to unit length and returns a scalar. Pairs count
``w_i w_j`` times, so a pattern of weight 2 is two copies that need not part.

References
----------
Wu et al., "Uniform memory retrieval with larger capacity for modern Hopfield
models", ICML 2024 (arXiv 2404.03827), definition 3.1: average and max. Wu et al.,
"Provably optimal memory capacity for modern Hopfield models", NeurIPS 2024 (arXiv
2410.23126): logsumexp, whose optimum for temperature to 0 is a spherical code.
"""

from __future__ import annotations

import torch
from torch import Tensor

SHARPNESS = 2.0
"""t of the average and max losses."""
TEMPERATURE = 0.05
"""tau of the logsumexp loss."""


def _cosines(features: Tensor) -> Tensor:
    unit = torch.nn.functional.normalize(features, dim=1)
    return unit @ unit.T


def log_sum_pairs(exponents: Tensor, w: Tensor | None) -> Tensor:
    """``log sum_{i != j} w_i w_j exp(e_ij)`` over ordered pairs."""
    own = torch.eye(len(exponents), dtype=torch.bool, device=exponents.device)
    if w is not None:
        log_w = w.log()
        exponents = exponents + log_w[:, None] + log_w
    return torch.logsumexp(exponents.masked_fill(own, -torch.inf).flatten(), 0)


def log_count_pairs(like: Tensor, w: Tensor | None) -> Tensor:
    """``log sum_{i != j} w_i w_j``; `like` has a row for every pattern."""
    if w is None:
        return torch.log(like.new_tensor(float(len(like) * (len(like) - 1))))
    return (w.sum().square() - w.square().sum()).log()


def squared_distances(features: Tensor) -> Tensor:
    """``-t |phi_i - phi_j|^2`` of unit-length features, with t = 2."""
    return 2 * SHARPNESS * (_cosines(features) - 1)


def similarities(features: Tensor) -> Tensor:
    """``<phi_i, phi_j> / tau`` of unit-length features, with tau = 0.05."""
    return _cosines(features) / TEMPERATURE


def average_separation(features: Tensor, w: Tensor | None = None) -> Tensor:
    """``log mean_{i<j} exp(-t |phi_i - phi_j|^2)`` with t = 2."""
    pairs = log_sum_pairs(squared_distances(features), w)
    return pairs - log_count_pairs(features, w)


def max_separation(features: Tensor, w: Tensor | None = None) -> Tensor:
    """``max_{i<j} -t |phi_i - phi_j|^2`` with t = 2: the closest pair alone counts."""
    exponents = squared_distances(features)
    own = torch.eye(len(exponents), dtype=torch.bool, device=exponents.device)
    return exponents.masked_fill(own, -torch.inf).amax()


def logsumexp_separation(features: Tensor, w: Tensor | None = None) -> Tensor:
    """``log mean_{i!=j} exp(<phi_i, phi_j> / tau)`` with tau = 0.05."""
    return log_sum_pairs(similarities(features), w) - log_count_pairs(features, w)


EXPONENTS = {"average": squared_distances, "logsumexp": similarities}
"""Of the losses that are the logarithm of a mean of exponentials over pairs."""
LOSSES = {
    "average": average_separation,
    "max": max_separation,
    "logsumexp": logsumexp_separation,
}
"""Separation losses by name.

To add one: write it on features and multiplicities, as above. Add the row, and name it
in the docstrings of the estimators and the grid of
``tests/estimators/test_memory_checks.py``.
"""


def posterior(features: Tensor, queries: Tensor, w: Tensor | None = None) -> Tensor:
    """``-log p(right pattern | its corrupted copy)``, in the mean.

    Row i of `queries` holds the features of a corrupted copy of pattern i. The
    posterior is that of isotropic Gaussian noise with its level profiled out,
    ``p_j ~ |q - phi_j|^-r``, so there is no temperature to learn beside Phi. Without
    corruption the right pattern wins by as much as the others are far: what is left
    is a separation loss (A-Hop, ICLR 2026, arXiv 2511.20609, trains a similarity by
    the same cross-entropy).
    """
    squared = (
        queries.square().sum(1, keepdim=True)
        + features.square().sum(1)
        - 2 * queries @ features.T
    )
    eps = torch.finfo(squared.dtype).eps
    floor = eps * features.detach().square().sum(1).mean().clamp_min(eps)
    scores = -features.shape[1] / 2 * squared.clamp_min(floor).log()
    if w is not None:
        scores = scores + w.log()
    own = torch.log_softmax(scores, 1).diagonal()
    return -own.mean() if w is None else -(w @ own) / w.sum()
