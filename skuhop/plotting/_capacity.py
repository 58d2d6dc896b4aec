"""CapacityDisplay: how retrieval holds up as more and more patterns are stored."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from numbers import Integral
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator, clone
from sklearn.utils.parallel import Parallel, delayed
from sklearn.utils.validation import check_array

from skuhop.metrics import hit_rate, retrieval_error, retrieval_scorer
from skuhop.plotting._style import axes, line_style
from skuhop.support import parameter_rules as rules

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_LABELS = {
    "error": "error (squared, summed over features)",
    "hit_rate": "hit rate (share of queries)",
}
_METRICS = {"error": retrieval_error, "hit_rate": hit_rate}
_RULES = {
    "n_draws": (rules.COUNT,),
    "random_state": (rules.Number(Integral, 0),),
}


class CapacityDisplay:
    """Retrieval against the number of stored patterns, one line for each model.

    Use `from_estimators`, `from_estimator` or `from_predictions` to make one.

    Parameters
    ----------
    n_patterns : ndarray of shape (n_sizes,)
        Numbers of stored patterns.

    values : dict of str to ndarray of shape (n_sizes, n_draws)
        The `retrieval_error` or the `hit_rate` of each model, by name.

    metric : {"error", "hit_rate"}, default="error"
        Which of both the values are.

    Attributes
    ----------
    ax_ : matplotlib Axes
        Where it was drawn.

    figure_ : matplotlib Figure
        Its figure.

    lines_ : list of matplotlib Line2D
        The mean over draws, one for each model.

    See Also
    --------
    sklearn.model_selection.LearningCurveDisplay : Generalisation against the number of
        training samples.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from skuhop import UHopMemory
    >>> from skuhop.plotting import CapacityDisplay
    >>> display = CapacityDisplay.from_estimators(
    ...     {
    ...         "dot": UHopMemory("identity", similarity="dot", beta=1.0),
    ...         "distance": UHopMemory("identity", similarity="euclidean"),
    ...     },
    ...     load_digits().data / 16,
    ...     n_patterns=[20, 40],
    ...     corruption="noise",
    ... )
    >>> bool((display.values["distance"] < display.values["dot"]).all())
    True
    """

    def __init__(
        self,
        *,
        n_patterns: np.ndarray,
        values: Mapping[str, np.ndarray],
        metric: str = "error",
    ) -> None:
        self.n_patterns = n_patterns
        self.values = values
        self.metric = metric

    @classmethod
    def from_estimator(
        cls,
        estimator: BaseEstimator,
        X: ArrayLike,
        *,
        name: str | None = None,
        **options: Any,
    ) -> Self:
        """Fit one memory on more and more patterns, and draw.

        Parameters
        ----------
        estimator : estimator with `fit` and `transform`
            A memory. It is cloned.

        X : array-like of shape (n_available, n_features)
            What patterns are drawn from.

        name : str, default=None
            Name in the legend; None is that of the class.

        **options : dict
            More arguments of `from_estimators`.

        Returns
        -------
        display : CapacityDisplay
            The display, drawn.
        """
        name = type(estimator).__name__ if name is None else name
        return cls.from_estimators({name: estimator}, X, **options)

    @classmethod
    def from_estimators(
        cls,
        estimators: Mapping[str, BaseEstimator],
        X: ArrayLike,
        *,
        n_patterns: ArrayLike,
        corruption: str | Callable,
        metric: str = "error",
        n_draws: int = 3,
        random_state: int | None = 0,
        n_jobs: int | None = None,
        ax: Axes | None = None,
        **options: Any,
    ) -> Self:
        """Fit memories on more and more patterns, ask for them, and draw.

        All models are given the same patterns and the same corrupted copies.

        Parameters
        ----------
        estimators : dict of str to estimator
            Memories by name. They are cloned.

        X : array-like of shape (n_available, n_features)
            What patterns are drawn from, without replacement.

        n_patterns : array-like of int
            Numbers of patterns to store.

        corruption : {"mask", "noise", "both"} or callable
            As in `retrieval_scorer`.

        metric : {"error", "hit_rate"}, default="error"
            What to show.

        n_draws : int, default=3
            Number of draws of patterns for each size.

        random_state : int, default=0
            Seed of the draws and of the corruption.

        n_jobs : int, default=None
            Number of fits at once; see joblib.

        ax : matplotlib Axes, default=None
            Where to draw; None is a new figure.

        **options : dict
            More arguments of `plot`.

        Returns
        -------
        display : CapacityDisplay
            The display, drawn.

        Raises
        ------
        ValueError
            If a number of patterns is not between 1 and the number of rows of X.
        """
        if not isinstance(estimators, Mapping) or not estimators:
            raise ValueError(
                f"estimators must be a dict of names to estimators; got {estimators!r}."
            )
        counts = {"n_draws": n_draws, "random_state": random_state}
        rules.check_parameters("CapacityDisplay.from_estimators", counts, _RULES)
        X = check_array(X, dtype=[np.float64, np.float32], input_name="X")
        sizes = np.unique(n_patterns)
        if sizes.dtype.kind not in "iu" or sizes[0] < 1 or sizes[-1] > len(X):
            raise ValueError(
                f"n_patterns must be integers from 1 to {len(X)}, the number of rows "
                f"of X; got {n_patterns!r}."
            )
        scorer = retrieval_scorer(corruption, metric=metric, random_state=random_state)
        rng = np.random.RandomState(random_state)
        draws = [X[rng.permutation(len(X))] for _ in range(n_draws)]
        cells = [
            (estimator, draw[:size])
            for estimator in estimators.values()
            for size in sizes
            for draw in draws
        ]
        found = Parallel(n_jobs=n_jobs)(delayed(_cell)(*c, scorer) for c in cells)
        found = np.reshape(found, (len(estimators), len(sizes), n_draws))
        if metric == "error":
            found = -found
        values = dict(zip(estimators, found, strict=True))
        return cls(n_patterns=sizes, values=values, metric=metric).plot(ax, **options)

    @classmethod
    def from_predictions(
        cls,
        stored: Sequence[ArrayLike],
        retrieved: Mapping[str, Sequence[ArrayLike]],
        *,
        metric: str = "error",
        ax: Axes | None = None,
        **options: Any,
    ) -> Self:
        """Draw answers that are known, of any models.

        Parameters
        ----------
        stored : sequence of array-like of shape (n_patterns, n_features)
            The right patterns of every draw. Draws of as many patterns belong
            together, and there are as many of each size.

        retrieved : dict of str to sequence of array-like
            By the name of a model, what came back for them, in the same order.

        metric : {"error", "hit_rate"}, default="error"
            What to show.

        ax : matplotlib Axes, default=None
            Where to draw; None is a new figure.

        **options : dict
            More arguments of `plot`.

        Returns
        -------
        display : CapacityDisplay
            The display, drawn.

        Raises
        ------
        ValueError
            If sizes have different numbers of draws, or a model has not answered all.
        """
        rule = {"metric": (rules.Choice(tuple(_METRICS)),)}
        rules.check_parameters(
            "CapacityDisplay.from_predictions", {"metric": metric}, rule
        )
        lengths = [len(np.asarray(patterns)) for patterns in stored]
        sizes, counts = np.unique(lengths, return_counts=True)
        if len(set(counts)) != 1:
            found = dict(zip(sizes.tolist(), counts.tolist(), strict=True))
            raise ValueError(
                "stored must have as many draws of each number of patterns, and one "
                f"at least; got {found}."
            )
        for name, answers in retrieved.items():
            if len(answers) != len(lengths):
                raise ValueError(
                    f"retrieved[{name!r}] must have an answer for each of the "
                    f"{len(lengths)} draws of stored; got {len(answers)}."
                )
        order = np.argsort(lengths, kind="stable").reshape(len(sizes), -1)
        score = _METRICS[metric]
        values = {
            name: np.array(
                [[score(stored[i], answers[i]) for i in draws] for draws in order]
            )
            for name, answers in retrieved.items()
        }
        return cls(n_patterns=sizes, values=values, metric=metric).plot(ax, **options)

    def plot(self, ax: Axes | None = None, *, yscale: str = "linear") -> Self:
        """Draw the mean of the draws as lines and their range as bands.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to draw; None is a new figure.

        yscale : str, default="linear"
            Scale of the values, as in matplotlib; "symlog" shows small errors and
            zeros too.

        Returns
        -------
        self : CapacityDisplay
            The display, drawn.
        """
        ax = axes(ax, figsize=(6.0, 4.2))
        self.lines_ = []
        for position, (name, values) in enumerate(self.values.items()):
            style = line_style(position)
            mean, low, high = values.mean(1), values.min(1), values.max(1)
            self.lines_ += ax.plot(self.n_patterns, mean, label=name, **style)
            ax.fill_between(
                self.n_patterns, low, high, color=style["color"], alpha=0.15, lw=0
            )
        ax.set_yscale(yscale)
        ax.set(xlabel="number of stored patterns", ylabel=_LABELS[self.metric])
        ax.legend(frameon=False)
        self.ax_, self.figure_ = ax, ax.figure
        return self


def _cell(estimator, patterns, scorer):
    """Score a memory of some patterns."""
    return scorer(clone(estimator).fit(patterns), patterns)
