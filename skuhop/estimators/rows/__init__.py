"""Stored rows one by one: their names, forgetting, merging, asking few."""

from skuhop.estimators.rows.merging import check_same_columns
from skuhop.estimators.rows.row_ids import (
    check_row_ids,
    drop_weightless,
    join_row_ids,
)
from skuhop.estimators.rows.stored import StoredRowsMixin

__all__ = [
    "StoredRowsMixin",
    "check_row_ids",
    "check_same_columns",
    "drop_weightless",
    "join_row_ids",
]
