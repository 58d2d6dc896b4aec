"""Rules that look at the order of the stream alone: the newest rows, or a fair sample.

Every row has a priority that depends on its position and the seed, on nothing else; a
memory of M rows holds the M best of all that have passed. So any way to cut the stream
into calls gives the same memory.
"""

from __future__ import annotations

import numpy as np
import torch

from skuhop.retention.stream_rows import Plan, Rows, first_by

_STEP = 0x9E3779B97F4A7C15
_MIX = ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB))


def newest(rows: Rows, budget: int, seed: int) -> Plan:
    """First in, first out."""
    return first_by(rows.arrivals.argsort(descending=True), budget)


def uniform(rows: Rows, budget: int, seed: int) -> Plan:
    """Reservoir sampling: every row of the stream is as likely to be held as any other.

    Algorithm R draws when a row comes; here the draw is a hash of its position, as in
    sampling by random keys (Efraimidis and Spirakis, "Weighted random sampling with a
    reservoir", 2006, with weights of one).
    """
    priority = hash_positions(rows.arrivals.cpu().numpy(), seed)
    order = torch.as_tensor(np.argsort(priority, kind="stable"))
    return first_by(torch.empty_like(rows.arrivals).copy_(order), budget)


def hash_positions(positions: np.ndarray, seed: int) -> np.ndarray:
    """Random 64-bit numbers (n,) for positions, by SplitMix64.

    The generator's state is a counter, so its k-th number can be had without the others
    (Steele, Lea, Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014).
    """
    with np.errstate(over="ignore"):
        state = _mix(np.uint64(seed) * np.uint64(_STEP))
        state = state + (positions.astype(np.uint64) + np.uint64(1)) * np.uint64(_STEP)
        return _mix(state)


def _mix(state):
    for shift, factor in _MIX:
        state = (state ^ (state >> np.uint64(shift))) * np.uint64(factor)
    return state ^ (state >> np.uint64(31))
