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


def _log_mean_exp(exponents: Tensor, w: Tensor | None) -> Tensor:
    """``log mean_{i != j} exp(e_ij)`` over ordered pairs, weighted by w_i w_j."""
    own = torch.eye(len(exponents), dtype=torch.bool, device=exponents.device)
    if w is None:
        n_pairs = len(exponents) * (len(exponents) - 1)
        log_count = torch.log(exponents.new_tensor(float(n_pairs)))
    else:
        log_w = w.log()
        exponents = exponents + log_w[:, None] + log_w
        log_count = (w.sum().square() - w.square().sum()).log()
    exponents = exponents.masked_fill(own, -torch.inf)
    return torch.logsumexp(exponents.flatten(), 0) - log_count


def average_separation(features: Tensor, w: Tensor | None = None) -> Tensor:
    """``log mean_{i<j} exp(-t |phi_i - phi_j|^2)`` with t = 2."""
    return _log_mean_exp(2 * SHARPNESS * (_cosines(features) - 1), w)


def max_separation(features: Tensor, w: Tensor | None = None) -> Tensor:
    """``max_{i<j} -t |phi_i - phi_j|^2`` with t = 2: the closest pair alone counts."""
    cosines = _cosines(features)
    own = torch.eye(len(cosines), dtype=torch.bool, device=cosines.device)
    return 2 * SHARPNESS * (cosines.masked_fill(own, -torch.inf).amax() - 1)


def logsumexp_separation(features: Tensor, w: Tensor | None = None) -> Tensor:
    """``log mean_{i!=j} exp(<phi_i, phi_j> / tau)`` with tau = 0.05."""
    return _log_mean_exp(_cosines(features) / TEMPERATURE, w)


LOSSES = {
    "average": average_separation,
    "max": max_separation,
    "logsumexp": logsumexp_separation,
}


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
