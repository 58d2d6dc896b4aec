"""What all displays share: axes to draw in, and lines that all readers can tell apart.

The colours are those of Okabe and Ito ("Color universal design", 2008), which people
with any kind of colour vision can distinguish; markers and dashes say the same again.
"""

from __future__ import annotations

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
DASHES = ("-", "--", "-.", ":")


def line_style(position: int) -> dict:
    """Colour, marker and dashes of the line at a position, repeating at the end."""
    return {
        "color": COLOURS[position % len(COLOURS)],
        "marker": MARKERS[position % len(MARKERS)],
        "linestyle": DASHES[position % len(DASHES)],
    }


def axes(ax=None, **figure_options):
    """Return the given axes, or those of a new figure.

    Raises
    ------
    ImportError
        If matplotlib is not installed.
    """
    try:
        from matplotlib import pyplot
    except ImportError as error:
        raise ImportError(
            "skuhop.plotting needs matplotlib: pip install 'skuhop[plot]'."
        ) from error
    if ax is None:
        _, ax = pyplot.subplots(layout="constrained", **figure_options)
    return ax
