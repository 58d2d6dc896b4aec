"""What supervised Stage I is given and what it leaves behind."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np
from torch import Tensor

from skuhop.learning.supervised.targets import Target
from skuhop.retrieval.separations import Separation
from skuhop.retrieval.similarities import Similarity

SMALLEST = 8
"""Fewer patterns than this teach nothing."""


class Problem(NamedTuple):
    """Distinct patterns with values.

    Attributes
    ----------
    Z : Tensor of shape (n, d)
        Standardised patterns.
    values : Tensor of shape (n, v)
        What belongs to the patterns: rows of zeros and a one for labels, standardised
        numbers for regression.
    weights : Tensor of shape (n,)
        Multiplicities, class weights included.
    target : Target
        What kind of values they are.
    groups : Tensor of shape (n,) or None
        Numbers from 0; patterns of one group teach each other nothing.
    """

    Z: Tensor
    values: Tensor
    weights: Tensor
    target: Target
    groups: Tensor | None = None

    @property
    def prior(self) -> Tensor:
        """Weighted mean of the values: what is answered when nothing is known."""
        return self.weights @ self.values / self.weights.sum()


class Settings(NamedTuple):
    """How to learn; the names are those of the estimator."""

    loss: str
    similarity: Similarity
    separation: Separation
    separation_params: Mapping
    beta: float | None
    n_components: int
    n_folds: int
    max_iter: int
    learning_rate: float
    weight_decay: float
    batch_size: int
    label_smoothing: float
    early_stopping: bool
    start: Mapping | None
    seed: int
    report: Callable[[int, float, Callable], bool] | None


class CrossFitted(NamedTuple):
    """What supervised Stage I leaves behind.

    Attributes
    ----------
    state : dict of str to ndarray
        Parameters of the members, empty where the untrained kernel was kept.
    betas : ndarray of shape (n_members,)
        Inverse temperatures, calibrated; one for the untrained kernel.
    prior_weight : float
        Share of the prior in the answers.
    loss_curve : list of float
        Mean loss of the members before every step.
    selection : dict
        What was kept, and why, in plain values.
    """

    state: dict
    betas: np.ndarray
    prior_weight: float
    loss_curve: list
    selection: dict


def is_learnable(problem: Problem) -> bool:
    """Whether there are rows enough to learn from, and values that differ."""
    values = problem.values[problem.weights > 0]
    return len(problem.Z) >= SMALLEST and bool((values != values[:1]).any())
