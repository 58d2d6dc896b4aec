"""Corruptions: what queries may look like, as ``(X, random_state) -> X_corrupted``.

They work on NumPy arrays, as the ones that users write do.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

KEPT = 0.5
"""Share of the entries that "mask" keeps."""
NOISE = 0.5
"""Strength of "noise", in standard deviations of the patterns' entries."""
MOST_TRIED, FEWEST_TRIED = 2**21, 8
"""Entries of the rows that something is tried out on at most, but so many rows."""


def mask(X: np.ndarray, random_state: np.random.RandomState) -> np.ndarray:
    """Set a random half of the entries to zero."""
    return X * (random_state.uniform(size=X.shape) < KEPT).astype(X.dtype)


def noise(X: np.ndarray, random_state: np.random.RandomState) -> np.ndarray:
    """Add Gaussian noise of half the standard deviation of the patterns' entries.

    The deviation is taken around the mean pattern, so that a feature's level, which
    all patterns share, does not count.
    """
    scale = NOISE * np.sqrt(np.mean((X - X.mean(axis=0)) ** 2))
    return X + (scale * random_state.standard_normal(X.shape)).astype(X.dtype)


def both(X: np.ndarray, random_state: np.random.RandomState) -> np.ndarray:
    """Mask every other row and add noise to the rest: a stand-in for the unknown."""
    corrupted = noise(X, random_state)
    corrupted[::2] = mask(X[::2], random_state)
    return corrupted


CORRUPTIONS: dict[str, Callable] = {"mask": mask, "noise": noise, "both": both}


def limit_rows(wanted: int, n_features: int) -> int:
    """How many rows to try things out on: fewer than wanted where they are wide.

    A constant of the data, not of the memory at hand: what is learned must not depend
    on that.
    """
    return min(wanted, max(FEWEST_TRIED, MOST_TRIED // n_features))


def draw_copies(corruption, X, random_state, n_copies) -> np.ndarray:
    """Corrupt `X` several times, shape (n_copies, n, d), and check what comes back.

    Raises
    ------
    ValueError
        If a callable returns another shape, or values that are not finite.
    """
    copies = []
    for _ in range(n_copies):
        with np.errstate(over="ignore"):
            copy = np.asarray(corruption(X.copy(), random_state))
            copy = copy.astype(X.dtype, copy=False)
        if copy.shape != X.shape or not np.isfinite(copy).all():
            raise ValueError(
                "corruption must return a finite array of the shape of its input, "
                f"{X.shape}; got shape {copy.shape}"
                + ("." if copy.shape != X.shape else " with NaN or infinity.")
            )
        copies.append(copy)
    return np.stack(copies)


def resolve_corruption(corruption, unit: float = 1.0) -> Callable:
    """Turn the parameter into a function of rows in a unit; a user's sees them without.

    The unknown gets masks and noise, which are the same in any unit.
    """
    if corruption is None:
        return both
    if isinstance(corruption, str):
        return CORRUPTIONS[corruption]
    if unit == 1:
        return corruption

    def corrupt(X, random_state):
        copy = np.asarray(corruption(X * unit, random_state))
        return copy / unit if copy.dtype.kind in "biuf" else copy

    return corrupt
