"""The experts that are pooled when damage is known, by name.

Stage I asks them about held-out copies to learn their exponents, Stage II about
queries, so both build them here.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from skuhop.retrieval.arrays import tensor_of
from skuhop.retrieval.channel_scorers import ChannelScorer, PooledScorer
from skuhop.retrieval.evidence import nearest_code
from skuhop.retrieval.scorers import KernelScorer, Query, Scorer
from skuhop.retrieval.similarities import SIMILARITIES

_FACTORS = ("base", "left", "right", "log_prior")
_MATCH = 1e6
"""Score of an exact match: more than any likelihood ratio."""


class MatchScorer:
    """A bonus for patterns that equal the query up to rounding."""

    beta = 1.0
    streams = True
    width = 3

    def __init__(self, patterns: Tensor, mean: Tensor):
        self.kernel = KernelScorer(SIMILARITIES["euclidean"], patterns, mean, None, 1.0)
        self.n_patterns, self.row_width = len(patterns), self.kernel.row_width

    def prepare(self, X):
        """Encode queries of shape (n, d)."""
        query = self.kernel.prepare(X)
        return Query(query, query.self_score)

    def block(self, query, start, stop):
        """Scores of the patterns from `start` to `stop`."""
        kernel_query = query.encoded
        scores = self.kernel.block(kernel_query, start, stop)
        half_norm = -kernel_query.offset[:, None]
        distance = half_norm - scores
        rounding = 16 * torch.finfo(scores.dtype).eps * half_norm
        return (distance <= rounding).to(scores.dtype).mul_(_MATCH)

    def null(self, query):
        """Score of "nothing stored"."""
        return torch.zeros_like(query.self_score)


def told_experts(
    channel: Mapping[str, np.ndarray], patterns: Tensor, mean: Tensor, feature_map
) -> dict:
    """Experts by name.

    Parameters
    ----------
    channel : mapping of str to ndarray
        What `learn_channels` gave.
    patterns, mean : Tensor of shape (M, d) and (d,)
        The stored patterns and their mean.
    feature_map : FeatureMap or None
        The learned feature map, an expert of its own.
    """
    euclidean = SIMILARITIES["euclidean"]
    precision = 1 / max(float(channel["noise"]), torch.finfo(patterns.dtype).tiny)
    experts: dict[str, Scorer] = {
        "euclidean": KernelScorer(euclidean, patterns, mean, None, None),
        "correlation": KernelScorer(
            SIMILARITIES["correlation"], patterns, mean, None, None
        ),
        "gaussian": KernelScorer(euclidean, patterns, mean, None, precision),
    }
    if feature_map is not None:
        experts["feature map"] = KernelScorer(
            euclidean, patterns, mean, feature_map, None
        )

    def tensor(name):
        return tensor_of(channel[name]).to(patterns.device)

    bins = torch.bucketize(patterns, tensor("pattern_edges").to(patterns))
    bins = nearest_code(bins, tensor("pattern_codes"))
    for size in sorted(k.removeprefix("left_") for k in channel if "left_" in k):
        tables = [tensor(f"{k}_{size}").to(patterns) for k in _FACTORS]
        experts[f"channel {size}"] = ChannelScorer(bins, tensor("query_edges"), *tables)
    return experts


def told_pool(channel, exponents, patterns, mean, feature_map) -> PooledScorer:
    """Pool of the experts that have a say, and of exact matches."""
    experts = told_experts(channel, patterns, mean, feature_map)
    negligible = 1e-6 * max(exponents.values())
    pool = [(MatchScorer(patterns, mean), 1.0)]
    for name, expert in experts.items():
        if exponents[name] > negligible:
            pool.append((expert, exponents[name]))
    return PooledScorer(pool)
