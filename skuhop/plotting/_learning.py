"""StageOneDisplay: what Stage I did, step by step.

scikit-learn's LearningCurveDisplay shows scores against the number of samples, and
its ValidationCurveDisplay against a parameter; both refit for every point. The steps
of one fit are neither.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted

from skuhop.learning import WATCH_EVERY
from skuhop.plotting._style import COLOURS, axes

if TYPE_CHECKING:
    from matplotlib.axes import Axes


class StageOneDisplay:
    """Loss and held-out retrieval against the steps of Stage I.

    Use `from_estimator` to make one.

    Parameters
    ----------
    loss_curve : array-like of shape (n_steps,)
        Loss before every step.

    validation_scores : array-like of shape (n_looks,), default=()
        Log-probability of the right pattern for held-out corrupted copies, at the
        start and every few steps; empty if nothing was watched.

    validation_steps : array-like of shape (n_looks,), default=()
        Steps of these looks.

    kept_step : int, default=None
        The step that was kept.

    loss_name : str, default="loss"
        What was minimised.

    Attributes
    ----------
    ax_ : matplotlib Axes
        Where the loss was drawn.

    validation_ax_ : matplotlib Axes or None
        Where the held-out scores were drawn, over the same steps.

    figure_ : matplotlib Figure
        The figure of both.

    Notes
    -----
    As with scikit-learn's LearningCurveDisplay there is no `from_predictions`: curves
    that are known go into the constructor.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from skuhop import UHopMemory
    >>> from skuhop.plotting import StageOneDisplay
    >>> memory = UHopMemory(max_iter=20, random_state=0)
    >>> memory = memory.fit(load_digits().data[:50] / 16)
    >>> display = StageOneDisplay.from_estimator(memory)
    >>> display.validation_steps
    array([ 0,  5, 10, 15, 20])
    """

    def __init__(
        self,
        *,
        loss_curve: Sequence[float] | np.ndarray,
        validation_scores: Sequence[float] | np.ndarray = (),
        validation_steps: Sequence[int] | np.ndarray = (),
        kept_step: int | None = None,
        loss_name: str = "loss",
    ) -> None:
        self.loss_curve = loss_curve
        self.validation_scores = validation_scores
        self.validation_steps = validation_steps
        self.kept_step = kept_step
        self.loss_name = loss_name

    @classmethod
    def from_estimator(
        cls, estimator: BaseEstimator, *, ax: Axes | None = None, **options: Any
    ) -> Self:
        """Draw what a fitted estimator remembers of its Stage I.

        Parameters
        ----------
        estimator : UHopMemory or UHopClassifier
            A fitted estimator.

        ax : matplotlib Axes, default=None
            Where to draw; None is a new figure.

        **options : dict
            More arguments of `plot`.

        Returns
        -------
        display : StageOneDisplay
            The display, drawn.

        Raises
        ------
        ValueError
            If Stage I had nothing to learn.
        """
        check_is_fitted(estimator)
        curve = np.asarray(estimator.loss_curve_)
        if len(curve) == 0:
            raise ValueError(
                "There is no curve to draw: Stage I had nothing to learn "
                f"({estimator.selection_['reason']})."
            )
        scores = np.asarray(getattr(estimator, "validation_scores_", ()))
        looks = np.minimum(np.arange(len(scores)) * WATCH_EVERY, len(curve))
        return cls(
            loss_curve=curve,
            validation_scores=scores,
            validation_steps=looks,
            kept_step=estimator.selection_.get("step"),
            loss_name=f"loss ({estimator.loss})",
        ).plot(ax, **options)

    def plot(self, ax: Axes | None = None) -> Self:
        """Draw the curves.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to draw; None is a new figure.

        Returns
        -------
        self : StageOneDisplay
            The display, drawn.
        """
        ax = axes(ax, figsize=(6.0, 4.0))
        steps = np.arange(len(self.loss_curve))
        lines = ax.plot(steps, self.loss_curve, color=COLOURS[0], label=self.loss_name)
        ax.set(xlabel="step of Stage I", ylabel=self.loss_name)
        self.validation_ax_ = None
        if len(self.validation_scores):
            self.validation_ax_ = ax.twinx()
            lines += self.validation_ax_.plot(
                self.validation_steps,
                self.validation_scores,
                "--o",
                color=COLOURS[1],
                label="held-out retrieval",
            )
            self.validation_ax_.set_ylabel("held-out log-probability (nats)")
        if self.kept_step is not None:
            line = ax.axvline(self.kept_step, color="k", linestyle=":", label="kept")
            lines.append(line)
        ax.legend(
            handles=lines,
            frameon=False,
            loc="lower center",
            bbox_to_anchor=(0.5, 1),
            ncols=len(lines),
        )
        self.ax_, self.figure_ = ax, ax.figure
        return self
