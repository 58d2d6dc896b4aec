"""The experts that are pooled when damage is known, by name.

Stage I asks them about held-out copies to learn their exponents, Stage II about
queries, so both build them here.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from skuhop.retrieval.damage.channel_scorers import ChannelScorer, PooledScorer
from skuhop.retrieval.damage.evidence import nearest_code
from skuhop.retrieval.numpy_tensors import tensor_of
from skuhop.retrieval.scores import SIMILARITIES, KernelScorer, Query, Scorer
from skuhop.retrieval.units import divide

_FACTORS = ("base", "left", "right", "log_prior")
_MATCH = 1e6
"""Score of an exact match: more than any likelihood ratio."""


class MatchScorer:
    """A bonus for patterns that equal the query up to rounding."""

    beta = 1.0
    energy_unit = 1.0
    streams = True
    width = 3

    def __init__(self, patterns: Tensor, mean: Tensor, unit: float):
        rule = SIMILARITIES["euclidean"]
        self.kernel = KernelScorer(rule, patterns, mean, None, 1.0, unit=unit)
        self.n_patterns, self.row_width = len(patterns), self.kernel.row_width

    def prepare(self, X):
        """Encode queries of shape (n, d)."""
        query = self.kernel.prepare(X)
        return Query(query, torch.zeros_like(query.self_score))

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


def experts_of_channel(
    channel: Mapping[str, np.ndarray],
    patterns: Tensor,
    mean: Tensor,
    feature_map,
    unit: float = 1.0,
) -> dict:
    """Experts by name.

    Parameters
    ----------
    channel : mapping of str to ndarray
        What `learn_channels` gave, in the user's units.
    patterns, mean : Tensor of shape (M, d) and (d,)
        The stored patterns and their mean, divided by the unit.
    feature_map : FeatureMap or None
        The learned feature map, an expert of its own.
    unit : float, default=1
        What queries are divided by.
    """
    euclidean = SIMILARITIES["euclidean"]
    own = divide(channel, unit)
    precision = 1 / max(float(own["noise"]), torch.finfo(patterns.dtype).tiny)

    def kernel(rule, feature_map=None, beta=None):
        return KernelScorer(rule, patterns, mean, feature_map, beta, unit=unit)

    experts: dict[str, Scorer] = {
        "euclidean": kernel(euclidean),
        "correlation": kernel(SIMILARITIES["correlation"]),
        "gaussian": kernel(euclidean, beta=precision),
    }
    if feature_map is not None:
        experts["feature map"] = kernel(euclidean, feature_map)

    def tensor(state, name):
        return tensor_of(state[name]).to(patterns.device)

    bins = torch.bucketize(patterns, tensor(own, "pattern_edges").to(patterns))
    bins = nearest_code(bins, tensor(channel, "pattern_codes"))
    for size in sorted(k.removeprefix("left_") for k in channel if "left_" in k):
        tables = [tensor(channel, f"{k}_{size}").to(patterns) for k in _FACTORS]
        edges = tensor(channel, "query_edges")
        experts[f"channel {size}"] = ChannelScorer(bins, edges, *tables)
    return experts


def pool_experts(
    channel, exponents, patterns, mean, feature_map, unit, beta=1.0
) -> PooledScorer:
    """Pool of the experts that have a say, and of exact matches."""
    experts = experts_of_channel(channel, patterns, mean, feature_map, unit)
    negligible = 1e-6 * max(exponents.values())
    pool = [(MatchScorer(patterns, mean, unit), 1.0)]
    for name, expert in experts.items():
        if exponents[name] > negligible:
            pool.append((expert, exponents[name]))
    return PooledScorer(pool, beta)
