"""What arrays may hold, whatever they come as: numbers, labels, columns.

scikit-learn checks arrays before they are cast, and y only if it is no array of
objects. Here the check comes last: what is stored is what has been looked at.
"""

from __future__ import annotations

import numpy as np
from scipy.sparse import issparse
from sklearn.base import BaseEstimator
from sklearn.utils import assert_all_finite
from sklearn.utils.validation import validate_data


def refuse_masked(**arrays) -> None:
    """Refuse masked arrays, whose masks NumPy would drop without a word.

    Raises
    ------
    ValueError
        If an entry is masked; names the array.
    """
    for name, array in arrays.items():
        if np.ma.is_masked(array):
            raise ValueError(
                f"{name} must not have masked entries; fill them first, those of X "
                "that are unknown with NaN. Got a masked array."
            )


def check_numbers(values, name: str) -> np.ndarray:
    """Make values an array of finite numbers, in float64.

    Raises
    ------
    TypeError
        If they are sparse.
    ValueError
        If they are no numbers, or not all finite; names the array.
    """
    if issparse(values):
        raise TypeError(f"{name} must be dense. Got a sparse matrix.")
    refuse_masked(**{name: values})
    given = np.asarray(values)
    if given.dtype.kind == "c":
        raise ValueError(f"Complex data not supported. Got {name} of {given.dtype}.")
    if given.dtype.kind in "mM":
        raise ValueError(f"{name} must be numbers. Got {given.dtype} data.")
    try:
        numbers = given.astype(np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"{name} must be numbers. Got {given.dtype} data: {error}."
        ) from error
    assert_all_finite(numbers, input_name=name)
    return numbers


def check_labels(values, name: str):
    """Refuse labels that are missing or masked, and give the others back.

    Raises
    ------
    ValueError
        Names the array and what was found in it.
    """
    refuse_masked(**{name: values})
    given = np.asarray(values)
    if given.dtype.kind in "fc":
        assert_all_finite(given, input_name=name)
    if given.dtype.kind in "OmM":
        missing = next((v for v in given.ravel() if _is_missing(v)), values)
        if missing is not values:
            raise ValueError(f"{name} must not have missing labels. Got {missing!r}.")
    return values


def _is_missing(value) -> bool:
    """Whether it is None, NaN, NaT or NA; the last has no truth value."""
    try:
        return value is None or bool(value != value)
    except TypeError:
        return True


def cast(array: np.ndarray, dtype, name: str) -> np.ndarray:
    """Cast finite numbers, and refuse those that the dtype has not.

    Raises
    ------
    ValueError
        Names the array, the dtype and the largest number found.
    """
    with np.errstate(over="ignore"):
        narrow = array.astype(dtype, copy=False)
    if narrow is not array and np.isinf(narrow).any():
        lost = array[np.isinf(narrow) & np.isfinite(array)]
        if len(lost):
            raise ValueError(
                f"{name} must be within the range of {np.dtype(dtype)}, "
                f"+-{np.finfo(dtype).max:.3g}, in which it is needed here. Got "
                f"{lost[0]:.3g}."
            )
    return narrow


def check_total(weights: np.ndarray, dtype, name: str) -> None:
    """Refuse weights whose sum the dtype has not.

    Raises
    ------
    ValueError
        Names the weights, the dtype and their sum.
    """
    with np.errstate(over="ignore"):
        total, most = weights.sum(dtype=np.float64), np.finfo(dtype).max
    if total > most:
        raise ValueError(
            f"The sum of {name} must be at most {most:.3g}, the largest "
            f"{np.dtype(dtype)}. Got {total:.3g}."
        )


def check_columns(known, *frames) -> None:
    """Refuse frames of other columns, or in another order, in scikit-learn's words.

    Parameters
    ----------
    known : estimator or array-like
        A fitted estimator, or the first of the frames. What has no names is not
        compared.
    *frames : array-like
        Further ones.

    Raises
    ------
    ValueError
        If names differ.
    """
    named = [frame for frame in frames if _has_names(frame)]
    if not isinstance(known, BaseEstimator):
        named = [known, *named] if _has_names(known) else named
        known = BaseEstimator()
        for frame in named[:1]:
            validate_data(known, frame, skip_check_array=True)
    if hasattr(known, "feature_names_in_"):
        for frame in named:
            validate_data(known, frame, reset=False, skip_check_array=True)


def _has_names(frame) -> bool:
    """Whether it has columns with names, as scikit-learn understands it."""
    columns = getattr(frame, "columns", ())
    return len(columns) > 0 and all(isinstance(column, str) for column in columns)
