"""Persistence: a version stamp on whatever is pickled.

The fitted state itself is NumPy arrays on the CPU, which pickle, joblib, skops and
deepcopy handle without help and which every device can load.
"""

from __future__ import annotations

import warnings
from inspect import signature

from skuhop._version import __version__
from skuhop.exceptions import VersionMismatchWarning
from skuhop.support.sklearn_versions import TRANSIENT


class VersionedStateMixin:
    """Stamp the version into the state, and warn when another one loads it."""

    def __getstate__(self):
        """State to pickle, with the version of skuhop that wrote it.

        A fitted estimator goes without its callbacks, which are bound to a process. An
        unfitted one keeps them: that is how they reach the workers of a search.
        """
        state = dict(super().__getstate__())
        if "patterns_" in state:
            state = {k: v for k, v in state.items() if k not in TRANSIENT}
        return {**state, "_skuhop_version": __version__}

    def __setstate__(self, state):
        """Restore the state and compare the versions."""
        state = dict(state)
        written = state.pop("_skuhop_version", None)
        if written != __version__:
            warnings.warn(
                f"{type(self).__name__} was saved by skuhop {written} and is loaded "
                f"by skuhop {__version__}; results may differ.",
                VersionMismatchWarning,
                stacklevel=2,
            )
        # A file may be older than a parameter; the default is what it was written with.
        parameters = signature(type(self).__init__).parameters
        defaults = {n: p.default for n, p in parameters.items() if n != "self"}
        super().__setstate__({**defaults, **state})
