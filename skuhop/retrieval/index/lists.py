"""Lists of a very large memory: how much weight lies where an index found nothing.

What an index has not found it cannot tell of. So the keys are sorted into lists around
centroids, of which a few numbers are kept, and a list of which the index found nothing
is taken to have the weight that these numbers let expect.

All scores an index can rank are ``C - b D / 2`` with a squared distance D, in the space
that `Space` makes. Over a list of n keys D has a mean and a variance,

    mean     = |x - c|^2 + s
    variance = 4 s (x - c)' W (x - c) + 2 s^2 tr(W^2)

with c the centroid, s the keys' mean squared distance from it, and W the covariance of
their directions, common to all lists. Taken as a gamma distribution of mean m and
variance v, whose Laplace transform is known, this gives

    n E[exp(-b D / 2)] = n (1 + b v / (2 m)) ** (-m^2 / v)

times a `caution` that `fit` measures. By the triangle inequality it is never more than
``n exp(-b (|x - c| - r)^2 / 2)``, r the list's radius.

For softmax, where b is the precision of the noise, this is Bayes' rule as well: weights
are probabilities of having been the source of the query, and the expected weight of the
lists of which nothing was found is the probability that the source stands there.

References
----------
Jegou, Douze and Schmid, "Product quantization for nearest neighbor search", IEEE TPAMI
33(1), 2011: inverted lists. Bachrach et al., "Speeding up the Xbox recommender system
using a Euclidean transformation for inner-product spaces", RecSys 2014: products as
distances. Wilson and Hilferty, PNAS 17, 1931: quantiles of the gamma distribution.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

_CUTS = 7
"""Pieces of a list's distribution: above the median, and a standard deviation each."""
_THINNEST = 1e-6
"""Least variance of a list's distances, in parts of the squared mean."""
_FARTHEST = 2.0**40
"""Length of a query, in diameters of the memory, beyond which float32 is too short."""


class Space(NamedTuple):
    """Where keys and queries are points and every score is a distance.

    Attributes
    ----------
    shift : Tensor of shape (r,)
        Mean key, taken off all keys, and off queries where scores are distances.
    scale : float
        Power of two by which points are multiplied, to be at most of length 1.
    rotation : Tensor of shape (r + products, w), float32
        Orthonormal rows.
    products : bool
        Whether scores are products of keys of any length, which get one more feature
        that makes their length 1, while queries do not.
    """

    shift: Tensor
    scale: float
    rotation: Tensor
    products: bool

    def keys(self, keys: Tensor) -> Tensor:
        """Points (m, w) of keys, float32."""
        points = (keys - self.shift) * self.scale
        if self.products:
            last = (1 - points.square().sum(1, keepdim=True)).clamp_min(0).sqrt()
            points = torch.cat([points, last], 1)
        return points.float() @ self.rotation

    def queries(self, vectors: Tensor) -> Tensor:
        """Points (n, w) of encoded queries, float32; infinite where too far away."""
        if self.products:
            largest = vectors.abs().amax(1, keepdim=True)
            points = vectors / largest.where(largest > 0, 1)
            length = torch.linalg.vector_norm(points, dim=1, keepdim=True)
            points = points / length.where(length > 0, 1)
            return points.float() @ self.rotation[:-1]
        points = (vectors - self.shift) * self.scale
        far = points.abs().amax(1, keepdim=True) > _FARTHEST
        return points.masked_fill(far, torch.inf).float() @ self.rotation

    def line(self, vectors: Tensor, beta: float, unit: bool) -> tuple[Tensor, Tensor]:
        """Numbers C and b (n,) with ``score = C - b D / 2``.

        `unit` says whether keys have length 1; elsewhere half of their squared length
        is off the score already.
        """
        root = math.sqrt(beta)
        length = torch.linalg.vector_norm(vectors * root, dim=1)
        if self.products:
            b = length * root / self.scale
            return (vectors * root) @ (self.shift * root) + b, b
        own = length.square() + beta * unit
        return own / 2, torch.full_like(own, (root / self.scale) * (root / self.scale))


class Lists(NamedTuple):
    """What is kept of the keys, list by list.

    Attributes
    ----------
    space : Space
    centroids : Tensor of shape (L, w)
    spread : Tensor of shape (L,)
        Mean squared distance of the keys from the centroid.
    radius : Tensor of shape (L,)
        Largest distance.
    root : Tensor of shape (w, w)
        Square root R of the covariance of directions, ``W = R R'``.
    rooted : Tensor of shape (L, w)
        Centroids times R.
    caution : float
        Factor on the expected weights.
    list_of : Tensor of shape (M,), integer
        The list that every key is in.
    mass : Tensor of shape (L,)
        Multiplicities of the keys, summed.
    """

    space: Space
    centroids: Tensor
    spread: Tensor
    radius: Tensor
    root: Tensor
    rooted: Tensor
    caution: float
    list_of: Tensor
    mass: Tensor


class Distances(NamedTuple):
    """Distribution of the squared distances from queries to lists, (n, L) each."""

    mean: Tensor
    shape: Tensor
    least: Tensor


def squared_distances(a: Tensor, b: Tensor) -> Tensor:
    """Squared distances (n, m) of the rows of two matrices."""
    squares = torch.addmm(b.square().sum(1), a, b.T, alpha=-2)
    return squares.add_(a.square().sum(1, keepdim=True)).clamp_min_(0)


def distances(lists: Lists, points: Tensor) -> Distances:
    """Distribution of the squared distances of points (n, w) to the lists' keys."""
    centre = squared_distances(points, lists.centroids)
    along = squared_distances(points @ lists.root, lists.rooted)
    mean = centre + lists.spread
    own = 2 * lists.spread.square() / effective_features(lists.root)
    variance = along.mul_(4 * lists.spread).add_(own)
    variance.addcmul_(mean, mean, value=_THINNEST)
    least = centre.sqrt_().sub_(lists.radius).clamp_min_(0).square_()
    return Distances(mean, mean.square().div_(variance), least)


def effective_features(root: Tensor) -> Tensor:
    """Say how many directions of equal variance there would be: ``1 / tr(W^2)``."""
    return 1 / (root.T @ root).square().sum()


def expected_exponentials(lists: Lists, found: Distances, b: Tensor) -> Tensor:
    """Logarithms (n, L) of the expected sums of ``exp(-b D / 2)`` over the lists."""
    half = b[:, None] / 2
    expected = torch.log1p(half * found.mean / found.shape).mul_(-found.shape)
    expected += torch.log(expected.new_tensor(lists.caution))
    return torch.minimum(expected, -half * found.least) + lists.mass.log()


def expected_sums(lists: Lists, found: Distances, lift: Callable) -> Tensor:
    """Sum (n, L) over the lists a rising function of the score, from above.

    `lift` takes squared distances (n, L). Every list's distribution is cut at some
    quantiles, and what lies between two of them is moved to the nearer.
    """
    total, above = torch.zeros_like(found.mean), 1.0
    for cut in range(_CUTS):
        root = 1 - 1 / (9 * found.shape) - cut / (3 * found.shape.sqrt())
        nearer = found.mean * root.clamp_min_(0).pow_(3)
        below = math.erfc(cut / math.sqrt(2)) / 2
        total += (above - below) * lift(torch.maximum(nearer, found.least))
        above = below
    # No more than all keys at the list's nearest point, however cautious.
    most = lift(found.least)
    return torch.minimum(lists.caution * total, most) * lists.mass


def read_lists(lists: Lists, indices: Tensor) -> Tensor:
    """Say of which lists (n, L) something is among the keys found (n, k)."""
    read = indices.new_zeros((len(indices), len(lists.mass)), dtype=torch.bool)
    return read.scatter_(1, lists.list_of[indices].long(), True)


def move(lists: Lists, like: Tensor) -> Lists:
    """Put everything where a tensor is, and the mean key into its dtype."""
    space = lists.space._replace(
        shift=lists.space.shift.to(like), rotation=lists.space.rotation.to(like.device)
    )
    moved: dict[str, Any] = {
        name: value.to(like.device)
        for name, value in lists._asdict().items()
        if isinstance(value, Tensor)
    }
    return lists._replace(**moved, space=space)
