"""Stage II of classifier and regressor: a memory that reads out values, not keys."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from skuhop.answering.memory_of_patterns import DISTANCES
from skuhop.answering.precision import choose_product
from skuhop.learning import Inputs, JointFeatures, Kernel, joint_features
from skuhop.retrieval import (
    SEPARATIONS,
    SIMILARITIES,
    CompletingScorer,
    FeatureMap,
    MeanCompletion,
    Memory,
    RetrievedCompletion,
    build_observed_scorer,
    build_scorer,
    enter,
)
from skuhop.support import cast, standardise, to_tensor, unit_of


class ValueParameters(NamedTuple):
    """Parameters of classifier and regressor that Stage II is prepared with."""

    separation: str
    separation_params: Mapping
    precision: str


class StoredLabels(NamedTuple):
    """Labels of stored rows: positions (M,) among classes (c,)."""

    codes: np.ndarray
    classes: np.ndarray

    def read_out(self) -> np.ndarray:
        """Rows (M, c) of zeros and a one."""
        return np.eye(len(self.classes))[self.codes]


class StoredNumbers(NamedTuple):
    """Numbers of stored rows, and what is taken off them before they are read out.

    Attributes
    ----------
    values : ndarray of shape (M, ...)
    patterns : ndarray of shape (M, d)
        The rows.
    trend : Trend or None
        A line that is taken off, and added to the answers again.
    centre, scale : ndarray of shape (v,)
        Mean and standard deviation of what is left.
    """

    values: np.ndarray
    patterns: np.ndarray
    trend: Trend | None
    centre: np.ndarray
    scale: np.ndarray

    def read_out(self) -> np.ndarray:
        """Standardised columns (M, v)."""
        columns = self.values.reshape(len(self.values), -1)
        if self.trend is not None:
            rows = torch.from_numpy(self.patterns.astype(np.float64))
            straight = self.trend.standards.straighten(rows)
            columns = columns - self.trend.follow(straight).numpy()
        return standardise(columns, self.centre, self.scale)


class Standards(NamedTuple):
    """Mean and scale (d,) of the rows: how a fitted estimator standardises them."""

    mean: np.ndarray
    scale: np.ndarray

    def as_inputs(self, tensor) -> Inputs:
        """Standardise tensors, as ``tensor(array)`` makes them."""
        return Inputs(tensor(self.mean), 1 / tensor(self.scale))

    def straighten(self, rows: Tensor) -> Tensor:
        """Standardise complete rows as lines see them."""
        return self.as_inputs(rows.new_tensor).standardise_only(rows)


class Trend(NamedTuple):
    """A line (v, d) on standardised rows."""

    coef: np.ndarray
    standards: Standards

    def follow(self, Z: Tensor) -> Tensor:
        """Values (n, v) on the line, of rows as `straighten` gives them."""
        return Z @ Z.new_tensor(self.coef).T


class FittedValues(NamedTuple):
    """All that Stage II reads of a fitted classifier or regressor.

    Attributes
    ----------
    parameters : ValueParameters
    patterns, weights
        What is stored, in the user's units.
    standards : Standards
    kernels : sequence of mapping
        What Stage I has learned, the attribute `kernels_`.
    values : StoredLabels or StoredNumbers
    nominal : bool
        Whether there are nominal columns. Entries that a query lacks are at the mean
        then, as those of stored rows are: what a few rows have there instead is worse
        (log-loss up to 1.25 times as high with 30 % of the entries missing), though
        better for numbers alone.
    """

    parameters: ValueParameters
    patterns: np.ndarray
    weights: np.ndarray | None
    standards: Standards
    kernels: Sequence[Mapping]
    values: StoredLabels | StoredNumbers
    nominal: bool = False

    def prepare(
        self, complete: bool, dtype, device: torch.device, by_distance: bool = False
    ) -> Memory:
        """Tensors on the device, the members restored, the keys encoded.

        Parameters are those of `FittedPatterns.prepare`.
        """
        _check_range(self.patterns, dtype)
        tensor = partial(_tensor, dtype=dtype, device=device)
        patterns, weights = tensor(self.patterns), self.weights
        mean, scale = self.standards.as_inputs(tensor)
        weights = None if weights is None else tensor(weights)
        features, similarity = self._features(dtype, device)
        if by_distance:
            similarity = DISTANCES.get(similarity, similarity)
        product = choose_product(self.parameters.precision, dtype, device)
        stored = patterns, mean, weights, FeatureMap(features, features)
        scorer = build_scorer(similarity, 1.0, *stored, product, unit=None)
        if not complete and self.nominal:
            scorer = CompletingScorer(scorer, MeanCompletion(mean))
        elif not complete:
            scaled = (patterns * scale, mean * scale)
            observed = build_observed_scorer("euclidean", "auto", *scaled, weights)
            softmax = Memory(observed, SEPARATIONS["softmax"], {}, scaled[0], weights)
            scorer = CompletingScorer(scorer, RetrievedCompletion(softmax, scale, mean))
        return Memory(
            scorer,
            SEPARATIONS[self.parameters.separation],
            self.parameters.separation_params,
            tensor(self.values.read_out()),
            weights,
            complete,
            product=product,
        )

    def encode(self, patterns: np.ndarray, device: torch.device) -> Tensor:
        """Features of rows, stored or not, as the similarity compares them."""
        features, similarity = self._features(patterns.dtype, device)
        keys = features(to_tensor(patterns, device))
        return SIMILARITIES[similarity].encode(keys)[0]

    def _features(self, dtype, device) -> tuple[JointFeatures, str]:
        """Features of all members side by side, and what to compare them with."""
        as_they_are = self.kernels[0]["feature_map"] == "identity"
        unit = unit_of(self.patterns) if as_they_are else 1.0
        kernels = [_restore(kernel, unit, dtype, device) for kernel in self.kernels]
        if as_they_are:
            return joint_features(kernels, partial(_divide, unit=unit))
        tensor = partial(_tensor, dtype=dtype, device=device)
        inputs = self.standards.as_inputs(tensor)
        return joint_features(kernels, inputs.__call__)


def _restore(kernel: Mapping, unit: float, dtype, device) -> Kernel:
    """Make the numbers of a kernel tensors; betas are for rows in a unit."""
    size = SIMILARITIES[kernel["similarity"]].in_user_units(unit)
    most = np.finfo(dtype).max ** 0.5
    tensor = partial(_tensor, dtype=dtype, device=device)
    return Kernel(
        kernel["feature_map"],
        kernel["similarity"],
        tensor(np.minimum(np.asarray(kernel["betas"], float) * size, most)),
        {name: tensor(array) for name, array in kernel["state"].items()},
    )


def _divide(X: Tensor, unit: float) -> Tensor:
    """Divide rows by a unit."""
    return enter(X, unit)[0]


def _check_range(X, dtype):
    """Refuse to compute with columns in a dtype that has no numbers of their size.

    Raises
    ------
    ValueError
        Names the size.
    """
    info = np.finfo(dtype)
    if X.dtype == dtype:
        return
    size = np.abs(X).max(axis=0, initial=0)
    lost = size[(size > info.max) | ((size > 0) & (size < info.tiny))]
    if len(lost):
        raise ValueError(
            f"A column of the stored rows is of the size {lost[0]:.0e}, which "
            f"{np.dtype(dtype)} cannot hold: pass queries in float64, or scale it."
        )


def _tensor(array, dtype, device) -> Tensor:
    """Make stored numbers a tensor of a dtype; positions and the like stay whole."""
    array = np.asarray(array)
    floats = array.dtype.kind == "f"
    return to_tensor(cast(array, dtype, "What is stored") if floats else array, device)


def with_prior(votes: Tensor, prior: np.ndarray, share: float) -> Tensor:
    """Probabilities (n, classes) from votes: what is left, and a share, is prior."""
    # Rows are to sum to one in float64, which one device does not have.
    proba = votes if votes.device.type == "mps" else votes.double()
    known = proba.new_tensor(prior)
    nothing = (1 - proba.sum(1, keepdim=True)).clamp_min(0)
    proba = proba + nothing * known
    proba = (1 - share) * proba + share * known
    return (proba / proba.sum(1, keepdim=True)).to(votes)
