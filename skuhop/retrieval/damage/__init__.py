"""Scorers that know what damage looks like."""

from skuhop.retrieval.damage.auto_scorer import AutoScorer, build_auto_scorer
from skuhop.retrieval.damage.evidence import quantise
from skuhop.retrieval.damage.experts import told_experts, told_pool

__all__ = [
    "AutoScorer",
    "build_auto_scorer",
    "quantise",
    "told_experts",
    "told_pool",
]
