"""Supervised Stage I from patterns with values to calibrated members."""

from __future__ import annotations

import numpy as np
from torch import Tensor

from skuhop.learning.embeddings import MemberMap
from skuhop.learning.export import numpy_state
from skuhop.learning.supervised.calibration import (
    FINE,
    PRIOR_WEIGHTS,
    blocks_of,
    calibrate,
    calibrate_untrained,
    clearly_better,
    score_unit,
)
from skuhop.learning.supervised.folds import draw_folds
from skuhop.learning.supervised.problem import (
    CrossFitted,
    Problem,
    Settings,
    is_learnable,
)
from skuhop.learning.supervised.scores import member_scores
from skuhop.learning.supervised.training import train

SHARP_BETA = 40.0
"""Beta where there is too little to calibrate it: nearly the nearest pattern alone."""


def choose_inputs(candidates: list[Tensor], problem: Problem, settings: Settings):
    """Position of the inputs on which the untrained kernel does clearly best.

    Where features have the same unit, as pixels do, their spread is information that
    dividing by it destroys. The first of the candidates has the benefit of doubt.
    """
    best = 0
    if len(candidates) < 2 or not is_learnable(problem):
        return best
    parts, _ = draw_folds(problem, settings)
    tried = [
        calibrate_untrained(settings, problem._replace(Z=Z), parts)[0]
        for Z in candidates
    ]
    for place, calibration in enumerate(tried):
        if clearly_better(calibration, tried[best]):
            best = place
    return best


def cross_fit(kind: MemberMap | None, problem: Problem, settings: Settings):
    """Supervised Stage I, from patterns with values to calibrated members.

    Parameters
    ----------
    kind : MemberMap or None
        Row of the table of members' maps; None is the identity.
    problem : Problem
    settings : Settings

    Returns
    -------
    fitted : CrossFitted
    """
    if not is_learnable(problem):
        return _too_little(problem, settings)
    parts, generator = draw_folds(problem, settings)
    settings = settings._replace(n_folds=len(parts))
    untrained, first = calibrate_untrained(settings, problem, parts)
    if kind is None:
        return _untrained(untrained, [], "as asked", {})
    watch, curve = train(kind, settings, problem, parts, first, generator)
    betas = watch.best.pop("log_betas").exp()
    blocks = [
        (beta * scores, out, kept)
        for beta, (scores, out, kept) in zip(
            betas,
            blocks_of(settings.similarity, watch.features(watch.best), parts),
            strict=True,
        )
    ]
    factors = FINE if settings.beta is None else (1.0,)
    learned = calibrate(settings, problem, blocks, factors)
    seen = {
        "learned_loss": learned.loss,
        "untrained_loss": untrained.loss,
        "steps": watch.steps,
    }
    if settings.early_stopping and clearly_better(untrained, learned):
        reason = "the rows left out lose more after learning"
        return _untrained(untrained, curve, reason, seen)
    state = numpy_state(watch.best)
    betas = (learned.beta * betas).cpu().numpy()
    selection = {"kept": "learned", "reason": "best on the rows left out", **seen}
    return CrossFitted(state, betas, learned.prior_weight, curve, selection)


def _too_little(problem, settings):
    beta = settings.beta
    if beta is None:
        scores = member_scores(settings.similarity, problem.Z[None], problem.Z[None])
        beta = SHARP_BETA * score_unit(scores)
    reason = "too few patterns to learn from, or none that differ in their values"
    selection = {"kept": "untrained", "reason": reason}
    return CrossFitted({}, np.array([beta]), PRIOR_WEIGHTS[0], [], selection)


def _untrained(calibration, curve, reason, seen):
    selection = {"kept": "untrained", "reason": reason, **seen}
    selection.setdefault("untrained_loss", calibration.loss)
    betas = np.array([calibration.beta])
    return CrossFitted({}, betas, calibration.prior_weight, curve, selection)
