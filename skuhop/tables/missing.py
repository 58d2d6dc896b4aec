"""What counts as missing: NaN, None, NA and NaT, and what the user says besides."""

from __future__ import annotations

import numpy as np


def mark_missing(values: np.ndarray, missing_values=np.nan) -> np.ndarray:
    """Mark the missing entries of an array of any dtype.

    Parameters
    ----------
    values : ndarray
        Entries.
    missing_values : scalar, default=nan
        What counts as missing besides None, NaN, NA and NaT, which always do.

    Returns
    -------
    missing : ndarray of bool, of the shape of `values`
    """
    values = np.asarray(values)
    if values.dtype.kind == "O":
        missing = np.frompyfunc(is_missing, 1, 1)(values).astype(bool)
    elif values.dtype.kind in "fcmM":
        missing = values != values
    else:
        missing = np.zeros(values.shape, bool)
    if is_missing(missing_values):
        return missing
    if values.dtype.kind != "O":
        # Text is never equal to a number, of which NumPy would warn.
        same_kind = (values.dtype.kind in "US") == isinstance(missing_values, str)
        return missing | (values == missing_values) if same_kind else missing
    equal = np.frompyfunc(lambda value: value == missing_values, 1, 1)
    missing[~missing] = equal(values[~missing]).astype(bool)
    return missing


def is_missing(value) -> bool:
    """Whether it is None, NaN, NaT or NA; the last has no truth value."""
    try:
        return value is None or bool(value != value)
    except TypeError:
        return True
    except ValueError:  # an array as an entry is no scalar, and there
        return False
