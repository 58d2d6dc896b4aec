"""Randomness: a seed per fit from scikit-learn's `random_state`."""

from __future__ import annotations

from sklearn.utils import check_random_state


def draw_seed(random_state) -> int:
    """Draw an integer seed; everything random in a fit comes from it."""
    return int(check_random_state(random_state).randint(2**31 - 1))
