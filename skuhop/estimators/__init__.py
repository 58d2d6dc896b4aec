"""The estimators: scikit-learn's names and manners, NumPy in and out."""

from skuhop.estimators.classifier import UHopClassifier
from skuhop.estimators.kanerva_memory import KanervaMemory
from skuhop.estimators.memory import UHopMemory
from skuhop.estimators.mil_classifier import UHopMILClassifier
from skuhop.estimators.regressor import UHopRegressor

__all__ = [
    "KanervaMemory",
    "UHopClassifier",
    "UHopMILClassifier",
    "UHopMemory",
    "UHopRegressor",
]
