"""What is learned for queries that are new rows with entries missing."""

from __future__ import annotations

import numpy as np
from sklearn.utils import check_random_state

from skuhop.learning import learn_precision
from skuhop.support import to_numpy, to_tensor


def learn_noise_variance(patterns, weights, random_state, device, unit) -> np.ndarray:
    """Learn from distinct patterns what incomplete new rows are compared by.

    They are divided by the unit; what is learned is for rows that are not, and needs
    the range of float64 whatever they are.
    """
    seed = int(check_random_state(random_state).randint(2**31 - 1))
    X = to_tensor(patterns, device)
    w = None if weights is None else to_tensor(weights, device)
    precision = to_numpy(learn_precision(X, w, seed)).astype(np.float64)
    return precision / unit / unit
