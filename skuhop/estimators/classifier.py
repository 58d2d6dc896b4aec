"""UHopClassifier: retrieval with labels as the values, in a learned kernel."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils import column_or_1d
from sklearn.utils.multiclass import check_classification_targets, unique_labels
from torch import Tensor

from skuhop.answering import StoredLabels, ask, check_queries, with_prior
from skuhop.choices import CrossFitting, LogLoss, NamedSeparation, Retention
from skuhop.estimators.parameters import CLASSIFIER_RULES, choices_of
from skuhop.estimators.supervised import HeteroMemory
from skuhop.fitting import LOGISTIC, Lesson, weights_unless_one
from skuhop.learning import LABELS
from skuhop.support import (
    all_or_nothing,
    check_labels,
    class_weights,
    column_means,
    distinct_rows,
    fill_means,
    in_few_threads,
    labels_like,
    on_host,
    ones_unless,
    positive_rows,
    product,
)


class UHopClassifier(ClassifierMixin, HeteroMemory, BaseEstimator):
    """Classifier that retrieves labelled patterns in a learned kernel.

    Stage I, in `fit`, learns a feature map Phi by leave-one-out retrieval: every
    pattern is to retrieve its own class from the others. Stage II, in
    `predict_proba`, retrieves with the labels as values,
    ``p(c | x) = sum_i Sep(beta s(Phi(Xi), Phi(x)))_i [y_i = c]``, so every prediction
    comes with the stored rows that decided it (`association`). A linear model may
    have a share in it (see `CrossFitting`).

    Phi is cross-fitted: one member for each fold, which stops on the rows it has not
    seen. Those rows also calibrate beta and the weight of the class frequencies, choose
    between a map that bends and one that cannot, or add up what both say, and drop Phi
    where it does not help. Every other member learns with 30 % of the entries set to
    their mean in columns of at most ten values, which are taken for levels of something
    nominal.

    Read more in the user guide.

    Parameters
    ----------
    feature_map : {"auto", "periodic", "mlp", "linear", "identity"} or callable, \
            default="auto"
        Phi. "auto" learns "periodic" and "linear" and adds their scores, in shares that
        the rows left out choose; one of them may get all. "linear" is ``W z``; "mlp"
        adds a hidden layer of 128; "periodic" also embeds every numeric feature in
        learned waves, up to 64 features. z are the inputs, standardised (see `scale_`)
        and softly clipped. "identity" learns nothing and takes the inputs as they are.
        A callable ``n_features -> torch.nn.Module`` makes a module of z that is learned
        instead.

    n_components : int, default=64
        Number of features of each member.

    loss : {"log_loss", "average", "max", "logsumexp"} or LogLoss, default="log_loss"
        Loss of Stage I: that of leave-one-out retrieval, whose targets `LogLoss`
        smooths, or one of U-Hop's separation losses, which know no labels (see
        `UHopMemory`).

    similarity : {"auto", "cosine", "euclidean", "dot", "correlation", "manhattan"}, \
            default="auto"
        The score s of a query and a pattern, computed on features. "auto" is "cosine",
        but "euclidean" for the linear map of ``feature_map="auto"``.

    separation : {"softmax", "sparsemax", "entmax", "normmax", "ksubsets", \
            "softmax1", "polynomial", "max"} or object, default="softmax"
        Weights from scores, as in `UHopMemory`, but without ``alpha="auto"``. Stage I
        always learns with softmax. What "softmax1" leaves to "nothing stored" goes to
        the class frequencies.

    beta : "auto" or float, default="auto"
        Inverse temperature, a factor on the scores inside the separation. "auto"
        learns it with Phi and calibrates it on the rows left out.

    class_weight : dict, "balanced" or None, default=None
        Weights of the classes, which multiply `sample_weight`.

    max_iter : int or "auto", default="auto"
        Most steps of Stage I, for each of the maps of "auto"; with
        ``training__early_stopping`` it ends before where rows left out gain nothing
        more. "auto" is 100, and from 5,000 distinct patterns on one for
        every 50 of them, at most 600.

    training : CrossFitting, default=None
        How Stage I learns: number of members, steps and batches, and what a linear
        model may say; None is `CrossFitting` with its defaults.

    categorical_features : "from_dtype", None or array-like, default="from_dtype"
        Which columns of X are nominal, as in
        :class:`sklearn.ensemble.HistGradientBoostingClassifier`: "from_dtype" are those
        of categories, text or booleans, or of objects among which there are such;
        otherwise a mask, positions or names. None is no column.

    warm_start, verbose : bool and int, default=False and 0
        As in `UHopMemory`.

    retention : {"merge", "coverage", "innovation", "fifo", "reservoir"} or Retention, \
            default="merge"
        What `partial_fit` keeps, as in `UHopMemory`; pairs are of one class.

    precision, device : str, default="float32" and "auto"
        As in `UHopMemory`.

    random_state : int, RandomState instance or None, default=None
        Seed of the folds, the start and the batches of Stage I.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        The class labels.

    patterns_ : ndarray of shape (n_patterns, n_inputs)
        The stored rows: those of X with a positive weight, missing entries filled. A
        nominal column is as many indicators, 0 and 1, as it has `categories_`, in its
        place and their order; without nominal columns n_inputs is n_features.

    pattern_classes_ : ndarray of shape (n_patterns,)
        Positions in `classes_` of their labels.

    sample_weight_ : ndarray of shape (n_patterns,) or None
        Their weights, class weights included; None if all are one.

    row_ids_ : ndarray of shape (n_patterns,) or None
        Their names, if `fit` was given any.

    class_weight_ : ndarray of shape (n_classes,)
        Weights of the classes.

    class_prior_ : ndarray of shape (n_classes,)
        Weighted class frequencies.

    kernels_ : list of dict
        The kernels whose scores are added. Each has its `feature_map` and `similarity`,
        the calibrated inverse temperatures `betas`, shape (n_members,), and the `state`
        of the members: a dict of str to ndarray, empty where nothing was learned or
        kept.

    prior_weight_ : float
        Share of `class_prior_` in the votes of the memory.

    linear_share_ : float
        Share of the linear model in the probabilities; 0 if there is none.

    linear_coef_, linear_intercept_ : ndarray of shape (n_classes, n_inputs) and \
            (n_classes,), or None
        Scores ``coef (x - mean_) / scale_ + intercept`` inside its softmax.

    mean_, scale_ : ndarray of shape (n_inputs,)
        Weighted mean of the inputs at `fit`, and what they are divided by: their
        standard deviations, or one common spread where the untrained kernel does
        clearly better on that; infinite for a constant feature.

    loss_curve_ : list of float
        Mean loss of the members before every step of Stage I, one kernel after the
        other.

    loss_ : float
        The last entry of `loss_curve_`; NaN if there was nothing to learn.

    n_iter_ : int
        Number of steps of Stage I; 1 where there was nothing to learn.

    selection_ : dict
        Which kernel was kept, and why: the losses of the learned and the untrained one
        on the rows left out, the factors on beta that each learned kernel has got, the
        step at which each of its members was best, and the loss with a linear model, if
        it has a share.

    stream_ : dict
        Empty, or after `partial_fit` the rows `seen`, the `arrivals` (n_patterns,),
        positions in the stream of the patterns, and the `seed` of the fair sample.

    is_categorical_ : ndarray of shape (n_features,), bool
        Which columns of X are nominal.

    categories_ : list of ndarray or None
        For each column of X its values, sorted; None for numbers.

    n_features_in_ : int
        Number of features seen during `fit`.

    feature_names_in_ : ndarray of shape (n_features,)
        Names of the features, if X had any.

    See Also
    --------
    UHopMemory : The memory itself, without labels.
    sklearn.neighbors.NeighborhoodComponentsAnalysis : Learns a linear map likewise.
    sklearn.neighbors.KNeighborsClassifier : Votes of neighbours, nothing learned.

    Notes
    -----
    NaN, None and NA mark what is unknown; so does a value of a nominal column that
    `fit` has not met. In `fit` it is replaced by the mean of the feature (by 0 where
    nothing is known), that of indicators being the frequencies of the values. In a
    query likewise where there are nominal columns. Where all columns are numbers it is
    filled from the stored rows that the observed entries retrieve, before Phi sees the
    query.

    Weight k is the same as k copies of a row, and weight 0 the same as leaving it out.
    Every copy is a row of its own: it may be learned from while another is left out, as
    in a table in which rows repeat because there are only so many. Rows that are copies
    for another reason, such as oversampling, should be one row. Where weights are
    neither whole nor multiples of one number (in one class) a row counts as often as
    its weight is whole, and once at least.

    References
    ----------
    Wu, Hu, Hsiao, Liu, "Uniform memory retrieval with larger capacity for modern
    Hopfield models", ICML 2024 (arXiv 2404.03827). Ye, Yin, Zhan, Chao, "Revisiting
    nearest neighbor for tabular data", ICLR 2025 (arXiv 2407.03257). Goldberger et
    al., "Neighbourhood components analysis", NIPS 2004.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from skuhop import UHopClassifier
    >>> X, y = load_iris(return_X_y=True)
    >>> classifier = UHopClassifier(random_state=0).fit(X[::2], y[::2])
    >>> classifier.score(X[1::2], y[1::2]) > 0.9
    True
    >>> rows, weights = classifier.association(X[1:2], top=3)
    >>> classifier.classes_[classifier.pattern_classes_[rows]]
    array([[0, 0, 0]])
    """

    _rules = CLASSIFIER_RULES
    _choices = choices_of(CLASSIFIER_RULES)
    _belonging = "pattern_classes_"
    _target = LABELS
    _line = LOGISTIC
    _grouped = True

    def __init__(
        self,
        feature_map: str | Callable = "auto",
        *,
        n_components: int = 64,
        loss: str | LogLoss = "log_loss",
        similarity: str = "auto",
        separation: str | NamedSeparation = "softmax",
        beta: str | float = "auto",
        class_weight: str | dict | None = None,
        max_iter: int | str = "auto",
        training: CrossFitting | None = None,
        categorical_features: ArrayLike | str | None = "from_dtype",
        warm_start: bool = False,
        verbose: bool | int = 0,
        retention: str | Retention = "merge",
        precision: str = "float32",
        device: str = "auto",
        random_state: int | np.random.RandomState | None = None,
    ) -> None:
        self.feature_map = feature_map
        self.n_components = n_components
        self.loss = loss
        self.similarity = similarity
        self.separation = separation
        self.beta = beta
        self.class_weight = class_weight
        self.max_iter = max_iter
        self.training = training
        self.categorical_features = categorical_features
        self.warm_start = warm_start
        self.verbose = verbose
        self.retention = retention
        self.precision = precision
        self.device = device
        self.random_state = random_state

    @all_or_nothing
    @in_few_threads
    def fit(
        self,
        X: ArrayLike,
        y: ArrayLike,
        sample_weight: ArrayLike | None = None,
        row_ids: ArrayLike | None = None,
    ) -> Self:
        """Store the rows and learn the feature map on them (Stage I).

        Parameters
        ----------
        X : array-like or frame of shape (n_samples, n_features)
            Rows to store: numbers, words, categories, with holes.

        y : array-like of shape (n_samples,)
            Labels of any type.

        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the rows; None is one each.

        row_ids : array-like of shape (n_samples,), default=None
            Names of the rows, as in `UHopMemory`.

        Returns
        -------
        self : UHopClassifier
            The fitted classifier.

        Raises
        ------
        ValueError
            If a parameter or an input is not allowed.
        """
        return self._fit(X, y, sample_weight, row_ids, classes=None)

    @all_or_nothing
    @in_few_threads
    def partial_fit(
        self,
        X: ArrayLike,
        y: ArrayLike,
        classes: ArrayLike | None = None,
        sample_weight: ArrayLike | None = None,
        row_ids: ArrayLike | None = None,
    ) -> Self:
        """Store more rows, of classes old or new, under the feature map as it is.

        The first call is `fit`. Later ones do not learn: Phi, beta and the weight of
        the prior stay, and the new rows take part in every answer from then on.
        `retention` chooses what is kept.

        Parameters
        ----------
        X : array-like or frame of shape (n_samples, n_features)
            Rows to store.

        y : array-like of shape (n_samples,)
            Labels; new ones become new classes.

        classes : array-like of shape (n_classes,), default=None
            Further labels that `classes_` is to have, rows or not.

        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the rows; None is one each.

        row_ids : array-like of shape (n_samples,), default=None
            Names of the rows, as in `UHopMemory`.

        Returns
        -------
        self : UHopClassifier
            The classifier with the rows added.
        """
        return self._partial_fit(X, y, sample_weight, row_ids, classes=classes)

    def _joining(self, X, y, weights, classes):
        """Give new rows codes of their classes, of which some may be new."""
        known = unique_labels(self.classes_, y, *_further(classes))
        moved = np.searchsorted(known, self.classes_)
        if len(known) > len(moved):  # The line has no answer that is a new class.
            self.linear_share_ = 0.0
            self.linear_coef_ = None
            self.linear_intercept_ = None
        class_weight = class_weights(self.class_weight, known, None, None)
        class_weight[moved] = self.class_weight_
        self.classes_, self.class_weight_ = known, class_weight
        self.pattern_classes_ = moved[self.pattern_classes_]
        codes = np.searchsorted(known, y)
        return X, codes, product(weights, class_weight[codes])

    def _describe(self, patterns, codes, weights):
        return LabelledRows.of(
            patterns, codes, weights, self.classes_, self.class_weight_
        )

    def _store(self, stored: LabelledRows):
        """Set what is stored."""
        self.classes_ = stored.classes
        self.class_weight_ = stored.class_weight
        self.patterns_ = stored.patterns
        self.sample_weight_ = stored.weights
        self.pattern_classes_ = stored.codes
        self.class_prior_ = stored.prior

    def _lesson(self, X, y, weights, classes):
        """Labels as rows of zeros and a one."""
        # A class whose rows all weigh nothing is a class nevertheless.
        known = unique_labels(y, *_further(classes))
        codes = np.searchsorted(known, y)
        X, codes, weights = positive_rows(X, codes, weights)
        class_weight = class_weights(self.class_weight, known, codes, weights)
        X = fill_means(X, column_means(X, weights))
        kept, kept_codes, totals = positive_rows(
            X, codes, product(weights, class_weight[codes])
        )
        if len(kept) == 0:
            raise ValueError("All class_weight entries are zero: nothing is stored.")
        described = known, class_weight
        stored = LabelledRows.of(kept, kept_codes, totals, *described)
        rows, weights, _ = distinct_rows(np.column_stack([X, codes]), weights)
        distinct_codes = rows[:, -1].astype(np.int64)
        values = np.eye(len(known), dtype=np.float32)[distinct_codes]

        def store(X, y, weights):
            return LabelledRows.of(X, np.searchsorted(known, y), weights, *described)

        return Lesson(
            np.ascontiguousarray(rows[:, :-1]),
            known[distinct_codes],
            values,
            weights,
            class_weight[distinct_codes],
            values,
            stored,
            store,
        )

    def _check_y(self, y):
        check_classification_targets(check_labels(y, "y"))
        return column_or_1d(y, warn=True)

    def predict_proba(self, X: ArrayLike, where: ArrayLike | None = None) -> np.ndarray:
        """Probabilities of the classes: the votes of the stored rows (Stage II).

        Parameters
        ----------
        X : array-like or frame of shape (n_queries, n_features)
            Queries; NaN or None marks entries that are unknown.

        where : array-like, default=None
            Which stored rows may answer, as in `association`.

        Returns
        -------
        proba : ndarray of shape (n_queries, n_classes)
            Probabilities in the order of `classes_`; rows sum to one.
        """
        asked = self._choose_rows(where).estimator
        return ask(asked, check_queries(self, X), asked._answers)

    def _finish(self, found):
        return with_prior(found, self.class_prior_, self.prior_weight_)

    def predict_log_proba(
        self, X: ArrayLike, where: ArrayLike | None = None
    ) -> np.ndarray:
        """Logarithms of the probabilities of the classes.

        Parameters
        ----------
        X : array-like or frame of shape (n_queries, n_features)
            Queries; NaN or None marks entries that are unknown.

        where : array-like, default=None
            Which stored rows may answer, as in `association`.

        Returns
        -------
        log_proba : ndarray of shape (n_queries, n_classes)
            Logarithms of `predict_proba`; minus infinity where that is 0. In float64:
            in float32 probabilities that differ may have equal logarithms, and the
            order of the classes would be lost.
        """
        asked = self._choose_rows(where).estimator
        question = partial(asked._answers, read=_take_log)
        return ask(asked, check_queries(self, X), question)

    def predict(self, X: ArrayLike, where: ArrayLike | None = None) -> np.ndarray:
        """Most probable classes.

        Parameters
        ----------
        X : array-like or frame of shape (n_queries, n_features)
            Queries; NaN or None marks entries that are unknown.

        where : array-like, default=None
            Which stored rows may answer, as in `association`.

        Returns
        -------
        labels : ndarray of shape (n_queries,)
            Class labels; an array like X, unless they are no numbers.
        """
        X, asked = check_queries(self, X), self._choose_rows(where).estimator
        found = ask(asked, X, partial(asked._answers, read=_choose))
        return labels_like(X, self.classes_, found)

    def _weigh_rows(self, y, weights):
        codes = np.searchsorted(self.classes_, y)
        return product(weights, self.class_weight_[codes])

    def _weigh_copies(self):
        return self.class_weight_[self.pattern_classes_]

    def _refuse_loss(self, left):
        n_classes = len(self.classes_)
        before = np.bincount(self.pattern_classes_, minlength=n_classes)
        after = np.bincount(self.pattern_classes_[left], minlength=n_classes)
        lost = self.classes_[(before > 0) & (after == 0)]
        if len(lost):
            raise ValueError(
                "forget must leave a row of each class: all would go of "
                f"{lost.tolist()[:5]}."
            )

    def _read_stored(self):
        weights = ones_unless(self.sample_weight_, self.patterns_)
        weights = (weights / self._weigh_copies()).astype(weights.dtype)
        labels = self.classes_[self.pattern_classes_]
        return self.patterns_, labels, weights_unless_one(weights)

    def _adopt(self, other):
        return self._joining(*other._read_stored(), classes=other.classes_)

    def _fit_again(self):
        stored = *self._read_stored(), self.row_ids_
        self._fit(*stored, is_stored=True, classes=self.classes_)

    def _values(self) -> StoredLabels:
        return StoredLabels(self.pattern_classes_, self.classes_)


def _take_log(proba: Tensor) -> Tensor:
    """Logarithms in float64, where the device has it."""
    return (proba if proba.device.type == "mps" else proba.double()).log()


def _choose(proba: Tensor) -> Tensor:
    """Positions of the most probable classes."""
    return proba.argmax(1)


def _further(classes):
    """Labels that are named and need no rows, as arguments of `unique_labels`."""
    return () if classes is None else (check_labels(on_host(classes), "classes"),)


class LabelledRows(NamedTuple):
    """What a classifier stores: all that follows from the rows alone."""

    patterns: np.ndarray
    weights: np.ndarray | None
    codes: np.ndarray
    prior: np.ndarray
    classes: np.ndarray
    class_weight: np.ndarray

    @classmethod
    def of(cls, patterns, codes, weights, classes, class_weight) -> LabelledRows:
        """Describe rows with codes of classes."""
        counts = np.bincount(codes, weights=weights, minlength=len(classes))
        prior = counts / counts.sum()
        weights = weights_unless_one(weights)
        return cls(patterns, weights, codes, prior, classes, class_weight)
