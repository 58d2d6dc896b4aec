"""The tail of a very large memory, sampled: what an index leaves out, without bias.

The k heaviest patterns are added up exactly, and the rest is estimated from m patterns
drawn with equal chances, M in all:

    numerator   = sum_head u_i v_i + M / m * sum_draws [j not in head] u_j v_j
    normaliser  = sum_head u_i     + M / m * sum_draws [j not in head] u_j

with ``u_i = w_i lift(z_i)`` the unnormalised weights and draws without replacement.
Both have the right expectation over the draws, and their variance comes from the draws
themselves. The answer is their ratio, whose bias is of the order of that variance. The
draws are the same for all queries: one matrix product scores them, and a row's answer
does not depend on the other rows.

Uniform draws are the right ones as far as an index tells: of the tail it says nothing
but that no pattern scores more than the k-th. A heavy pattern that the index missed is
in the expectation, and in the reported variance only if it was drawn.

References
----------
Liu et al., "Winner-take-all column row sampling for memory efficient adaptation of
language models", NeurIPS 2023 (arXiv 2305.15265): the heaviest terms exactly, the rest
by sampling. Cochran, "Sampling techniques", 1977, chapters 2 and 6: variances of
a mean without replacement and of a ratio.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from skuhop.retrieval.chunks import row_chunks
from skuhop.retrieval.engine import Memory, Sums, answers, lift_scores, origin_of
from skuhop.retrieval.index.candidates import Found, ask, read_found, view_index
from skuhop.retrieval.scores import Query

N_DRAWS = 4096
"""Patterns drawn for the tail: one small product per query."""


class Tail(NamedTuple):
    """Estimated sums over the patterns that an index has not found.

    Attributes
    ----------
    total : Tensor of shape (n,)
        Normaliser of the tail, on the scale of the best score found.
    answer : Tensor of shape (n, v)
        Numerator of the tail.
    terms : Tensor of shape (n, m)
        What every draw contributes to the normaliser: `total` is their mean.
    """

    total: Tensor
    answer: Tensor
    terms: Tensor


def head_sums(memory: Memory, found: Found) -> Sums:
    """Add up the patterns found."""
    top, lifted = lift_scores(*memory.rule, found.scores.clone(), found.own)
    answer = torch.nn.functional.embedding_bag(
        found.indices, memory.patterns, mode="sum", per_sample_weights=lifted
    )
    return Sums(top, lifted.sum(1), answer)


def tail_sums(
    memory: Memory, query: Query, found: Found, top: Tensor, draws: Tensor
) -> Tail:
    """Estimate the sums over all other patterns.

    Parameters
    ----------
    memory : Memory
        With a kernel scorer and a separation that has a `lift`.
    query : Query
        n encoded queries.
    found : Found
        What the index found for them.
    top : Tensor of shape (n,)
        Best score found, which sets the scale.
    draws : Tensor of shape (m,), integer
        Different positions in rising order, all of them with equal chances.
    """
    lift = memory.separation.lift
    assert lift is not None  # Those with a threshold leave nothing to a tail.
    scores = view_index(memory)[0].at(draws).block(query, 0, len(draws))
    origin = origin_of(memory, query)
    scores = scores if origin is None else scores - origin[:, None]
    terms = lift(scores, top[:, None], **memory.params)
    terms = terms.mul_(memory.scorer.n_patterns)
    if memory.weights is not None:
        terms *= memory.weights[draws]
    place = torch.searchsorted(draws, found.indices).clamp_max_(len(draws) - 1)
    row, column = (draws[place] == found.indices).nonzero(as_tuple=True)
    terms[row, place[row, column]] = 0  # These are in the head.
    answer = terms @ memory.patterns[draws] / len(draws)
    return Tail(terms.mean(1), answer, terms)


def _add_tail(
    memory: Memory, X: Tensor, found: Found, draws: Tensor
) -> tuple[Tensor, Tensor]:
    """Answers (n, v) from head and tail, and their standard deviation (n,)."""
    head = head_sums(memory, found)
    tail = tail_sums(memory, memory.scorer.prepare(X), found, head.top, draws)
    total = head.total + tail.total
    if memory.separation.null and memory.separation.lift is not None:
        nothing = torch.zeros_like(total)[:, None]
        total = total + memory.separation.lift(nothing, head.top[:, None])[:, 0]
    assert head.answer is not None  # It is read out just above.
    answer = (head.answer + tail.answer) / total[:, None]
    values = memory.patterns[draws]
    # The ratio moves with the sum of terms times (value - answer).
    squared = torch.addmm(values.square().sum(1), answer, values.T, alpha=-2)
    squared += answer.square().sum(1, keepdim=True)
    second = tail.terms.square().mul_(squared.clamp_min_(0)).mean(1)
    first = (tail.answer - tail.total[:, None] * answer).square().sum(1)
    variance = (second - first).clamp_min_(0) * variance_factor(memory, draws)
    return answer, variance.sqrt() / total


def variance_factor(memory: Memory, draws: Tensor) -> float:
    """Variance of a mean of draws without replacement, in parts of the terms' own."""
    m, M = len(draws), memory.scorer.n_patterns
    return (1 - m / M) / max(m - 1, 1)


def answer_with_tail(memory: Memory, X: Tensor, budget: int) -> tuple[Tensor, Tensor]:
    """Answers (n, v), and the standard deviation (n,) that sampling gives them.

    Rows that may drop their tail do, and have 0, as have rows of which the index found
    too little: these are answered from the whole memory.
    """
    scorer, nearest = view_index(memory)
    draws = nearest.tail
    assert draws is not None  # Else it would be answered from the index alone.
    out, std = X.new_empty((len(X), memory.patterns.shape[1])), X.new_zeros(len(X))
    k = min(nearest.candidates[0], scorer.n_patterns)
    cells = 2 * k * (scorer.keys.shape[1] + 8) + 6 * len(draws)
    row = X.element_size() * (cells + scorer.row_width)
    for rows in row_chunks(len(X), row, min(budget, 2**26)):
        some = torch.arange(rows.start, rows.stop, device=X.device)
        found = ask(memory, scorer.prepare(X[rows]), k)
        safe, lost = found.missing <= nearest.tol, found.missing.isinf()
        out[some[safe]] = read_found(memory, found.take(safe))
        if lost.any():
            whole = memory._replace(nearest=None)
            out[some[lost]] = answers(whole, X[some[lost]], budget)
        heavy = ~(safe | lost)
        if heavy.any():
            open_rows = some[heavy]
            answer, deviation = _add_tail(
                memory, X[open_rows], found.take(heavy), draws
            )
            out[open_rows], std[open_rows] = answer, deviation
    return out, std


def answer_with_tail_alone(memory: Memory, X: Tensor, budget: int) -> Tensor:
    """As `answer_with_tail`, without the standard deviation."""
    return answer_with_tail(memory, X, budget)[0]


def tail_std(memory: Memory, X: Tensor, budget: int) -> Tensor:
    """Compute the standard deviation (n,) of one update; 0 where nothing is sampled."""
    if memory.nearest is None or view_index(memory)[1].tail is None:
        return X.new_zeros(len(X))
    return answer_with_tail(memory, X, budget)[1]
