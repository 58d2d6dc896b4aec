"""Questions that every estimator with a memory answers, and their checks."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from types import MappingProxyType

from skuhop.answering import ask, check_queries, check_top
from skuhop.choices import TakesChoices, name_of, numbers_inside, numbers_of
from skuhop.estimators.rows import (
    ForgettingMixin,
    KNeighborsMixin,
    MergingMixin,
    RadiusNeighborsMixin,
)
from skuhop.retrieval import SEPARATIONS, Memory, associations, heaviest
from skuhop.support import check_parameters, check_settled


class StageTwoMixin(
    ForgettingMixin,
    MergingMixin,
    KNeighborsMixin,
    RadiusNeighborsMixin,
    TakesChoices,
):
    """What every estimator with a memory shares: its checks and its questions.

    An estimator gives `_rules`, the table of its parameters, and `_choices`, those of
    them that may be objects; `_record()`, all that is read of it to prepare its memory;
    and `_parameters_of_fit`, the parameters that `fit` settles for Stage II.
    """

    _rules: Mapping = MappingProxyType({})
    _parameters_of_fit: tuple = ()

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

    def _check_parameters(self):
        """Check all parameters against their rules."""
        # Not get_params: it reads the signature anew, a third of a small call's time.
        values = {n: getattr(self, n) for n in self._rules if "__" not in n}
        check_parameters(type(self).__name__, values, self._rules)
        check_parameters(type(self).__name__, numbers_inside(values), self._rules)

    def _check_settled(self):
        """Check all parameters of a fitted estimator, which `fit` may have settled."""
        self._check_parameters()
        check_settled(self, self._parameters_of_fit)

    def _separation_params(self):
        """Numbers of the separation, the defaults of shorthand included."""
        defaults = SEPARATIONS[name_of(self.separation)].defaults
        return {**defaults, **numbers_of(self.separation)}

    def _prepare(self, complete, dtype, device) -> Memory:
        """Prepare a memory for queries without or with NaN."""
        return self._record().prepare(complete, dtype, device)
