"""Scorers that know what damage looks like."""

from skuhop.retrieval.damage.auto_scorer import AutoScorer, build_auto_scorer
from skuhop.retrieval.damage.evidence import quantise
from skuhop.retrieval.damage.experts import experts_of_channel, pool_experts

__all__ = [
    "AutoScorer",
    "build_auto_scorer",
    "experts_of_channel",
    "pool_experts",
    "quantise",
]
