"""Supervised Stage I as the classifier calls it: from labelled rows to members."""

from __future__ import annotations

import numpy as np
import torch
from sklearn.utils import check_random_state

from skuhop._device import to_tensor
from skuhop._labelled_rows import ones_unless, positive_rows
from skuhop.learning.embeddings import member_map
from skuhop.learning.inputs import common_scale, standardisation
from skuhop.learning.supervised import Problem, Settings, choose_inputs, cross_fit
from skuhop.retrieval import SEPARATIONS, SIMILARITIES

_SMALL = 2000
"""Fewer patterns than this are learned with 8 folds, others with 4."""
_STEPS = 100
"""Steps of Stage I for up to 5,000 patterns."""


def cross_fitted(estimator, rows, weights, class_weight, device, progress):
    """Stage I on distinct labelled rows: how inputs are scaled, and the members.

    Labels are the last column. Class weights do not count for the scale: at the
    extreme one class would set it alone.

    Progress hears of the first member, with the rows it has learned from as the stored
    ones and those it has not seen: a row that is stored would find itself.
    """
    X, codes = np.ascontiguousarray(rows[:, :-1]), rows[:, -1].astype(np.int64)
    weights = ones_unless(weights, X)
    inputs = standardisation(to_tensor(X, device), to_tensor(weights, device))
    ways = [inputs, common_scale(inputs)]
    known = positive_rows(X, codes, weights * class_weight[codes])
    X, codes, weights = known
    X = to_tensor(X, device)
    if estimator.feature_map == "identity":
        tried = [X]
    else:
        tried = [way(X) for way in ways if way is not None]
    tried = [Z.to(torch.float32) for Z in tried]
    problem = Problem(
        tried[0],
        to_tensor(codes, device),
        to_tensor(weights.astype(np.float32), device),
        len(class_weight),
    )

    def report(step, loss, so_far):
        def state():
            member, left_out, kept = so_far()
            parts = [[part[rows] for part in known] for rows in (kept, left_out)]
            return ways[chosen], member, *parts

        return progress(step, loss, state)

    settings = settings_of(estimator, len(X), report)
    chosen = choose_inputs(tried, problem, settings)
    problem = problem._replace(Z=tried[chosen])
    fitted = cross_fit(member_map(estimator.feature_map), problem, settings)
    return ways[chosen], fitted


def n_steps(estimator, n):
    """Say how many steps Stage I takes for n distinct rows."""
    automatic = int(np.clip(n / 50, _STEPS, 6 * _STEPS))
    return automatic if estimator.max_iter == "auto" else estimator.max_iter


def settings_of(estimator, n, report):
    """Collect what Stage I needs to know beside the rows."""
    folds = 8 if n < _SMALL else 4
    known = getattr(estimator, "feature_map_state_", None)
    return Settings(
        loss=estimator.loss,
        similarity=SIMILARITIES[estimator.similarity],
        separation=SEPARATIONS[estimator.separation],
        separation_params=estimator._separation_params(),
        beta=None if estimator.beta == "auto" else float(estimator.beta),
        n_components=estimator.n_components,
        n_folds=folds if estimator.n_folds == "auto" else estimator.n_folds,
        max_iter=n_steps(estimator, n),
        learning_rate=estimator.learning_rate,
        weight_decay=estimator.weight_decay,
        batch_size=estimator.batch_size,
        label_smoothing=estimator.label_smoothing,
        early_stopping=estimator.early_stopping,
        start=known if estimator.warm_start else None,
        seed=int(check_random_state(estimator.random_state).randint(2**31 - 4)),
        report=report,
    )
