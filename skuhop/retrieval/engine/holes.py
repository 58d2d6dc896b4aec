"""What is read out of patterns with holes: means of what is known of them.

Weights and patterns are multiplied as always, with zeros in the holes. Beside the
patterns stand, as ones and zeros, which entries they have, and a column of ones: the
weights of the patterns that have an entry, and of all. A quotient makes each entry the
mean over those that have it, as if the others had not been stored.

Rejected: to read out the means of columns in the place of holes. An answer that comes
from a pattern with a hole would be no value that belongs to any pattern like it.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class Holes(NamedTuple):
    """Where patterns have holes, to read out what is known.

    Attributes
    ----------
    columns : Tensor of shape (h,), int
        Features that some pattern lacks.
    mean : Tensor of shape (h,)
        What these are where no pattern that has weight has them.
    """

    columns: Tensor
    mean: Tensor

    def read(self, sums: Tensor) -> Tensor:
        """Answers (n, d) from what is read out of `lay_out_known`, (n, d + h + 1)."""
        d = sums.shape[1] - len(self.columns) - 1
        answers, known, total = sums[:, :d], sums[:, d:-1], sums[:, -1:]
        # Below this the quotient of rounded numbers is no mean of anything.
        info = torch.finfo(sums.dtype)
        rare = known <= total * (info.tiny / info.eps)
        means = answers[:, self.columns] / known.where(~rare, 1)
        answers[:, self.columns] = torch.where(rare, self.mean, means) * total
        return answers


def lay_out_known(patterns: Tensor, mean: Tensor) -> tuple[Tensor, Holes]:
    """Patterns (M, d) with NaN as what is read out of them, (M, d + h + 1)."""
    missing = patterns.isnan()
    columns = missing.any(0).nonzero()[:, 0]
    known = (~missing[:, columns]).to(patterns)
    ones = patterns.new_ones(len(patterns), 1)
    values = torch.cat([patterns.where(~missing, 0), known, ones], 1)
    return values, Holes(columns, mean[columns])
