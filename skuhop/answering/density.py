"""Draws: how every `sample` begins, and the density that a memory's energy stands for.

With softmax and a number for beta ``exp(-beta E(x))`` is ``sum_i w_i exp(-beta |W x - W
xi_i|^2 / 2)`` for the similarity "euclidean", and for "dot" the same with ``w_i
exp(beta |W xi_i|^2 / 2)`` in the place of w_i: a mixture of one Gaussian for each
pattern, which can be drawn exactly.

A pattern with holes is the Gaussian of its completions, as wide in a hole as its column
on top of that.

The others are left out for a reason. With ``beta="auto"`` weights fall like ``|x -
xi|^-d`` and with "softmax1" the energy is bounded, so neither has a finite integral; a
feature map with fewer features than x leaves directions in which nothing changes, and
one with a hidden layer makes no Gaussians. The sparse separations would have a density,
but no plain mixture.
"""

from __future__ import annotations

import numpy as np
from scipy.special import softmax

from skuhop.answering.incomplete_patterns import measure_variance
from skuhop.answering.memory_of_patterns import FittedPatterns
from skuhop.learning import choose_kind
from skuhop.retrieval import tensor_of
from skuhop.support import fill_means

_ALLOWED = {"similarity": ("euclidean", "dot"), "separation": ("softmax",)}


def has_density(memory) -> bool:
    """Whether the parameters of a memory make it a mixture of Gaussians.

    Raises
    ------
    AttributeError
        If they do not; names those that would.
    """
    wrong = {name for name, v in _ALLOWED.items() if getattr(memory, name) not in v}
    wrong |= {"beta"} if memory.beta == "auto" else set()
    if wrong:
        got = ", ".join(f"{name}={getattr(memory, name)!r}" for name in sorted(wrong))
        raise AttributeError(
            "Only a memory with similarity='euclidean' or 'dot', separation='softmax' "
            f"and a number for beta is a density that can be sampled; got {got}."
        )
    return True


def draw(fitted: FittedPatterns, n_samples: int, rng) -> np.ndarray:
    """Rows (n_samples, d) from a fitted memory for which `has_density` holds.

    Raises
    ------
    ValueError
        If the feature map in use leaves the density without a finite integral, or is
        no matrix.
    """
    patterns, weights, unit = fitted.patterns, fitted.weights, fitted.unit
    beta, missing = float(fitted.parameters.beta) * unit * unit, np.isnan(patterns)
    if missing.any():
        # They are compared as they are; what is not there is drawn as well.
        W, scale, shift = None, 1.0, 0.0
        parts = patterns / unit, fitted.mean / unit, weights
        wide = 1 + beta * _measure_variance(*parts)
        patterns = fill_means(patterns, fitted.mean)
    else:
        W, scale, shift = _linear_map(fitted)
        wide = np.ones(patterns.shape[1])
    logits = np.zeros(len(patterns)) if weights is None else np.log(weights)
    if fitted.parameters.similarity == "dot":
        keys = patterns / unit if W is None else patterns / unit @ W.T
        logits = logits + beta / 2 * (keys.astype(np.float64) ** 2).sum(1)
    chosen = rng.choice(len(patterns), size=n_samples, p=softmax(logits))
    noise = rng.standard_normal((n_samples, patterns.shape[1])) / np.sqrt(beta) * unit
    noise = np.where(missing[chosen], noise * np.sqrt(wide), noise)
    if W is not None:
        noise = np.linalg.solve(W, noise.T).T
    return ((patterns[chosen] + noise - shift) / scale).astype(patterns.dtype)


def _measure_variance(patterns, mean, weights):
    """Variances of the columns, as Stage II has them."""
    parts = (tensor_of(a) if a is not None else None for a in (patterns, mean, weights))
    return measure_variance(*parts).numpy()


def _linear_map(fitted: FittedPatterns):
    """W, None for the identity, and the scale and shift that queries get before it."""
    if choose_kind(fitted.parameters.feature_map, fitted.selection) is None:
        return None, 1.0, 0.0
    state, d = fitted.feature_map_state, fitted.patterns.shape[1]
    W = np.asarray(state.get("components", np.empty((0, d))), dtype=np.float64)
    scale = float(fitted.alignment.get("scale", 1.0))
    if set(state) != {"components"} or np.linalg.matrix_rank(W) < d or scale == 0:
        raise ValueError(
            "sample needs a feature map that is the identity or an invertible matrix: "
            "feature_map='identity', or 'linear' with at least as many independent "
            f"patterns as features ({d}). Got "
            f"feature_map={fitted.parameters.feature_map!r} with components of shape "
            f"{W.shape}."
        )
    return W, scale, fitted.alignment.get("shift", 0.0)
