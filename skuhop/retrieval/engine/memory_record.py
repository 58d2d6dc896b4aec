"""The memory that Stage II asks: a scorer, a separation and what is read out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

from torch import Tensor

from skuhop.retrieval.engine.holes import Holes
from skuhop.retrieval.products import exact
from skuhop.retrieval.scores import Query, Scorer
from skuhop.retrieval.separations import Separation


class Memory(NamedTuple):
    """What Stage II works on.

    Attributes
    ----------
    scorer : Scorer
        Gives the scores of a query.
    separation : Separation
        Turns them into weights.
    params : mapping
        Parameters of the separation.
    patterns : Tensor of shape (M, v)
        What is read out: the patterns, or other values that belong to them.
    weights : Tensor of shape (M,) or None
        Multiplicity of the patterns; None is one each.
    complete : bool
        Whether the queries it is for have all entries.
    nearest : Nearest or None
        An index that finds good patterns without looking at all; see `candidates`.
    product : callable
        How weights and values are multiplied; see `products`.
    holes : Holes or None
        Where patterns lack entries, and so how answers are to be read; see `holes`.
    """

    scorer: Scorer
    separation: Separation
    params: Mapping
    patterns: Tensor
    weights: Tensor | None
    complete: bool = True
    nearest: NamedTuple | None = None
    product: Callable = exact
    holes: Holes | None = None

    @property
    def rule(self) -> tuple[Separation, Mapping]:
        """The separation and its parameters."""
        return self.separation, self.params


def origin_of(memory: Memory, query: Query) -> Tensor | None:
    """Score of "nothing stored" (n,), for separations that measure scores from there.

    Without `query.offset`, like the scores of a block.
    """
    if memory.separation.shift_invariant:
        return None
    return memory.scorer.null(query)


def multiplicity(memory: Memory, start: int, stop: int) -> Tensor | None:
    """Weights of the patterns of a block."""
    return None if memory.weights is None else memory.weights[start:stop]
