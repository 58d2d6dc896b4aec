"""Stage II of the memory: from fitted NumPy state to something that can be asked."""

from __future__ import annotations

import numpy as np

from skuhop.answering.damage_scorer import damage_scorer, linear_matrix
from skuhop.answering.neighbour_index import open_fitted_index
from skuhop.answering.precision import choose_product
from skuhop.choices import Updates, name_of
from skuhop.learning import kept_kind, restore
from skuhop.retrieval import (
    SIMILARITIES,
    Memory,
    NewRowScorer,
    ScaledScorer,
    best_patterns,
    build_observed_scorer,
    build_scorer,
    indexed_best,
    iterate,
    missing_weight,
    read_out,
    separation_rule,
    update_of,
)
from skuhop.support import cast, to_tensor, unit_of


def recall_memory(estimator, complete, dtype, device) -> Memory:
    """Tensors on the device, the feature map restored, the keys encoded.

    Parameters
    ----------
    estimator : UHopMemory
        Fitted.
    complete : bool
        Whether queries have all entries.
    dtype : numpy dtype
        What to compute in.
    device : torch.device
        Where to compute.
    """

    def tensor(array):
        return to_tensor(cast(array, dtype, "What is stored"), device)

    unit = unit_in(estimator, dtype)
    patterns, mean = tensor(estimator.patterns_), tensor(estimator.mean_ / unit)
    scaled = patterns if unit == 1 else tensor(estimator.patterns_ / unit)
    weights = estimator.sample_weight_
    weights = None if weights is None else tensor(weights)
    rule, beta = estimator.similarity, estimator.beta
    product = choose_product(estimator.precision, dtype, device)
    if not complete and estimator.missing == "new":
        scorer = _new_row_scorer(estimator, scaled, mean, unit)
    elif not complete:
        scorer = build_observed_scorer(rule, beta, scaled, mean, weights, unit)
    else:
        feature_map = _feature_map(estimator, patterns, unit)
        if rule in SIMILARITIES:
            parts = scaled, mean, weights, feature_map
            scorer = build_scorer(rule, beta, *parts, product, unit, patterns)
        else:
            scorer = _damage_scorer(estimator, scaled, mean, feature_map, unit)
    params = estimator._separation_params()
    separation, params = separation_rule(name_of(estimator.separation), params)
    nearest = open_fitted_index(estimator, weights, patterns) if complete else None
    return Memory(
        scorer, separation, params, patterns, weights, complete, nearest, product
    )


def is_answer(estimator, complete: bool) -> bool:
    """Whether rows come back as they are: new ones that lack nothing."""
    return complete and estimator.missing == "new"


def of_answers(estimator, question):
    """Make a question about what answers may lack; rows that come back lack nothing."""

    def asked(memory, rows, budget):
        if is_answer(estimator, memory.complete):
            return rows.new_zeros(len(rows))
        return question(memory, rows, budget)

    return asked


def retrieving(estimator):
    """Question whose answers are those of `transform`."""

    def retrieve(memory, rows, budget):
        if is_answer(estimator, memory.complete):
            return rows.clone()
        # The weights of a row with NaN come from its observed entries, which do not
        # move: a second update would repeat the first.
        updates = Updates.of(estimator.update_steps)
        steps = updates.steps if memory.complete else 1
        update = read_out(update_of(memory), updates.answer)
        found = iterate(memory, rows, budget, steps, updates.tol, update)
        return found if memory.complete else found.where(rows.isnan(), rows)

    return retrieve


def nearest_patterns(memory, rows, budget):
    """Question for the most associated patterns, by the index where there is one."""
    best = best_patterns if memory.nearest is None else indexed_best
    return best(memory, rows, budget)


def weight_kept_out(memory, rows, budget):
    """Question for the weight that the index keeps out of answers, estimated."""
    if memory.nearest is None:
        return rows.new_zeros(len(rows))
    return missing_weight(memory, rows, budget)


def pattern_keys(estimator, patterns, device):
    """Features of rows, stored or not, as the similarity compares them.

    "auto", which compares in several ways, stands for the distance of the features.
    """
    unit = unit_of(patterns)
    rows = to_tensor(patterns / unit, device)
    feature_map = _feature_map(estimator, rows, unit)
    features = rows if feature_map is None else feature_map.patterns(rows)
    name = estimator.similarity
    rule = SIMILARITIES[name if name in SIMILARITIES else "euclidean"]
    return rule.encode(features)[0]


def unit_in(estimator, dtype) -> float:
    """Give the unit of a fitted memory, if rows of its size are numbers of a dtype.

    Raises
    ------
    ValueError
        If they are not; names the size.
    """
    # Files of earlier versions have none.
    unit = getattr(estimator, "unit_", None) or unit_of(estimator.patterns_)
    info = np.finfo(dtype)
    if not float(info.tiny) <= unit <= float(info.max):
        raise ValueError(
            f"The stored patterns are of the size {unit:.0e}, which {np.dtype(dtype)} "
            "cannot hold: pass queries in float64, or scale the data."
        )
    return unit


def _feature_map(estimator, like, unit):
    """Restore the learned feature map for rows in a unit, None for the identity."""
    return restore(
        kept_kind(estimator.feature_map, estimator.selection_),
        estimator.feature_map_state_,
        estimator.alignment_,
        like,
        unit,
    )


def _new_row_scorer(estimator, patterns, mean, unit):
    """Scorer for incomplete queries that are no copies of stored patterns."""
    if estimator.inverse_noise_variance_ is None:
        raise ValueError(
            "missing='new' needs what only fit can learn; call fit again after "
            "setting it."
        )
    precision = estimator.inverse_noise_variance_.astype(np.float64) * unit * unit
    precision = patterns.new_tensor(precision.tolist())
    scorer = NewRowScorer(patterns, mean, precision, unit)
    return _scaled(scorer, estimator.beta)


def _damage_scorer(estimator, patterns, mean, feature_map, unit):
    """Scorer for the similarities that know what damage looks like."""
    if not estimator.damage_model_:
        raise ValueError(
            f"similarity={estimator.similarity!r} needs what only fit can learn; call "
            "fit again after setting it."
        )
    matrix = feature_map and linear_matrix(
        estimator.feature_map_state_, estimator.alignment_, patterns
    )
    scorer = damage_scorer(
        estimator.damage_model_,
        estimator.patterns_,
        estimator.sample_weight_,
        patterns,
        mean,
        feature_map,
        matrix,
        unit,
    )
    return _scaled(scorer, estimator.beta)


def _scaled(scorer, beta):
    """Multiply log-likelihoods by a beta of the user's."""
    return scorer if beta == "auto" else ScaledScorer(scorer, beta)
