"""The scorer of ``similarity="auto"`` from what `fit` learned of damage."""

from __future__ import annotations

from skuhop.retrieval import ScaledScorer, build_auto_scorer, build_scorer, pool_experts
from skuhop.support import distinct_rows, to_tensor


def linear_matrix(state, alignment, like):
    """W as a tensor, where the feature map is just that; else None."""
    if set(state) != {"components"} or alignment:
        return None
    return to_tensor(state["components"], like.device).to(like)


def damage_scorer(
    model, patterns, weights, tensors, mean, feature_map, matrix, unit, beta=1.0
):
    """Build the scorer that a damage model stands for.

    Parameters
    ----------
    model : dict
        What `learn_damage_model` gave, not empty.
    patterns, weights : ndarray
        What is stored.
    tensors, mean : Tensor of shape (M, d) and (d,)
        The patterns and their mean on the device, divided by the unit.
    feature_map : FeatureMap or None
        The learned feature map.
    matrix : Tensor or None
        What `linear_matrix` gave.
    unit : float
        What queries are divided by.
    beta : float, default=1
        What log-likelihoods are multiplied by.
    """
    if "rule" in model:
        rule = model["rule"], "auto"
        scorer = build_scorer(*rule, tensors, mean, None, None, unit=unit)
        return scorer if beta == 1 else ScaledScorer(scorer, beta)
    if "trust" in model:
        pool = model["channel"], model["trust"]
        return pool_experts(*pool, tensors, mean, feature_map, unit, beta)
    rows, totals, columns = distinct_rows(patterns / unit, weights)
    rows, totals, columns = (
        None if array is None else to_tensor(array, tensors.device)
        for array in (rows, totals, columns)
    )
    totals = None if totals is None else totals.to(tensors)
    return build_auto_scorer(
        **model,
        patterns=rows.to(tensors),
        weights=totals,
        columns=columns,
        mean=mean,
        feature_map=feature_map,
        components=matrix,
        unit=unit,
        beta=beta,
    )
