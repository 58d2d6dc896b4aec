"""What supervised Stage I is given: labelled patterns, and how to learn."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from skuhop.retrieval.separations import Separation
from skuhop.retrieval.similarities import Similarity

SMALLEST = 8
"""Fewer patterns than this teach nothing."""


class Problem(NamedTuple):
    """Distinct labelled patterns.

    Attributes
    ----------
    Z : Tensor of shape (n, d)
        Standardised patterns.
    labels : Tensor of shape (n,)
        Class indices.
    weights : Tensor of shape (n,)
        Multiplicities, class weights included.
    n_classes : int
    """

    Z: Tensor
    labels: Tensor
    weights: Tensor
    n_classes: int

    @property
    def one_hot(self) -> Tensor:
        """Labels as rows of zeros and a one."""
        return torch.nn.functional.one_hot(self.labels, self.n_classes).to(self.Z)

    @property
    def prior(self) -> Tensor:
        """Share of every class in the weights."""
        return self.weights @ self.one_hot / self.weights.sum()


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
    report: Callable[[int, float], None] | None


def is_learnable(problem: Problem) -> bool:
    """Whether there are rows and classes enough to learn from."""
    return len(problem.Z) >= SMALLEST and int((problem.prior > 0).sum()) >= 2
