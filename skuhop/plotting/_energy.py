"""EnergyDisplay: the landscape of a memory with two features."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_array, check_is_fitted

from skuhop.plotting._style import COLOURS, axes
from skuhop.support import check_columns
from skuhop.support import parameter_rules as rules

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import Colormap

_RULES = {
    "grid_resolution": (rules.Number(Integral, 2),),
    "margin": (rules.Number(Real, 0),),
    "n_steps": (rules.COUNT,),
}


class EnergyDisplay:
    """Energy over the plane, basins of attraction, and the ways that queries take.

    Use `from_estimator` to make one. As with scikit-learn's DecisionBoundaryDisplay
    there is no `from_predictions`: an energy that is known on a grid goes into the
    constructor.

    Parameters
    ----------
    xx0, xx1 : ndarray of shape (grid_resolution, grid_resolution)
        Coordinates of the grid.

    energy : ndarray of shape (grid_resolution, grid_resolution)
        Energy on the grid.

    patterns : ndarray of shape (n_patterns, 2)
        The stored patterns.

    basins : ndarray of shape (grid_resolution, grid_resolution), default=None
        Which pattern each point of the grid ends at.

    trajectories : ndarray of shape (n_steps + 1, n_queries, 2), default=None
        Where queries are after every update, the first one before any.

    feature_names : sequence of two str, default=None
        Names of the two features, units included.

    Attributes
    ----------
    ax_ : matplotlib Axes
        Where it was drawn.

    figure_ : matplotlib Figure
        Its figure.

    surface_ : matplotlib QuadContourSet
        The filled contours of the energy.

    See Also
    --------
    sklearn.inspection.DecisionBoundaryDisplay : The same for what is decided.

    Examples
    --------
    >>> import numpy as np
    >>> from skuhop import UHopMemory
    >>> from skuhop.plotting import EnergyDisplay
    >>> X = np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    >>> memory = UHopMemory("identity", similarity="euclidean", beta=9.0).fit(X)
    >>> display = EnergyDisplay.from_estimator(memory, queries=[[0.8, 0.3]], n_steps=3)
    >>> display.trajectories.shape
    (4, 1, 2)
    """

    def __init__(
        self,
        *,
        xx0: np.ndarray,
        xx1: np.ndarray,
        energy: np.ndarray,
        patterns: np.ndarray,
        basins: np.ndarray | None = None,
        trajectories: np.ndarray | None = None,
        feature_names: Sequence[str] | None = None,
    ) -> None:
        self.xx0 = xx0
        self.xx1 = xx1
        self.energy = energy
        self.patterns = patterns
        self.basins = basins
        self.trajectories = trajectories
        self.feature_names = feature_names

    @classmethod
    def from_estimator(
        cls,
        estimator: BaseEstimator,
        *,
        queries: ArrayLike | None = None,
        grid_resolution: int = 120,
        margin: float = 0.3,
        n_steps: int = 30,
        ax: Axes | None = None,
        **options: Any,
    ) -> Self:
        """Ask a fitted memory on a grid, and draw.

        Parameters
        ----------
        estimator : UHopMemory
            Fitted on two features.

        queries : array-like of shape (n_queries, 2), default=None
            Where trajectories start.

        grid_resolution : int, default=120
            Number of points along each side of the grid.

        margin : float, default=0.3
            How far the grid goes beyond the patterns and the queries, as a share of
            the range of the patterns.

        n_steps : int, default=30
            Number of calls of `transform` that trajectories and basins follow.

        ax : matplotlib Axes, default=None
            Where to draw; None is a new figure.

        **options : dict
            More arguments of `plot`.

        Returns
        -------
        display : EnergyDisplay
            The display, drawn.

        Raises
        ------
        ValueError
            If the memory has not exactly two features.
        """
        check_is_fitted(estimator)
        values = {
            "grid_resolution": grid_resolution,
            "margin": margin,
            "n_steps": n_steps,
        }
        rules.check_parameters("EnergyDisplay.from_estimator", values, _RULES)
        if estimator.n_features_in_ != 2:
            raise ValueError(
                "EnergyDisplay draws memories with 2 features; got one with "
                f"{estimator.n_features_in_}."
            )
        patterns = estimator.patterns_
        # A pattern that lacks an entry has no place.
        patterns = patterns[~np.isnan(patterns).any(axis=1)]
        shown = patterns
        if queries is not None:
            check_columns(estimator, queries)
            queries = check_array(queries, dtype=patterns.dtype, input_name="queries")
            shown = np.concatenate([patterns, queries])
        room = margin * np.ptp(patterns, axis=0)
        low, high = shown.min(axis=0) - room, shown.max(axis=0) + room
        sides = np.linspace(low, high, grid_resolution, axis=1)
        xx0, xx1 = np.meshgrid(*sides)
        names = getattr(estimator, "feature_names_in_", None)

        def name_columns(X):
            """X as the memory got its patterns, so that it knows the columns."""
            if names is None:
                return X
            from pandas import DataFrame

            return DataFrame(X, columns=names)

        def follow(X):
            way = [np.asarray(X, dtype=patterns.dtype)]
            for _ in range(n_steps):
                way.append(np.asarray(estimator.transform(name_columns(way[-1]))))
            return np.stack(way)

        points = np.column_stack([xx0.ravel(), xx1.ravel()]).astype(patterns.dtype)
        return cls(
            xx0=xx0,
            xx1=xx1,
            energy=estimator.energy(name_columns(points)).reshape(xx0.shape),
            patterns=patterns,
            basins=estimator.predict(name_columns(follow(points)[-1])).reshape(
                xx0.shape
            ),
            trajectories=None if queries is None else follow(queries),
            feature_names=names,
        ).plot(ax, **options)

    def plot(
        self,
        ax: Axes | None = None,
        *,
        levels: int = 14,
        cmap: str | Colormap = "Blues_r",
        colorbar: bool = True,
    ) -> Self:
        """Draw the landscape.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to draw; None is a new figure.

        levels : int, default=14
            Number of contours. They lie at quantiles of the energy, whose wells can be
            deep and narrow, and are as far apart in colour.

        cmap : str or matplotlib Colormap, default="Blues_r"
            Colours of the energy, from low to high.

        colorbar : bool, default=True
            Whether to draw one.

        Returns
        -------
        self : EnergyDisplay
            The display, drawn.
        """
        ax = axes(ax, figsize=(5.6, 4.6))
        heights = np.unique(np.quantile(self.energy, np.linspace(0, 1, levels + 1)))
        grid = self.xx0, self.xx1
        from matplotlib.colors import BoundaryNorm

        self.surface_ = ax.contourf(
            *grid,
            self.energy,
            levels=heights,
            cmap=cmap,
            norm=BoundaryNorm(heights, 256),
        )
        if colorbar:
            bar = ax.figure.colorbar(self.surface_, ax=ax, format="%.2g")
            bar.set_label("energy (units of the scores)")
        if self.basins is not None:
            for basin in np.unique(self.basins)[1:]:
                ax.contour(
                    *grid,
                    self.basins == basin,
                    levels=[0.5],
                    colors="k",
                    linewidths=0.8,
                )
        if self.trajectories is not None:
            for way in np.swapaxes(self.trajectories, 0, 1):
                ax.plot(*way.T, "-", color=COLOURS[1], linewidth=1.4, zorder=3)
                ax.plot(*way[0], "o", color=COLOURS[1], markersize=4, zorder=3)
        ax.plot(
            *self.patterns.T, "*", color=COLOURS[4], markeredgecolor="k", markersize=11
        )
        names = self.feature_names
        names = ("feature 0", "feature 1") if names is None else names
        ax.set(xlabel=names[0], ylabel=names[1])
        self.ax_, self.figure_ = ax, ax.figure
        return self
