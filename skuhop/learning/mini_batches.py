"""Separation losses from mini-batches, for memories whose pairs do not fit at once.

"average" and "logsumexp" are the logarithm of a mean over pairs. A batch's own
log-mean is biased downwards: the logarithm of a mean is not the mean of logarithms, and
the fewer pairs there are the worse it gets. Its gradient is a ratio, ``grad m / m``, of
which a batch drawn without replacement estimates the numerator without bias. So the
denominator is taken from a running mean over steps (as in MINE and SogCLR): the
gradient is consistent, its bias falls with the variance of that mean.

"max" looks at the closest pair alone, which no random batch of a large memory holds.
Here hard pairs are looked for among all pairs, in a few random projections of the
features, and the maximum is taken over these and the batch's own. It never exceeds the
true one, and equals it if the closest pair is among them.

Memory is O(batch^2 + M), never O(M^2).

References
----------
Belghazi et al., "Mutual information neural estimation", ICML 2018 (arXiv 1801.04062),
section 3.2. Yuan et al., "Provable stochastic optimization for global contrastive
learning", ICML 2022 (arXiv 2202.12387).
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from skuhop.learning.losses import (
    EXPONENTS,
    SHARPNESS,
    log_count_pairs,
    log_sum_pairs,
    max_separation,
)

MOMENTUM = 0.1
"""Share of a new batch in the running mean: it averages over some twenty batches."""
MINE_EVERY = 25
"""Steps between two searches for hard pairs."""
PROJECTED = 32
"""Dimensions in which hard pairs are searched for."""
HARD_PAIRS = 1024
_BLOCK = 2**23
"""Similarities per block of the search."""


class RunningLogMean:
    """``log mean_{i != j} exp(e_ij)`` with the gradient ``grad m / (running mean)``.

    Its value is the logarithm of the running mean.
    """

    def __init__(self, name: str, patterns: Tensor, weights: Tensor | None):
        self.exponents, self.weights = EXPONENTS[name], weights
        self.n, self.log_count = len(patterns), log_count_pairs(patterns, weights)
        self.log_mean: Tensor | None = None
        self.n_steps = 0

    def __call__(self, features: Callable[[Tensor], Tensor], batch: Tensor) -> Tensor:
        """Loss of the patterns at `batch`, whose features are ``features(batch)``."""
        size, n = len(batch), self.n
        weights = None if self.weights is None else self.weights[batch]
        # A pair is drawn with probability size (size - 1) / (n (n - 1)).
        share = math.log(n) + math.log(n - 1) - math.log(size) - math.log(size - 1)
        found = log_sum_pairs(self.exponents(features(batch)), weights)
        found = found + share - self.log_count
        self.n_steps += 1
        gamma = max(1 / self.n_steps, MOMENTUM)
        new = found.detach() + math.log(gamma)
        if self.log_mean is not None:
            new = torch.logaddexp(self.log_mean + math.log1p(-gamma), new)
        self.log_mean = new
        ratio = (found - new).exp()
        return new + (ratio - ratio.detach())


class HardPairs:
    """``max_{i<j} -t |phi_i - phi_j|^2`` over hard pairs and those of the batch."""

    def __init__(self, patterns: Tensor, generator: torch.Generator):
        self.rows = torch.arange(len(patterns), device=patterns.device)
        self.generator = generator
        self.pairs: tuple[Tensor, ...] = ()
        self.n_steps = 0

    def __call__(self, features: Callable[[Tensor], Tensor], batch: Tensor) -> Tensor:
        """Loss of the patterns at `batch`, whose features are ``features(batch)``."""
        if self.n_steps % MINE_EVERY == 0:
            with torch.no_grad():
                self._search(features, len(batch))
        self.n_steps += 1
        left, right = (_unit(features(rows)) for rows in self.pairs)
        hard = 2 * SHARPNESS * ((left * right).sum(1).amax() - 1)
        return torch.maximum(hard, max_separation(features(batch)))

    def _search(self, features, step):
        """Every pattern's nearest in the projection; of these the closest pairs."""
        projected, projection, n = [], None, len(self.rows)
        for rows in self.rows.split(step):
            unit = _unit(features(rows))
            if projection is None:
                projection = self._projection(unit)
            projected.append(unit @ projection)
        projected = _unit(torch.cat(projected))
        nearest = torch.cat(
            [_nearest(projected, rows) for rows in self.rows.split(max(1, _BLOCK // n))]
        )
        likeness = torch.cat(
            [
                (_unit(features(part)) * _unit(features(nearest[part]))).sum(1)
                for part in self.rows.split(step)
            ]
        )
        hard = likeness.topk(min(HARD_PAIRS, n)).indices
        self.pairs = hard, nearest[hard]

    def _projection(self, unit):
        """Gaussian projection, the identity where there are few features anyway."""
        width = unit.shape[1]
        if width <= PROJECTED:
            return torch.eye(width, dtype=unit.dtype, device=unit.device)
        drawn = torch.randn(width, PROJECTED, generator=self.generator)
        return drawn.to(unit)


def _nearest(vectors: Tensor, rows: Tensor) -> Tensor:
    likeness = vectors[rows] @ vectors.T
    likeness.scatter_(1, rows[:, None], -torch.inf)
    return likeness.argmax(1)


def _unit(features: Tensor) -> Tensor:
    return torch.nn.functional.normalize(features, dim=1)
