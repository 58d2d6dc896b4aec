"""What a scorer is: a stored memory made ready to be asked.

A scorer holds what can be computed once from the patterns and gives the scores of
a batch of queries against a block of patterns. The engine knows nothing else of
similarities, feature maps or noise models. `kernel` and `observed` hold those that
compare by one similarity,
`skuhop.retrieval.damage` those that know what damage looks like.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor


class FeatureMap(NamedTuple):
    """A learned feature map, ready for Stage II.

    Attributes
    ----------
    patterns : callable
        ``(M, d) -> (M, r)`` for stored patterns.
    queries : callable
        The same for queries. It differs where the posterior loss has learned how
        damage scales and shifts them.
    keeps_unit : bool
        Whether features have the unit of the rows, as those of a linear map have, or
        none.
    """

    patterns: Callable[[Tensor], Tensor]
    queries: Callable[[Tensor], Tensor]
    keeps_unit: bool = True


class Query(NamedTuple):
    """A batch of encoded queries.

    Attributes
    ----------
    encoded : Any
        What the scorer's `block` reads.
    self_score : Tensor of shape (n,)
        ``beta * s(x, x)``, twice the first term of the energy; zero for
        likelihoods.
    offset : Tensor of shape (n,) or None
        A part of the scores that is the same for all patterns. `block` leaves it
        out, because most separations do not see it.
    """

    encoded: Any
    self_score: Tensor
    offset: Tensor | None = None


class Linear(NamedTuple):
    """Scores that are one product: ``prepare(X).encoded[0] @ keys.T + bias``.

    Attributes
    ----------
    keys : Tensor of shape (M, r)
    bias : Tensor of shape (M,) or None
    source : Tensor of shape (M, r) or None
        The patterns where they are ``keys * unit + origin``: who reads both reads one.
    origin : Tensor of shape (1, r) or None
        None is zero.
    unit : float
    """

    keys: Tensor
    bias: Tensor | None
    source: Tensor | None = None
    origin: Tensor | None = None
    unit: float = 1.0


class Scorer(Protocol):
    """What the engine asks of a scorer.

    A scorer may also have a method `linear` that gives its scores, up to a part common
    to all patterns, as a :class:`Linear`, or None where they are no product; and a
    method `lift`, with the parameters of `block`, that gives the best scores (n,) and
    the exponentials (n, stop - start) of the scores below them.
    """

    n_patterns: int
    beta: float
    """What scores have been multiplied by, in the unit of the scorer."""
    energy_unit: float
    """What an energy of one in that unit is in the user's."""
    width: int
    """How many numbers per query and pattern `block` holds at its peak."""
    row_width: int
    """How many numbers per query `prepare` holds."""
    streams: bool
    """Whether `block` may be asked for a part of the patterns."""

    def prepare(self, X: Tensor) -> Query:
        """Encode queries of shape (n, d)."""

    def block(self, query: Query, start: int, stop: int) -> Tensor:
        """Scores (n, stop - start), times beta, in memory that may be overwritten."""

    def null(self, query: Query) -> Tensor:
        """Score (n,) of "nothing stored": 0 for products, else the mean pattern's.

        Without `query.offset`, like the scores of a block.
        """


def largest_beta(beta: float, dtype: torch.dtype = torch.float32) -> float:
    """Beta small enough that ``beta * score`` stays finite.

    At the square root of the largest number every separation is long since the
    maximum, so nothing is lost.
    """
    return min(beta, torch.finfo(dtype).max ** 0.5)


class ScaledScorer:
    """Another scorer's log-likelihoods times beta."""

    def __init__(self, scorer: Scorer, beta: float):
        self.scorer = scorer
        self.n_patterns, self.width = scorer.n_patterns, scorer.width
        self.row_width, self.streams = scorer.row_width, scorer.streams
        self.beta, self.energy_unit = beta, 1.0

    def prepare(self, X):
        """Encode queries of shape (n, d)."""
        query = self.scorer.prepare(X)
        if query.offset is None:
            return query
        return query._replace(offset=query.offset * largest_beta(self.beta, X.dtype))

    def block(self, query, start, stop):
        """Scores of the patterns from `start` to `stop`."""
        scores = self.scorer.block(query, start, stop)
        return scores.mul_(largest_beta(self.beta, scores.dtype))

    def null(self, query):
        """Score of "nothing stored"."""
        null = self.scorer.null(query)
        return null.mul_(largest_beta(self.beta, null.dtype))
