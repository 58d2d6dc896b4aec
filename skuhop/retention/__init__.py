"""Retention: what a memory of limited size keeps of a stream.

A rule is a row of `RETENTION`. Its plan is a pure function of the rows, stored ones and
new ones together: what becomes of each, so that no more than a budget are left.
"""

from skuhop.retention.copies import (
    lack_copies,
    leave_weights,
    number_rows,
    take_copies,
)
from skuhop.retention.row_pairs import COVERAGE, INNOVATION, MERGE, rule_of_linkage
from skuhop.retention.rules import RETENTION, RetentionRule
from skuhop.retention.stream_order import newest, uniform
from skuhop.retention.stream_rows import Plan, Rows

__all__ = [
    "COVERAGE",
    "INNOVATION",
    "MERGE",
    "RETENTION",
    "Plan",
    "RetentionRule",
    "Rows",
    "lack_copies",
    "leave_weights",
    "newest",
    "number_rows",
    "rule_of_linkage",
    "take_copies",
    "uniform",
]
