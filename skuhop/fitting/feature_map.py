"""Stage I as the estimators call it: from NumPy patterns to a learned feature map."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from sklearn.utils import check_random_state

from skuhop.learning import (
    Learned,
    Schedule,
    draw_copies,
    feature_map_kind,
    learn,
    limit_rows,
    resolve_corruption,
    state_for_unit,
)
from skuhop.retrieval import build_scorer
from skuhop.support import to_tensor

N_WATCHED = 256
"""Held-out corrupted copies on which early stopping looks at retrieval."""
N_RIVALS = 8192
"""Patterns among which they are looked for at most: a look costs as much as these."""
_DOUBT = 0.01
"""Share of a uniform in the watched posterior, which bounds what one miss costs."""


class StageOne(NamedTuple):
    """What Stage I needs to know beside the patterns; names as in the estimators."""

    feature_map: object
    n_components: int | None
    loss: str
    similarity: str
    beta: object
    corruption: object
    schedule: Schedule
    start: dict | None
    random_state: object
    unit: float = 1.0
    """What patterns are divided by before anything is learned from them."""


def run_stage_one(settings: StageOne, patterns, weights, device, report) -> Learned:
    """Learn the feature map on distinct patterns, as `distinct_rows` gives them.

    They are divided by the unit; what is learned is for rows that are not. `report`
    hears of every step, see `skuhop.learning.learn`.
    """
    kind = feature_map_kind(settings.feature_map)
    if kind is None:
        return Learned({}, {}, [], [], {"kept": "identity", "reason": "as asked"})
    if not kind.keeps_unit:  # What a user's module makes of rows hangs on their size.
        patterns = patterns * settings.unit
        settings = settings._replace(unit=1.0)
    unit = settings.unit
    rng = check_random_state(settings.random_state)
    seed = int(rng.randint(2**31 - 1))
    rng = np.random.RandomState(seed)
    corrupt = resolve_corruption(settings.corruption, unit)
    X = to_tensor(patterns, device)
    w = None if weights is None else to_tensor(weights, device)

    def damage(batch):
        rows = patterns[batch.cpu().numpy()]
        return to_tensor(draw_copies(corrupt, rows, rng, 1)[0], device)

    def tell(step, loss, so_far):
        return report(step, loss, lambda: for_unit(so_far(), 1 / unit))

    watch = _watch(settings, patterns, X, w, corrupt, seed, device)
    start = settings.start
    learned = learn(
        kind,
        X,
        w,
        loss=settings.loss,
        damage=damage,
        watch=watch,
        n_components=settings.n_components,
        start=None if start is None else state_for_unit(start, unit),
        schedule=settings.schedule,
        seed=seed,
        report=None if report is None else tell,
    )
    learned = _or_identity(learned, watch, settings.n_components)
    return for_unit(learned, 1 / unit)


def for_unit(learned: Learned, unit: float) -> Learned:
    """Make what has been learned fit for rows that are divided by a unit."""
    if unit == 1:
        return learned
    state, alignment = learned.state, learned.alignment
    if alignment:
        alignment = {**alignment, "shift": alignment["shift"] / unit}
    return learned._replace(state=state_for_unit(state, unit), alignment=alignment)


def _or_identity(learned: Learned, watch, n_components) -> Learned:
    """Fall back to the identity where what was learned retrieves no better.

    Not with `n_components`: who asks for fewer features wants them.
    """
    if n_components is not None or not learned.validation_scores:
        return learned
    identity_score = watch(None)
    selection = {**learned.selection, "identity_score": identity_score}
    if identity_score >= selection["kept_score"]:
        reason = "learning did not raise retrieval of held-out corrupted copies"
        selection |= {"kept": "identity", "reason": reason}
    return learned._replace(selection=selection)


def _watch(settings, patterns, X, w, corrupt, seed, device):
    """Make the score of a feature map: how surely it retrieves held-out copies."""
    rng = np.random.RandomState(seed)
    order = rng.permutation(len(patterns))
    n_watched = limit_rows(N_WATCHED, patterns.shape[1])
    rows = np.sort(order[:n_watched])
    n_copies = -(-n_watched // len(patterns))
    copies = draw_copies(corrupt, patterns[rows], rng, n_copies)
    queries = to_tensor(copies.reshape(-1, patterns.shape[1]), device) * settings.unit
    rivals = np.sort(order[:N_RIVALS])
    right = torch.from_numpy(np.tile(np.searchsorted(rivals, rows), n_copies))
    right = right.to(queries.device)
    if len(rivals) < len(patterns):
        kept = torch.from_numpy(rivals).to(X.device)
        X, w = X[kept], None if w is None else w[kept]
    mean = X.mean(0) if w is None else w @ X / w.sum()
    # "auto" uses Phi as one Gaussian model among others.
    averaged = settings.similarity == "auto"
    similarity, beta = (
        ("euclidean", "auto") if averaged else (settings.similarity, settings.beta)
    )

    def score(feature_map):
        if callable(settings.feature_map) and feature_map is not None:
            feature_map = feature_map._replace(keeps_unit=False)
        parts = X, mean, w, feature_map
        scorer = build_scorer(similarity, beta, *parts, unit=settings.unit)
        scores = scorer.block(scorer.prepare(queries), 0, len(X))
        if w is not None:
            scores = scores + w.log()
        p = torch.softmax(scores, 1).gather(1, right[:, None])
        return torch.log((1 - _DOUBT) * p + _DOUBT / len(X)).mean().item()

    return score
