"""Outliers: rows that are unlike what is stored."""

from skuhop.estimators.detection.detector import UHopDetector

__all__ = ["UHopDetector"]
