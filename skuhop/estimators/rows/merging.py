"""Whether the rows of two estimators are rows of the same table."""

from __future__ import annotations

import numpy as np
from sklearn.utils.validation import check_is_fitted

from skuhop.exceptions import InvalidParameterError


def check_same_columns(estimator, other) -> None:
    """Refuse to merge what is of another class, or has other columns.

    Raises
    ------
    InvalidParameterError
        Names what differs. It is a ValueError and a TypeError.
    NotFittedError
        If `other` stores nothing.
    """
    name = type(estimator).__name__
    if not isinstance(other, type(estimator)):
        raise InvalidParameterError(
            f"merge must be given another {name}. Got {type(other).__name__}."
        )
    check_is_fitted(other)
    for attribute in ("n_features_in_", "feature_names_in_"):
        here, there = (getattr(e, attribute, None) for e in (estimator, other))
        if here is None or there is None:
            continue
        if not np.array_equal(here, there):
            raise InvalidParameterError(
                f"merge must be given a {name} with the same {attribute}: "
                f"{_as_text(here)}. Got {_as_text(there)}."
            )
    pairs = zip(_list_values(estimator), _list_values(other), strict=True)
    for column, (here, there) in enumerate(pairs):
        if here != there:
            raise InvalidParameterError(
                f"merge must be given a {name} with the same categories_: column "
                f"{column} has {here} here. Got {there}."
            )


def _list_values(estimator) -> list:
    """Values of every column, None for columns of numbers."""
    categories = getattr(estimator, "categories_", [None] * estimator.n_features_in_)
    return [None if c is None else np.asarray(c).tolist() for c in categories]


def _as_text(thing) -> str:
    return str(np.asarray(thing).tolist())
