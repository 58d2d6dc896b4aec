"""ShardedMemory: a memory whose patterns live on the workers of a Dask cluster."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator, clone
from sklearn.frozen import FrozenEstimator
from sklearn.utils import check_random_state, get_tags
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted, validate_data

from skuhop.answering import check_null, check_queries, check_top, write_rows
from skuhop.choices import name_of
from skuhop.distributed._cluster import (
    Cluster,
    as_arguments,
    draw,
    find_client,
    load,
    send,
    split_by_completeness,
    summarise,
    thin,
)
from skuhop.distributed._lessening import (
    choose_copies,
    choose_positions,
    join,
    split,
)
from skuhop.distributed._shard_rows import KINDS, kind_of, model_of, read_patterns
from skuhop.distributed._sources import cut, in_memory
from skuhop.estimators import (
    UHopMemory,
    check_same_columns,
    minus_error,
    read_filter,
)
from skuhop.exceptions import InvalidParameterError
from skuhop.retrieval import SIMILARITIES
from skuhop.support import (
    VersionedStateMixin,
    after_fit,
    all_or_nothing,
    check_columns,
    check_parameters,
    on_host,
    release,
    reuse,
    reuse_view,
)
from skuhop.support import parameter_rules as rules

if TYPE_CHECKING:
    from distributed import Client

*_FIRST, _LAST = (kind.__name__ for kind in KINDS)
_RULES = {
    "estimator": (
        rules.Kind(
            lambda value: isinstance(value, tuple(KINDS)),
            f"a {', '.join(_FIRST)} or {_LAST}, fitted or not",
        ),
    ),
    "shard_size": (rules.COUNT,),
    "subsample": (rules.COUNT,),
}
_NOT_ALWAYS = {"feature_names_in_", "classes_"}
_NOT_ALWAYS.update(*(kind.common for kind in KINDS.values()))
"""Fitted attributes that not every fit sets."""


def _inner(estimator):
    """Take the memory out of the wrapper that keeps it fitted through a clone."""
    return estimator.estimator if isinstance(estimator, FrozenEstimator) else estimator


def _can(method, of="estimator_"):
    """Whether the estimator has a method; its own reason, if it gives one."""

    def check(sharded):
        getattr(_inner(getattr(sharded, of, sharded.estimator)), method)
        return True

    return check


def _keep_observed(X: np.ndarray, retrieved: np.ndarray) -> np.ndarray:
    """Put the observed entries of rows with NaN back into what was retrieved."""
    unknown = np.isnan(X)
    if not unknown.any():
        return retrieved
    incomplete = unknown.any(axis=1, keepdims=True)
    return np.where(incomplete & ~unknown, X, retrieved)


def _is_fitted(estimator):
    return hasattr(estimator, "patterns_")


def _check_same_weights(estimator, other: ShardedMemory, sizes: list) -> None:
    """Refuse what has been forgotten where classes weigh something else.

    Rows of classes that weigh nothing are not stored, and parts of a weight are in
    units of what the class weighs.
    """
    if list(other.shard_sizes_) != list(sizes):
        raise ValueError(
            "merge must be given a ShardedMemory whose shards have the same rows here: "
            f"{list(other.shard_sizes_)}. Got {list(sizes)}: classes may weigh nothing "
            "here or there, or a source may have changed."
        )
    here, there = (
        np.array(getattr(e, "class_weight_", 1)) for e in (estimator, other.estimator_)
    )
    parts = any(less is not None and less.weights.any() for less in other._lessened())
    if parts and not np.array_equal(here, there):
        raise ValueError(
            "merge must be given a ShardedMemory with the same class_weight_, as part "
            f"of the weight of a row has been forgotten there: {here}. Got {there}."
        )


def _copy_with_parameters(estimator):
    """Copy a fitted estimator; what its parameters hold may be changed in place."""
    parameters = estimator.get_params(deep=False)
    copied = {name: clone(value, safe=False) for name, value in parameters.items()}
    return copy.copy(estimator).set_params(**copied)


class ShardedMemory(VersionedStateMixin, BaseEstimator):
    """A memory, classifier or regressor with its patterns spread over a Dask cluster.

    The patterns are cut into shards that workers read from their source and hold. A
    question goes to all shards; each sends back a partial result, and these merge to
    the answer of one memory that holds everything, up to rounding. For the separations
    "softmax", "softmax1", "polynomial" and "max" a shard sends ``d + 2`` numbers per
    query (an unnormalised answer, a total, a best score), whatever its size; for the
    others the patterns that may have weight.

    Stage I does not run on the cluster. It belongs to `estimator`: fitted, its feature
    map, beta and mean are used as they are; not fitted, it is fitted on a sample of
    the patterns first.

    Needs the extra "distributed". Read more in the guide on shards.

    Parameters
    ----------
    estimator : UHopMemory, UHopClassifier or UHopRegressor
        How to compare and what to answer. Its similarity must score every pattern by
        itself: "euclidean", "dot", "cosine", "correlation" or "manhattan". The patterns
        that a fitted one stores are not stored again; a clone of ShardedMemory forgets
        its fit unless it is wrapped in `sklearn.frozen.FrozenEstimator`. An index is
        not used.

    client : dask.distributed.Client, default=None
        The cluster. None takes the current client at each call.

    shard_size : int, default=100_000
        Rows per shard where `fit` has to cut: arrays on disk and in memory. Dask arrays
        and futures are cut already.

    subsample : int, default=10_000
        Patterns on which an estimator that is not fitted learns.

    random_state : int, RandomState instance or None, default=None
        Seed of the draw of these patterns.

    Attributes
    ----------
    estimator_ : UHopMemory, UHopClassifier or UHopRegressor
        The fitted estimator, with the patterns it was fitted on.

    shard_sizes_ : ndarray of shape (n_shards,)
        Number of patterns stored in each shard.

    shard_checksums_ : ndarray of shape (n_shards,)
        CRC-32 of what each shard stores. A shard that is read again, by another worker
        or where a pickle is loaded, must come to the same.

    n_patterns_ : int
        Number of patterns stored in all.

    sources_ : list of tuple
        Where the rows, labels and weights of every shard come from.

    lessened_ : list of tuple or None
        What has been forgotten of each shard: positions in it, and the weights left.

    weighted_ : bool
        Whether patterns have weights.

    classes_ : ndarray of shape (n_classes,)
        The class labels, of a classifier.

    class_prior_ : ndarray of shape (n_classes,)
        Weighted class frequencies of all shards, of a classifier.

    value_mean_, value_scale_ : ndarray of shape (n_outputs,)
        Weighted mean and standard deviation of the values of all shards, of a
        regressor.

    n_features_in_ : int
        Number of features.

    is_categorical_, categories_
        Which columns are nominal, and their values, as of the estimator.

    feature_names_in_ : ndarray of shape (n_features,)
        Names of the features, if the estimator or X had any.

    See Also
    --------
    UHopMemory : The memory, on one machine.
    UHopClassifier : The classifier, on one machine.
    UHopRegressor : The regressor, on one machine.

    Notes
    -----
    If a worker dies in the middle of a call, its shards are read again from their
    source by others, and the call goes on. Sources must not change: if one has by then,
    a checksum tells, and the question fails. Patterns in futures are as safe as these
    are: ``client.submit`` can be repeated, ``client.scatter`` cannot.

    Shards are held until the memory is fitted again, released or deleted. A pickle has
    no shards and no client; where it is loaded, the first call reads them again.

    Positions (`predict` of a memory, `association`) count the stored patterns in the
    order of the shards; rows of weight 0 are not stored.

    Examples
    --------
    >>> import numpy as np
    >>> from skuhop import UHopMemory
    >>> from skuhop.distributed import ShardedMemory
    >>> memory = ShardedMemory(UHopMemory(similarity="euclidean"), shard_size=500)
    >>> X = np.random.RandomState(0).rand(2000, 16)
    >>> memory.fit(X).predict(X[700:703])  # doctest: +SKIP
    array([700, 701, 702])
    """

    def __init__(
        self,
        estimator: BaseEstimator,
        *,
        client: Client | None = None,
        shard_size: int = 100_000,
        subsample: int = 10_000,
        random_state: int | np.random.RandomState | None = None,
    ) -> None:
        self.estimator = estimator
        self.client = client
        self.shard_size = shard_size
        self.subsample = subsample
        self.random_state = random_state

    def __sklearn_tags__(self):
        """Tags of scikit-learn: those of the estimator, but for sparse matrices."""
        tags = get_tags(self.estimator)
        tags.input_tags.sparse = False
        return tags

    def __sklearn_clone__(self):
        """Clone all but the client, which there is only one of."""
        params = self.get_params(deep=False)
        client = params.pop("client")
        cloned = {name: clone(value, safe=False) for name, value in params.items()}
        return type(self)(client=client, **cloned)

    def __getstate__(self):
        """State to pickle: without the client, which is bound to a process."""
        return {**super().__getstate__(), "client": None}

    @all_or_nothing
    def fit(
        self, X: Any, y: Any | None = None, *, sample_weight: Any | None = None
    ) -> Self:
        """Learn on a sample unless the estimator is fitted, and read the shards.

        Parameters
        ----------
        X : Dask array, array on disk, futures or array-like
            Patterns to store, of shape (n_patterns, n_features). An array on disk is a
            path of an ``.npy`` file, an `np.memmap` or a Zarr array, and has to be
            readable by all workers under the same path. Futures are those of arrays.
            A list of such sources stands for their rows one after the other.

        y : like X, of shape (n_patterns,) or (n_patterns, n_outputs), default=None
            Labels for a classifier, values for a regressor: from a source of any kind,
            cut as X is. For futures and lists it is a list too.

        sample_weight : like y, default=None
            Weights of the patterns; None is one each.

        Returns
        -------
        self : ShardedMemory
            The fitted memory.

        Raises
        ------
        ValueError
            If a parameter or a shard is not allowed, or if there is no client; the
            memory is then left as it was.
        ImportError
            If dask.distributed is not installed.
        """
        estimator = self._check_parameters()
        client = find_client(self.client)
        sources = cut(X, y, sample_weight, self.shard_size)
        if not sources:
            raise ValueError("X has no rows: nothing would be stored.")
        arguments = as_arguments(client, sources)
        if _is_fitted(estimator):
            if in_memory(X):
                check_columns(estimator, X)
            estimator = _copy_with_parameters(estimator)
        else:
            estimator = self._learn(clone(estimator), client, arguments, y is None)
        class_weight = getattr(estimator, "class_weight_", np.ones(1))
        weighted = sample_weight is not None or bool((class_weight != 1).any())
        model = model_of(estimator, weighted)
        remote = send(client, model)
        lessened: list = [None] * len(sources)
        shards = load(client, remote, arguments, lessened)
        summary = summarise(client, remote, shards)
        if not sum(summary[0]):
            raise ValueError("All weights are zero: nothing would be stored.")
        for name in _NOT_ALWAYS:
            self.__dict__.pop(name, None)
        self._name_features(X, estimator)
        self.estimator_, self.weighted_ = estimator, weighted
        if hasattr(estimator, "classes_"):
            self.classes_ = estimator.classes_
        self._hold(client, model, sources, lessened, shards, summary)
        return self

    def _hold(self, client, model, sources, lessened, shards, summary):
        """Set what follows from what shards store, and keep them."""
        sizes, checksums, summaries = summary
        kind = kind_of(self.estimator_)
        self.sources_, self.lessened_ = sources, lessened
        self.shard_sizes_, self.n_patterns_ = np.array(sizes), sum(sizes)
        self.shard_checksums_ = np.array(checksums)
        self.__dict__.update(zip(kind.common, kind.together(summaries), strict=True))
        release(self)
        reuse(self, client.id, sources, lambda: self._cluster(client, model, shards))

    @all_or_nothing
    def forget(self, rows: Any | None = None, *, X: ArrayLike | None = None) -> Self:
        """Forget stored patterns: answers are as if they had never been stored.

        What Stage I learned stays. So do the sources: what is to be left out of them is
        remembered, and left out again when a shard is read again.

        Parameters
        ----------
        rows : array-like of int or of bool, default=None
            Positions among the patterns of all shards, or a mask of shape
            ``(n_patterns_,)``.

        X : array-like of shape (n_rows, n_features), default=None
            Patterns themselves, in this process: of each one copy, which may be a part
            of a weight, the last in the order of the shards first.

        Returns
        -------
        self : ShardedMemory
            The memory without the patterns.

        Raises
        ------
        ValueError
            If a pattern is not stored, or not as often, or if nothing would be left, or
            nothing of a class; the memory is then as it was.
        """
        check_is_fitted(self)
        cluster, kind = self._shards(), kind_of(self.estimator_)
        client, sizes = cluster.client, cluster.sizes
        if X is None or rows is not None:
            lost = choose_positions(rows, X, self.n_patterns_)
        else:
            named = read_patterns(self.estimator_, on_host(X))
            lost = choose_copies(cluster.find(named), named, cluster.firsts)
        lessenings = split(*lost, sizes)
        shards = thin(client, cluster.shards, lessenings)
        summary = summarise(client, cluster.remote, shards)
        if not sum(summary[0]):
            raise ValueError(
                f"forget must leave a stored row at least: all {sum(sizes)} would go."
            )
        before = tuple(getattr(self, name) for name in kind.common)
        kind.refuse(self.estimator_, before, kind.together(summary[2]))
        known = zip(self._lessened(), lessenings, sizes, strict=True)
        lessened = [join(*parts) for parts in known]
        sources = list(self.sources_)
        self._hold(client, cluster.model, sources, lessened, shards, summary)
        return self

    @all_or_nothing
    def merge(self, other: ShardedMemory) -> Self:
        """Store the patterns of another sharded memory too, under Phi as it is here.

        Its shards come after those of this one, and are read from their sources.
        Nothing is learned: the estimator of this one is used for all.

        Parameters
        ----------
        other : ShardedMemory
            Of an estimator of the same class, with the same features and categories;
            of a classifier with labels that this one knows. It stays as it is.

        Returns
        -------
        self : ShardedMemory
            The memory with the patterns of both.

        Raises
        ------
        ValueError
            If the two do not match; the memory is then as it was.
        """
        check_is_fitted(self)
        if not isinstance(other, ShardedMemory):
            raise InvalidParameterError(
                "merge must be given another ShardedMemory. Got "
                f"{type(other).__name__}."
            )
        check_is_fitted(other)
        check_same_columns(self.estimator_, other.estimator_)
        weighted = self.weighted_ or other.weighted_
        cluster, lessened = self._shards(), other._lessened()
        client, model = cluster.client, cluster.model._replace(weighted=weighted)
        remote, shards = send(client, model), cluster.shards
        if weighted != self.weighted_:
            arguments = as_arguments(client, self.sources_)
            shards = load(client, remote, arguments, self._lessened())
        arguments = as_arguments(client, other.sources_)
        shards = [*shards, *load(client, remote, arguments, lessened)]
        summary = summarise(client, remote, shards)
        _check_same_weights(self.estimator_, other, summary[0][-len(lessened) :])
        sources = [*self.sources_, *other.sources_]
        lessened = [*self._lessened(), *lessened]
        self.weighted_ = weighted
        self._hold(client, model, sources, lessened, shards, summary)
        return self

    def _lessened(self) -> list:
        """Give what has been forgotten of each shard; older files know of nothing."""
        return getattr(self, "lessened_", [None] * len(self.sources_))

    @available_if(_can("transform", of="estimator"))
    def fit_transform(
        self, X: Any, y: Any | None = None, **fit_params: Any
    ) -> np.ndarray:
        """Fit, then retrieve the patterns themselves.

        Parameters
        ----------
        X : like X of `fit`
            Patterns, which become an array of this process for `transform`.

        y : None
            Ignored.

        **fit_params : dict
            Given to `fit`.

        Returns
        -------
        X_retrieved : ndarray of shape (n_patterns, n_features)
            The retrieved patterns.
        """
        return self.fit(X, y, **fit_params).transform(X)

    def _check_parameters(self):
        """Check the parameters, and return the estimator."""
        estimator = _inner(self.estimator)
        values = {name: getattr(self, name) for name in _RULES}
        check_parameters("ShardedMemory", values | {"estimator": estimator}, _RULES)
        whole = isinstance(estimator, UHopMemory)
        if whole and estimator.similarity not in SIMILARITIES:
            raise ValueError(
                "ShardedMemory needs a similarity that scores every pattern by itself, "
                f"one of {list(SIMILARITIES)}; got similarity={estimator.similarity!r},"
                " which looks at all patterns at once. For noise choose 'euclidean', "
                "for masks 'cosine', for gain and offset 'correlation'."
            )
        return estimator

    def _learn(self, estimator, client, arguments, unlabelled):
        """Fit the estimator on a sample of the patterns."""
        rng = check_random_state(self.random_state)
        X, y, weights = draw(client, arguments, self.subsample, rng)
        return estimator.fit(X, None if unlabelled else y, sample_weight=weights)

    def _name_features(self, X, estimator):
        """Remember number and names of the features."""
        if in_memory(X):
            validate_data(self, X, skip_check_array=True)
        self.n_features_in_ = estimator.n_features_in_
        self.is_categorical_ = getattr(estimator, "is_categorical_", None)
        self.categories_ = getattr(estimator, "categories_", None)
        if hasattr(estimator, "feature_names_in_"):
            self.feature_names_in_ = estimator.feature_names_in_

    def _cluster(self, client, model, shards):
        """Put together what answers questions."""
        common = kind_of(self.estimator_).common
        model = model.take_common({name: getattr(self, name) for name in common})
        sizes = self.shard_sizes_.tolist()
        # A file may be older than checksums.
        checksums = getattr(self, "shard_checksums_", np.full(len(sizes), None))
        return Cluster(
            client, model, send(client, model), shards, sizes, checksums.tolist()
        )

    def _shards(self, where=None):
        """Find the shards on the current cluster; read them if they are not there."""
        client = find_client(self.client)

        def build():
            model = model_of(self.estimator_, self.weighted_)
            arguments = as_arguments(client, self.sources_)
            shards = load(client, send(client, model), arguments, self._lessened())
            return self._cluster(client, model, shards)

        cluster = reuse(self, client.id, self.sources_, build)
        if any(shard.cancelled() for shard in cluster.shards):
            # client.restart() has taken them away.
            release(self)
            cluster = reuse(self, client.id, self.sources_, build)
        if where is None:
            return cluster
        mask = read_filter(where, None, self.n_patterns_)
        key = np.packbits(mask).tobytes()
        return reuse_view(self, cluster, key, lambda: cluster.allow(mask))

    def release(self) -> Self:
        """Let the workers forget the shards; the next call reads them again.

        Returns
        -------
        self : ShardedMemory
            The memory.
        """
        release(self)
        return self

    def _check_queries(self, X):
        """Validate queries, which go to the workers by way of the host."""
        return check_queries(self, on_host(X))

    def _ask(self, X, question, where=None):
        """Put ``question(cluster, rows, complete)`` for rows without and with NaN."""
        cluster = self._shards(where)
        return split_by_completeness(
            X, lambda rows, full: question(cluster, rows, full)
        )

    @available_if(_can("transform"))
    def transform(self, X: Any, where: ArrayLike | None = None) -> np.ndarray:
        """Retrieve patterns (Stage II), as `UHopMemory.transform` does.

        Parameters
        ----------
        X : array-like of shape (n_queries, n_features)
            Damaged patterns, in this process; NaN marks entries that are unknown.

        where : array-like of bool of shape ``(n_patterns_,)``, default=None
            Which stored patterns may answer.

        Returns
        -------
        X_retrieved : ndarray of shape (n_queries, n_features)
            The retrieved patterns; observed entries of rows with NaN are kept.
        """
        return write_rows(self, self._retrieve(X, where), X)

    def _retrieve(self, X, where=None):
        """`transform`, before `set_output` has its say."""
        X = self._check_queries(X)
        return _keep_observed(X, self._ask(X, Cluster.retrieve, where)[0])

    @available_if(_can("energy"))
    def energy(self, X: Any, where: ArrayLike | None = None) -> np.ndarray:
        """Kernelised Hopfield energy, as `UHopMemory.energy` gives it.

        Parameters
        ----------
        X : array-like of shape (n_queries, n_features)
            Queries; NaN marks entries that are unknown.

        where : array-like of bool of shape ``(n_patterns_,)``, default=None
            Which stored patterns may answer.

        Returns
        -------
        energy : ndarray of shape (n_queries,)
            Energy of every query.
        """
        return self._ask(self._check_queries(X), Cluster.energies, where)[0]

    @available_if(_can("score_samples"))
    def score_samples(
        self,
        X: Any,
        return_null: bool = False,
        where: ArrayLike | None = None,
    ) -> np.ndarray | tuple[np.ndarray, np.ndarray]:
        """How well the memory knows each query: minus its energy.

        Parameters
        ----------
        X : array-like of shape (n_queries, n_features)
            Queries; NaN marks entries that are unknown.

        return_null : bool, default=False
            Whether to return the weight of "nothing stored" as well, as
            `UHopMemory.score_samples` does.

        where : array-like of bool of shape ``(n_patterns_,)``, default=None
            Which stored patterns may answer.

        Returns
        -------
        scores : ndarray of shape (n_queries,)
            Log-density-like scores, higher for what is better known.

        null : ndarray of shape (n_queries,)
            Weight of "nothing stored"; only if `return_null`.
        """
        found = self._with_null(X, Cluster.energies, return_null, where)
        return (-found[0], found[1]) if return_null else -found

    def _with_null(self, X, question, return_null, where):
        """Put a question, and ask for the weight of "nothing stored" too if wanted."""
        X = self._check_queries(X)
        if return_null:
            check_null(name_of(self.estimator_.separation))
        found = self._ask(X, question, where)[0]
        return (found, self._ask(X, Cluster.null, where)[0]) if return_null else found

    def association(
        self, X: Any, top: int, where: ArrayLike | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Compute retrieval weights of the heaviest patterns.

        Parameters
        ----------
        X : array-like of shape (n_queries, n_features)
            Queries; NaN marks entries that are unknown.

        top : int
            How many. All weights of all patterns would not fit in one process.

        where : array-like of bool of shape ``(n_patterns_,)``, default=None
            Which stored patterns may answer.

        Returns
        -------
        indices : ndarray of shape (n_queries, top)
            Positions among the patterns of all shards, the heaviest first.

        weights : ndarray of shape (n_queries, top)
            Their weights.
        """
        X = self._check_queries(X)
        cluster = self._shards(where)
        top = check_top(top, sum(cluster.sizes))
        if kind_of(self.estimator_).values:
            return cluster.heaviest(cluster.complete(X), True, top)
        return self._ask(
            X, lambda cluster, X, complete: cluster.heaviest(X, complete, top), where
        )

    @after_fit
    def predict(
        self,
        X: Any,
        return_null: bool = False,
        where: ArrayLike | None = None,
    ) -> np.ndarray | tuple[np.ndarray, np.ndarray]:
        """Position of the most associated pattern, most probable class, or values.

        Parameters
        ----------
        X : array-like of shape (n_queries, n_features)
            Queries; NaN marks entries that are unknown.

        return_null : bool, default=False
            Whether to return the weight of "nothing stored" as well, as
            `UHopMemory.predict` does; for a memory only.

        where : array-like of bool of shape ``(n_patterns_,)``, default=None
            Which stored patterns may answer.

        Returns
        -------
        found : ndarray of shape (n_queries,) or (n_queries, n_outputs)
            Of a memory, positions among the patterns of all shards; of a classifier,
            class labels; of a regressor, values.

        null : ndarray of shape (n_queries,)
            Weight of "nothing stored"; only if `return_null`.
        """
        estimator, kind = self.estimator_, kind_of(self.estimator_)
        if not kind.values:
            return self._with_null(X, Cluster.best, return_null, where)
        if return_null:
            raise ValueError(
                "return_null=True is for a UHopMemory in shards; got a "
                f"{type(estimator).__name__}."
            )
        return kind.decide(estimator, self._values(X, where))

    def _values(self, X, where):
        """Answers in values of the patterns."""
        X = self._check_queries(X)
        return self._shards(where).values(X)

    @available_if(_can("predict_proba"))
    def predict_proba(self, X: Any, where: ArrayLike | None = None) -> np.ndarray:
        """Probabilities of the classes, as `UHopClassifier.predict_proba` gives them.

        Parameters
        ----------
        X : array-like of shape (n_queries, n_features)
            Queries; NaN marks entries that are unknown.

        where : array-like of bool of shape ``(n_patterns_,)``, default=None
            Which stored patterns may answer.

        Returns
        -------
        proba : ndarray of shape (n_queries, n_classes)
            Probabilities in the order of `classes_`; rows sum to one.
        """
        return self._values(X, where)

    def score(
        self, X: Any, y: Any | None = None, sample_weight: Any | None = None
    ) -> float:
        """Score as the estimator defines it.

        Parameters
        ----------
        X : array-like of shape (n_queries, n_features)
            Queries.

        y : array-like, default=None
            Of a memory, what should be retrieved (None is X itself); of a classifier,
            the labels; of a regressor, the values.

        sample_weight : array-like of shape (n_queries,), default=None
            Weights of the queries; not for a memory.

        Returns
        -------
        score : float
            Minus the mean squared error of `transform`, the accuracy, or R^2.
        """
        if not kind_of(self.estimator_).values and sample_weight is None:
            return minus_error(self, self._retrieve(X), X, y)
        weights = () if sample_weight is None else (sample_weight,)
        return type(self.estimator_).score(self, X, y, *weights)
