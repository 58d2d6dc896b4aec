"""What the memory is compared with in the retrieval benchmark.

All baselines get their best setting: the fixed similarities their best beta on
the very test queries, A-Hop the corruption itself.
"""

from dataclasses import dataclass
from itertools import product

import numpy as np
import torch
from _cells import corrupt, hit_rate, occlude, squared_error


@dataclass(frozen=True)
class Outcome:
    """What one method reached in one cell.

    Parameters
    ----------
    error : float
        Sum of squared differences, mean over queries.
    hit : float
        Share of queries whose heaviest pattern is the right one.
    beta : float, default=nan
        Inverse temperature, ``inf`` for the hard maximum.
    setting : str, default=""
        Anything else that was chosen.
    fit_seconds, retrieve_seconds : float, default=nan
        Wall time.
    """

    error: float
    hit: float
    beta: float = float("nan")
    setting: str = ""
    fit_seconds: float = float("nan")
    retrieve_seconds: float = float("nan")


# ---- similarities


def _unit_rows(A):
    norms = np.linalg.norm(A, axis=1, keepdims=True)
    return A / np.maximum(norms, np.finfo(A.dtype).tiny)


def _dot(Q, X):
    return Q @ X.T


def _cosine(Q, X):
    return _unit_rows(Q) @ _unit_rows(X).T


def _euclidean(Q, X):
    # -|q|^2 is the same for all patterns: softmax does not see it.
    return 2 * Q @ X.T - np.einsum("ij,ij->i", X, X)


def _manhattan(Q, X):
    # Single precision halves the time of the one score that is no matrix product.
    Q, X = (torch.from_numpy(A.astype(np.float32)) for A in (Q, X))
    return -torch.cdist(Q, X, p=1).double().numpy()


def _pearson(Q, X):
    return _cosine(*(A - A.mean(axis=1, keepdims=True) for A in (Q, X)))


#: name -> ``(queries, patterns) -> (n, M)`` scores, larger is closer
SIMILARITIES = {
    "dot": _dot,
    "cosine": _cosine,
    "euclidean": _euclidean,
    "manhattan": _manhattan,
    "pearson": _pearson,
}


def similarity_scores(name, queries, patterns):
    """Score queries against patterns in double precision.

    Parameters
    ----------
    name : str
        Key of ``SIMILARITIES``.
    queries : ndarray of shape (n, n_features)
    patterns : ndarray of shape (M, n_features)

    Returns
    -------
    scores : ndarray of shape (n, M), float64
    """
    return SIMILARITIES[name](queries.astype(float), patterns.astype(float))


# ---- softmax and its oracle


def _gaps(scores):
    """Scores minus their row maximum, single precision, exactly 0 at the maximum."""
    return torch.from_numpy(scores - scores.max(axis=1, keepdims=True)).float()


def _retrieve(gaps, beta, values):
    """Answer of the softmax; `beta` = inf shares the weight among ties."""
    if np.isinf(beta):
        weights = (gaps == 0).float()
        weights /= weights.sum(1, keepdim=True)
    else:
        weights = torch.softmax(beta * gaps, dim=1)
    return (weights @ values).numpy()


def softmax_outcome(scores, patterns, labels, beta=1.0, setting=""):
    """Retrieve by a softmax of given scores.

    Parameters
    ----------
    scores : ndarray of shape (M, M)
        Row i belongs to the query made from pattern i.
    patterns : ndarray of shape (M, n_features)
    labels : ndarray of shape (M,)
        See `distinct_labels`.
    beta : float, default=1.0
        Inverse temperature.
    setting : str, default=""
        Kept in the outcome.

    Returns
    -------
    outcome : Outcome
    """
    retrieved = _retrieve(_gaps(scores), beta, torch.from_numpy(patterns))
    return Outcome(
        error=squared_error(retrieved, patterns),
        hit=hit_rate(scores.argmax(axis=1), labels),
        beta=beta,
        setting=setting,
    )


def oracle_outcome(scores, patterns, labels, setting=""):
    """Retrieve by a softmax whose beta is best on the test queries themselves.

    Octaves of beta are searched in units of the mean gap between the best and the
    average score, further out while the best is at an edge that still differs from
    its limit (hard maximum, mean pattern), then quarter octaves around the best.

    Parameters
    ----------
    scores : ndarray of shape (M, M)
        Row i belongs to the query made from pattern i.
    patterns : ndarray of shape (M, n_features)
    labels : ndarray of shape (M,)
        See `distinct_labels`.
    setting : str, default=""
        Kept in the outcome.

    Returns
    -------
    outcome : Outcome
    """
    gaps, values = _gaps(scores), torch.from_numpy(patterns)
    unit = float(-gaps.mean()) or 1.0
    hard = squared_error(_retrieve(gaps, np.inf, values), patterns)
    errors = {}

    def scan(octaves):
        for octave in octaves:
            beta = 2.0**octave / unit
            errors[octave] = squared_error(_retrieve(gaps, beta, values), patterns)
        return min(errors, key=errors.get)

    best = scan(range(-2, 13))
    for _ in range(20):
        if best == max(errors) and abs(errors[best] - hard) > 1e-4 * hard:
            best = scan([best + 1])
        elif best == min(errors) and best > -10:
            best = scan([best - 1])
        else:
            break
    best = scan([best + step / 4 for step in (-3, -2, -1, 1, 2, 3)])
    error, beta = min((errors[best], 2.0**best / unit), (hard, np.inf))
    return Outcome(error, hit_rate(scores.argmax(axis=1), labels), beta, setting)


def fixed_outcomes(queries, patterns, labels):
    """Outcome of the plain memory and of every fixed similarity with oracle beta.

    Parameters
    ----------
    queries, patterns : ndarray of shape (M, n_features)
    labels : ndarray of shape (M,)
        See `distinct_labels`.

    Returns
    -------
    outcomes : dict
        ``"plain"`` (dot product at beta 1) and the names of ``SIMILARITIES``.
    """
    outcomes = {}
    for name in SIMILARITIES:
        scores = similarity_scores(name, queries, patterns)
        if name == "dot":
            outcomes["plain"] = softmax_outcome(scores, patterns, labels)
        outcomes[name] = oracle_outcome(scores, patterns, labels)
    return outcomes


# ---- Bayes posterior


def gaussian_log_likelihood(queries, patterns, sigma=1.0):
    """Log p(query | pattern) under N(0, sigma^2) noise, up to a query's constant."""
    return similarity_scores("euclidean", queries, patterns) / (2 * sigma**2)


def _consistent(queries, answers):
    """Where a query's non-zero pixels all equal those of an answer."""
    answers = np.ascontiguousarray(answers)
    return np.stack([((q == 0) | (q == answers)).all(axis=1) for q in queries])


def _mask_log_likelihood(queries, patterns, gain):
    # A pixel that is not zero survives with probability one half; a zero tells nothing.
    surprise = -np.log(2) * np.count_nonzero(patterns, axis=1)
    return np.where(_consistent(queries, gain * patterns), surprise, -np.inf)


def _half_mask_log_likelihood(queries, patterns):
    return _mask_log_likelihood(queries, patterns, np.float32(2))


def _zero_mask_log_likelihood(queries, patterns):
    return _mask_log_likelihood(queries, patterns, np.float32(1))


def _occlude_log_likelihood(queries, patterns):
    damaged = occlude(patterns)
    equal = np.stack([(q == damaged).all(axis=1) for q in queries])
    return np.where(equal, 0.0, -np.inf)


def _near_log_likelihood(queries, patterns, log_density, n_near=32):
    """Log p(query | pattern) for the right pattern and the best correlated ones.

    The sums over all features of all pairs are many; patterns further away have no
    weight to speak of and get none.
    """
    scores = np.full((len(queries), len(patterns)), -np.inf)
    n_near = min(n_near, len(patterns))
    likely = np.argsort(-similarity_scores("pearson", queries, patterns), axis=1)
    patterns = torch.from_numpy(patterns)
    for i, query in enumerate(torch.from_numpy(queries)):
        near = np.union1d(likely[i, :n_near], [i])
        scores[i, near] = log_density(query, patterns[near]).numpy()
    return scores


def _folded_noise_log_density(query, patterns, sigma=0.5):
    low, high = (query - patterns) / sigma, (query + patterns) / sigma
    density = torch.logaddexp(-low.square() / 2, -high.square() / 2)
    density -= np.log(sigma * np.sqrt(2 * np.pi))
    normal = torch.special.ndtr
    ceiling = normal((patterns - 1) / sigma) + normal((-1 - patterns) / sigma)
    return torch.where(query >= 1, ceiling.log(), density).double().sum(1)


def _mixed_log_density(query, patterns, sigma=0.3, keep=0.7, n_offsets=31):
    # The offset is the same for all pixels of a query: integrate it out last.
    totals = []
    for offset in 0.3 * (np.arange(n_offsets) + 0.5) / n_offsets:
        kept = -((query - patterns - offset) / sigma).square() / 2 + np.log(keep)
        lost = -((query - offset) / sigma).square() / 2 + np.log1p(-keep)
        totals.append(torch.logaddexp(kept, lost.expand_as(kept)).double().sum(1))
    return torch.logsumexp(torch.stack(totals), 0)


def _folded_noise_log_likelihood(queries, patterns):
    return _near_log_likelihood(queries, patterns, _folded_noise_log_density)


def _mixed_log_likelihood(queries, patterns):
    return _near_log_likelihood(queries, patterns, _mixed_log_density)


#: corruption -> exact log p(query | pattern); "mixed" integrates its offset out on a
#: grid
LOG_LIKELIHOODS = {
    "half_mask": _half_mask_log_likelihood,
    "zero_mask": _zero_mask_log_likelihood,
    "occlude": _occlude_log_likelihood,
    "folded_noise": _folded_noise_log_likelihood,
    "gaussian": gaussian_log_likelihood,
    "mixed": _mixed_log_likelihood,
}

# ---- A-Hop

_ELEMENTWISE = {
    "l1": lambda Q, X: -(Q - X).abs(),
    "l2": lambda Q, X: -((Q - X) ** 2),
    "product": lambda Q, X: Q * X,
}

#: The similarity of a variant is learned on these footprints, side by side.
_AHOP_VARIANTS = (("l1",), ("l2",), ("l1", "product"), ("l2", "product"))


def _footprint(queries, patterns, kind, n_points=64):
    """Cumulative sums of the sorted per-dimension similarities of every pair.

    Read at `n_points` evenly spaced places: neighbouring sums are nearly equal, and
    a weight for each of thousands of them would not be learned better.
    """
    patterns = torch.from_numpy(patterns)
    n_features = patterns.shape[1]
    points = torch.linspace(0, n_features - 1, min(n_points, n_features)).round().long()
    rows = [
        _ELEMENTWISE[kind](query, patterns)
        .sort(dim=1, descending=True)
        .values.cumsum(dim=1)[:, points]
        for query in torch.from_numpy(queries)
    ]
    return torch.stack(rows)


def _footprints(queries, patterns):
    return {kind: _footprint(queries, patterns, kind) for kind in _ELEMENTWISE}


def _learn_weights(batches, epochs, learning_rate=0.1):
    """Weights of the sums, by Adam on the cross-entropy of the right pattern."""
    weights = torch.zeros(batches[0].shape[2], requires_grad=True)
    optimiser = torch.optim.Adam([weights], lr=learning_rate)
    target = torch.arange(len(batches[0]))
    for _ in range(epochs):
        for batch in batches:
            optimiser.zero_grad()
            torch.nn.functional.cross_entropy(batch @ weights, target).backward()
            optimiser.step()
    return weights.detach()


def ahop_outcomes(
    queries, patterns, labels, corruption, random_state, n_copies=5, epochs=200
):
    """Outcomes of A-Hop [1]_ told the corruption, in all its variants.

    The similarity is a learned weighting of the cumulative sums of sorted
    per-dimension similarities, minus distance (absolute or squared) and product.
    Sums that grow with the number of features make Adam at the paper's rate
    unsteady, so each variant is learned on the raw sums and on sums divided by the
    root of that number.

    Parameters
    ----------
    queries, patterns : ndarray of shape (M, n_features)
    labels : ndarray of shape (M,)
        See `distinct_labels`.
    corruption : callable
        ``(X, random_state) -> X_corrupted``, from which it learns.
    random_state : RandomState
        For the corrupted copies.
    n_copies : int, default=5
        Corrupted copies of each pattern to learn from; one more chooses the variant.
    epochs : int, default=200
        Passes over the copies.

    Returns
    -------
    outcomes : dict
        ``"ahop"``, the variant chosen on a further corrupted copy, and
        ``"ahop_oracle"``, the variant that is best on the test queries.

    References
    ----------
    .. [1] Wang et al., Adaptive Hopfield Network, ICLR 2026, arXiv:2511.20609.
    """
    copies = [
        _footprints(corrupt(corruption, patterns, random_state), patterns)
        for _ in range(n_copies + 1)
    ]
    sets = [*copies, _footprints(queries, patterns)]
    trials = []
    for kinds, scale in product(_AHOP_VARIANTS, (1.0, patterns.shape[1] ** -0.5)):
        *train, held_out, test = (
            scale * torch.cat([footprints[kind] for kind in kinds], dim=2)
            for footprints in sets
        )
        weights = _learn_weights(train, epochs)
        trials.append(
            [
                softmax_outcome(
                    (features @ weights).double().numpy(),
                    patterns,
                    labels,
                    setting=f"{'+'.join(kinds)} x {scale:.3g}",
                )
                for features in (held_out, test)
            ]
        )
    return {
        "ahop": min(trials, key=lambda pair: pair[0].error)[1],
        "ahop_oracle": min((pair[1] for pair in trials), key=lambda o: o.error),
    }
