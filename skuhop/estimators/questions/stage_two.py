"""Questions that every estimator with a memory answers."""

from __future__ import annotations

from functools import partial

from skuhop.answering import ask, check_queries, check_top
from skuhop.choices import TakesChoices, name_of, numbers_of
from skuhop.estimators.rows import (
    ForgettingMixin,
    KNeighborsMixin,
    MergingMixin,
    RadiusNeighborsMixin,
)
from skuhop.retrieval import SEPARATIONS, Memory, associations, heaviest


class StageTwoMixin(
    ForgettingMixin,
    MergingMixin,
    KNeighborsMixin,
    RadiusNeighborsMixin,
    TakesChoices,
):
    """What every estimator with a memory shares: rows one by one, and who weighs what.

    An estimator gives `_choices`, those of its parameters that may be objects; and
    `_record()`, all that is read of it to prepare its memory.
    """

    def association(self, X, top=None, where=None):
        """Compute retrieval weights: how much each stored pattern has in the answer.

        Parameters
        ----------
        X : array-like of shape (n_queries, n_features)
            Queries; NaN marks entries that are unknown.

        top : int, default=None
            If given, only so many of the heaviest patterns.

        where : array-like, default=None
            Which stored rows may answer: a mask of shape (n_patterns,), or their
            `row_ids`. Answers are those of a memory that stores no others; the weights
            of these are zero.

        Returns
        -------
        weights : ndarray of shape (n_queries, n_patterns)
            Weights; rows sum to one (to less with "softmax1"). If `top` is given, a
            tuple ``(indices, weights)`` of shape (n_queries, top) each instead, the
            heaviest first.
        """
        X, asked = check_queries(self, X), self._choose_rows(where)
        if top is None:
            return ask(asked.estimator, X, asked.spread(associations))
        top = check_top(top, len(asked.estimator.patterns_))
        return ask(asked.estimator, X, asked.number(partial(heaviest, top=top)))

    def _separation_params(self):
        """Numbers of the separation, the defaults of shorthand included."""
        defaults = SEPARATIONS[name_of(self.separation)].defaults
        return {**defaults, **numbers_of(self.separation)}

    def _prepare(self, complete, dtype, device) -> Memory:
        """Prepare a memory for queries without or with NaN."""
        return self._record().prepare(complete, dtype, device)
