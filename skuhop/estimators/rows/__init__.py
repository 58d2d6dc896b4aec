"""Stored rows one by one: their names, forgetting them, asking few of them."""

from skuhop.estimators.rows.row_ids import (
    check_row_ids,
    drop_weightless,
    follow_row_ids,
    join_row_ids,
)
from skuhop.estimators.rows.stored import StoredRowsMixin

__all__ = [
    "StoredRowsMixin",
    "check_row_ids",
    "drop_weightless",
    "follow_row_ids",
    "join_row_ids",
]
