"""Stored rows one by one: names, forgetting, merging, neighbours, asking few."""

from skuhop.estimators.rows.filters import read_filter
from skuhop.estimators.rows.forgetting import ForgettingMixin
from skuhop.estimators.rows.incomplete import IncompleteRowsMixin
from skuhop.estimators.rows.kneighbors import KNeighborsMixin
from skuhop.estimators.rows.merging import MergingMixin, check_same_columns
from skuhop.estimators.rows.naming import Request, name_rows, take_away
from skuhop.estimators.rows.radius import RadiusNeighborsMixin
from skuhop.estimators.rows.row_ids import (
    check_row_ids,
    drop_weightless,
    join_row_ids,
    read_row_ids,
)

__all__ = [
    "ForgettingMixin",
    "IncompleteRowsMixin",
    "KNeighborsMixin",
    "MergingMixin",
    "RadiusNeighborsMixin",
    "Request",
    "check_row_ids",
    "check_same_columns",
    "drop_weightless",
    "join_row_ids",
    "name_rows",
    "read_filter",
    "read_row_ids",
    "take_away",
]
