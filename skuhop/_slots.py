"""How KanervaMemory addresses its slots, and what the first write fixes."""

from __future__ import annotations

from threading import Lock
from typing import NamedTuple

import numpy as np
import torch

from skuhop._device import in_smaller_chunks, to_numpy, to_tensor, working_memory
from skuhop._rows import ones_unless
from skuhop._stage_one import distinct_rows, resolve_corruption
from skuhop.learning import corrupted_copies, limit_rows
from skuhop.retrieval.addresses import ADDRESSES
from skuhop.retrieval.chunks import row_chunks
from skuhop.retrieval.linear_gaussian import (
    Written,
    best_alpha,
    blank,
    posterior,
    write,
)

_BETAS = 2.0 ** np.arange(-2, 11)
"""Candidates for beta, in parts of one over the rows' mean squared distance from their
mean."""
_TRIAL_ROWS, _TRIAL_PER_SLOT, _TRIAL_QUERIES = 2048, 4, 256
"""Rows that a trial of a beta writes, at least and per slot, and how many corrupted
copies of them it reads."""
_MOST_CLUSTERED = 20_000
"""Rows among which the landmarks are looked for at most."""
_CLUSTERING = Lock()
"""KMeans keeps the BLAS of the whole process to one thread and then puts back what it
has met: one at a time, or that was another one's."""


class Addressing(NamedTuple):
    """What the first write fixes: how rows are addressed.

    Attributes
    ----------
    rule : str
        Name in ``ADDRESSES``.
    mean : ndarray of shape (d,)
        What rows are measured from.
    anchors : ndarray of shape (k, d) or (k, d + 1)
        Landmarks, or frequencies and phases.
    beta : float
        Sharpness.
    """

    rule: str
    mean: np.ndarray
    anchors: np.ndarray
    beta: float


def begin(memory, X, weights, rng, device) -> Addressing:
    """Fix what the first write fixes, in whatever order its rows are.

    Parameters
    ----------
    memory : KanervaMemory
        Gives the parameters.
    X : ndarray of shape (n, d)
        Rows of the first write, in float64.
    weights : ndarray of shape (n,) or None
        Their weights.
    rng : RandomState
        Draws landmarks or frequencies, and corrupted copies.
    device : torch.device
        Where to compute.
    """
    X, weights, _ = distinct_rows(X, weights)
    mean = np.average(X, axis=0, weights=weights)
    find = _frequencies if memory.addressing == "fourier" else _landmarks
    anchors = find(X - mean, weights, memory.n_slots, rng)
    fixed = Addressing(memory.addressing, mean, anchors, 1.0)
    auto = memory.beta == "auto"
    beta = _best_beta(memory, X, weights, fixed, rng, device) if auto else memory.beta
    return fixed._replace(beta=float(beta))


def _frequencies(X, weights, n_slots, rng):
    """Frequencies and, in the last column, phases."""
    frequencies = rng.standard_normal((n_slots, X.shape[1]))
    return np.hstack([frequencies, rng.uniform(0, 2 * np.pi, (n_slots, 1))])


def _landmarks(X, weights, n_slots, rng):
    """Landmarks among centred rows."""
    if len(X) <= n_slots:
        return X
    if len(X) > _MOST_CLUSTERED:
        some = rng.permutation(len(X))[: max(_MOST_CLUSTERED, n_slots)]
        X, weights = X[some], None if weights is None else weights[some]
    # Imported late: only this way of addressing needs it.
    from sklearn.cluster import KMeans

    clusters = KMeans(n_slots, n_init=1, random_state=rng)
    with _CLUSTERING:
        return clusters.fit(X, sample_weight=weights).cluster_centers_


def _best_beta(memory, X, weights, fixed, rng, device):
    """Try every beta on some of the rows and corrupted copies of a few of these."""
    most = max(_TRIAL_ROWS, _TRIAL_PER_SLOT * memory.n_slots)
    some = rng.permutation(len(X))[:most]
    X, weights = X[some], ones_unless(weights, X)[some]
    corrupt = resolve_corruption(memory.corruption)
    n_queries = limit_rows(_TRIAL_QUERIES, X.shape[1])
    right, weight = X[:n_queries], weights[:n_queries, None]
    copies = corrupted_copies(corrupt, right, rng, -(-n_queries // len(right)))
    variance = np.average(((X - fixed.mean) ** 2).sum(1), weights=weights)
    if variance == 0:
        return 1.0

    def error(beta):
        trial = fixed._replace(beta=beta)
        written = absorb(None, X, weights, trial, device)
        slots = to_numpy(posterior(written, prior(memory.alpha, written)).slots)
        found = addresses(copies.reshape(-1, X.shape[1]), trial, device) @ slots
        found = (found + trial.mean).reshape(copies.shape)
        return (weight * (found - right) ** 2).sum()

    betas = _BETAS / variance
    return betas[np.argmin([error(beta) for beta in betas])]


def prior(alpha, written: Written) -> float:
    """Precision of the slots' prior: as the parameter says, or what evidence says."""
    return best_alpha(written) if alpha == "auto" else float(alpha)


def absorb(written: Written | None, X, weights, fixed: Addressing, device) -> Written:
    """Write rows in portions that fit into memory, after what is written."""
    address, anchors = ADDRESSES[fixed.rule], to_tensor(fixed.anchors, device)
    row = 8 * (4 * len(anchors) + 4 * X.shape[1])

    def work(budget):
        found = written
        for rows in row_chunks(len(X), row, budget):
            part = to_tensor(X[rows] - fixed.mean, device)
            own = None if weights is None else to_tensor(weights[rows], device)
            found = found or blank(len(anchors), part)
            found = write(found, address(part, anchors, fixed.beta), part, own)
        return found

    return in_smaller_chunks(work, working_memory(), device)


def addresses(X, fixed: Addressing, device) -> np.ndarray:
    """Addresses of rows as an array (n, n_slots)."""
    address, anchors = ADDRESSES[fixed.rule], to_tensor(fixed.anchors, device)
    row = 8 * (3 * len(anchors) + 2 * X.shape[1])

    def work(budget):
        parts = [
            address(to_tensor(X[rows] - fixed.mean, device), anchors, fixed.beta)
            for rows in row_chunks(len(X), row, budget)
        ]
        return to_numpy(torch.cat(parts))

    return in_smaller_chunks(work, working_memory(), device)
