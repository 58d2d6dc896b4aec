"""A Gaussian fitted to rows with holes, and how much it is shrunk.

EM (Little and Rubin, "Statistical analysis with missing data", 11.2). With
``a_i = K_i (x_i - mean)`` and K_i the padded inverse of the observed part (see
`retrieval.imputation.lines`), the expected covariance needs the mean of the K_i alone:

    C' C / n + S - S mean(K_i) S,   C the completed rows less their mean.

The prior is an inverse Wishart around the diagonal, worth `prior` rows. It is chosen
by how well rows of other folds say entries that are hidden one by one. A fold's
Gaussian is the last M-step without the rows of the fold: EM anew for every fold costs
many times as much and chooses the same.
"""

from __future__ import annotations

import torch
from torch import Tensor

from skuhop.retrieval import (
    Gaussian,
    Solved,
    complete,
    lines_of_hidden,
    solve_masks,
)

PRIORS = (64.0, 16.0, 4.0, 1.0, 0.1)
"""Numbers of rows that are tried, from the strongest on, as long as it helps. Each
starts from the last: with a weak prior and many coordinates EM is slow."""
STEPS, TOL = 20, 3e-3
N_FOLDS = 5
_JITTER = 1e-6


def fit_gaussian(
    Z: Tensor, weights: Tensor, prior: float, start: Gaussian | None = None
) -> Gaussian:
    """Fit mean and covariance by EM.

    Parameters
    ----------
    Z : Tensor of shape (n, D)
        Rows with NaN, every coordinate of mean 0 and variance 1, roughly.
    weights : Tensor of shape (n,)
        Multiplicities.
    prior : float
        Rows that the diagonal counts for.
    start : Gaussian, default=None
        Where to start; None is from independent coordinates.
    """
    gaussian = start or _independent(Z, weights)
    for _ in range(STEPS):
        solved = solve_masks(Z, gaussian)
        after = _maximise(solved, weights, gaussian, prior)
        change = (after.covariance - gaussian.covariance).abs().max()
        gaussian = after
        if change < TOL:
            break
    return gaussian


def _independent(Z, weights):
    observed = ~Z.isnan()
    total = (observed * weights[:, None]).sum(0).clamp_min(1e-12)
    mean = (torch.where(observed, Z, 0) * weights[:, None]).sum(0) / total
    return Gaussian(mean, torch.eye(len(mean), dtype=Z.dtype, device=Z.device))


def _maximise(solved: Solved, weights: Tensor, gaussian: Gaussian, prior) -> Gaussian:
    """M-step: moments of the completed rows, shrunk towards the diagonal."""
    S, total = gaussian.covariance, weights.sum()
    rows = complete(solved, gaussian)
    mean = weights @ rows / total
    off = rows - mean
    shares = torch.zeros_like(solved.inverses[:, 0, 0])
    shares.index_add_(0, solved.numbers, weights)
    known = torch.einsum("m,mij->ij", shares / total, solved.inverses)
    expected = (off * weights[:, None]).T @ off / total + S - S @ known @ S
    spread = expected.diagonal().clamp_min(_JITTER)
    shrunk = (total * expected + prior * torch.diag(spread)) / (total + prior)
    return Gaussian(mean, (shrunk + shrunk.T) / 2 + _JITTER * torch.diag(spread))


def choose_gaussian(
    Z: Tensor, weights: Tensor, groups: list[slice], generator: torch.Generator
) -> tuple[Gaussian, Tensor]:
    """Fit a Gaussian whose prior completes hidden entries best.

    Parameters
    ----------
    Z, weights
        As in `fit_gaussian`.
    groups : list of slices
        Coordinates that are hidden together: those of one column.
    generator : torch.Generator
        Draws the folds.

    Returns
    -------
    gaussian : Gaussian
        Of all rows.
    lines : Tensor of shape (n, D)
        What every row would say of every column if it had not been known, neither in
        the row nor in what was learned.
    """
    n = len(Z)
    folds = torch.randperm(n, generator=generator).to(Z.device) % min(N_FOLDS, n)
    trials: list[tuple] = []
    gaussian = None
    observed = ~Z.isnan()
    for prior in PRIORS:
        gaussian = fit_gaussian(Z, weights, prior, gaussian)
        lines = _cross_fit(Z, weights, groups, gaussian, prior, folds)
        off = torch.where(observed, lines - Z, 0).square()
        error = float(weights @ off.sum(1))
        if trials and error > trials[-1][0]:
            break
        trials.append((error, gaussian, lines))
    _, gaussian, lines = trials[-1]
    return gaussian, lines


def _cross_fit(Z, weights, groups, gaussian, prior, folds):
    """Lines of the rows of every fold by the other folds."""
    solved = solve_masks(Z, gaussian)
    lines = Z.new_empty(Z.shape)
    for fold in folds.unique().tolist():
        inside = folds == fold
        others = _take(solved, ~inside) if not inside.all() else solved
        used = weights[~inside] if not inside.all() else weights
        part = _maximise(others, used, gaussian, prior)
        here = solve_masks(Z[inside], part)
        for group in groups:
            lines[inside, group] = lines_of_hidden(Z[inside], here, group)
    return lines


def _take(solved, rows):
    """Take some of the rows."""
    return Solved(
        solved.inverses, solved.numbers[rows], solved.pulls[rows], solved.observed[rows]
    )
