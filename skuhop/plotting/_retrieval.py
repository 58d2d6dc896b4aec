"""RetrievalDisplay: stored patterns, damaged queries and the answers, in rows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_array

from skuhop.plotting._style import axes
from skuhop.support import check_columns

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import Colormap

_GAP = 1
"""Empty pixels between two images."""
_INCH = 0.75
"""Side of an image in a new figure."""


class RetrievalDisplay:
    """Rows of images: what was stored, what was asked, what came back.

    Use `from_estimator` or `from_predictions` to make one.

    Parameters
    ----------
    queries : ndarray of shape (n_queries, n_features)
        What the memory was asked; NaN is unknown and shown in a colour of its own.

    retrieved : ndarray of shape (n_queries, n_features)
        What it answered.

    stored : ndarray of shape (n_queries, n_features), default=None
        The right patterns; None leaves their row out.

    image_shape : tuple of int, default=None
        How features become an image: (height, width), or (height, width, 3) for
        colours from 0 to 1. None is a square where the number of features is one,
        and else a strip.

    Attributes
    ----------
    ax_ : matplotlib Axes
        Where it was drawn.

    figure_ : matplotlib Figure
        Its figure.

    image_ : matplotlib AxesImage
        The one image that all the small ones are parts of.

    See Also
    --------
    EnergyDisplay : What a memory with two features does.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from skuhop import UHopMemory
    >>> from skuhop.plotting import RetrievalDisplay
    >>> X = load_digits().data[:50] / 16
    >>> memory = UHopMemory("identity").fit(X)
    >>> display = RetrievalDisplay.from_estimator(memory, 0.5 * X[:8], X[:8])
    >>> display.retrieved.shape
    (8, 64)
    """

    def __init__(
        self,
        *,
        queries: np.ndarray,
        retrieved: np.ndarray,
        stored: np.ndarray | None = None,
        image_shape: tuple[int, ...] | None = None,
    ) -> None:
        self.queries = queries
        self.retrieved = retrieved
        self.stored = stored
        self.image_shape = image_shape

    @classmethod
    def from_estimator(
        cls,
        estimator: BaseEstimator,
        queries: ArrayLike,
        stored: ArrayLike | None = None,
        *,
        image_shape: tuple[int, ...] | None = None,
        ax: Axes | None = None,
        **options: Any,
    ) -> Self:
        """Ask a fitted memory and draw.

        Parameters
        ----------
        estimator : estimator with `transform`
            A fitted memory, or a pipeline that ends in one.

        queries : array-like of shape (n_queries, n_features)
            Damaged patterns.

        stored : array-like of shape (n_queries, n_features), default=None
            The right patterns.

        image_shape : tuple of int, default=None
            See the class.

        ax : matplotlib Axes, default=None
            Where to draw; None is a new figure.

        **options : dict
            More arguments of `plot`.

        Returns
        -------
        display : RetrievalDisplay
            The display, drawn.
        """
        if stored is not None:
            check_columns(queries, stored)
        answers = estimator.transform(queries)
        return cls.from_predictions(
            queries, answers, stored, image_shape=image_shape, ax=ax, **options
        )

    @classmethod
    def from_predictions(
        cls,
        queries: ArrayLike,
        retrieved: ArrayLike,
        stored: ArrayLike | None = None,
        *,
        image_shape: tuple[int, ...] | None = None,
        ax: Axes | None = None,
        **options: Any,
    ) -> Self:
        """Draw answers that are known.

        Parameters
        ----------
        queries : array-like of shape (n_queries, n_features)
            Damaged patterns.

        retrieved : array-like of shape (n_queries, n_features)
            What came back for them.

        stored : array-like of shape (n_queries, n_features), default=None
            The right patterns.

        image_shape : tuple of int, default=None
            See the class.

        ax : matplotlib Axes, default=None
            Where to draw; None is a new figure.

        **options : dict
            More arguments of `plot`.

        Returns
        -------
        display : RetrievalDisplay
            The display, drawn.

        Raises
        ------
        ValueError
            If the shapes differ.
        """
        given = {"queries": queries, "retrieved": retrieved, "stored": stored}
        check_columns(*given.values())
        rows = {
            name: check_array(
                array, dtype=float, ensure_all_finite="allow-nan", input_name=name
            )
            for name, array in given.items()
            if array is not None
        }
        shapes = {name: array.shape for name, array in rows.items()}
        if len(set(shapes.values())) > 1:
            raise ValueError(f"All rows must have the same shape; got {shapes}.")
        shape = _image_shape(rows["queries"].shape[1], image_shape)
        return cls(**rows, image_shape=shape).plot(ax, **options)

    def plot(
        self,
        ax: Axes | None = None,
        *,
        n_shown: int = 10,
        cmap: str | Colormap = "gray_r",
        missing: str = "#E69F00",
    ) -> Self:
        """Draw the rows.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to draw; None is a new figure.

        n_shown : int, default=10
            Largest number of queries to show; they are taken evenly.

        cmap : str or matplotlib Colormap, default="gray_r"
            Colours of images without colours of their own.

        missing : colour, default="#E69F00"
            Colour of unknown entries.

        Returns
        -------
        self : RetrievalDisplay
            The display, drawn.
        """
        rows = {"stored": self.stored, "query": self.queries, "answer": self.retrieved}
        rows = {name: images for name, images in rows.items() if images is not None}
        n_queries, n_features = self.queries.shape
        shown = np.linspace(0, n_queries - 1, min(n_shown, n_queries)).astype(int)
        size = len(shown) * _INCH + 0.8, len(rows) * _INCH + 0.2
        ax = axes(ax, figsize=size)
        from matplotlib import colormaps, colors

        shape = _image_shape(n_features, self.image_shape)
        images = [[image.reshape(shape) for image in X[shown]] for X in rows.values()]
        mosaic = _mosaic(images)
        reference = self.retrieved if self.stored is None else self.stored
        low, high = np.nanmin(reference), np.nanmax(reference)
        if mosaic.ndim == 3:
            unknown = np.isnan(mosaic).any(axis=2, keepdims=True)
            mosaic = np.where(unknown, colors.to_rgb(missing), mosaic.clip(0, 1))
        colours = colormaps.get_cmap(cmap).with_extremes(bad=missing)
        self.image_ = ax.imshow(mosaic, cmap=colours, vmin=low, vmax=high)
        self._frame(ax, list(rows), shape, len(shown))
        self.ax_, self.figure_ = ax, ax.figure
        return self

    def _frame(self, ax, names, shape, n_columns):
        """Name the rows and paint the gaps between images over."""
        height, width = shape[0] + _GAP, shape[1] + _GAP
        colour = ax.figure.get_facecolor()
        for row in range(1, len(names)):
            ax.axhspan(row * height - 1.5, row * height - 0.5, color=colour, zorder=2)
        for column in range(1, n_columns):
            edge = column * width
            ax.axvspan(edge - 1.5, edge - 0.5, color=colour, zorder=2)
        ax.set_xticks([])
        ax.set_yticks([row * height + shape[0] / 2 - 0.5 for row in range(len(names))])
        ax.set_yticklabels(names)
        ax.tick_params(length=0)
        ax.spines[:].set_visible(False)


def _image_shape(n_features, image_shape):
    """Shape of an image, guessed if it is not given."""
    side = round(n_features**0.5)
    guess = (side, side) if side**2 == n_features else (1, n_features)
    shape = guess if image_shape is None else tuple(image_shape)
    fits = len(shape) == 2 or (len(shape) == 3 and shape[2] == 3)
    if not fits or np.prod(shape) != n_features:
        raise ValueError(
            "image_shape must be (height, width) or (height, width, 3) and make "
            f"{n_features} features; got {image_shape!r}."
        )
    return shape


def _mosaic(images):
    """Put rows of images together, with gaps between them."""
    padding = [(0, _GAP), (0, _GAP), (0, 0)][: images[0][0].ndim]
    rows = [
        np.concatenate([np.pad(image, padding) for image in row], axis=1)
        for row in images
    ]
    return np.concatenate(rows)[:-_GAP, :-_GAP]
