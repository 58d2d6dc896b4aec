"""What an index is tried on before it is trusted, and what it loses there.

Stored rows, and copies of them with noise, with their nearest keys by exact distances.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from skuhop.retrieval.chunks import row_chunks
from skuhop.retrieval.index.lists import (
    Lists,
    distances,
    effective_features,
    expected_exponentials,
    read_lists,
    squared_distances,
)

CHECKS, NEIGHBOURS = 128, 10
"""Stored rows on which an index is tried, and how many neighbours of each count."""
NOISES = (0.0, 0.5)
"""Distances of the copies that are tried, in parts of that of the nearest other row."""
SHARPNESS = (1 / 4, 1.0, 4.0)
"""Precisions for which `caution` is measured, in parts of that of a neighbour's."""
MISSED, MARGIN, MOST_CAUTIOUS = 1e-4, 4.0, 1e5
"""Weight that is not missed, how far other queries may be beyond those that were tried,
and the largest factor on what is expected."""
NUMBERS_AT_ONCE = 2**22
"""Where all keys are looked at."""


class Check(NamedTuple):
    """Points to ask an index for, and what it should find.

    Attributes
    ----------
    points : Tensor of shape (n, w)
    near : Tensor of shape (n, k), integer
        The nearest keys.
    reach : Tensor of shape (n, k)
        Their squared distances.
    """

    points: Tensor
    near: Tensor
    reach: Tensor


def _nearest_keys(points, keys) -> Check:
    parts = []
    for rows in row_chunks(len(points), len(keys), NUMBERS_AT_ONCE):
        reach, near = squared_distances(points[rows], keys).topk(
            NEIGHBOURS, largest=False
        )
        parts.append((near, reach))
    near, reach = map(torch.cat, zip(*parts, strict=True))
    return Check(points, near, reach)


def checks_of(keys: Tensor) -> list[Check]:
    """Choose stored points, and make copies of them with noise."""
    random = np.random.RandomState(0)
    rows = random.choice(len(keys), min(CHECKS, len(keys)), replace=False)
    chosen = keys[torch.from_numpy(rows)]
    noise = random.standard_normal(chosen.shape).astype(np.float32)
    noise = torch.from_numpy(noise / np.linalg.norm(noise, axis=1, keepdims=True))
    found = [_nearest_keys(chosen, keys)]
    nearest = found[0].reach.amax(1, keepdim=True).sqrt()
    for share in NOISES[1:]:
        found.append(_nearest_keys(chosen + share * nearest * noise, keys))
    return found


def shares_found(lists: Lists, keys, check: Check, found, n_read: int | None):
    """Shares that an index has found of the nearest keys, and of other neighbours.

    Something as near counts as well. With `n_read`, of those in so many nearest lists.
    """
    apart = (keys[found.clamp_min(0)] - check.points[:, None]).square().sum(2)
    farthest = apart.masked_fill_(found < 0, torch.inf).amax(1, keepdim=True)
    hit = (check.near[:, :, None] == found[:, None]).any(2) | (check.reach >= farthest)
    looked = torch.ones_like(hit)
    if n_read is not None:
        centre = squared_distances(check.points, lists.centroids)
        order = centre.topk(n_read, largest=False).indices
        read = torch.zeros_like(centre, dtype=torch.bool).scatter_(1, order, True)
        looked = read.gather(1, lists.list_of[check.near].long())
    hits, asked = (hit & looked).sum(0), looked.sum(0)
    parts = (hits[0], asked[0]), (hits[1:].sum(), asked[1:].sum())
    return [(h / a.clamp_min(1)).item() if a > 0 else 1.0 for h, a in parts]


def caution_of(lists: Lists, keys, check: Check, found) -> float:
    """How many times more weight than expected the unread lists have, at most.

    Where they have so little that nobody would miss it they do not count.
    """
    size = effective_features(lists.root)
    most = 0.0
    for rows in row_chunks(len(found), len(keys), NUMBERS_AT_ONCE):
        points = check.points[rows]
        apart = squared_distances(points, keys)
        unread = ~read_lists(lists, found[rows].clamp_min(0))
        hidden = unread[:, lists.list_of.long()]
        near = distances(lists, points)
        scale = check.reach[rows].amax(1)
        for sharpness in SHARPNESS:
            b = sharpness * size / scale.where(scale > 0, 1)
            scores = apart * (-b[:, None] / 2)
            log_sum = scores.masked_fill(~hidden, -torch.inf).logsumexp(1)
            expected = expected_exponentials(lists, near, b)
            expected = expected.masked_fill_(~unread, -torch.inf).logsumexp(1)
            counts = (log_sum - scores.logsumexp(1) > math.log(MISSED)) & (scale > 0)
            more = (log_sum - expected)[counts]
            most = max(most, more.amax().item() if len(more) else 0.0)
    return min(MARGIN * math.exp(min(most, 30.0)), MOST_CAUTIOUS)
