"""How well patterns are retrieved: errors, hit rates, a scorer for searches.

A memory is asked about what it has stored, so the patterns it is fitted on are also
the ones it is scored on; only their corrupted copies are new. That is no leak: the
copies are drawn after `fit`, which has never seen them. What would be wrong is the
usual cross-validation, which asks a memory for patterns that it was never given.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sized
from numbers import Integral

import numpy as np
from numpy.typing import ArrayLike
from sklearn.pipeline import Pipeline
from sklearn.utils.validation import check_array, check_consistent_length

from skuhop.learning import CORRUPTIONS, resolve_corruption
from skuhop.support import (
    DTYPES,
    check_columns,
    nearest_rows,
    parameter_rules,
    refuse_masked,
    validation,
)

__all__ = ["StoredPatterns", "hit_rate", "retrieval_error", "retrieval_scorer"]

_ROUNDING = 1e-5
"""A row this near to a stored one, relative to its length, is that one."""


def _both(true, retrieved):
    """Two finite arrays of the same shape and the same columns, in float64."""
    check_columns(true, retrieved)
    true = _rows(true, "patterns_true")
    retrieved = _rows(retrieved, "patterns_retrieved")
    if true.shape != retrieved.shape:
        raise ValueError(
            "patterns_true and patterns_retrieved must have the same shape; got "
            f"{true.shape} and {retrieved.shape}."
        )
    return true, retrieved


def _rows(array, name):
    """Finite rows in float64: small numbers wrap or overflow when squared."""
    refuse_masked(**{name: array})
    return check_array(array, dtype=np.float64, input_name=name)


def _weights(sample_weight, true):
    """Weights of the rows as an array, or None."""
    check_consistent_length(true, sample_weight)
    return validation.check_weights(sample_weight, true)


def _precision(*arrays):
    """Coarsest precision that rows were given in."""
    dtypes = [getattr(array, "dtype", np.dtype("f8")) for array in arrays]
    floats = [d for d in dtypes if d in (np.float16, np.float32)]
    return min(floats, key=lambda dtype: dtype.itemsize, default=np.dtype("f8"))


def retrieval_error(
    patterns_true: ArrayLike,
    patterns_retrieved: ArrayLike,
    *,
    sample_weight: ArrayLike | None = None,
) -> float:
    """Squared error of retrieved patterns: a sum over features, a mean over queries.

    The error of the U-Hop paper (arXiv 2404.03827, section 4.1), and minus what
    ``UHopMemory.score`` gives.

    Parameters
    ----------
    patterns_true : array-like of shape (n_queries, n_features)
        The patterns that should have been retrieved.

    patterns_retrieved : array-like of shape (n_queries, n_features)
        What was retrieved.

    sample_weight : array-like of shape (n_queries,), default=None
        Weights of the queries; None is one each.

    Returns
    -------
    error : float
        At least 0, in squared units of the features; 0 is perfect.

    Raises
    ------
    ValueError
        If the shapes differ or an entry is not finite.

    Examples
    --------
    >>> from skuhop.metrics import retrieval_error
    >>> retrieval_error([[0.0, 0.0], [1.0, 1.0]], [[0.0, 2.0], [1.0, 1.0]])
    2.0
    """
    true, retrieved = _both(patterns_true, patterns_retrieved)
    weights = _weights(sample_weight, true)
    errors = np.square(true - retrieved).sum(axis=1)
    return float(np.average(errors, weights=weights))


def hit_rate(
    patterns_true: ArrayLike,
    patterns_retrieved: ArrayLike,
    *,
    patterns: ArrayLike | None = None,
    sample_weight: ArrayLike | None = None,
) -> float:
    """Share of queries whose answer lies nearest to the right pattern.

    Parameters
    ----------
    patterns_true : array-like of shape (n_queries, n_features)
        The patterns that should have been retrieved.

    patterns_retrieved : array-like of shape (n_queries, n_features)
        What was retrieved.

    patterns : array-like of shape (n_patterns, n_features), default=None
        All stored patterns; None is the rows of `patterns_true`. A pattern that is
        stored twice is right in either place.

    sample_weight : array-like of shape (n_queries,), default=None
        Weights of the queries; None is one each.

    Returns
    -------
    rate : float
        Between 0 and 1; 1 is perfect.

    Raises
    ------
    ValueError
        If the shapes differ or an entry is not finite.

    Examples
    --------
    >>> from skuhop.metrics import hit_rate
    >>> hit_rate([[0.0, 0.0], [1.0, 1.0]], [[0.1, 0.0], [0.0, 0.4]])
    0.5
    """
    true, retrieved = _both(patterns_true, patterns_retrieved)
    weights = _weights(sample_weight, true)
    check_columns(patterns_true, patterns)
    stored = true if patterns is None else _rows(patterns, "patterns")
    if stored.shape[1] != true.shape[1]:
        raise ValueError(
            f"patterns must have the {true.shape[1]} features of patterns_true; got "
            f"{stored.shape[1]}."
        )
    # A row and its copy in a coarser precision are one.
    dtype = _precision(patterns_true, true if patterns is None else patterns)
    with np.errstate(over="ignore"):
        right, known = true.astype(dtype), stored.astype(dtype)
    hits = (known[nearest_rows(retrieved, stored)] == right).all(axis=1)
    return float(np.average(hits, weights=weights))


class StoredPatterns:
    """Splitter with one split: all rows are stored, and all rows are asked for.

    For a search with `retrieval_scorer`, as ``cv=StoredPatterns()``: every candidate
    is fitted on all the patterns and scored on corrupted copies of the same ones.
    Other splitters ask for patterns that were not stored, which is a question of
    generalisation and not of retrieval.

    See Also
    --------
    retrieval_scorer : Scores a memory on corrupted copies.

    Examples
    --------
    >>> import numpy as np
    >>> from skuhop.metrics import StoredPatterns
    >>> list(StoredPatterns().split(np.eye(3)))
    [(array([0, 1, 2]), array([0, 1, 2]))]
    """

    def split(
        self, X: Sized, y: object | None = None, groups: object | None = None
    ) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yield the one split.

        Parameters
        ----------
        X : array-like of shape (n_patterns, n_features)
            The patterns.

        y, groups : object
            Ignored.

        Yields
        ------
        train, test : ndarray of shape (n_patterns,)
            The positions of all rows, twice.
        """
        rows = np.arange(len(X))
        yield rows, rows.copy()

    def get_n_splits(
        self,
        X: object | None = None,
        y: object | None = None,
        groups: object | None = None,
    ) -> int:
        """Return the number of splits, which is 1.

        Parameters
        ----------
        X, y, groups : object
            Ignored.

        Returns
        -------
        n_splits : int
            Always 1.
        """
        return 1

    def __repr__(self) -> str:
        """Represent as it is typed."""
        return "StoredPatterns()"


def _minus_error(true, retrieved):
    return -retrieval_error(true, retrieved)


_METRICS = {"error": _minus_error, "hit_rate": hit_rate}
"""What a scorer computes, by name; higher is better."""
_SCORER_RULES = {
    "corruption": (
        parameter_rules.Choice(tuple(CORRUPTIONS)),
        parameter_rules.CALLABLE,
    ),
    "metric": (parameter_rules.Choice(tuple(_METRICS)),),
    "n_copies": (parameter_rules.COUNT,),
    "random_state": (parameter_rules.Number(Integral, 0),),
}


class _RetrievalScorer:
    """What `retrieval_scorer` makes: ``scorer(estimator, X, y=None) -> float``."""

    def __init__(self, corruption, metric, n_copies, random_state):
        self.corruption = corruption
        self.metric = metric
        self.n_copies = n_copies
        self.random_state = random_state

    def __call__(self, estimator, X, y=None) -> float:
        """Score on copies that are the same for every estimator that is asked."""
        rng = np.random.RandomState(self.random_state)
        right, memory = _before_the_memory(estimator, X)
        _check_stored(memory, right)
        scores = [
            _METRICS[self.metric](right, estimator.transform(self._corrupt(X, rng)))
            for _ in range(self.n_copies)
        ]
        return float(np.mean(scores))

    def _corrupt(self, X, rng):
        """One corrupted copy, with the column names of X if it has any."""
        rows = check_array(X, dtype=DTYPES, copy=True, input_name="X")
        copy = np.asarray(resolve_corruption(self.corruption)(rows, rng))
        if copy.shape != rows.shape:
            raise ValueError(
                "corruption must return an array of the shape of its input, "
                f"{rows.shape}; got shape {copy.shape}."
            )
        return type(X)(copy, columns=X.columns) if hasattr(X, "iloc") else copy

    def __repr__(self) -> str:
        """Represent as it is typed."""
        name = getattr(self.corruption, "__name__", self.corruption)
        return (
            f"retrieval_scorer({name!r}, metric={self.metric!r}, "
            f"n_copies={self.n_copies}, random_state={self.random_state})"
        )


def _before_the_memory(estimator, X):
    """Rows as the memory at the end of a pipeline gets them, and the memory."""
    memory = estimator
    if isinstance(estimator, Pipeline):
        X = estimator[:-1].transform(X) if len(estimator) > 1 else X
        memory = estimator[-1]
    return check_array(X, dtype=DTYPES, input_name="X"), memory


def _check_stored(memory, right):
    """Refuse to ask for patterns that were never stored."""
    stored = getattr(memory, "patterns_", None)
    if stored is None:
        return
    stored = stored[~np.isnan(stored).any(axis=1)]
    right, stored = right.astype(np.float64), stored.astype(np.float64)
    nearest = stored[nearest_rows(right, stored)]
    gap = np.linalg.norm(nearest - right, axis=1)
    foreign = gap > _ROUNDING * np.linalg.norm(right, axis=1)
    if foreign.any():
        raise ValueError(
            f"{foreign.sum()} of the {len(right)} rows to retrieve were not stored. "
            "Fit on the rows that are scored: in a search, pass cv=StoredPatterns()."
        )


def retrieval_scorer(
    corruption: str | Callable,
    *,
    metric: str = "error",
    n_copies: int = 1,
    random_state: int | None = 0,
) -> Callable:
    """Make a scorer for searches: how well patterns come back from corrupted copies.

    Parameters
    ----------
    corruption : {"mask", "noise", "both"} or callable
        How the copies are damaged: half of the entries set to zero, Gaussian noise of
        half the standard deviation of the entries, or a function ``(X, random_state)
        -> X_corrupted`` that keeps the shape. It may hide entries as NaN.

    metric : {"error", "hit_rate"}, default="error"
        Minus the `retrieval_error`, or the `hit_rate`: higher is better for both.

    n_copies : int, default=1
        Number of corrupted copies of every pattern.

    random_state : int, default=0
        Seed of the corruption. It is a number, so that all candidates of a search are
        asked the same queries. They are not the copies that a memory with
        `corruption` draws in `fit` to learn from, whatever its own `random_state`.

    Returns
    -------
    scorer : callable
        ``scorer(estimator, X, y=None) -> float``. X are the patterns, which the
        estimator must have been fitted on; y is ignored. A `Pipeline` is compared
        with the patterns as its last step gets them.

    Raises
    ------
    ValueError
        If a parameter is not allowed; by the scorer, if rows of X were not stored.

    See Also
    --------
    StoredPatterns : The splitter that goes with it.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sklearn.model_selection import GridSearchCV
    >>> from skuhop import UHopMemory
    >>> from skuhop.metrics import StoredPatterns, retrieval_scorer
    >>> X = load_digits().data[:100] / 16
    >>> search = GridSearchCV(
    ...     UHopMemory("identity", similarity="euclidean"),
    ...     {"beta": [0.1, "auto"]},
    ...     scoring=retrieval_scorer("noise"),
    ...     cv=StoredPatterns(),
    ... )
    >>> search.fit(X).best_params_
    {'beta': 'auto'}
    """
    values = {
        "corruption": corruption,
        "metric": metric,
        "n_copies": n_copies,
        "random_state": random_state,
    }
    parameter_rules.check_parameters("retrieval_scorer", values, _SCORER_RULES)
    return _RetrievalScorer(**values)
