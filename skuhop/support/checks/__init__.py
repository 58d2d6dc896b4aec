"""Checks: parameters against rules, entries, weights, what needs a fit."""

from skuhop.support.checks.entries import (
    cast,
    check_columns,
    check_labels,
    check_numbers,
    check_total,
    refuse_masked,
)
from skuhop.support.checks.parameter_rules import (
    all_or_nothing,
    check_parameters,
    check_settled,
    copy_parameters,
)
from skuhop.support.checks.validation import after_fit, check_draws, check_weights

__all__ = [
    "after_fit",
    "all_or_nothing",
    "cast",
    "check_columns",
    "check_draws",
    "check_labels",
    "check_numbers",
    "check_parameters",
    "check_settled",
    "check_total",
    "check_weights",
    "copy_parameters",
    "refuse_masked",
]
