"""Questions to a memory of patterns: what is it, which is it, how well is it known."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import OneToOneFeatureMixin, TransformerMixin
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted

from skuhop.answering import (
    ask,
    check_null,
    check_queries,
    draw,
    find_nearest,
    has_density,
    has_energy,
    weigh_missing,
    write_rows,
)
from skuhop.choices import Updates, name_of
from skuhop.estimators.questions.scoring import minus_error
from skuhop.estimators.questions.stage_two import StageTwoMixin
from skuhop.retrieval import Retrieval, energies, null_weights, tail_std
from skuhop.support import after_fit, check_draws


# TransformerMixin stands here, not at the estimator: `set_output` reaches a `transform`
# of the class alone that names it as a base.
class PatternQuestionsMixin(OneToOneFeatureMixin, TransformerMixin, StageTwoMixin):
    """What a memory is asked whose answers are rows like those that it stores."""

    def transform(self, X: ArrayLike, where: ArrayLike | None = None) -> np.ndarray:
        """Retrieve patterns (Stage II).

        Parameters
        ----------
        X : array-like of shape (n_queries, n_features)
            Damaged patterns; NaN marks entries that are unknown.

        where : array-like, default=None
            Which stored rows may answer, as in `association`.

        Returns
        -------
        X_retrieved : ndarray of shape (n_queries, n_features)
            The retrieved patterns; observed entries of rows with NaN are kept. With
            nominal columns an array or a frame like X, and of a nominal column the
            value that has the most weight.
        """
        asked = self._choose_rows(where).estimator
        found = ask(asked, check_queries(self, X), self._retrieval())
        return write_rows(self, found, X)

    def _retrieval(self) -> Retrieval:
        """Make the question of `transform`."""
        updates = Updates.of(self.update_steps)
        return Retrieval(updates.steps, updates.tol, updates.answer)

    @after_fit
    def predict(
        self,
        X: ArrayLike,
        return_null: bool = False,
        where: ArrayLike | None = None,
    ) -> np.ndarray | tuple[np.ndarray, np.ndarray]:
        """Index of the most associated stored pattern.

        Parameters
        ----------
        X : array-like of shape (n_queries, n_features)
            Queries; NaN marks entries that are unknown.

        return_null : bool, default=False
            Whether to return the weight of "nothing stored" as well, which only
            ``separation="softmax1"`` has: the higher, the more reason to reject a
            query. Take the threshold from queries that are known; it is seldom 1/2.

        where : array-like, default=None
            Which stored rows may answer, as in `association`.

        Returns
        -------
        indices : ndarray of shape (n_queries,)
            Position in `patterns_` of the pattern with the highest score, the
            logarithm of its weight included.

        null : ndarray of shape (n_queries,)
            What the weights of `association` lack to one; only if `return_null`.
        """
        X, asked = check_queries(self, X), self._choose_rows(where)
        found = ask(asked.estimator, X, asked.number(find_nearest))
        if not return_null:
            return found
        check_null(name_of(self.separation))
        return found, ask(asked.estimator, X, null_weights)

    def tail_std(self, X: ArrayLike, where: ArrayLike | None = None) -> np.ndarray:
        """Say how far the answers of `transform` move with the draws of a sampled tail.

        Parameters
        ----------
        X : array-like of shape (n_queries, n_features)
            Queries.

        where : array-like, default=None
            Which stored rows may answer, as in `association`.

        Returns
        -------
        std : ndarray of shape (n_queries,)
            Root of the summed variances of an answer's entries over the draws, for one
            update, estimated from the draws; 0 for queries whose answer has no sampled
            tail. Like every estimate from a sample it cannot know of a heavy pattern
            that both the index and the draws have missed.
        """
        asked = self._choose_rows(where).estimator
        return ask(asked, check_queries(self, X), tail_std)

    def missing_weight(
        self, X: ArrayLike, where: ArrayLike | None = None
    ) -> np.ndarray:
        """Estimate of the weight that an index keeps out of the answers of `transform`.

        Parameters
        ----------
        X : array-like of shape (n_queries, n_features)
            Queries.

        where : array-like, default=None
            Which stored rows may answer, as in `association`.

        Returns
        -------
        weight : ndarray of shape (n_queries,)
            From above, as far as can be known without looking at all patterns: what
            those may have that score less than the k found, ``(M - k) exp(s_k - lse)``
            for softmax; what lists of patterns of which nothing was found let expect;
            and what the index lost where `fit` tried it. 0 for queries that are
            answered from the whole memory. It is no bound: a single pattern that the
            index lost may have more.
        """
        asked = self._choose_rows(where).estimator
        return ask(asked, check_queries(self, X), weigh_missing)

    @available_if(has_energy)
    def energy(self, X: ArrayLike, where: ArrayLike | None = None) -> np.ndarray:
        """Kernelised Hopfield energy ``s(x, x) / 2 - Psi*(beta s(Xi, x)) / beta``.

        With a number for `beta`, a linear feature map that the posterior loss has not
        aligned, or none, ``answer="plain"`` and queries without NaN, Stage II never
        raises it for the similarity "euclidean", "softmax1" apart; nor, whatever
        `beta`, for "dot". Elsewhere it may rise. With ``beta="auto"``, "dot" apart, it
        is minus the log-likelihood of the query. The "polynomial" separation has no
        energy, nor then this method.

        Parameters
        ----------
        X : array-like of shape (n_queries, n_features)
            Queries; NaN marks entries that are unknown.

        where : array-like, default=None
            Which stored rows may answer, as in `association`.

        Returns
        -------
        energy : ndarray of shape (n_queries,)
            Energy of every query.

        Raises
        ------
        ValueError
            If energies, which grow like squares, have no place in the precision of X.
        """
        asked = self._choose_rows(where).estimator
        return ask(asked, check_queries(self, X), energies)

    @available_if(has_energy)
    def score_samples(
        self,
        X: ArrayLike,
        return_null: bool = False,
        where: ArrayLike | None = None,
    ) -> np.ndarray | tuple[np.ndarray, np.ndarray]:
        """How well the memory knows each query: minus its energy.

        Parameters
        ----------
        X : array-like of shape (n_queries, n_features)
            Queries; NaN marks entries that are unknown.

        return_null : bool, default=False
            Whether to return the weight of "nothing stored" as well, see `predict`.

        where : array-like, default=None
            Which stored rows may answer, as in `association`.

        Returns
        -------
        scores : ndarray of shape (n_queries,)
            Log-density-like scores, higher for what is better known.

        null : ndarray of shape (n_queries,)
            Weight of "nothing stored"; only if `return_null`.
        """
        X, asked = check_queries(self, X), self._choose_rows(where).estimator
        if not return_null:
            return -ask(asked, X, energies)
        check_null(name_of(self.separation))
        return -ask(asked, X, energies), ask(asked, X, null_weights)

    @available_if(has_density)
    def sample(
        self,
        n_samples: int = 1,
        random_state: int | np.random.RandomState | None = None,
    ) -> np.ndarray:
        """Draw rows from the density ``exp(-beta E(x))`` that the energy E stands for.

        It is a mixture of Gaussians of precision beta around the stored patterns, with
        their weights, as in :class:`sklearn.neighbors.KernelDensity`, and exists with
        ``similarity="euclidean"`` or "dot", which weighs long patterns more,
        ``separation="softmax"`` and a number for `beta`. A learned linear map W makes
        the precision ``beta W^T W``.

        Parameters
        ----------
        n_samples : int, default=1
            Number of rows to draw.

        random_state : int, RandomState instance or None, default=None
            Seed of the draws.

        Returns
        -------
        X : ndarray of shape (n_samples, n_features)
            The rows.

        Raises
        ------
        ValueError
            If the feature map is neither the identity nor an invertible matrix.
        """
        check_is_fitted(self)
        self._check_settled()
        rows = draw(self._record(), n_samples, check_draws(n_samples, random_state))
        return write_rows(self, rows, np.empty((n_samples, self.n_features_in_), "O"))

    def score(self, X: ArrayLike, y: ArrayLike | None = None) -> float:
        """Minus the mean over rows of the squared error of `transform`.

        Parameters
        ----------
        X : array-like of shape (n_queries, n_features)
            Queries.

        y : array-like of shape (n_queries, n_features), default=None
            What should be retrieved; None is X itself. A one-dimensional y, such as
            the labels that a search hands on, is no target and counts as None.

        Returns
        -------
        score : float
            At most 0; higher is better. Entries where the target is NaN do not
            count.
        """
        found = ask(self, check_queries(self, X), self._retrieval())
        return minus_error(self, found, X, y)
