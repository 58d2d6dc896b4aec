"""The estimators: scikit-learn's names and manners, NumPy in and out."""

from skuhop.estimators.classifier import UHopClassifier
from skuhop.estimators.detection import UHopDetector
from skuhop.estimators.imputer import UHopImputer
from skuhop.estimators.kanerva_memory import KanervaMemory
from skuhop.estimators.memory import UHopMemory
from skuhop.estimators.mil_classifier import UHopMILClassifier
from skuhop.estimators.questions import minus_error
from skuhop.estimators.regressor import UHopRegressor
from skuhop.estimators.rows import (
    Request,
    check_same_columns,
    name_rows,
    read_filter,
    take_away,
)

__all__ = [
    "KanervaMemory",
    "Request",
    "UHopClassifier",
    "UHopDetector",
    "UHopImputer",
    "UHopMILClassifier",
    "UHopMemory",
    "UHopRegressor",
    "check_same_columns",
    "minus_error",
    "name_rows",
    "read_filter",
    "take_away",
]
