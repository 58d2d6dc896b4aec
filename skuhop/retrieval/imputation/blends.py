"""From donors and lines to an answer: what a hole is filled with.

There are four candidates for every column: what the column is in general, the line of
its row, the donors' values, and those values moved along the line,

    sum_i w_i (xi_i + line(x) - line(xi_i)).

The answer is their mean with shares that hidden entries have taught.
"""

from __future__ import annotations

import torch
from torch import Tensor

N_CANDIDATES = 4


def candidate_columns(
    weights: Tensor, values: Tensor, lines: Tensor, line: Tensor, centre: Tensor
) -> Tensor:
    """Four answers (N_CANDIDATES, m, v) for m rows and the v coordinates of a column.

    Parameters
    ----------
    weights : Tensor of shape (m, n)
        Of the donors.
    values, lines : Tensor of shape (n, v)
        Of the donors: the column, and what their lines say without it.
    line : Tensor of shape (m, v)
        What the lines of the rows say.
    centre : Tensor of shape (v,)
        What the column is in general.
    """
    copied = weights @ values
    moved = line + copied - weights @ lines
    return torch.stack([centre.expand_as(line), line, copied, moved])


def blend(candidates: Tensor, shares: Tensor) -> Tensor:
    """Mean (m, v) of the candidates by their shares (N_CANDIDATES,)."""
    return torch.einsum("k,kmv->mv", shares, candidates)
