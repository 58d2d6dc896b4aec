"""Progress of Stage I: what the learning loop says, handed to who wants to hear it.

The loop in `learning` calls ``report(step, loss, state)`` and stops if that is true.
It knows neither scikit-learn's callbacks nor `verbose`; both are served here.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache


class StageOneProgress:
    """One task per fit, one subtask per step, for callbacks and for `verbose`.

    Parameters
    ----------
    estimator : estimator with callback support
        The one that is being fitted, in a method decorated by `with_callbacks`.
    max_steps : int
        Largest number of steps.
    X, y : ndarray
        What the fit works on.
    rebuild : callable
        ``state -> (attributes, data)``: fitted attributes of the estimator as if
        Stage I had ended with this state, and the X and y that callbacks such as
        ScoringMonitor may score it on. Called only if a callback asks for them.
    """

    def __init__(self, estimator, max_steps: int, X, y, rebuild: Callable):
        self.estimator, self.data, self.rebuild = estimator, {"X": X, "y": y}, rebuild
        self.context = estimator._init_callback_context(max_subtasks=max_steps)
        self.context.call_on_fit_task_begin(estimator=estimator, **self.data)

    @property
    def is_heard(self) -> bool:
        """Whether anybody wants to hear of steps."""
        callbacks = getattr(self.estimator, "_skl_callbacks", ())
        return bool(self.estimator.verbose or callbacks)

    def __call__(self, step: int, loss: float, state: Callable) -> bool:
        """Tell of a step that is done; ``state()`` is what has been learned so far.

        Returns
        -------
        stop : bool
            Whether a callback asks to stop.
        """
        if self.estimator.verbose:
            print(f"Iteration {step}, loss = {loss:.8f}")
        context = self.context.subcontext(task_name="step")
        context.call_on_fit_task_begin(estimator=self.estimator, **self.data)
        rebuilt = cache(lambda: self.rebuild(state()))
        return context.call_on_fit_task_end(
            estimator=self.estimator,
            X=lambda: rebuilt()[1]["X"],
            y=lambda: rebuilt()[1]["y"],
            reconstruction_attributes=lambda: rebuilt()[0],
        )

    def end(self, **data) -> None:
        """Tell that the estimator is fitted, and what it may be scored on, if any."""
        self.context.call_on_fit_task_end(
            estimator=self.estimator, reconstruction_attributes={}, **data
        )
