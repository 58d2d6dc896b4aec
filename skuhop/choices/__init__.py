"""Choices that carry numbers of their own: values of the estimators' parameters.

A string, or another plain value, is shorthand for one with its defaults. Who adds one
gives its parameters rows in `skuhop.estimators.parameters`, as ``parameter__number``.
"""

from skuhop.choices.choice import (
    Choice,
    TakesChoices,
    name_of,
    numbers_inside,
    numbers_of,
)
from skuhop.choices.fit_choices import CrossFitting, LogLoss, Retention, Training
from skuhop.choices.question_choices import (
    Entmax,
    Index,
    KSubsets,
    NamedSeparation,
    Normmax,
    Polynomial,
    Updates,
)

__all__ = [
    "Choice",
    "CrossFitting",
    "Entmax",
    "Index",
    "KSubsets",
    "LogLoss",
    "NamedSeparation",
    "Normmax",
    "Polynomial",
    "Retention",
    "TakesChoices",
    "Training",
    "Updates",
    "name_of",
    "numbers_inside",
    "numbers_of",
]
