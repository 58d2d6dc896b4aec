"""UHopMILClassifier: labels of bags of rows, by what their rows retrieve."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple, Self

import numpy as np
import torch
from numpy.typing import ArrayLike
from scipy.special import softmax
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils import assert_all_finite, check_random_state, column_or_1d
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data

from skuhop.estimators.base import EstimatorMixin
from skuhop.retrieval import SEPARATIONS, SIMILARITIES, Separation
from skuhop.support import (
    DTYPES,
    all_or_nothing,
    choose_device,
    on_host,
    to_tensor,
)
from skuhop.support import (
    parameter_rules as rules,
)

_POOLINGS = tuple(name for name, row in SEPARATIONS.items() if row.conjugate)
_AT_ONCE = 2**20
"""Scores that are looked at at a time."""
_SMALLEST = 1e-9
"""Share of the largest variance below which an axis of the responses is rounding."""


def _is_sequence_of(test):
    return lambda value: (
        isinstance(value, tuple | list) and len(value) > 0 and all(map(test, value))
    )


_RULES: rules.Rules = {
    "betas": (rules.Kind(_is_sequence_of(rules.POSITIVE.accepts), "positive numbers"),),
    "poolings": (
        rules.Kind(_is_sequence_of(_POOLINGS.__contains__), f"some of {_POOLINGS}"),
    ),
    "C": (rules.POSITIVE,),
    "class_weight": (
        rules.Choice(("balanced",)),
        rules.Kind(lambda value: isinstance(value, dict), "a dict"),
        rules.NONE,
    ),
    "max_states": (rules.COUNT,),
    "device": (rules.DEVICE,),
}


class _Bags(NamedTuple):
    """Rows of bags, one bag after the other, and where each begins."""

    rows: np.ndarray
    starts: np.ndarray

    def __iter__(self):
        return iter(np.split(self.rows, self.starts[1:]))


class UHopMILClassifier(EstimatorMixin, ClassifierMixin, BaseEstimator):
    """Classifier of bags: many rows, one label.

    Hopfield pooling whose state patterns are the rows of all training bags. A bag is
    the memory that they ask: the energy E of a state pattern in it says how well the
    bag knows such a row, and ``exp(-beta E)`` is a feature of the bag. With softmax
    that is the mean of a Gaussian kernel over the rows of the bag, as in set kernels,
    with "max" the kernel of its nearest row, as in MILES. A logistic regression on each
    of these sets of features gives the label, and their decisions are averaged.

    Read more in the user guide.

    Parameters
    ----------
    betas : sequence of float, default=(2.0, 8.0)
        Inverse temperatures of energies. Rows are standardised and divided by the root
        of the number of columns that vary, so their squared distances are near 2.

    poolings : sequence of str, default=("softmax", "max")
        Separations of the rows of a bag: "softmax" lets all have a say, "max" the best
        one, the sparse ones something between. Every pair of a beta and a pooling is a
        member.

    C : float, default=100.0
        Inverse strength of the regularisation of the logistic regressions, as in
        :class:`sklearn.linear_model.LogisticRegression`.

    class_weight : dict, "balanced" or None, default=None
        Weights of the labels; "balanced" makes all count alike, however many bags have
        them.

    max_states : int, default=10000
        Most state patterns; of more training rows a random choice.

    device : str, default="auto"
        As in :class:`UHopMemory`.

    random_state : int, RandomState instance or None, default=None
        Seed of that choice.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        The labels.

    states_ : ndarray of shape (n_states, n_features)
        State patterns: standardised training rows.

    mean_, scale_ : ndarray of shape (n_features,)
        What standardises rows.

    coef_ : ndarray of shape (n_members, n_outputs, n_states)
        Coefficients of every member's responses; one output for two classes, else one
        for each.

    intercept_ : ndarray of shape (n_members, n_outputs)
        Their intercepts.

    n_features_in_ : int
        Number of columns of a row.

    feature_names_in_ : ndarray of shape (n_features,)
        Names of the columns, if X had any.

    See Also
    --------
    skuhop.nn.HopfieldPooling : The layer, whose state patterns can be learned.
    UHopClassifier : One row, one label.

    References
    ----------
    Ramsauer et al., "Hopfield networks is all you need", ICLR 2021 (arXiv 2008.02217):
    Hopfield pooling of bags. Chen, Bi, Wang, "MILES: multiple-instance learning via
    embedded instance selection", PAMI 2006. Gaertner, Flach, Kowalczyk, Smola,
    "Multi-instance kernels", ICML 2002.

    Examples
    --------
    >>> import numpy as np
    >>> from skuhop import UHopMILClassifier
    >>> rng = np.random.RandomState(0)
    >>> bags = [rng.normal(size=(rng.randint(3, 9), 4)) for _ in range(60)]
    >>> y = np.arange(60) % 2
    >>> for bag, label in zip(bags, y):
    ...     bag[0] += 4 * label  # one row decides
    >>> classifier = UHopMILClassifier().fit(bags[:40], y[:40])
    >>> classifier.score(bags[40:], y[40:])
    1.0
    >>> weights = classifier.association(bags[41:42])[0]
    >>> weights.argmax()
    np.int64(0)
    """

    _rules = _RULES

    def __init__(
        self,
        betas: Sequence[float] = (2.0, 8.0),
        poolings: Sequence[str] = ("softmax", "max"),
        *,
        C: float = 100.0,
        class_weight: dict | str | None = None,
        max_states: int = 10_000,
        device: str = "auto",
        random_state: int | np.random.RandomState | None = None,
    ) -> None:
        self.betas = betas
        self.poolings = poolings
        self.C = C
        self.class_weight = class_weight
        self.max_states = max_states
        self.device = device
        self.random_state = random_state

    @all_or_nothing
    def fit(
        self,
        X: ArrayLike | Sequence[ArrayLike],
        y: ArrayLike,
        *,
        groups: ArrayLike | None = None,
        mask: ArrayLike | None = None,
    ) -> Self:
        """Take state patterns from the bags, and learn what their responses mean.

        Parameters
        ----------
        X : sequence of arrays of shape (n_rows, n_features), or array-like
            The bags. A three-dimensional array (n_bags, n_rows, n_features) goes with a
            `mask`, a two-dimensional one with `groups`; without, each row is a bag.

        y : array-like of shape (n_bags,)
            Labels of the bags; of `groups` in their sorted order.

        groups : array-like of shape (n_rows,), default=None
            Which bag each row of a two-dimensional X is in.

        mask : array-like of shape (n_bags, n_rows), default=None
            Which rows of a three-dimensional X there are; None is all.

        Returns
        -------
        self : UHopMILClassifier
            The fitted classifier.

        Raises
        ------
        ValueError
            If a parameter or an input is not allowed.
        """
        self._check_parameters()
        bags = self._check_bags(X, groups, mask, reset=True)
        y = column_or_1d(y, warn=True)
        if y.dtype.kind == "f":
            assert_all_finite(y, input_name="y")
        check_classification_targets(y)
        if len(y) != len(bags.starts):
            raise ValueError(
                f"y must have a label for each of the {len(bags.starts)} bags; got "
                f"{len(y)}."
            )
        classes = np.unique(y)
        if len(classes) < 2:
            raise ValueError(
                f"y must have two classes or more; got 1 class: {classes}."
            )
        mean, scale = _standardisation(bags.rows)
        states = (_sample(bags.rows, self.max_states, self.random_state) - mean) / scale
        standard = _Bags((bags.rows - mean) / scale, bags.starts)
        responses = self._respond(states, standard, choose_device(self.device, X))
        members = [
            _fit_member(member, y, self.C, self.class_weight) for member in responses
        ]
        self.classes_ = classes
        self.mean_, self.scale_, self.states_ = mean, scale, states
        self.coef_ = np.stack([coef for coef, _ in members])
        self.intercept_ = np.stack([intercept for _, intercept in members])
        return self

    def decision_function(
        self,
        X: ArrayLike | Sequence[ArrayLike],
        *,
        groups: ArrayLike | None = None,
        mask: ArrayLike | None = None,
    ) -> np.ndarray:
        """Mean decision of the members.

        Parameters
        ----------
        X, groups, mask
            Bags, as in `fit`.

        Returns
        -------
        decision : ndarray of shape (n_bags,) or (n_bags, n_classes)
            Of the second of two classes, or of each: logarithms of odds.
        """
        bags = self._standard_bags(X, groups, mask)
        responses = self._respond(self.states_, bags, choose_device(self.device, X))
        decision = np.einsum("mbj,moj->bo", responses, self.coef_) / len(self.coef_)
        decision = decision + self.intercept_.mean(0)
        return decision[:, 0] if decision.shape[1] == 1 else decision

    def predict_proba(
        self,
        X: ArrayLike | Sequence[ArrayLike],
        *,
        groups: ArrayLike | None = None,
        mask: ArrayLike | None = None,
    ) -> np.ndarray:
        """Probabilities of the labels.

        Parameters
        ----------
        X, groups, mask
            Bags, as in `fit`.

        Returns
        -------
        proba : ndarray of shape (n_bags, n_classes)
            Columns are those of `classes_`.
        """
        decision = self.decision_function(X, groups=groups, mask=mask)
        if decision.ndim == 1:
            decision = np.stack([np.zeros_like(decision), decision], axis=1)
        return softmax(decision, axis=1)

    def predict(
        self,
        X: ArrayLike | Sequence[ArrayLike],
        *,
        groups: ArrayLike | None = None,
        mask: ArrayLike | None = None,
    ) -> np.ndarray:
        """Labels of the bags.

        Parameters
        ----------
        X, groups, mask
            Bags, as in `fit`.

        Returns
        -------
        labels : ndarray of shape (n_bags,)
            The most probable label of every bag.
        """
        proba = self.predict_proba(X, groups=groups, mask=mask)
        return self.classes_[proba.argmax(axis=1)]

    def association(
        self,
        X: ArrayLike | Sequence[ArrayLike],
        *,
        groups: ArrayLike | None = None,
        mask: ArrayLike | None = None,
    ) -> list[np.ndarray]:
        """Weights of the rows of every bag: which of them decided.

        The response of a state pattern is made of rows of the bag, by its weights of
        retrieval, and counts for a label or against it. What a row contributes is
        compared with what the rows of the bag contribute on average.

        Parameters
        ----------
        X, groups, mask
            Bags, as in `fit`.

        Returns
        -------
        weights : list of ndarray of shape (n_rows,)
            For every bag shares, which sum to one, of its rows in what speaks for the
            label predicted more than the others do; equal ones where none does.
        """
        bags = self._standard_bags(X, groups, mask)
        device = choose_device(self.device, X)
        given = {"groups": groups, "mask": mask}
        best = self.predict_proba(X, **given).argmax(axis=1)
        sign = np.where(best == 1, 1, -1) if len(self.classes_) == 2 else np.ones(1)
        sign = np.broadcast_to(sign, best.shape)
        output = np.zeros_like(best) if len(self.classes_) == 2 else best
        states, shares = to_tensor(self.states_, device), []
        for bag, positive, column in zip(bags, sign, output, strict=True):
            scores, spoken = _score(states, to_tensor(bag[None], device)), 0.0
            for (rule, beta), coef in zip(self._members(), self.coef_, strict=True):
                response = _read_energies(rule, beta, scores)[:, 0].cpu().numpy()
                weights = rule.weights(beta * scores[:, 0], None, **rule.defaults)
                spoken = spoken + (coef[column] * response) @ weights.cpu().numpy()
            spoken = positive * spoken
            above = np.clip(spoken - spoken.mean(), 0, None)
            total = above.sum()
            shares.append(
                above / total if total > 0 else np.full(len(bag), 1 / len(bag))
            )
        return shares

    def _standard_bags(self, X, groups, mask) -> _Bags:
        """Check bags that are asked, and standardise their rows."""
        check_is_fitted(self)
        bags = self._check_bags(X, groups, mask, reset=False)
        return _Bags((bags.rows - self.mean_) / self.scale_, bags.starts)

    def _check_bags(self, X, groups, mask, reset) -> _Bags:
        """Bring bags of any kind into one form, and check their rows."""
        X, bag_of_row = _rows_of_bags(X, groups, mask)
        X = validate_data(self, X, dtype=DTYPES, reset=reset)
        order = np.argsort(bag_of_row, kind="stable")
        starts = np.flatnonzero(np.diff(bag_of_row[order], prepend=-1))
        return _Bags(X[order], starts)

    def _members(self) -> list[tuple[Separation, float]]:
        """Pair every pooling with every beta."""
        rules = [SEPARATIONS[name] for name in self.poolings]
        return [(rule, float(beta)) for rule in rules for beta in self.betas]

    def _respond(self, states, bags, device) -> np.ndarray:
        """Responses (n_members, n_bags, n_states) of the state patterns."""
        members = self._members()
        responses = np.empty(
            (len(members), len(bags.starts), len(states)), states.dtype
        )
        asked = to_tensor(states, device)
        for which, together in _batches(bags, len(states)):
            scores = _score(asked, to_tensor(together, device))
            for of_member, member in zip(responses, members, strict=True):
                of_member[which] = _read_energies(*member, scores).T.cpu().numpy()
        return responses


def _rows_of_bags(X, groups, mask):
    """Rows of all bags as they come, and the number of the bag of each."""
    if isinstance(X, list | tuple) and len(X) and np.ndim(X[0]) == 2:
        _refuse(groups=groups, mask=mask)
        bags = [np.asarray(on_host(bag)) for bag in X]
        widths = {bag.shape[1:] for bag in bags}
        if len(widths) > 1:
            raise ValueError(f"Bags of X must have the same columns; got {widths}.")
        sizes = np.array([len(bag) for bag in bags])
        if not sizes.all():
            raise ValueError(f"Bag {sizes.argmin()} of X is empty: it has no rows.")
        return np.concatenate(bags), np.repeat(np.arange(len(bags)), sizes)
    X = on_host(X)
    X = X if hasattr(X, "shape") else np.asarray(X)
    if len(X.shape) == 3:
        _refuse(groups=groups)
        X = np.asarray(X)
        mask = np.ones(X.shape[:2], bool) if mask is None else np.asarray(mask, bool)
        if mask.shape != X.shape[:2]:
            raise ValueError(f"mask must be of shape {X.shape[:2]}; got {mask.shape}.")
        if not mask.any(axis=1).all():
            raise ValueError(f"Bag {mask.any(axis=1).argmin()} of X is empty.")
        return X[mask], np.nonzero(mask)[0]
    _refuse(mask=mask)
    n = X.shape[0] if X.shape else 1
    if groups is None:
        return X, np.arange(n)
    groups = column_or_1d(groups)
    if len(groups) != n:
        raise ValueError(f"groups must have one entry for each of the {n} rows of X.")
    return X, np.unique(groups, return_inverse=True)[1]


def _refuse(**given) -> None:
    """Refuse what goes with bags of another form."""
    for name, value in given.items():
        if value is not None:
            raise ValueError(
                f"{name} must be None here: groups go with a two-dimensional X, a mask "
                "with a three-dimensional one."
            )


def _standardisation(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and scale of the columns, which makes squared distances near 2."""
    mean, scale = rows.mean(axis=0), rows.std(axis=0)
    varies = scale > 10 * np.finfo(rows.dtype).eps * np.abs(mean)
    root = max(1, int(varies.sum())) ** 0.5
    return mean, np.where(varies, scale, 1).astype(rows.dtype) * rows.dtype.type(root)


def _sample(rows: np.ndarray, most: int, random_state) -> np.ndarray:
    """Rows, or a random choice of so many."""
    if len(rows) <= most:
        return rows
    rng = check_random_state(random_state)
    return rows[np.sort(rng.choice(len(rows), most, replace=False))]


def _score(states: torch.Tensor, bags: torch.Tensor) -> torch.Tensor:
    """Scores (n_states, n_bags, n_rows), minus half the squared distances."""
    keys, bias = SIMILARITIES["euclidean"].encode(bags.flatten(0, 1))
    queries, offset = SIMILARITIES["euclidean"].encode(states)
    scores = torch.addmm(bias, queries, keys.T).add_(offset[:, None])
    return scores.view(len(states), *bags.shape[:2])


def _read_energies(rule: Separation, beta: float, scores: torch.Tensor) -> torch.Tensor:
    """Responses (n_states, n_bags): ``exp(-beta E) = exp(Psi*(beta s))``.

    Softmax sums over the rows of a bag: their mean, for the size is not to count.
    """
    z = beta * scores
    # Only rules that solve for their weights have conjugates that need them.
    p = None if rule.lift else rule.weights(z, None, **rule.defaults)
    assert rule.conjugate is not None  # which `_POOLINGS` has seen to
    logarithm = rule.conjugate(z, p, None, **rule.defaults)
    if rule is SEPARATIONS["softmax"]:
        logarithm = logarithm - math.log(scores.shape[-1])
    return logarithm.exp()


def _batches(bags: _Bags, n_states: int):
    """Bags of one size at a time, as many as fit: (which they are, their rows)."""
    sizes = np.diff(bags.starts, append=len(bags.rows))
    for size in np.unique(sizes):
        alike = np.flatnonzero(sizes == size)
        step = max(1, _AT_ONCE // (n_states * size))
        for start in range(0, len(alike), step):
            which = alike[start : start + step]
            yield which, bags.rows[bags.starts[which, None] + np.arange(size)]


def _fit_member(responses, y, C, class_weight):
    """Fit a logistic regression on responses (n_bags, n_states), by their axes.

    There are as many axes as bags: to learn on them gives the same and takes less.
    """
    mean = responses.mean(axis=0)
    centred = (responses - mean).astype(np.float64)
    size = np.sqrt((centred**2).sum(axis=1).mean()) or 1.0
    U, lengths, axes = np.linalg.svd(centred / size, full_matrices=False)
    real = lengths**2 > _SMALLEST * lengths[0] ** 2
    if not real.any():
        real[0] = True
    # Not above: half of scikit-learn comes with it.
    from sklearn.linear_model import LogisticRegression

    model = LogisticRegression(C=C, class_weight=class_weight, max_iter=1000)
    model.fit(U[:, real] * lengths[real], y)
    coef = model.coef_ @ axes[real] / size
    return coef, model.intercept_ - coef @ mean
