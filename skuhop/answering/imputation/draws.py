"""Draws of what is missing: multiple imputation.

A number is drawn as what is expected of it plus an error. Errors have the distribution
that those of entries had which were hidden one by one. Within a row they go together as
the Gaussian says they do: normal errors of all coordinates are drawn, and what the
observed ones say of the others is taken away (Matheron's rule; Journel and Huijbregts,
"Mining geostatistics", 1978). That leaves draws of the conditional distribution, whose
ranks pick the quantiles.
"""

from __future__ import annotations

import numpy as np
from scipy.special import ndtr

from skuhop.answering.imputation.completion import Answer, Asked
from skuhop.retrieval import multiply_solved
from skuhop.support import to_numpy, to_tensor


def draw_columns(
    asked: Asked, answers: dict[int, Answer], rng: np.random.RandomState
) -> dict[int, np.ndarray]:
    """Draw every missing entry once: numbers, and codes of nominal columns.

    Parameters
    ----------
    asked : Asked
        The queries.
    answers : dict of int to Answer
        What is expected, column by column.
    rng : RandomState
        What to draw with.

    Returns
    -------
    drawn : dict of int to ndarray of shape (m,)
        One value for each row of the column's answer.
    """
    ranks = draw_ranks(asked, rng)
    drawn = {}
    for column, answer in answers.items():
        if asked.imputation.n_values[column]:
            drawn[column] = _draw_codes(
                answer.values, rng.uniform(size=len(answer.rows))
            )
        else:
            at = asked.imputation.coordinates.group(column).start
            drawn[column] = _draw_numbers(asked, answer, column, ranks[answer.rows, at])
    return drawn


def draw_ranks(asked: Asked, rng: np.random.RandomState) -> np.ndarray:
    """Ranks (m, D) in (0, 1) of conditional normal errors."""
    S = asked.imputation.covariance
    errors = rng.normal(size=asked.completed.shape) @ np.linalg.cholesky(S).T
    pulls = multiply_solved(
        asked.queries.solved, to_tensor(errors, asked.completed.device)
    )
    left = errors - to_numpy(pulls) @ S
    spread = np.sqrt(to_numpy(asked.queries.variances))
    return ndtr(left / np.where(spread > 0, spread, 1))


def _draw_numbers(asked, answer, column, ranks):
    """Draw around what is expected, by quantiles of the errors."""
    quantiles = asked.imputation.residuals[column]
    steps = (np.arange(len(quantiles)) + 0.5) / len(quantiles)
    calibration = np.sqrt(np.mean(quantiles**2))
    unit = answer.std / (calibration if calibration > 0 else 1)
    return answer.values + unit * np.interp(ranks, steps, quantiles)


def _draw_codes(probabilities, ranks):
    """Codes by their probabilities."""
    below = probabilities.cumsum(axis=1)
    codes = (ranks[:, None] * below[:, -1:] > below).sum(axis=1)
    return np.minimum(codes, probabilities.shape[1] - 1).astype(float)
