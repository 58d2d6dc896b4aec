"""What the rows left out decide: the inverse temperature and the prior weight."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from skuhop.learning.supervised.line_beside import lines_left_out
from skuhop.learning.supervised.member_scores import member_scores
from skuhop.learning.supervised.problem import Problem, Settings

MAX_WATCHED = 1024
"""Most rows left out by a member that are looked at."""
MAX_MEMORY = 8192
"""Most patterns that they are compared with."""
FIRST_BETA = 5.0
"""Where the learning of beta starts, in standard deviations of the scores."""
PRIOR_WEIGHTS = (0.001, 0.003, 0.01, 0.02, 0.04, 0.08, 0.15, 0.3, 0.5, 0.75, 0.95)
LINEAR_SHARES = (0.0, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95)
_CACHED = 2**17
"""Scores that are judged at a time."""
_ROUNDING = 1e-5
"""Loss that is none: where all rows are right, rounding may have one sign in all."""
COARSE = tuple(2.0**k for k in range(-3, 10))
FINE = tuple(2.0 ** (k / 3) for k in range(-6, 7))


class Calibration(NamedTuple):
    """What the rows left out have decided.

    Attributes
    ----------
    beta : float
        Factor on the scores.
    prior_weight : float
        Share of the prior in the answers.
    losses : Tensor of shape (n_rows,)
        Loss of every row left out: ``-log p(right class)``, or its squared error.
    weights : Tensor of shape (n_rows,)
        Their weights.
    """

    beta: float
    prior_weight: float
    losses: Tensor
    weights: Tensor

    @property
    def loss(self) -> float:
        """Weighted mean of the losses."""
        return ((self.weights @ self.losses) / self.weights.sum()).item()


def clearly_better(one: Calibration, other: Calibration) -> bool:
    """Whether the rows left out lose less, by more than one standard error."""
    w = one.weights / one.weights.sum()
    gap = other.losses - one.losses
    mean = w @ gap
    error = (w.square() @ (gap - mean).square()).sqrt()
    return bool(mean > error + _ROUNDING)


def judge_rows(settings, problem, block, judge, beta) -> tuple[Tensor, Tensor]:
    """Residue of what a block's scores retrieve at a beta, and the weight unspent.

    A few rows at a time, whose scores stay in the cache from one step to the next.
    """
    scores, _, memory = block
    copies = problem.weights[memory]
    copies = None if (copies == 1).all() else copies
    on_host = scores.device.type == "cpu"
    n_rows = max(1, _CACHED // len(memory)) if on_host else len(scores)
    found = []
    for start in range(0, len(scores), n_rows):
        rows = slice(start, start + n_rows)
        weights = settings.separation.weights(
            beta * scores[rows], copies, **settings.separation_params
        )
        found.append(judge(weights, rows))
    residue, unspent = zip(*found, strict=True)
    return torch.cat(residue), torch.cat(unspent)


def judges_of(problem, blocks):
    """Judges of the weights that each block gives the rows of its memory."""
    return [
        problem.target.judge(problem.values[memory], problem.values[asked])
        for _, asked, memory in blocks
    ]


def calibrate(settings, problem: Problem, blocks, betas) -> Calibration:
    """Find the beta and the prior weight under which the rows left out lose least.

    Parameters
    ----------
    settings : Settings
    problem : Problem
    blocks : list of (scores, asked, memory)
        Scores of the rows `asked` against the rows `memory`, for every member.
    betas : sequence of float
        What to try.
    """
    _, weights, of_prior = _targets_left_out(problem, blocks)
    judges = judges_of(problem, blocks)
    n_rows = sum(problem.copies[asked].sum().item() for _, asked, _ in blocks)
    per_row = problem.n_surprises / n_rows
    doubts = [per_row * problem.target.doubt(share) for share in PRIOR_WEIGHTS]
    tries = []
    for beta in betas:
        residue = _residue(settings, problem, blocks, judges, beta, of_prior)
        for share, doubt in zip(PRIOR_WEIGHTS, doubts, strict=True):
            losses = problem.target.cost((1 - share) * residue + share * of_prior)
            found = Calibration(beta, share, losses, weights)
            tries.append((found.loss + doubt, found))
    return min(tries, key=lambda tried: tried[0])[1]


def _targets_left_out(problem, blocks):
    """Values and weights of the rows left out, and what the prior is off by."""
    asked = torch.cat([rows for _, rows, _ in blocks])
    values = problem.values[asked]
    of_prior = problem.target.residue(problem.prior.expand_as(values), values)
    return values, problem.weights[asked], of_prior


def _residue(settings, problem, blocks, judges, beta, of_prior):
    """Say what retrieval is off by for the rows left out."""
    judged = [
        judge_rows(settings, problem, block, judge, beta)
        for judge, block in zip(judges, blocks, strict=True)
    ]
    residue, unspent = (torch.cat(parts) for parts in zip(*judged, strict=True))
    return residue + unspent * of_prior


def share_with_line(settings, problem: Problem, blocks, prior_weight, betas):
    """Find the share of a line under which the rows left out lose least.

    Parameters
    ----------
    settings : Settings
    problem : Problem
    blocks : list of (scores, asked, memory)
        As in `calibrate`.
    prior_weight : float
        Share of the prior in what the memory answers.
    betas : sequence of float
        What to try.

    Returns
    -------
    calibration : Calibration
        Of the answers that are shared.
    share, penalty : float
        Of the line.
    """
    target = problem.target
    values, weights, of_prior = _targets_left_out(problem, blocks)
    lines = [
        (penalty, target.residue(answers, values))
        for penalty, answers in lines_left_out(
            problem, [(asked, memory) for _, asked, memory in blocks]
        )
    ]
    judges, fixed = judges_of(problem, blocks), settings.linear_share
    tries = []
    for beta in betas:
        residue = _residue(settings, problem, blocks, judges, beta, of_prior)
        own = (1 - prior_weight) * residue + prior_weight * of_prior
        for penalty, other in lines:
            for share in LINEAR_SHARES if fixed is None else (fixed,):
                losses = target.cost((1 - share) * own + share * other)
                found = Calibration(beta, prior_weight, losses, weights)
                tries.append((found, share, penalty))
    return min(tries, key=lambda tried: tried[0].loss)


def score_unit(scores: Tensor) -> float:
    """One over the standard deviation of scores: the unit of beta."""
    deviation = scores.std().item() if scores.numel() > 1 else 0.0
    return 1 / deviation if 0 < deviation < math.inf else 1.0


def blocks_of(rule, features, parts):
    """Scores of the rows left out, for features (K, n, r) or (1, n, r)."""
    blocks = []
    for k, (out, kept) in enumerate(parts):
        out, kept = out[:MAX_WATCHED], kept[:MAX_MEMORY]
        phi = features[min(k, len(features) - 1)][None]
        blocks.append((member_scores(rule, phi[:, out], phi[:, kept])[0], out, kept))
    return blocks


def calibrate_untrained(settings: Settings, problem: Problem, parts):
    """Calibration of the similarity on the patterns as they are, and a first beta.

    The first beta is a soft one: learning from the beta that is best for the untrained
    kernel, often ten times as sharp, sees a few neighbours only and gets nowhere.
    """
    blocks = blocks_of(settings.similarity, problem.Z[None], parts)
    if settings.beta is not None:
        return calibrate(settings, problem, blocks, [settings.beta]), settings.beta
    unit = score_unit(torch.cat([scores.flatten() for scores, _, _ in blocks]))
    coarse = calibrate(settings, problem, blocks, [unit * f for f in COARSE])
    fine = [coarse.beta * f for f in FINE[4:9]]
    return calibrate(settings, problem, blocks, fine), FIRST_BETA * unit
