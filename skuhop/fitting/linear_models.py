"""Linear models as Stage I asks for them: one for a kind of values.

Rejected: those of scikit-learn, which the same numbers come from. They warn, and they
multiply by way of NumPy; to silence the one and to keep the other to one thread are
settings of the whole process, which threads that fit side by side take from each other.
"""

from __future__ import annotations

import numpy as np
import torch
from scipy.optimize import minimize
from torch import Tensor
from torch.nn.functional import pad

from skuhop.learning import Line, LineKind

_OPTIONS = {"maxiter": 100, "maxls": 50, "gtol": 1e-3, "ftol": 64 * 2.0**-52}
"""Of L-BFGS, as scikit-learn has them, but for the gradient at which a regression is
taken for learned. An unfinished line is worth what the rows left out say."""


def _doubles(*arrays) -> list[Tensor]:
    """Tensors in float64; the last array, weights, as shares of their sum."""
    *parts, weights = (torch.from_numpy(np.array(a, np.float64)) for a in arrays)
    return [*parts, weights / weights.sum()]


def _fit_logistic(Z, values, weights, penalty):
    codes, n_classes, d = values.argmax(1), values.shape[1], Z.shape[1]
    known = np.unique(codes)
    line = Line(np.zeros((n_classes, d)), np.full(n_classes, -np.inf))
    line.intercept[known] = 0
    if len(known) == 1:
        return line
    # Of two classes only the second has scores.
    rows = known if len(known) > 2 else known[1:]
    strength = penalty / weights.sum(dtype=np.float64)
    right, Z, share = _doubles(codes[:, None] == known, Z, weights)

    def objective(flat):
        coef, intercept = torch.from_numpy(flat).reshape(len(rows), -1).split(d, 1)
        scores = torch.addmm(intercept.T, Z, coef.T)
        log_p = pad(scores, (len(known) - len(rows), 0)).log_softmax(1)
        loss = strength / 2 * coef.square().sum() - share @ (right * log_p).sum(1)
        slope = (log_p.exp() - right).mul_(share[:, None])[:, -len(rows) :]
        gradient = torch.addmm(strength * coef, slope.T, Z)
        gradient = torch.cat([gradient, slope.sum(0)[:, None]], 1)
        return loss.item(), gradient.flatten().numpy()

    start = np.zeros(len(rows) * (d + 1))
    found = minimize(objective, start, jac=True, method="L-BFGS-B", options=_OPTIONS)
    coef = found.x.reshape(len(rows), d + 1)
    line.coef[rows], line.intercept[rows] = coef[:, :d], coef[:, d]
    return line


def _fit_ridge(Z, values, weights, penalty):
    total = weights.sum(dtype=np.float64)
    Z, values, share = _doubles(Z, values, weights)
    centre, level = share @ Z, share @ values
    root = (share * total).sqrt()[:, None]
    Z, values = root * (Z - centre), root * (values - level)
    # The smaller of two systems with the same solution.
    if len(Z) < Z.shape[1]:
        coef = Z.T @ _solve(Z @ Z.T, values, penalty)
    else:
        coef = _solve(Z.T @ Z, Z.T @ values, penalty)
    return Line(coef.T.numpy(), (level - centre @ coef).numpy())


def _solve(gram, right, penalty):
    """Solve ``(gram + penalty) x = right``."""
    gram.diagonal().add_(penalty)
    factor, failed = torch.linalg.cholesky_ex(gram)
    if not failed:
        return torch.cholesky_solve(right, factor)
    # Weights can be so large that the penalty is lost in rounding.
    return torch.linalg.pinv(gram, hermitian=True) @ right


LOGISTIC = LineKind(_fit_logistic, lambda scores: scores.softmax(1), (1, 10, 100))
RIDGE = LineKind(
    _fit_ridge, lambda scores: scores, (0.01, 0.1, 1, 10, 100, 1000), trend=0.5
)
