"""Which stored rows an entry that is missing is taken from, and how much from each.

Rows are compared by Student's kernel on their coordinates, with a precision for every
coordinate that the column to be filled has for itself:

    weight of xi  ~  (1 + sum_k precision_k E (x_k - xi_k)^2) ** -SHAPE.

Where a donor misses entries the squared distance is the expected one: that to its
conditional mean plus its conditional variance. So a donor with many holes is neither
near to all rows nor far from all. Holes of the query are filled by its own conditional
means; their variance would shift all distances alike.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

SHAPE = 4.0
"""Exponent of the kernel: its tails are between those of a Gaussian, with which single
donors decide, and those of Cauchy's, with which far ones do."""


class Donors(NamedTuple):
    """Rows in which a column is known, as others see them when it is hidden.

    Attributes
    ----------
    rows : Tensor of shape (n, D)
        Coordinates, completed.
    variances : Tensor of shape (n, D)
        Of the coordinates that were missing, else 0.
    multiplicity : Tensor of shape (n,)
        Weights of the rows.
    """

    rows: Tensor
    variances: Tensor
    multiplicity: Tensor


def donor_weights(queries: Tensor, donors: Donors, precision: Tensor) -> Tensor:
    """Weights (m, n) of the donors, which sum to one for every query.

    Parameters
    ----------
    queries : Tensor of shape (m, D)
        Completed rows.
    donors : Donors
        Of n rows.
    precision : Tensor of shape (D,)
        What squared distances are multiplied with.
    """
    return weigh_distances(
        donor_distances(queries, donors, precision), donors.multiplicity
    )


def donor_distances(queries: Tensor, donors: Donors, precision: Tensor) -> Tensor:
    """Measure expected squared distances (m, n), weighted by the precision."""
    used = precision > 0
    scale = precision[used].sqrt()
    # From the middle of the donors: less is lost in the difference of squares.
    middle = donors.rows[:, used].mean(0)
    x, xi = (queries[:, used] - middle) * scale, (donors.rows[:, used] - middle) * scale
    spread = donors.variances[:, used] @ precision[used]
    own = xi.square().sum(1) + spread
    distances = torch.addmm(own, x, xi.T, alpha=-2)
    return distances.add_(x.square().sum(1, keepdim=True)).clamp_min_(0)


def weigh_distances(distances: Tensor, multiplicity: Tensor) -> Tensor:
    """Make distances weights (m, n); infinite ones have none."""
    growth = distances + 1
    # Powers of the ratio to the nearest cannot all vanish.
    weights = growth.amin(1, keepdim=True).div(growth).square_().square_()
    weights = weights.mul_(multiplicity)
    return weights.div_(weights.sum(1, keepdim=True))
