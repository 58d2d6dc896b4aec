"""Stage II as the estimators call it: queries in, answers of the same kind out."""

from __future__ import annotations

from collections.abc import Callable

import torch

from skuhop.retrieval import Memory, row_chunks
from skuhop.support import (
    NUMPY_DTYPES,
    as_tensor,
    derived,
    in_smaller_chunks,
    like,
    sent,
    working_memory,
)

PREPARING = 64
"""Queries that preparing a memory takes as much work as."""
_COUNTED = 9
"""Bytes per entry for counting what is missing: one, and eight as it is added up."""


def ask(
    estimator,
    X,
    question: Callable,
    prepare: Callable[..., Memory],
    device,
):
    """Put a question to a fitted estimator's memory; rows with NaN go apart.

    Parameters
    ----------
    estimator : object
        Owner of the prepared memories.
    X : array of shape (n, d)
        Queries; NaN where unknown. Answers are arrays like X, see `support.arrays`.
    question : callable
        ``(memory, queries, budget) -> tensor``, or a tuple of tensors, with a row
        for every query; the budget is in bytes.
    prepare : callable
        ``(estimator, complete, dtype) -> Memory``, for queries without or with NaN.
    device : torch.device
        Where to compute.
    """
    budget = working_memory()
    given = as_tensor(X)
    dtype = NUMPY_DTYPES[given.dtype]
    out = None
    for complete, rows in _by_completeness(given, budget):
        queries = given if rows is None else given[rows]

        def answer(budget, complete=complete, queries=queries):
            memory = derived(
                estimator,
                (complete, dtype.str, str(device)),
                lambda reading: prepare(reading, complete, dtype),
            )
            return _joined(
                [question(memory, piece, budget) for piece in sent(queries, device)]
            )

        found = in_smaller_chunks(answer, budget, device)
        out = found if rows is None else _put(found, rows, len(given), out)
    return like(out, X)


def _by_completeness(X, budget):
    """Yield rows that are complete and that are not, as (complete, rows), in chunks.

    Rows is None for all as they stand, or a slice. Incomplete rows come in the order of
    how many entries they lack, as `retrieval.new_rows` likes them. Chunks, because rows
    that are taken are copied, as are their answers when they are put in their places.
    """
    row = _COUNTED * X.shape[1]
    lacking = torch.cat(
        [X[some].isnan().sum(dim=1) for some in row_chunks(len(X), row, budget)]
    )
    n_incomplete = int(lacking.count_nonzero())
    row = 4 * X.element_size() * X.shape[1]
    if n_incomplete == 0:
        whole = [None] if len(X) * row <= budget else row_chunks(len(X), row, budget)
        yield from ((True, rows) for rows in whole)
        return
    order = lacking.argsort(stable=True)
    known, unknown = order.tensor_split([len(X) - n_incomplete])
    for complete, rows in ((True, known), (False, unknown)):
        for some in row_chunks(len(rows), row, budget):
            yield complete, rows[some]


def _joined(pieces):
    """Answers, tensors or tuples of them, one after the other."""
    if len(pieces) == 1:
        return pieces[0]
    if isinstance(pieces[0], tuple):
        return tuple(torch.cat(part) for part in zip(*pieces, strict=True))
    return torch.cat(pieces)


def _put(found, rows, n_rows, out):
    """Put answers for some rows, a tensor or a tuple of them, in their places."""
    if isinstance(found, tuple):
        places = out or (None,) * len(found)
        pairs = zip(found, places, strict=True)
        return tuple(_put(part, rows, n_rows, place) for part, place in pairs)
    if out is None:
        out = found.new_empty((n_rows, *found.shape[1:]))
    out[rows if isinstance(rows, slice) else rows.to(out.device)] = found
    return out
