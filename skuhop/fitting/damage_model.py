"""What damage looks like: learned in `fit`, used by ``similarity="auto"``.

Three ways to know it, from least to most: told nothing (a bank of channels), from
unlabelled queries (the bank, with what the queries taught), and told the corruption
(channel tables and other experts in a pool).
"""

from __future__ import annotations

import numpy as np
from sklearn.utils import check_random_state

from skuhop.answering import linear_matrix
from skuhop.fitting.feature_map import StageOne
from skuhop.learning import (
    Learned,
    choose_kind,
    draw_copies,
    learn_bank,
    learn_channels,
    learn_exponents,
    learn_from_queries,
    resolve_corruption,
    restore,
)
from skuhop.retrieval import build_auto_scorer, divide, experts_of_channel
from skuhop.support import to_tensor

FEWEST_FEATURES = 8
"""With fewer, a query has no histogram to speak of, and that is the null of all
evidence: noise of unknown level is then the one model."""


def learn_damage_model(
    settings: StageOne, learned: Learned, patterns, weights, queries, device
) -> dict:
    """Learn what damage looks like, for the similarities that want to know.

    Parameters
    ----------
    settings : StageOne
        The estimator's parameters.
    learned : Learned
        The feature map.
    patterns, weights : ndarray of shape (M, d) and (M,), or None for weights
        Distinct patterns, as `distinct_rows` gives them, divided by the unit.
    queries : ndarray of shape (n, d) or None
        Unlabelled queries without NaN, as they are.
    device : torch.device
        Where to compute.

    Returns
    -------
    model : dict
        Empty for a plain similarity; `channel` and `trust` where damage is told;
        `bank` and `learned` where it is not, or the `rule` that stands in for them
        where there are too few features. All values are NumPy or plain.
    """
    if settings.similarity != "auto":
        return {}
    if settings.corruption is not None:
        return _learn_pool(settings, learned, patterns, weights, device)
    if patterns.shape[1] < FEWEST_FEATURES:
        return {"rule": "euclidean"}
    X = to_tensor(patterns, device)
    w = None if weights is None else to_tensor(weights, device)
    unit = settings.unit
    model = {"bank": divide(learn_bank(X, w), 1 / unit), "learned": {}}
    if queries is not None and len(queries):
        feature_map = _restore(settings, learned, X)
        matrix = feature_map and linear_matrix(learned.state, learned.alignment, X)
        mean = X.mean(0)
        scorer = build_auto_scorer(
            **model,
            patterns=X,
            weights=w,
            columns=None,
            mean=mean,
            feature_map=feature_map,
            components=matrix,
            unit=unit,
        )
        model["learned"] = learn_from_queries(scorer, to_tensor(queries, device))
    return model


def _restore(settings, learned, like):
    kind = choose_kind(settings.feature_map, learned.selection)
    return restore(kind, learned.state, learned.alignment, like, settings.unit)


def _learn_pool(settings, learned, patterns, weights, device):
    """Learn channel tables, and how far to trust every expert, on corrupted copies."""
    seed = int(check_random_state(settings.random_state).randint(2**31 - 1))
    rng = np.random.RandomState(seed)
    corrupt = resolve_corruption(settings.corruption, settings.unit)
    X = to_tensor(patterns, device)
    w = None if weights is None else to_tensor(weights, device)

    def damage(rows):
        copies = draw_copies(corrupt, patterns[rows.cpu().numpy()], rng, 1)
        return to_tensor(copies[0], device)

    channel = learn_channels(X, w, damage)
    experts = experts_of_channel(channel, X, X.mean(0), _restore(settings, learned, X))
    order = rng.permutation(len(patterns))
    exponents = learn_exponents(experts, X, w, damage, order)
    trust = dict(zip(experts, exponents.tolist(), strict=True))
    return {"channel": divide(channel, 1 / settings.unit), "trust": trust}
