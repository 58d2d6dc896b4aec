"""How sparse the weights are to be, learned from corrupted copies of the patterns.

STanHop (Wu, Hu, Li, Chen, Liu, ICLR 2024, arXiv 2312.17346) learns alpha of entmax by
gradient, layer by layer. A memory has one alpha, so a few are tried.
"""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
from sklearn.utils import check_random_state

from skuhop.answering import recall_memory
from skuhop.choices import name_of, numbers_of
from skuhop.fitting.feature_map import N_WATCHED
from skuhop.learning import corrupted_copies, limit_rows, resolve_corruption
from skuhop.retrieval import SEPARATIONS, answers, separation_rule
from skuhop.support import to_tensor

ALPHAS = (1.0, 1.25, 1.5, 1.75, 2.0)
"""What is tried: from softmax to sparsemax."""


_ALIKE = 1e-6
"""Errors this near to the least, in parts of the patterns' variance, are as good: the
smallest alpha is taken, which is the faster one to use."""
_BUDGET = 2**28


def fit_separation(estimator, attributes: dict, distinct: np.ndarray, device) -> dict:
    """Attributes that say which separation is in use, with ``alpha="auto"`` settled.

    Parameters
    ----------
    estimator : UHopMemory
        Gives the parameters.
    attributes : dict
        Fitted attributes so far.
    distinct : ndarray of shape (M, d)
        Distinct patterns, divided by the unit.
    device : torch.device
        Where to compute.
    """
    defaults = SEPARATIONS[name_of(estimator.separation)].defaults
    params = {**defaults, **numbers_of(estimator.separation)}
    scores: dict = {}
    if params.get("alpha") == "auto":
        errors = np.array(_errors(estimator, attributes, distinct, device))
        good = errors <= errors.min() + _ALIKE * distinct.var(axis=0).sum()
        params["alpha"] = ALPHAS[int(np.argmax(good))]
        unit = attributes["unit_"]
        scores = {
            "alpha": list(ALPHAS),
            "error": [e * unit * unit for e in errors.tolist()],
        }
    return {"separation_params_": params, "separation_scores_": scores}


def _errors(estimator, attributes, distinct, device) -> list:
    """Mean squared error of retrieval from corrupted copies, for every alpha.

    In the unit, as the distinct patterns are.
    """
    seed = check_random_state(estimator.random_state).randint(2**31 - 1)
    rng = np.random.RandomState(seed)
    n_watched = limit_rows(N_WATCHED, distinct.shape[1])
    right = distinct[rng.permutation(len(distinct))[:n_watched]]
    unit = attributes["unit_"]
    corrupt = resolve_corruption(estimator.corruption, unit)
    copies = corrupted_copies(corrupt, right, rng, -(-n_watched // len(right)))
    queries = to_tensor(copies.reshape(-1, right.shape[1]) * unit, device)
    parameters = estimator.get_params(deep=False)
    plain = {"separation": "softmax", "index": None}
    stand_in = SimpleNamespace(
        **{**parameters, **plain, **attributes}, _separation_params=dict
    )
    memory = recall_memory(stand_in, True, right.dtype, device)
    target = to_tensor(right, device).repeat(len(copies), 1)
    errors = []
    for alpha in ALPHAS:
        separation, params = separation_rule("entmax", {"alpha": alpha})
        tried = memory._replace(separation=separation, params=params)
        gap = answers(tried, queries, _BUDGET) / unit - target
        errors.append(gap.square().sum(1).mean().item())
    return errors


def settled(params: dict, estimator) -> dict:
    """Parameters of the separation, with what `fit` chose for "auto".

    Raises
    ------
    ValueError
        If "auto" was set after `fit`.
    """
    if params.get("alpha") != "auto":
        return params
    if not getattr(estimator, "separation_scores_", None):
        raise ValueError(
            "separation__alpha='auto' needs what only fit can learn; call fit again "
            "after setting it."
        )
    return {**params, "alpha": estimator.separation_params_["alpha"]}
