"""Rules of retention, by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from skuhop.retention.row_pairs import COVERAGE, INNOVATION, MERGE, contracted
from skuhop.retention.stream_order import newest, uniform
from skuhop.retention.stream_rows import Plan, Rows


class RetentionRule(NamedTuple):
    """One rule.

    Attributes
    ----------
    plan : callable
        ``(rows, budget, seed) -> Plan``.
    compares : bool
        Whether it looks at the keys; the others need none.
    """

    plan: Callable[[Rows, int, int], Plan]
    compares: bool


RETENTION = {
    "fifo": RetentionRule(newest, False),
    "reservoir": RetentionRule(uniform, False),
    "innovation": RetentionRule(contracted(INNOVATION), True),
    "coverage": RetentionRule(contracted(COVERAGE), True),
    "merge": RetentionRule(contracted(MERGE), True),
}
