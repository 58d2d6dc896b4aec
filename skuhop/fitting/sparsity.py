"""How sparse the weights are to be, learned from corrupted copies of the patterns.

STanHop (Wu, Hu, Li, Chen, Liu, ICLR 2024, arXiv 2312.17346) learns alpha of entmax by
gradient, layer by layer. A memory has one alpha, so a few are tried.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from sklearn.utils import check_random_state

from skuhop.answering import FittedPatterns
from skuhop.fitting.feature_map import N_WATCHED, StageOne
from skuhop.learning import draw_copies, limit_rows, resolve_corruption
from skuhop.retrieval import separation_rule, update_of
from skuhop.support import to_tensor

ALPHAS = (1.0, 1.25, 1.5, 1.75, 2.0)
"""What is tried: from softmax to sparsemax."""


_ALIKE = 1e-6
"""Errors this near to the least, in parts of the patterns' variance, are as good: the
smallest alpha is taken, which is the faster one to use."""
_BUDGET = 2**28


class SeparationInUse(NamedTuple):
    """Parameters of the separation, and how well those that were tried have done."""

    params: dict
    scores: dict


def choose_separation(
    record: FittedPatterns, settings: StageOne, distinct: np.ndarray, device
) -> SeparationInUse:
    """Settle ``alpha="auto"``, on distinct patterns (M, d) divided by the unit."""
    params, scores = dict(record.parameters.separation_params), {}
    if params.get("alpha") == "auto":
        errors = np.array(_measure_errors(record, settings, distinct, device))
        good = errors <= errors.min() + _ALIKE * distinct.var(axis=0).sum()
        params["alpha"] = ALPHAS[int(np.argmax(good))]
        unit = record.unit
        scores = {
            "alpha": list(ALPHAS),
            "error": [e * unit * unit for e in errors.tolist()],
        }
    return SeparationInUse(params, scores)


def _measure_errors(record, settings, distinct, device) -> list:
    """Mean squared error of retrieval from corrupted copies, for every alpha.

    In the unit, as the distinct patterns are.
    """
    seed = check_random_state(settings.random_state).randint(2**31 - 1)
    rng = np.random.RandomState(seed)
    n_watched = limit_rows(N_WATCHED, distinct.shape[1])
    right = distinct[rng.permutation(len(distinct))[:n_watched]]
    corrupt = resolve_corruption(settings.corruption, record.unit)
    copies = draw_copies(corrupt, right, rng, -(-n_watched // len(right)))
    queries = to_tensor(copies.reshape(-1, right.shape[1]) * record.unit, device)
    # Every alpha is tried on the whole memory, of which an index would lack something.
    choice = record.parameters.index_choice._replace(kind=None)
    parameters = record.parameters._replace(
        separation="softmax", separation_params={}, index_choice=choice
    )
    record = record._replace(parameters=parameters)
    memory = record.prepare(True, right.dtype, device)
    target = to_tensor(right, device).repeat(len(copies), 1)
    errors = []
    for alpha in ALPHAS:
        separation, params = separation_rule("entmax", {"alpha": alpha})
        tried = memory._replace(separation=separation, params=params)
        found = update_of(tried)(tried, queries, _BUDGET)
        gap = found / record.unit - target
        errors.append(gap.square().sum(1).mean().item())
    return errors


def read_chosen_alpha(params: dict, chosen: dict | None) -> dict:
    """Parameters of the separation, with what `fit` chose for "auto".

    Raises
    ------
    ValueError
        If "auto" was set after `fit`.
    """
    if params.get("alpha") != "auto":
        return params
    if chosen is None:
        raise ValueError(
            "separation__alpha='auto' needs what only fit can learn; call fit again "
            "after setting it."
        )
    return {**params, "alpha": chosen["alpha"]}
