"""Stage II: a query becomes an answer, in one update or in several."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from skuhop.retrieval.engine import Memory, answers
from skuhop.retrieval.index import answer_from_index, answer_with_tail_alone
from skuhop.retrieval.read_outs import READ_OUTS
from skuhop.retrieval.units import largest


def update_of(memory: Memory) -> Callable[[Memory, Tensor, int], Tensor]:
    """Update of Stage II for a memory: of all patterns, of an index, with a tail."""
    if memory.holes is not None:
        return answer_what_is_known
    if memory.nearest is None:
        return answers
    tail = memory.nearest.tail  # type: ignore[attr-defined]
    return answer_from_index if tail is None else answer_with_tail_alone


def answer_what_is_known(memory: Memory, X: Tensor, budget: int) -> Tensor:
    """Answers of patterns with holes: means over those that have an entry."""
    assert memory.holes is not None  # `update_of` has looked.
    return memory.holes.read(answers(memory, X, budget))


@dataclass(frozen=True)
class Retrieval:
    """The question that `transform` puts: up to `steps` updates ``x <- g(T(x))``.

    A row rests once an update moves it by less than `tol` times its length, so its
    answer does not depend on the other rows.

    Attributes
    ----------
    steps : int
    tol : float
    answer : str, default="plain"
        Row of `READ_OUTS`: g. Rows with NaN keep the plain answer: what it fills has
        to fit to the entries that are known.
    """

    steps: int
    tol: float
    answer: str = "plain"

    def __call__(self, memory: Memory, X: Tensor, budget: int, update=None) -> Tensor:
        """Answer queries; T is `update`, by default that of the memory."""
        update, read_out = update or update_of(memory), READ_OUTS[self.answer]
        if not memory.complete:
            # The weights of a row with NaN come from its observed entries, which do
            # not move: a second update would repeat the first.
            return update(memory, X, budget).where(X.isnan(), X)
        state, moving = X, None
        for step in range(self.steps):
            old = state if moving is None else state[moving]
            new = update(memory, old, budget)
            new = new if read_out is None else read_out(new)
            if moving is None:
                state = new
            else:
                state[moving] = new
            if step + 1 == self.steps:
                break
            size = largest(old)
            size = torch.where(size > 0, size, 1)
            moved = torch.linalg.vector_norm((new - old) / size, dim=1)
            length = torch.linalg.vector_norm(old / size, dim=1)
            still = moved > self.tol * length
            moving = still.nonzero()[:, 0] if moving is None else moving[still]
            if len(moving) == 0:
                break
        return state
