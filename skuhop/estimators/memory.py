"""UHopMemory: an associative memory with a learned feature map."""

from __future__ import annotations

from collections.abc import Callable
from copy import copy
from functools import partial
from typing import Self

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator

from skuhop.answering import (
    FittedPatterns,
    IndexChoice,
    RecallParameters,
    check_index,
    describe_numbers,
    read_rows,
    validate_rows,
)
from skuhop.choices import (
    Index,
    NamedSeparation,
    Retention,
    Training,
    Updates,
    name_of,
    numbers_of,
)
from skuhop.estimators.base import EstimatorMixin
from skuhop.estimators.parameters import (
    MEMORY_EFFECTS,
    MEMORY_RULES,
    choices_of,
    parameters_of_fit,
)
from skuhop.estimators.questions import PatternQuestionsMixin
from skuhop.estimators.rows import (
    check_row_ids,
    drop_weightless,
    join_row_ids,
    read_row_ids,
)
from skuhop.fitting import (
    Coming,
    FitOfPatterns,
    StageOne,
    check_given_rows,
    finish_fit,
    read_chosen_alpha,
    run_stage_one,
    store_fewer,
    store_others,
)
from skuhop.learning import Schedule
from skuhop.retrieval import WITH_HOLES
from skuhop.support import (
    CallbackSupportMixin,
    StageOneProgress,
    all_or_nothing,
    cast,
    check_columns,
    check_weights,
    choose_device,
    copy_parameters,
    in_few_threads,
    on_host,
    positive_rows,
    refuse_masked,
    unit_of,
    with_callbacks,
)


class UHopMemory(
    CallbackSupportMixin, EstimatorMixin, PatternQuestionsMixin, BaseEstimator
):
    """Associative memory: store patterns, get them back from damaged queries.

    Stage I, in `fit`, learns a feature map Phi on the stored patterns by minimising
    a separation loss. Stage II, in `transform` and `predict`, retrieves by
    minimising the kernelised Hopfield energy: a query x moves to
    ``Xi^T Sep(beta s(Phi(Xi), Phi(x)))``, the weighted mean of the patterns Xi.

    Read more in the user guide.

    Parameters
    ----------
    feature_map : {"linear", "mlp", "identity"} or callable, default="linear"
        Phi. "linear" is U-Hop's ``Phi(x) = W x``, learned from ``W = I`` in the
        span of the patterns; "mlp" adds ``U tanh(V x + b)`` with 128 hidden units,
        learned from ``U = 0``; "identity" learns nothing; a callable
        ``n_features -> torch.nn.Module`` makes a module that is learned instead.

    n_components : int, default=None
        Number of rows of W. None keeps the whole span of the patterns, and more
        than that adds nothing: it is the most that is used.

    loss : {"average", "max", "logsumexp", "posterior"}, default="average"
        What Stage I minimises. On features of unit length: the log-mean of
        ``exp(-2 |phi_i - phi_j|^2)``, its largest pair, or the log-mean of
        ``exp(<phi_i, phi_j> / 0.05)``. "posterior" is ``-log p(right pattern | its
        corrupted copy)``, with a scale and a shift of the queries learned as well.

    corruption : {"mask", "noise", "both"}, callable or None, default=None
        What queries look like: half of the entries set to zero, Gaussian noise of
        half the standard deviation of the entries, either of them on half of the rows,
        or a function ``(X, random_state) -> X_corrupted`` that keeps the shape. None is
        unknown.

    similarity : {"auto", "euclidean", "dot", "cosine", "correlation", "manhattan"}, \
            default="auto"
        The score s of a query and a pattern, computed on features. "euclidean" is
        ``-|u - v|^2 / 2`` and "manhattan" ``-|u - v|_1``. "auto" weighs models of
        damage by evidence, query by query: noise; noise, gain and offset; noise as
        the learned feature map sees it; noise with heavy tails; and a bank of
        channels (with fewer than 8 features only noise). Told a corruption, or shown
        queries in `fit`, it learns from them.

    separation : {"softmax", "sparsemax", "entmax", "normmax", "ksubsets", \
            "softmax1", "polynomial", "max"} or object, default="softmax"
        Weights from scores. With numbers of their own: `Entmax`, `Normmax`, `KSubsets`
        and `Polynomial`. "softmax1" and "polynomial" measure scores from that of
        "nothing stored": zero for "dot", "cosine" and "correlation" with a number for
        `beta`, else the score of the mean pattern.

    beta : "auto" or float, default="auto"
        Inverse temperature, a factor on the scores inside the separation. "auto"
        profiles the noise level out for every query and pattern, so there is
        nothing to choose; for "dot", which has no noise model, it is
        ``sqrt(r) / mean(|phi|^2)``, attention's scale, r the number of features.
        A number with ``similarity="auto"`` multiplies the log-likelihoods.

    categorical_features : "from_dtype", None or array-like, default="from_dtype"
        Which columns of X are nominal, as in `UHopClassifier`. A mismatch is as far as
        a difference of the square root of 2 in a number.

    update_steps : int or Updates, default=1
        Largest number of Stage II updates; with `Updates` also when a row stops early,
        and what is made of each answer.

    max_iter : int, default=100
        Largest number of steps of Stage I.

    training : Training, default=None
        How Stage I learns, and when it stops before `max_iter` steps; None is
        `Training` with its defaults.

    warm_start : bool, default=False
        Whether Stage I starts from the feature map of the previous `fit`, if its
        shape still fits.

    verbose : int, default=0
        Whether Stage I prints its loss after every step.

    index : {"auto", "ivf", "hnsw"}, Index or None, default=None
        How `transform` and `predict` find the patterns that matter. None looks at
        all. The others, with numbers of their own an `Index`, look at a few hundred:
        `fit` builds what they need, and tries it on stored rows; where it loses
        neighbours however it is built, there is none, and a warning. Fewer than 1,024
        patterns are always looked at one and all.

    retention : {"merge", "coverage", "innovation", "fifo", "reservoir"} or Retention, \
            default="merge"
        What `partial_fit` keeps: all patterns, unless `Retention` says how many.

    precision : {"float32", "tf32", "bf16"}, default="float32"
        What the factors of the two large matrix products of Stage II are rounded to:
        queries with keys, where `beta` is a number or the similarity "dot", and weights
        with patterns, where every pattern may have weight. Only with float32 data;
        float64 stays float64. "tf32" (10 bits of mantissa) does something on CUDA
        alone; while it multiplies, other threads may use TF32 too. "bf16" (7 bits)
        works on CUDA and on the CPU. Stage I, and queries with NaN as far as their
        scores go, are always float32.

    device : str, default="auto"
        "auto" (a GPU where there is one), "cpu", "cuda", "cuda:1" or "mps". Looked
        up at `fit` and at every later call, so a memory fitted on one device works
        on another.

    random_state : int, RandomState instance or None, default=None
        Seed of what `fit` draws: corrupted copies, batches of large memories and the
        start of a module.

    Attributes
    ----------
    patterns_ : ndarray of shape (n_patterns, n_inputs)
        The stored patterns: the rows of X with a positive weight. A nominal column is
        as many indicators, 0 and 1, as it has `categories_`, in its place and their
        order; without nominal columns n_inputs is n_features.

    is_categorical_, categories_
        As in `UHopClassifier`.

    sample_weight_ : ndarray of shape (n_patterns,) or None
        Their weights, None if all are one.

    row_ids_ : ndarray of shape (n_patterns,) or None
        Their names, if `fit` was given any.

    components_ : ndarray of shape (n_components, n_inputs)
        W, for the linear feature map.

    feature_map_state_ : dict of str to ndarray
        Learned state of a feature map that is not the identity.

    alignment_ : dict of str to ndarray
        `scale` and `shift` that the posterior loss learned for queries, else empty.

    damage_model_ : dict
        What "auto" learned about damage; empty for the others.

    selection_ : dict
        Which feature map was kept and why: `kept`, `step`, the held-out scores of the
        start, of the one kept and of the identity, and `reason`.

    validation_scores_ : list of float
        Held-out scores of Stage I, the first one of the start.

    separation_params_ : dict
        Numbers of the separation in use, with what was chosen for ``alpha="auto"``.

    separation_scores_ : dict
        With ``alpha="auto"`` lists: each `alpha` tried and its mean squared `error`.

    index_ : dict
        Empty, or the index: its `kind`, the `similarity` it was built for and its
        `bytes`; or which kind was `refused`, because it loses neighbours.

    mean_ : ndarray of shape (n_inputs,)
        Weighted mean of the patterns, of what is known of them.

    unit_ : float
        Power of two near the largest entry of the patterns, in which rows are compared,
        so that their size does not matter.

    loss_curve_ : list of float
        Separation loss before every step of Stage I.

    loss_ : float
        The last entry of `loss_curve_`; NaN if there was nothing to learn.

    n_iter_ : int
        Number of steps of Stage I; 1 where there was nothing to learn.

    stream_ : dict
        Empty, or after `partial_fit` the rows `seen`, the `arrivals` (n_patterns,),
        positions in the stream of the patterns, and the `seed` of the fair sample.

    n_features_in_ : int
        Number of features seen during `fit`.

    feature_names_in_ : ndarray of shape (n_features,)
        Names of the features, if X had any.

    See Also
    --------
    sklearn.neighbors.NearestNeighbors : Exact nearest neighbours, without learning.
    sklearn.impute.KNNImputer : Missing values from nearest neighbours.

    Notes
    -----
    A query may hold NaN for entries that are unknown: it is compared on the others,
    without the feature map, which are kept as they are, and the unknown ones are
    filled from the retrieved pattern. Features of different units belong on one scale
    first, as for any distance.

    Patterns may hold NaN as well, with the similarities "auto" and "euclidean" and
    without an index. All queries are then compared with them as they are, without the
    feature map, by the expected Gaussian kernel: what a pattern has in a hole is a draw
    from its column. "auto" is plain noise then, and must not be taught damage. Answers
    are weighted means of what is known, entry by entry; where no pattern that has
    weight has the entry, the mean of the column, and 0 where nothing is known of it.

    Weight k is the same as k copies of a pattern, and weight 0 the same as leaving
    it out; zero-weight rows are not stored and are not counted by `predict`.

    References
    ----------
    Wu, Hu, Hsiao, Liu, "Uniform memory retrieval with larger capacity for modern
    Hopfield models", ICML 2024 (arXiv 2404.03827).

    Examples
    --------
    >>> import numpy as np
    >>> from skuhop import UHopMemory
    >>> X = np.array([[0.0, 0.0, 1.0, 1.0], [1.0, 0.0, 0.0, 1.0], [1.0, 1.0, 1.0, 0.0]])
    >>> memory = UHopMemory().fit(X)
    >>> memory.predict([[0.9, 0.1, 0.0, 0.9]])
    array([1])
    >>> memory.transform([[1.0, 1.0, np.nan, np.nan]]).round(2)
    array([[1., 1., 1., 0.]])
    """

    _rules = MEMORY_RULES
    _choices = choices_of(MEMORY_RULES)
    _parameters_of_fit = parameters_of_fit(MEMORY_EFFECTS)
    _takes = ("allow_nan", "categorical", "string", "sparse")

    def __init__(
        self,
        feature_map: str | Callable = "linear",
        *,
        n_components: int | None = None,
        loss: str = "average",
        corruption: str | Callable | None = None,
        similarity: str = "auto",
        separation: str | NamedSeparation = "softmax",
        beta: str | float = "auto",
        categorical_features: ArrayLike | str | None = "from_dtype",
        update_steps: int | Updates = 1,
        max_iter: int = 100,
        training: Training | None = None,
        warm_start: bool = False,
        verbose: bool | int = 0,
        index: str | Index | None = None,
        retention: str | Retention = "merge",
        precision: str = "float32",
        device: str = "auto",
        random_state: int | np.random.RandomState | None = None,
    ) -> None:
        self.feature_map = feature_map
        self.n_components = n_components
        self.loss = loss
        self.corruption = corruption
        self.similarity = similarity
        self.separation = separation
        self.beta = beta
        self.categorical_features = categorical_features
        self.update_steps = update_steps
        self.max_iter = max_iter
        self.training = training
        self.warm_start = warm_start
        self.verbose = verbose
        self.index = index
        self.retention = retention
        self.precision = precision
        self.device = device
        self.random_state = random_state

    def __sklearn_tags__(self):
        """Tags of scikit-learn."""
        tags = super().__sklearn_tags__()
        taught = self.similarity == "auto" and self.corruption is not None
        if self.similarity not in WITH_HOLES or name_of(self.index) or taught:
            # NaN is taken in queries and refused in patterns. scikit-learn has one tag
            # for both, and checks that want the same of both; so the tag that says "no
            # such check" is set, and test_memory_checks.py runs what else it switches
            # off. Categories without NaN are more than the checks of 1.6 can bear.
            tags.input_tags.allow_nan = tags.input_tags.categorical = False
            tags.no_validation = True
        return tags

    @all_or_nothing
    @in_few_threads
    @with_callbacks
    def fit(
        self,
        X: ArrayLike,
        y: object | None = None,
        *,
        sample_weight: ArrayLike | None = None,
        queries: ArrayLike | None = None,
        row_ids: ArrayLike | None = None,
    ) -> Self:
        """Store the patterns and learn the feature map on them (Stage I).

        Parameters
        ----------
        X : array-like of shape (n_patterns, n_features)
            Patterns to store; NaN marks entries that are unknown. They are copied.

        y : None
            Ignored.

        sample_weight : array-like of shape (n_patterns,), default=None
            Weights of the patterns; None is one each.

        queries : array-like of shape (n_queries, n_features), default=None
            Damaged patterns as they come in practice: in any number and order, not
            said which is which. With ``similarity="auto"`` the memory learns
            from them what the damage is like. Rows with NaN are left out.

        row_ids : array-like of shape (n_patterns,), default=None
            Names of the patterns, numbers or text, by which `forget` and ``where=``
            find them. Several may share one.

        Returns
        -------
        self : UHopMemory
            The fitted memory.

        Raises
        ------
        ValueError
            If a parameter or an input is not allowed; the estimator is then left
            as it was.
        """
        self._check_parameters()
        device = choose_device(self.device, X)
        X, sample_weight, queries = map(on_host, (X, sample_weight, queries))
        refuse_masked(queries=queries)
        check_columns(X, queries)
        learn = {"reset": True, "sample_weight": sample_weight}
        X = validate_rows(self, X, **learn, ensure_all_finite="allow-nan")
        return self._learn(X, sample_weight, read_rows(self, queries), row_ids, device)

    def _learn(self, X, sample_weight, queries, row_ids, device) -> Self:
        """Learn from rows of numbers."""
        given = check_given_rows(
            type(self).__name__, X, sample_weight, queries, self.corruption
        )
        ids = check_row_ids(row_ids, np.shape(X)[0])
        if ids is not None:
            rows = np.empty((len(ids), 1), given.X.dtype)
            ids = drop_weightless(ids, check_weights(sample_weight, rows))
        settings = self._stage_one(given.unit)
        parameters = self._recall_parameters(super()._separation_params())
        finish = partial(finish_fit, parameters, given, settings, device)
        data = {"X": given.X, "y": given.X}
        progress = StageOneProgress(
            self, self.max_iter, **data, rebuild=partial(self._rebuild, finish, data)
        )
        learned = run_stage_one(
            settings, given.distinct, given.totals, device, progress
        )
        fit = finish(learned)
        self._store(fit)
        self.row_ids_ = ids
        progress.end(**data)
        return self

    def _store(self, fit: FitOfPatterns):
        """Set what `fit` has come to."""
        record, learned = fit.record, fit.learned
        self.patterns_ = record.patterns
        self.sample_weight_ = record.weights
        self.mean_ = record.mean
        self.unit_ = record.unit
        self.feature_map_state_ = learned.state
        self.alignment_ = learned.alignment
        self.selection_ = learned.selection
        self.validation_scores_ = learned.validation_scores
        self.loss_curve_ = learned.loss_curve
        self.loss_ = learned.loss_curve[-1] if learned.loss_curve else float("nan")
        # scikit-learn wants at least one iteration of whatever has a max_iter.
        self.n_iter_ = max(1, len(learned.loss_curve))
        self.damage_model_ = record.damage_model
        self.separation_params_ = fit.separation.params
        self.separation_scores_ = fit.separation.scores
        self.index_ = record.built_index
        self.stream_: dict = {}
        self._settled = copy_parameters(self, self._parameters_of_fit)
        if "components" in learned.state:
            self.components_ = learned.state["components"]
        elif hasattr(self, "components_"):  # of a fit before
            del self.components_

    def _rebuild(self, finish, data, learned):
        """Attributes as if Stage I had ended here, and the data, for callbacks."""
        copied = copy(self)
        copied._store(finish(learned))
        fitted = {n: v for n, v in vars(copied).items() if n[-1] == "_"}
        # The data are numbers, whatever table they were.
        names = {**describe_numbers(data["X"].shape[1]), "feature_names_in_": None}
        return {**fitted, "_settled": copied._settled, **names}, data

    @all_or_nothing
    @in_few_threads
    def partial_fit(
        self,
        X: ArrayLike,
        y: object | None = None,
        sample_weight: ArrayLike | None = None,
        row_ids: ArrayLike | None = None,
    ) -> Self:
        """Store more patterns under the feature map as it is.

        The first call is `fit`. Later ones do not learn: Phi, beta and what is known
        of damage stay; an index is built anew. `retention` chooses what
        is kept. To learn from that, call
        ``fit(memory.patterns_, sample_weight=memory.sample_weight_)``.

        Parameters
        ----------
        X : array-like of shape (n_patterns, n_features)
            Patterns to store, in the order of the stream; NaN marks entries that are
            unknown. They are copied.

        y : None
            Ignored.

        sample_weight : array-like of shape (n_patterns,), default=None
            Weights of the patterns; None is one each.

        row_ids : array-like of shape (n_patterns,), default=None
            Names of the patterns: for all calls or for none. Of rows that `retention`
            merges one gives the name.

        Returns
        -------
        self : UHopMemory
            The memory with the patterns added.

        Raises
        ------
        ValueError
            If a parameter or an input is not allowed; the estimator is then left
            as it was.
        """
        new, device = None, choose_device(self.device, X)
        if not hasattr(self, "patterns_"):
            self.fit(X, sample_weight=sample_weight, row_ids=row_ids)
            ids = self.row_ids_
        else:
            self._check_settled()
            X, sample_weight = self._prepare_rows(X), on_host(sample_weight)
            weights = check_weights(sample_weight, X)
            new = Coming(*positive_rows(X, X[:, :0], weights))
            ids = drop_weightless(check_row_ids(row_ids, len(X)), weights)
            ids = join_row_ids(read_row_ids(self), ids)
        self._take_in(new, ids, device)
        return self

    def _read_stored(self):
        """Give stored rows as `fit` takes them."""
        return self.patterns_, None, self.sample_weight_

    def _adopt(self, other: UHopMemory):
        """Give stored rows of another memory as they are to be stored here."""
        X, _, weights = other._read_stored()
        return X, X[:, :0], weights

    def _see_values(self):
        """Give what belongs to the patterns: nothing."""
        return self.patterns_[:, :0]

    def _store_stock(self, stock, device) -> None:
        """Set what follows from other rows, under what has been learned."""
        record = self._record(super()._separation_params())
        rows = stock.patterns, stock.weights, self.random_state, device
        self._set_rows(store_others(record, *rows))

    def _store_fewer(self, rows: np.ndarray, weights, device) -> None:
        """Set what follows from some of the stored rows alone."""
        parts = rows, weights, self.random_state, device
        self._set_rows(store_fewer(self._record(), *parts))

    def _set_rows(self, record: FittedPatterns) -> None:
        """Set what follows from the rows of a record."""
        self.patterns_ = record.patterns
        self.sample_weight_ = record.weights
        self.mean_ = record.mean
        self.unit_ = record.unit
        self.index_ = record.built_index

    def _prepare_rows(self, X) -> np.ndarray:
        """Read rows as they are stored."""
        X = on_host(X)
        X = validate_rows(self, X, reset=False, ensure_all_finite="allow-nan")
        return cast(X, self.patterns_.dtype, "X")

    def _fit_again(self) -> None:
        """Learn anew from what is stored."""
        self._check_parameters()
        X, _, weights = self._read_stored()
        self._learn(
            X, weights, None, self.row_ids_, choose_device(self.device, self.patterns_)
        )

    def _check_parameters(self):
        """Check all parameters, and those of the index against others."""
        super()._check_parameters()
        index = None if self.index is None else Index.of(self.index)
        check_index(index, self.similarity, name_of(self.separation))

    def _separation_params(self):
        """Parameters of the separation in use."""
        has_chosen = bool(getattr(self, "separation_scores_", None))
        chosen = self.separation_params_ if has_chosen else None
        return read_chosen_alpha(super()._separation_params(), chosen)

    def _stage_one(self, unit: float) -> StageOne:
        """Give what Stage I needs to know, for rows that are divided by a unit."""
        training = numbers_of(Training.of(self.training))
        return StageOne(
            feature_map=self.feature_map,
            n_components=self.n_components,
            loss=self.loss,
            similarity=self.similarity,
            beta=self.beta,
            corruption=self.corruption,
            schedule=Schedule(self.max_iter, **training),
            start=vars(self).get("feature_map_state_") if self.warm_start else None,
            random_state=self.random_state,
            unit=unit,
        )

    def _recall_parameters(self, separation_params) -> RecallParameters:
        """Give the parameters that Stage II is prepared with."""
        numbers = {} if self.index is None else numbers_of(Index.of(self.index))
        return RecallParameters(
            feature_map=self.feature_map,
            similarity=self.similarity,
            beta=self.beta,
            separation=name_of(self.separation),
            separation_params=separation_params,
            precision=self.precision,
            index_choice=IndexChoice(**numbers),
        )

    def _record(self, separation_params=None) -> FittedPatterns:
        """Give all that Stage II reads; the separation as it is in use by default."""
        if separation_params is None:
            separation_params = self._separation_params()
        return FittedPatterns(
            self._recall_parameters(separation_params),
            patterns=self.patterns_,
            weights=self.sample_weight_,
            mean=self.mean_,
            # Files of earlier versions have none.
            unit=getattr(self, "unit_", None) or unit_of(self.patterns_),
            feature_map_state=self.feature_map_state_,
            alignment=self.alignment_,
            selection=self.selection_,
            damage_model=self.damage_model_,
            built_index=getattr(self, "index_", None) or {},
        )
