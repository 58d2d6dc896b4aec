"""Queries that are completed before a memory with other values is asked."""

from __future__ import annotations

from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from skuhop.retrieval.engine import Memory, answers
from skuhop.retrieval.scores import Scorer

_BUDGET = 2**26
"""Bytes for the completion of one batch of queries."""


class Completion(Protocol):
    """Fills the unknown entries of queries.

    Attributes
    ----------
    width, row_width : int
        What it takes, as a scorer says it.
    """

    @property
    def width(self) -> int:
        """Numbers per query and pattern."""

    @property
    def row_width(self) -> int:
        """Numbers per query."""

    def __call__(self, X: Tensor) -> Tensor:
        """Fill unknown entries."""


class MeanCompletion(NamedTuple):
    """Fills unknown entries with the mean (d,) of the patterns."""

    mean: Tensor

    @property
    def width(self) -> int:
        """Numbers per query and pattern."""
        return 0

    @property
    def row_width(self) -> int:
        """Numbers per query."""
        return len(self.mean)

    def __call__(self, X: Tensor) -> Tensor:
        """Fill unknown entries."""
        return torch.where(X.isnan(), self.mean, X)


class RetrievedCompletion(NamedTuple):
    """A memory that fills the unknown entries of a query.

    Attributes
    ----------
    memory : Memory
        Compares observed entries of scaled queries and reads out scaled patterns.
    scale : Tensor of shape (d,)
        What to multiply queries with first.
    patterns_mean : Tensor of shape (d,)
        Takes the place of an unknown entry of a feature whose scale is 0.
    """

    memory: Memory
    scale: Tensor
    patterns_mean: Tensor

    @property
    def width(self) -> int:
        """Numbers per query and pattern."""
        return self.memory.scorer.width

    @property
    def row_width(self) -> int:
        """Numbers per query."""
        return self.memory.scorer.row_width

    def __call__(self, X: Tensor) -> Tensor:
        """Fill unknown entries with those of the patterns that a query retrieves."""
        return self.fill(X, answers(self.memory, self.scale_queries(X), _BUDGET))

    def scale_queries(self, X: Tensor) -> Tensor:
        """Scale queries as the memory compares them."""
        most = torch.finfo(X.dtype).max
        return (X * self.scale).clamp_(-most, most)

    def fill(self, X: Tensor, found: Tensor) -> Tensor:
        """Fill unknown entries from the answer of `memory`.

        An answer that is the mean of all patterns up to rounding is the mean.
        """
        scale, mean = self.scale.where(self.scale > 0, 1), self.patterns_mean
        found = found / scale
        rounding = 16 * torch.finfo(X.dtype).eps * (mean.abs() + 1 / scale)
        near = (self.scale <= 0) | ((found - mean).abs() <= rounding)
        return torch.where(X.isnan(), torch.where(near, mean, found), X)


class CompletingScorer:
    """Another scorer, for queries that are completed before it sees them."""

    def __init__(self, scorer: Scorer, complete: Completion):
        self.scorer, self.complete = scorer, complete
        self.n_patterns, self.beta = scorer.n_patterns, scorer.beta
        self.energy_unit = scorer.energy_unit
        self.width = max(scorer.width, complete.width)
        self.row_width = scorer.row_width + complete.row_width
        self.block, self.null = scorer.block, scorer.null
        self.streams = scorer.streams

    def prepare(self, X):
        """Complete the queries, then encode them."""
        return self.scorer.prepare(self.complete(X))
