"""How KanervaMemory addresses its slots, and what the first write fixes."""

from __future__ import annotations

from collections.abc import Callable
from threading import Lock
from typing import NamedTuple

import numpy as np
import torch

from skuhop.kanerva.address_rules import ADDRESSES
from skuhop.kanerva.linear_gaussian import Written, best_alpha, blank, posterior, write
from skuhop.learning import draw_copies, limit_rows, resolve_corruption
from skuhop.retrieval import row_chunks
from skuhop.support import (
    distinct_rows,
    mean_row,
    ones_unless,
    shrinking_budgets,
    to_numpy,
    to_tensor,
    unit_of,
    working_memory,
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
    """What the first write fixes: how rows are addressed, in the user's units.

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
    unit : float
        Power of two that rows are divided by before they are compared or written.
    """

    rule: str
    mean: np.ndarray
    anchors: np.ndarray
    beta: float
    unit: float = 1.0

    def in_unit(self, X: np.ndarray, device) -> torch.Tensor:
        """Rows less their mean, as they are compared and written."""
        return to_tensor((X - self.mean) / self.unit, device)

    def address(self, rows: torch.Tensor) -> torch.Tensor:
        """Addresses of what `in_unit` gives."""
        anchors = to_tensor(self.anchors / self._anchor_unit, rows.device)
        beta = self.beta * self.unit * self.unit
        return ADDRESSES[self.rule](rows, anchors, beta)

    @property
    def _anchor_unit(self) -> float:
        """Frequencies have no unit, landmarks are rows."""
        return 1.0 if self.rule == "fourier" else self.unit

    def scale_back(self, unit: float) -> Addressing:
        """Make the addressing of rows that are so many times as large."""
        larger = self._replace(unit=unit)
        return larger._replace(
            mean=self.mean * unit,
            anchors=self.anchors * larger._anchor_unit,
            beta=self.beta / unit / unit,
        )


class SlotParameters(NamedTuple):
    """Parameters of `KanervaMemory` that the first write reads; names as there."""

    n_slots: int
    addressing: str
    beta: str | float
    alpha: str | float
    corruption: object


def begin(parameters: SlotParameters, X, weights, rng, device) -> Addressing:
    """Fix what the first write fixes, in whatever order its rows are.

    Parameters
    ----------
    parameters : SlotParameters
    X : ndarray of shape (n, d)
        Rows of the first write, in float64.
    weights : ndarray of shape (n,) or None
        Their weights.
    rng : RandomState
        Draws landmarks or frequencies, and corrupted copies.
    device : torch.device
        Where to compute.
    """
    unit = unit_of(X)
    X, weights, _ = distinct_rows(X / unit, weights)
    mean = mean_row(X, weights)
    find = _frequencies if parameters.addressing == "fourier" else _landmarks
    anchors = find(X - mean, weights, parameters.n_slots, rng)
    fixed = Addressing(parameters.addressing, mean, anchors, 1.0)
    if parameters.beta != "auto":
        return fixed.scale_back(unit)._replace(beta=float(parameters.beta))
    corrupt = resolve_corruption(parameters.corruption, unit)
    beta = _best_beta(parameters, X, weights, fixed, corrupt, rng, device)
    return fixed._replace(beta=float(beta)).scale_back(unit)


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


def _best_beta(parameters, X, weights, fixed, corrupt, rng, device):
    """Try every beta on some of the rows and corrupted copies of a few of these."""
    most = max(_TRIAL_ROWS, _TRIAL_PER_SLOT * parameters.n_slots)
    some = rng.permutation(len(X))[:most]
    X, weights = X[some], ones_unless(weights, X)[some]
    n_queries = limit_rows(_TRIAL_QUERIES, X.shape[1])
    right, weight = X[:n_queries], weights[:n_queries, None]
    copies = draw_copies(corrupt, right, rng, -(-n_queries // len(right)))
    variance = np.average(((X - fixed.mean) ** 2).sum(1), weights=weights)
    if variance == 0:
        return 1.0

    def error(beta):
        trial = fixed._replace(beta=beta)
        written = absorb(None, X, weights, trial, device)
        slots = to_numpy(posterior(written, prior(parameters.alpha, written)).slots)
        found = addresses(copies.reshape(-1, X.shape[1]), trial, device) @ slots
        found = (found + trial.mean).reshape(copies.shape)
        return (weight * (found - right) ** 2).sum()

    betas = _BETAS / variance
    return betas[np.argmin([error(beta) for beta in betas])]


def prior(alpha, written: Written) -> float:
    """Precision of the slots' prior: as the parameter says, or what evidence says."""
    return best_alpha(written) if alpha == "auto" else float(alpha)


def absorb(
    written: Written | None,
    X,
    weights,
    fixed: Addressing,
    device,
    step: Callable = write,
) -> Written:
    """Write rows, or erase them, in portions that fit into memory."""
    row = 8 * (4 * len(fixed.anchors) + 4 * X.shape[1])
    for attempt in shrinking_budgets(working_memory(), device):
        with attempt:
            memory = written or blank(len(fixed.anchors), fixed.in_unit(X[:0], device))
            for rows in row_chunks(len(X), row, attempt.budget):
                part = fixed.in_unit(X[rows], device)
                own = None if weights is None else to_tensor(weights[rows], device)
                memory = step(memory, fixed.address(part), part, own)
    return memory


def addresses(X, fixed: Addressing, device) -> np.ndarray:
    """Addresses of rows as an array (n, n_slots)."""
    row = 8 * (3 * len(fixed.anchors) + 2 * X.shape[1])
    for attempt in shrinking_budgets(working_memory(), device):
        with attempt:
            parts = []
            for rows in row_chunks(len(X), row, attempt.budget):
                parts.append(fixed.address(fixed.in_unit(X[rows], device)))
            found = to_numpy(torch.cat(parts))
    return found
