"""What supervised Stage I is given and what it leaves behind."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from torch import Tensor

from skuhop.learning.members import Kernel
from skuhop.learning.supervised.line_beside import LineKind
from skuhop.learning.supervised.targets import Target
from skuhop.retrieval import SIMILARITIES, Separation, Similarity


class Problem(NamedTuple):
    """Patterns with values, as `Division` has them.

    Attributes
    ----------
    Z : Tensor of shape (n, d)
        Standardised patterns.
    values : Tensor of shape (n, v)
        What belongs to the patterns: rows of zeros and a one for labels, standardised
        numbers for regression.
    weights : Tensor of shape (n,)
        What they weigh, class weights included.
    copies : Tensor of shape (n,)
        How many rows each stands for, of which one is left out at a time.
    target : Target
        What kind of values they are.
    line : LineKind or None
        The linear model that may answer beside the memory.
    straight : Tensor of shape (n, d) or None
        What a line sees of the patterns: standardised, but not bounded.
    groups : Tensor of shape (n,) or None
        Numbers from 0; patterns of one group teach each other nothing.
    trend : Tensor of shape (n, v) or None
        What a line has taken off the values, if it has.
    n_surprises : float
        How many more rows are reckoned with, that no stored row explains.
    source, indicators : Tensor of shape (d,) or None
        Columns of the table that columns of Z are made of, and which of Z are
        indicators of a nominal one; None where all are numbers.
    """

    Z: Tensor
    values: Tensor
    weights: Tensor
    copies: Tensor
    target: Target
    line: LineKind | None = None
    straight: Tensor | None = None
    groups: Tensor | None = None
    trend: Tensor | None = None
    n_surprises: float = 0.0
    source: Tensor | None = None
    indicators: Tensor | None = None

    @property
    def prior(self) -> Tensor:
        """Weighted mean of the values: what is answered when nothing is known."""
        return self.weights @ self.values / self.weights.sum()


class Settings(NamedTuple):
    """How to learn; the names are those of the estimator.

    Two are none of its parameters: `run` calls functions ``task(is_wanted)`` that need
    nothing of each other, and `report` hears of every step, in order; where it is None
    nobody wants to hear.
    """

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
    linear_share: float | None
    seed: int
    run: Callable[[Sequence[Callable]], None]
    report: Callable[[int, float, Callable], bool] | None = None

    def of(self, kernel: Kernel) -> Settings:
        """Make settings for one of several kernels."""
        return self._replace(similarity=SIMILARITIES[kernel.similarity])


class CrossFitted(NamedTuple):
    """What supervised Stage I leaves behind.

    Attributes
    ----------
    kernels : list of Kernel
        Learned and calibrated; one without a state where the untrained one was kept.
    prior_weight : float
        Share of the prior in the answers.
    loss_curve : list of float
        Mean loss of the members before every step.
    selection : dict
        What was kept, and why, in plain values.
    linear_share : float
        Share of a linear model in the answers.
    penalty : float
        Its penalty, if it has a share.
    """

    kernels: list[Kernel]
    prior_weight: float
    loss_curve: list
    selection: dict
    linear_share: float = 0.0
    penalty: float = math.nan
