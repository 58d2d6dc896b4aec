"""What to learn when it is known how queries are damaged: a pool of experts.

Corrupted copies of the patterns give channel tables by counting; further copies,
held out, give the exponents with which the tables and the parameter-free models are
pooled. So damage that is not per feature, which the tables get wrong, costs little:
the other experts take over.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import torch
from torch import Tensor

from skuhop.learning.damage.bins import make_bins, sort_sample
from skuhop.learning.damage.channels import factorise, fit_mixture, joint_counts
from skuhop.learning.damage.pooling import fit_exponents
from skuhop.learning.saved_state import numpy_state
from skuhop.retrieval import quantise

COUNTED_VALUES = 2**22
"""Entries of corrupted copies that are counted, in at most COUNTED_ROWS rows."""
COUNTED_ROWS = 8000
MOST_COPIES = 80
HELD_OUT_ROWS, FEWEST_ROWS = 2000, 8
MOST_SCORES = 2**23
"""Scores per expert of the held-out copies at most."""
COMPONENTS = (1, 5)
"""Tables in the mixtures: one, and one per level of what a query's features share."""
PATTERN_QUANTILES = 32
QUERY_QUANTILES = 32


def learn_channels(
    patterns: Tensor, weights: Tensor | None, damage: Callable[[Tensor], Tensor]
) -> dict[str, np.ndarray]:
    """Count channel tables on corrupted copies.

    Parameters
    ----------
    patterns, weights : Tensor of shape (M, d) and (M,), or None for weights
        Distinct patterns.
    damage : callable
        ``(indices) -> corrupted copies`` of these patterns.

    Returns
    -------
    state : dict of str to ndarray
        `pattern_edges`, `pattern_codes` (the bins in use), `query_edges`, `noise`
        (mean squared change of an entry), and, for every number C of tables, the
        factors `base_C`, `left_C`, `right_C` of them and `log_prior_C`.
    """
    n, d = patterns.shape
    n_rows = min(COUNTED_ROWS, COUNTED_VALUES // d)
    n_copies = max(1, min(MOST_COPIES, n_rows // n))
    rows = torch.arange(n, device=patterns.device)
    originals = patterns.repeat(n_copies, 1)
    copies = torch.cat([damage(rows) for _ in range(n_copies)])
    mass = patterns.new_ones(n) if weights is None else weights
    mass = mass.to(torch.float64).repeat(n_copies)

    values = sort_sample(patterns.double(), weights)
    pattern_edges = make_bins(*values, PATTERN_QUANTILES).edges
    values = sort_sample(copies.double(), mass)
    query_edges = make_bins(*values, QUERY_QUANTILES).edges
    codes = torch.unique(quantise(patterns, pattern_edges))
    shape = (len(codes), len(query_edges) + 1)
    bins = pattern_bins(patterns, pattern_edges, codes).repeat(n_copies, 1)
    counts = joint_counts(bins, quantise(copies, query_edges), *shape)
    share = (mass @ counts).view(shape).sum(1)
    share = share / share.sum()
    change = (copies - originals).double()
    state = {
        "pattern_edges": pattern_edges,
        "pattern_codes": codes,
        "query_edges": query_edges,
        "noise": mass @ change.square().mean(1) / mass.sum(),
    }
    for n_components in COMPONENTS:
        channel = fit_mixture(counts, mass, change.mean(1), shape, n_components)
        factors = factorise(channel.log_tables, share)
        for name, value in zip(("base", "left", "right"), factors, strict=True):
            state[f"{name}_{n_components}"] = value
        state[f"log_prior_{n_components}"] = channel.log_prior
    return numpy_state(state)


def pattern_bins(patterns: Tensor, edges: Tensor, codes: Tensor) -> Tensor:
    """Bins of patterns, numbered among the bins in use."""
    return torch.searchsorted(codes, quantise(patterns, edges))


def learn_exponents(
    experts: Mapping,
    patterns: Tensor,
    weights: Tensor | None,
    damage: Callable[[Tensor], Tensor],
    order: np.ndarray,
) -> np.ndarray:
    """Learn the pool's exponents on held-out copies.

    Parameters
    ----------
    experts : mapping of str to Scorer
        Experts, ready to be asked.
    patterns, weights : Tensor
        Distinct patterns.
    damage : callable
        ``(indices) -> corrupted copies``, new ones at every call.
    order : ndarray of shape (M,)
        Random order, of which the first rows are held out.
    """
    n = len(patterns)
    most = min(HELD_OUT_ROWS, max(1, MOST_SCORES // n))
    most = min(most, max(FEWEST_ROWS, COUNTED_VALUES // patterns.shape[1]))
    rows = torch.from_numpy(np.sort(order[:most]))
    n_copies = max(1, most // len(rows))
    queries = torch.cat([damage(rows) for _ in range(n_copies)])
    scores = torch.stack(
        [
            expert.block(expert.prepare(queries), 0, n).double()
            for expert in experts.values()
        ],
        dim=2,
    )
    right = rows.repeat(n_copies).to(patterns.device)
    log_weights = None if weights is None else weights.double().log()
    return fit_exponents(scores, right, log_weights).cpu().numpy()
