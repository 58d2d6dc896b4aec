"""Supervised Stage I from patterns with values to calibrated members."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import zip_longest
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from skuhop.learning.members import Kernel, member_map
from skuhop.learning.supervised.batches import find_levels
from skuhop.learning.supervised.calibration import (
    FINE,
    PRIOR_WEIGHTS,
    Calibration,
    blocks_of,
    calibrate,
    calibrate_untrained,
    clearly_better,
    score_unit,
    share_with_line,
)
from skuhop.learning.supervised.folds import Division
from skuhop.learning.supervised.line_beside import lines_left_out
from skuhop.learning.supervised.member_scores import member_scores
from skuhop.learning.supervised.problem import CrossFitted, Problem, Settings
from skuhop.learning.supervised.training import (
    MembersInTraining,
    divide_members,
    join_states,
)

SHARES = (0.3, 0.5, 0.7, 1.0)
"""Shares of a further kernel in the scores that the rows left out choose from, or 0."""
ROUGH = FINE[4:9:2]
"""Factors on beta that are tried with every share."""
SHARP_BETA = 40.0
"""Beta where there is too little to calibrate it: nearly the nearest pattern alone."""


def choose_inputs(candidates: list[Tensor], problem: Problem, parts, settings):
    """Position of the inputs on which the untrained kernel does clearly best.

    Where features have the same unit, as pixels do, their spread is information that
    dividing by it destroys. The first of the candidates has the benefit of doubt.
    """
    best = 0
    if len(candidates) < 2 or not parts:
        return best
    tried = [
        calibrate_untrained(settings, problem._replace(Z=Z), parts)[0]
        for Z in candidates
    ]
    for place, calibration in enumerate(tried):
        if clearly_better(calibration, tried[best]):
            best = place
    return best


def take_trend(
    problem: Problem, parts: list, settings: Settings
) -> tuple[Problem, float | None]:
    """Take a share of a line off the values where the untrained kernel gains clearly.

    Returns
    -------
    problem : Problem
        With what is left, or as it was.
    penalty : float or None
        Of the line; None if nothing is taken off.
    """
    share = problem.line.trend if problem.line else 0
    if share == 0 or settings.linear_share is not None or not parts:
        return problem, None
    target = problem.target
    asked = torch.cat([out for out, _ in parts])
    values, weights = problem.values[asked], problem.weights[asked]

    def loss(found):
        return (weights @ target.cost(target.residue(found[1], values))).item()

    penalty, answers = min(lines_left_out(problem, parts), key=loss)
    trend = torch.empty_like(problem.values)
    trend[asked] = share * answers
    left = problem._replace(values=problem.values - trend, trend=trend)
    with_line, _ = calibrate_untrained(settings, left, parts)
    without, _ = calibrate_untrained(settings, problem, parts)
    return (left, penalty) if clearly_better(with_line, without) else (problem, None)


class _Learned(NamedTuple):
    """A kernel that has been learned: its members' scores of the rows left out."""

    state: dict
    betas: Tensor
    blocks: list
    curve: list
    steps: list


def cross_fit(
    kernels: Sequence[Kernel],
    problem: Problem,
    division: Division,
    settings: Settings,
) -> CrossFitted:
    """Supervised Stage I, from patterns with values to calibrated members.

    Parameters
    ----------
    kernels : sequence of Kernel
        What to learn; a state is where learning starts, if its shape fits.
    problem : Problem
    division : Division
        How its rows are divided among the members.
    settings : Settings
    """
    first, parts = kernels[0], division.parts
    if not parts:
        return _too_little(first, problem, settings)
    settings = settings._replace(n_folds=len(parts))
    untrained, beta = calibrate_untrained(settings, problem, parts)

    def keep_untrained(curve, reason, seen):
        fitted = _leave_untrained(first, untrained, curve, reason, seen)
        blocks = blocks_of(settings.similarity, problem.Z[None], parts)
        return _with_line(
            settings, problem, _scale_blocks(untrained.beta, blocks), fitted
        )

    if first.feature_map == "identity":
        return keep_untrained([], "as asked", {})
    learned, curve = _learn(kernels, settings, problem, division, beta)
    factors, best, blended = _blend(settings, problem, learned)
    seen = {
        "learned_loss": best.loss,
        "untrained_loss": untrained.loss,
        "factors": factors,
        "steps": [one.steps for one in learned],
    }
    if settings.early_stopping and clearly_better(untrained, best):
        reason = "the rows left out lose more after learning"
        return keep_untrained(curve, reason, seen)
    selection = {"kept": "learned", "reason": "best on the rows left out", **seen}
    chosen = [
        kernel._replace(betas=(factor * one.betas).cpu().numpy(), state=one.state)
        for kernel, one, factor in zip(kernels, learned, factors, strict=False)
        if factor > 0
    ]
    fitted = CrossFitted(chosen, best.prior_weight, curve, selection)
    return _with_line(settings, problem, blended, fitted)


def _with_line(settings, problem, blocks, fitted: CrossFitted) -> CrossFitted:
    """Give a line the share in the answers that the rows left out want it to have.

    Parameters
    ----------
    settings : Settings
    problem : Problem
    blocks : list of (scores, asked, memory)
        Scores, times their calibrated beta, of the rows left out.
    fitted : CrossFitted
        What has no line yet.
    """
    if settings.linear_share == 0:
        return fitted
    betas = ROUGH if settings.beta is None else (1.0,)
    found, share, penalty = share_with_line(
        settings, problem, blocks, fitted.prior_weight, betas
    )
    if share == 0:
        return fitted
    kernels = [k._replace(betas=found.beta * k.betas) for k in fitted.kernels]
    selection = {**fitted.selection, "loss_with_line": found.loss}
    return fitted._replace(
        kernels=kernels, linear_share=share, penalty=penalty, selection=selection
    )


def _learn(kernels, settings, problem, division, beta):
    """Learn the members of every kernel, and score the rows that each has left out."""
    in_training, levels = [], find_levels(problem)
    for place, kernel in enumerate(kernels):
        own = settings.of(kernel)
        if place > 0:
            _, beta = calibrate_untrained(own, problem, division.parts)
        taught = own, problem, division, beta, levels
        in_training.append(_enrol(kernel, place, *taught))
    if settings.report is None:
        settings.run([group.learn for groups in in_training for group in groups])
    else:
        in_training = _learn_in_step(in_training, settings.report)
    learned = [_gather(groups) for groups in in_training]
    return learned, [loss for one in learned for loss in one.curve]


def _enrol(kernel, place, settings, problem, division, beta, levels):
    """Make the members of a kernel, those together that are learned at once."""
    kind, parts = member_map(kernel.feature_map), division.parts
    draws = np.random.RandomState(settings.seed + place)
    seeds = draws.randint(2**31, size=len(parts)).tolist()
    generators = [torch.Generator().manual_seed(seed) for seed in seeds]
    shared, how = (kernel, settings, problem, parts), (beta, generators, levels)
    return [
        MembersInTraining(*shared, group, *how)
        for group in divide_members(kind, parts, settings.batch_size)
    ]


def _learn_in_step(in_training, report):
    """Learn one kernel after the other, its members in step, until told to stop."""
    done = 0
    for place, groups in enumerate(in_training):
        stopped = False
        while not stopped and (going := [g for g in groups if g.goes_on]):
            losses = torch.cat([group.move() for group in going])
            done += 1
            stopped = report(done, losses.mean().item(), groups[0].so_far)
        for group in groups:
            group.end()
        if stopped:
            return in_training[: place + 1]
    return in_training


def _gather(groups) -> _Learned:
    """Put the members of a kernel together again."""
    betas = torch.cat([group.best["log_betas"].exp() for group in groups])
    blocks = [block for group in groups for block in group.score()]
    # Members that have ended have no loss any more.
    by_step = zip_longest(*(group.curve for group in groups), fillvalue=betas[:0])
    curve = [torch.cat(losses).mean().item() for losses in by_step]
    steps = [step for group in groups for step in group.steps]
    return _Learned(join_states([g.state for g in groups]), betas, blocks, curve, steps)


def _blend(settings, problem, learned) -> tuple[list[float], Calibration, list]:
    """Factors on the betas of kernels whose scores are added, and what comes of it.

    Every kernel after the first gets the share in the scores under which the rows left
    out lose least, and the others keep the rest; it gets nothing where that is not
    clearly better than without it.

    Returns
    -------
    factors : list of float
    best : Calibration
    blocks : list of (scores, asked, memory)
        The sums, times their betas.
    """
    free = settings.beta is None
    fine, rough = (FINE, ROUGH) if free else ((1.0,), (1.0,))
    blocks = learned[0].blocks
    best = calibrate(settings, problem, blocks, fine)
    factors = [best.beta]
    for one in learned[1:]:
        own = calibrate(settings, problem, one.blocks, fine).beta

        def mix(share, one=one, blocks=blocks, own=own, beta=best.beta):
            return _add_blocks(blocks, beta * (1 - share), one.blocks, own * share)

        tried = [(calibrate(settings, problem, mix(s), rough), s) for s in SHARES]
        found, share = min(tried, key=lambda pair: pair[0].loss)
        if not clearly_better(found, best):
            factors.append(0.0)
            continue
        factors = [factor * (1 - share) * found.beta for factor in factors]
        factors.append(own * share * found.beta)
        best, blocks = found, mix(share)
    return factors, best, _scale_blocks(best.beta, blocks)


def _scale_blocks(factor, blocks):
    """Blocks of scores, times a factor."""
    return [(factor * scores, out, kept) for scores, out, kept in blocks]


def _add_blocks(one, left, other, right):
    """Blocks of scores, times a factor each, added."""
    return [
        (left * scores + right * more, out, kept)
        for (scores, out, kept), (more, _, _) in zip(one, other, strict=True)
    ]


def _too_little(kernel, problem, settings):
    beta = settings.beta
    if beta is None:
        scores = member_scores(settings.similarity, problem.Z[None], problem.Z[None])
        beta = SHARP_BETA * score_unit(scores)
    reason = "too few patterns to learn from, or none that differ in their values"
    selection = {"kept": "untrained", "reason": reason}
    kernels = [kernel._replace(betas=np.array([beta]), state={})]
    return CrossFitted(kernels, PRIOR_WEIGHTS[0], [], selection)


def _leave_untrained(kernel, calibration, curve, reason, seen):
    selection = {"kept": "untrained", "reason": reason, **seen}
    selection.setdefault("untrained_loss", calibration.loss)
    kernels = [kernel._replace(betas=np.array([calibration.beta]), state={})]
    return CrossFitted(kernels, calibration.prior_weight, curve, selection)
