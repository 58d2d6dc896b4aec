"""Scores of stored patterns with holes.

What a pattern has in a hole is a draw from the column, normal with its mean m and
variance v. The score is the logarithm of the *expected* kernel over such draws,

    -beta / 2 sum_known (x - xi)^2 - 1/2 sum_holes [log(1 + beta v)
                                                    + (x - m)^2 beta / (1 + beta v)],

so that a pattern has the weight that its completions would have in the mean: it is
near to nobody by what it lacks, and what it lacks tells it from nobody. Where the noise
level is profiled out, beta is one over the mean of ``(x - xi)^2`` where both are known.
That of few entries may be small by chance, so what is lacking is counted as `DOUBT`
entries at most that are as far as those of two rows are.

Rejected, by how often noisy rows find themselves and how often rows with many holes are
found in their place: the kernel of the expected distance, with ``(x - m)^2 + v`` in a
hole, finds complete patterns only, and so do means in the place of holes; the distance
scaled up to all entries, as in scikit-learn's `nan_euclidean_distances`, finds those
that have few entries.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

import torch
from torch import Tensor
from torch.nn import functional

from skuhop.retrieval.scores.kernel import in_unit
from skuhop.retrieval.scores.observed import ObservedScorer
from skuhop.retrieval.scores.scorer import ScaledScorer, Scorer
from skuhop.retrieval.scores.similarities import SIMILARITIES

WITH_HOLES = ("auto", "euclidean")
"""Similarities of patterns with holes: those that have a Gaussian kernel."""
DOUBT = 1.0


class IncompleteScorer(ObservedScorer):
    """Scores of queries, complete or not, and patterns (M, d) with NaN.

    Phi of an incomplete vector is not defined, so the rows themselves are compared,
    whatever the feature map. Parameters are those of `ObservedScorer`, and the variance
    (d,) of the columns.
    """

    width = 9

    def __init__(self, patterns, mean, variance, beta, unit=1.0):
        filled = patterns.where(~patterns.isnan(), mean)
        super().__init__(SIMILARITIES["euclidean"], filled, mean, beta, unit)
        # The mean pattern, which comes last, lacks nothing.
        self.missing = functional.pad(patterns.isnan().to(patterns), (0, 0, 0, 1))
        self.variance = variance

    def block(self, query, start, stop):
        """Scores of the patterns from `start` to `stop`."""
        values, observed, factor = query.encoded
        missing, patterns = self.missing[start:stop], self.patterns[start:stop]
        squares = values.square()
        # Holes hold the mean, which has been taken off: there patterns are zero.
        apart = squares @ (1 - missing).T + observed @ patterns.square().T
        apart = apart.addmm_(values, patterns.T, alpha=-2).clamp_min_(0)
        if self.profiled:
            return self._profile(apart, squares, observed, factor, missing)
        spread = 1 + self.beta * self.variance
        lost = observed @ (missing * spread.log()).T
        apart += (squares / spread) @ missing.T
        most = torch.finfo(apart.dtype).max / 4
        return apart.mul_(factor).add_(lost).div_(-2).clamp_(-most, most)

    def _profile(self, apart, squares, observed, n: Tensor, missing):
        """Log-likelihoods at the noise level of each query and pattern."""
        lacking = observed @ missing.T
        doubt = DOUBT * lacking / n.clamp_min(1)
        usual = 2 * self.variance.mean()
        noise = (apart + doubt * usual) / (n - lacking + doubt)
        noise = noise.clamp_min_(torch.finfo(apart.dtype).tiny)
        variance = (observed * self.variance) @ missing.T / lacking.clamp_min(1)
        wide = noise + variance
        found = (n - lacking) * noise.log() + apart / noise
        found += lacking * wide.log() + squares @ missing.T / wide
        # As they are for complete patterns, whose noise level is ``apart / n``.
        found = (n - n * n.clamp_min(1).log() - found) / 2
        profile = cast(Callable, self.similarity.profile)  # It is the Euclidean one.
        complete = profile(apart.div_(-2), n, squares.sum(1, keepdim=True))
        return torch.where(lacking > 0, found, complete)


def build_incomplete_scorer(
    similarity: str, beta, patterns: Tensor, mean, variance, unit=1.0
) -> Scorer:
    """Scorer of patterns (M, d) with NaN, from names as `build_scorer` takes them."""
    if similarity == "auto" or beta == "auto":
        scorer = IncompleteScorer(patterns, mean, variance, None, unit)
        return scorer if beta == "auto" else ScaledScorer(scorer, float(beta))
    beta = in_unit(similarity, beta, unit, patterns, None)
    return IncompleteScorer(patterns, mean, variance, beta, unit)
