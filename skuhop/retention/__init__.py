"""Retention: what a memory of limited size keeps of a stream.

A rule is a row of `RETENTION`. Its plan is a pure function of the rows, stored ones and
new ones together: what becomes of each, so that no more than a budget are left.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from skuhop.retention.order import newest, uniform
from skuhop.retention.pairs import COVERAGE, INNOVATION, MERGE, contracted
from skuhop.retention.rows import Plan, Rows


class Retention(NamedTuple):
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
    "fifo": Retention(newest, False),
    "reservoir": Retention(uniform, False),
    "innovation": Retention(contracted(INNOVATION), True),
    "coverage": Retention(contracted(COVERAGE), True),
    "merge": Retention(contracted(MERGE), True),
}

__all__ = ["RETENTION", "Plan", "Retention", "Rows"]
