"""ShardedMemory: a memory whose patterns live on the workers of a Dask cluster."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from sklearn.base import BaseEstimator, clone
from sklearn.frozen import FrozenEstimator
from sklearn.utils import check_random_state, get_tags
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import validate_data

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
)
from skuhop.distributed._shard_rows import KINDS, kind_of, model_of
from skuhop.distributed._sources import cut, in_memory
from skuhop.estimators import UHopMemory, minus_error
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
        shards = load(client, remote, arguments)
        sizes, checksums, summaries = summarise(client, remote, shards)
        if not sum(sizes):
            raise ValueError("All weights are zero: nothing would be stored.")
        kind = kind_of(estimator)
        for name in _NOT_ALWAYS:
            self.__dict__.pop(name, None)
        self._name_features(X, estimator)
        self.estimator_, self.weighted_, self.sources_ = estimator, weighted, sources
        self.shard_sizes_, self.n_patterns_ = np.array(sizes), sum(sizes)
        self.shard_checksums_ = np.array(checksums)
        self.__dict__.update(zip(kind.common, kind.together(summaries), strict=True))
        if hasattr(estimator, "classes_"):
            self.classes_ = estimator.classes_
        release(self)
        reuse(self, client.id, sources, lambda: self._cluster(client, model, shards))
        return self

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
        columns = zip(shards, sizes, checksums.tolist(), strict=True)
        held = [column for column in columns if column[1]]
        held = map(list, zip(*held, strict=True))
        return Cluster(client, model, send(client, model), *held)

    def _shards(self):
        """Find the shards on the current cluster; read them if they are not there."""
        client = find_client(self.client)

        def build():
            model = model_of(self.estimator_, self.weighted_)
            arguments = as_arguments(client, self.sources_)
            shards = load(client, send(client, model), arguments)
            return self._cluster(client, model, shards)

        cluster = reuse(self, client.id, self.sources_, build)
        if any(shard.cancelled() for shard in cluster.shards):
            # client.restart() has taken them away.
            release(self)
            cluster = reuse(self, client.id, self.sources_, build)
        return cluster

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

    def _ask(self, X, question):
        """Put ``question(cluster, rows, complete)`` for rows without and with NaN."""
        cluster = self._shards()
        return split_by_completeness(
            X, lambda rows, full: question(cluster, rows, full)
        )

    @available_if(_can("transform"))
    def transform(self, X: Any) -> np.ndarray:
        """Retrieve patterns (Stage II), as `UHopMemory.transform` does.

        Parameters
        ----------
        X : array-like of shape (n_queries, n_features)
            Damaged patterns, in this process; NaN marks entries that are unknown.

        Returns
        -------
        X_retrieved : ndarray of shape (n_queries, n_features)
            The retrieved patterns; observed entries of rows with NaN are kept.
        """
        return write_rows(self, self._retrieve(X), X)

    def _retrieve(self, X):
        """`transform`, before `set_output` has its say."""
        X = self._check_queries(X)
        return _keep_observed(X, self._ask(X, Cluster.retrieve)[0])

    @available_if(_can("energy"))
    def energy(self, X: Any) -> np.ndarray:
        """Kernelised Hopfield energy, as `UHopMemory.energy` gives it.

        Parameters
        ----------
        X : array-like of shape (n_queries, n_features)
            Queries; NaN marks entries that are unknown.

        Returns
        -------
        energy : ndarray of shape (n_queries,)
            Energy of every query.
        """
        return self._ask(self._check_queries(X), Cluster.energies)[0]

    @available_if(_can("score_samples"))
    def score_samples(
        self, X: Any, return_null: bool = False
    ) -> np.ndarray | tuple[np.ndarray, np.ndarray]:
        """How well the memory knows each query: minus its energy.

        Parameters
        ----------
        X : array-like of shape (n_queries, n_features)
            Queries; NaN marks entries that are unknown.

        return_null : bool, default=False
            Whether to return the weight of "nothing stored" as well, as
            `UHopMemory.score_samples` does.

        Returns
        -------
        scores : ndarray of shape (n_queries,)
            Log-density-like scores, higher for what is better known.

        null : ndarray of shape (n_queries,)
            Weight of "nothing stored"; only if `return_null`.
        """
        found = self._with_null(X, Cluster.energies, return_null)
        return (-found[0], found[1]) if return_null else -found

    def _with_null(self, X, question, return_null):
        """Put a question, and ask for the weight of "nothing stored" too if wanted."""
        X = self._check_queries(X)
        if return_null:
            check_null(name_of(self.estimator_.separation))
        found = self._ask(X, question)[0]
        return (found, self._ask(X, Cluster.null)[0]) if return_null else found

    def association(self, X: Any, top: int) -> tuple[np.ndarray, np.ndarray]:
        """Compute retrieval weights of the heaviest patterns.

        Parameters
        ----------
        X : array-like of shape (n_queries, n_features)
            Queries; NaN marks entries that are unknown.

        top : int
            How many. All weights of all patterns would not fit in one process.

        Returns
        -------
        indices : ndarray of shape (n_queries, top)
            Positions among the patterns of all shards, the heaviest first.

        weights : ndarray of shape (n_queries, top)
            Their weights.
        """
        X = self._check_queries(X)
        top = check_top(top, self.n_patterns_)
        cluster = self._shards()
        if kind_of(self.estimator_).values:
            return cluster.heaviest(cluster.complete(X), True, top)
        return self._ask(
            X, lambda cluster, X, complete: cluster.heaviest(X, complete, top)
        )

    @after_fit
    def predict(
        self, X: Any, return_null: bool = False
    ) -> np.ndarray | tuple[np.ndarray, np.ndarray]:
        """Position of the most associated pattern, most probable class, or values.

        Parameters
        ----------
        X : array-like of shape (n_queries, n_features)
            Queries; NaN marks entries that are unknown.

        return_null : bool, default=False
            Whether to return the weight of "nothing stored" as well, as
            `UHopMemory.predict` does; for a memory only.

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
            return self._with_null(X, Cluster.best, return_null)
        if return_null:
            raise ValueError(
                "return_null=True is for a UHopMemory in shards; got a "
                f"{type(estimator).__name__}."
            )
        return kind.decide(estimator, self._values(X))

    def _values(self, X):
        """Answers in values of the patterns."""
        X = self._check_queries(X)
        return self._shards().values(X)

    @available_if(_can("predict_proba"))
    def predict_proba(self, X: Any) -> np.ndarray:
        """Probabilities of the classes, as `UHopClassifier.predict_proba` gives them.

        Parameters
        ----------
        X : array-like of shape (n_queries, n_features)
            Queries; NaN marks entries that are unknown.

        Returns
        -------
        proba : ndarray of shape (n_queries, n_classes)
            Probabilities in the order of `classes_`; rows sum to one.
        """
        return self._values(X)

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
