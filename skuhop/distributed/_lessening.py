"""Rows of shards that weigh less than their source says, or nothing.

What has been forgotten stays in the source, from which a shard may have to be read
again. So the memory remembers it shard by shard, and who reads a shard takes it away.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from skuhop.distributed._shard_rows import Model
from skuhop.estimators import Request, name_rows, take_away
from skuhop.retention import number_rows
from skuhop.support import ones_unless


class Less(NamedTuple):
    """What is left of some rows of a shard.

    Attributes
    ----------
    places : ndarray of shape (m,), int
        Rising positions in the shard.
    weights : ndarray of shape (m,)
        What is left of their weights; 0 for rows that are gone.
    """

    places: np.ndarray
    weights: np.ndarray

    @property
    def gone(self) -> np.ndarray:
        """Positions of rows that are not stored any more."""
        return self.places[self.weights == 0]


class Candidates(NamedTuple):
    """Rows of a shard that are among some that were named.

    Attributes
    ----------
    places, numbers : ndarray of shape (m,), int
        Positions in the shard, and which of the named rows they are.
    weights, units : ndarray of shape (m,)
        What they weigh, and what a copy weighs.
    """

    places: np.ndarray
    numbers: np.ndarray
    weights: np.ndarray
    units: np.ndarray


def lessen(rows: Mapping, less: Less | None) -> dict:
    """Attributes of rows, by name, of which some weigh less."""
    if less is None or not len(less.places):
        return dict(rows)
    # A source that has lost rows has another checksum, which tells.
    kept = np.ones(len(rows["patterns_"]), bool)
    known = less.places < len(kept)
    kept[less.gone[less.gone < len(kept)]] = False
    weights = rows["sample_weight_"]
    if weights is not None:
        weights = weights.copy()
        weights[less.places[known]] = less.weights[known]
    fewer = {**rows, "sample_weight_": weights}
    return {name: None if a is None else a[kept] for name, a in fewer.items()}


def join(before: Less | None, now: Less | None, n_left: int) -> Less | None:
    """One lessening for two, of which the other counts the `n_left` rows left."""
    if before is None or now is None:
        return now or before
    left = np.delete(np.arange(n_left + len(before.gone)), before.gone)
    places = left[now.places]
    others = ~np.isin(before.places, places)
    places = np.concatenate([before.places[others], places])
    weights = np.concatenate([before.weights[others], now.weights])
    order = places.argsort()
    return Less(places[order], weights[order])


def split(positions: np.ndarray, weights: np.ndarray, sizes: Sequence[int]) -> list:
    """Lessenings of shards of these sizes, None of those that stay as they are."""
    edges = np.cumsum([0, *sizes])
    cuts = np.searchsorted(positions, edges)
    return [
        Less(positions[a:b] - first, weights[a:b]) if b > a else None
        for a, b, first in zip(cuts[:-1], cuts[1:], edges[:-1], strict=True)
    ]


def find_candidates(rows: Mapping, model: Model, X: np.ndarray) -> Candidates:
    """Find stored rows that are rows of X."""
    estimator = model.store_rows(rows)
    patterns = estimator.patterns_
    numbers = number_rows(patterns, X.astype(patterns.dtype))
    places = np.flatnonzero(numbers >= 0)
    weights = ones_unless(estimator.sample_weight_, patterns)
    units = np.broadcast_to(estimator._weigh_copies(), len(patterns))
    return Candidates(places, numbers[places], weights[places], units[places])


def choose_copies(
    found: Sequence[Candidates], X: np.ndarray, firsts: Sequence[int]
) -> tuple[np.ndarray, np.ndarray]:
    """Positions in all shards of copies of rows that go, and what is left of them.

    Raises
    ------
    ValueError
        If a row is not stored, or not as often.
    """
    request = Request(None, None, X, None)
    _, wanted = name_rows(request, X[:0], None, np.asarray)
    shifted = [
        f._replace(places=f.places + a) for f, a in zip(found, firsts, strict=True)
    ]
    positions, numbers, weights, units = map(np.concatenate, zip(*shifted, strict=True))
    left = take_away(request, weights, numbers, wanted, units, positions)
    changed = left != weights
    return positions[changed], left[changed]


def choose_positions(rows, X, n_patterns: int) -> tuple[np.ndarray, np.ndarray]:
    """Positions that go, from positions or a mask, and what is left of them.

    Raises
    ------
    ValueError
        If they are neither, or if there are rows as well, or nothing.
    """
    request = Request(rows, None, X, None)
    groups, _ = name_rows(request, np.empty((n_patterns, 0)), None, np.asarray)
    positions = np.flatnonzero(groups >= 0)
    return positions, np.zeros(len(positions))
