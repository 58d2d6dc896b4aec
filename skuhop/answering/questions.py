"""Stage II as the estimators call it: queries in, answers of the same kind out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import torch

from skuhop.retrieval import Memory, row_chunks
from skuhop.support import (
    NUMPY_DTYPES,
    FewThreads,
    as_tensor,
    choose_device,
    like,
    reuse_derived,
    reuse_record,
    send_pieces,
    shrinking_budgets,
    working_memory,
)

PREPARING = 64
"""Queries that preparing a memory takes as much work as."""
_COUNTED = 1
"""Bytes per entry for saying what is missing."""


class Record(Protocol):
    """What is read of a fitted estimator to prepare its memory; see `reuse_derived`."""

    def prepare(
        self, complete: bool, dtype, device: torch.device, *purpose: bool
    ) -> Memory:
        """Make the memory for queries without or with NaN."""


class Asked(Protocol):
    """What `ask` needs of a fitted estimator."""

    device: str
    patterns_: Any

    def _check_settled(self) -> None:
        """Refuse parameters that are not allowed, or that `fit` has settled."""

    def _record(self) -> Record:
        """Give all that Stage II reads of the estimator."""


def ask(estimator: Asked, X, question: Callable, *purpose: bool):
    """Put a question to a fitted estimator's memory; rows with NaN go apart.

    Parameters
    ----------
    estimator : Asked
        Owner of the prepared memories.
    X : array of shape (n, d)
        Queries; NaN where unknown. Answers are arrays like X, see `support.arrays`.
    question : callable
        ``(memory, queries, budget) -> tensor``, or a tuple of tensors, with a row
        for every query; the budget is in bytes.
    *purpose : bool
        True where the memory is to compare by distance, see `FittedPatterns.prepare`.
    """
    record = reuse_record(estimator, estimator._check_settled, estimator._record)
    device, budget, given = (
        choose_device(estimator.device, X),
        working_memory(),
        as_tensor(X),
    )
    dtype, out = NUMPY_DTYPES[given.dtype], None
    n, d = estimator.patterns_.shape
    # The steps stand in each other, not in functions: who looks for the arithmetic, in
    # a debugger or in a traceback, is to find it a few frames from here.
    with FewThreads((X.shape[0] + PREPARING) * n * max(d, 64) // 64):
        for complete, rows in _by_completeness(given, budget):
            queries = given if rows is None else given[rows]
            for attempt in shrinking_budgets(budget, device):
                with attempt:
                    pieces: list = []
                    way = complete, dtype, device, *purpose
                    memory = reuse_derived(estimator, record, *way)
                    for piece in send_pieces(queries, device):
                        pieces.append(question(memory, piece, attempt.budget))
            answers = _join(pieces)
            out = answers if rows is None else _put(answers, rows, len(given), out)
    return like(out, X)


def _by_completeness(X, budget):
    """Yield rows that are complete and that are not, as (complete, rows), in chunks.

    Rows is None for all as they stand, or a slice. Chunks, because rows that are taken
    are copied, as are their answers when they are put in their places.
    """
    row = _COUNTED * X.shape[1]
    incomplete = torch.cat(
        [X[rows].isnan().any(dim=1) for rows in row_chunks(len(X), row, budget)]
    )
    row = 4 * X.element_size() * X.shape[1]
    if not incomplete.any():
        whole = [None] if len(X) * row <= budget else row_chunks(len(X), row, budget)
        yield from ((True, rows) for rows in whole)
        return
    for complete in (True, False):
        rows = (incomplete != complete).nonzero()[:, 0]
        for chunk in row_chunks(len(rows), row, budget):
            yield complete, rows[chunk]


def _join(pieces):
    """Put answers, tensors or tuples of them, one after the other."""
    if len(pieces) == 1:
        return pieces[0]
    if isinstance(pieces[0], tuple):
        return tuple(torch.cat(part) for part in zip(*pieces, strict=True))
    return torch.cat(pieces)


def _put(answers, rows, n_rows, out):
    """Put answers for some rows, a tensor or a tuple of them, in their places."""
    if isinstance(answers, tuple):
        places = out or (None,) * len(answers)
        pairs = zip(answers, places, strict=True)
        return tuple(_put(part, rows, n_rows, place) for part, place in pairs)
    if out is None:
        out = answers.new_empty((n_rows, *answers.shape[1:]))
    out[rows if isinstance(rows, slice) else rows.to(out.device)] = answers
    return out
