"""Rules of retention, by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from skuhop.retention.row_pairs import COVERAGE, INNOVATION, MERGE, rule_of_linkage
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
    "innovation": RetentionRule(rule_of_linkage(INNOVATION), True),
    "coverage": RetentionRule(rule_of_linkage(COVERAGE), True),
    "merge": RetentionRule(rule_of_linkage(MERGE), True),
}
"""Rules by name.

To add one: write its plan, or a linkage for `rule_of_linkage` if it joins pairs of
rows. Add the row, and name it in `Retention`, the docstrings of the estimators and the
grid of ``tests/estimators/test_memory_checks.py``. The tests over the table then ask
that it keeps the budget and does not depend on how a stream is cut.
"""
