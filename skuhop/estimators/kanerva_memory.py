"""KanervaMemory: a compact memory of slots, written by recursive least squares."""

from __future__ import annotations

from collections.abc import Callable
from typing import Self

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator, OneToOneFeatureMixin, TransformerMixin
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from skuhop.answering import validate_numbers
from skuhop.estimators.base import EstimatorMixin
from skuhop.estimators.parameters import (
    KANERVA_EFFECTS,
    KANERVA_RULES,
    parameters_of_fit,
)
from skuhop.estimators.questions import minus_error
from skuhop.estimators.rows import check_same_columns
from skuhop.exceptions import InvalidParameterError
from skuhop.kanerva import (
    Addressing,
    SlotParameters,
    Written,
    absorb,
    addresses,
    begin,
    draw_addresses,
    erase,
    posterior,
    prior,
    unite,
    variance,
)
from skuhop.retrieval import row_chunks
from skuhop.support import (
    DTYPES,
    all_or_nothing,
    cast,
    check_draws,
    check_weights,
    copy_parameters,
    in_few_threads,
    refuse_masked,
    resolve_device,
    reuse_record,
    to_numpy,
    to_tensor,
    working_memory,
)


class KanervaMemory(
    EstimatorMixin, OneToOneFeatureMixin, TransformerMixin, BaseEstimator
):
    """Compact associative memory: any number of rows in a fixed number of slots.

    Rows are not kept. A row x is written at an address w(x), a fixed function of the
    row, into slots M by Bayesian linear regression, ``x - mean = w(x)^T M + noise``,
    and is read back as ``mean + w^T E[M]``, with a standard deviation. Writes are
    recursive least squares: after any number of them the slots are those of one
    regression on all rows, in whatever order and portions they came. Memory is constant
    and time linear in the number of rows.

    It answers with what the rows have in common, not with one of them: use it to clean
    or to judge rows of a kind that is too many to store, and `UHopMemory` where the
    stored row itself is wanted.

    Read more in the user guide.

    Parameters
    ----------
    n_slots : int, default=100
        Number of slots. Landmarks are distinct rows of the first write at most, so a
        first write of fewer makes fewer slots.

    addressing : {"softmax", "fourier"}, default="softmax"
        w(x): "softmax" shares a row between landmarks a_k, the centres of k-means on
        the first write, by ``softmax(-beta |x - a_k|^2 / 2)``; "fourier" takes random
        Fourier features of the kernel ``exp(-beta |x - y|^2 / 2)``, which makes the
        memory a Gaussian process from rows to themselves, approximately.

    beta : "auto" or float, default="auto"
        Sharpness of the addresses. "auto" tries 13 on the first write and keeps the one
        whose memory reads corrupted copies of its rows best.

    alpha : "auto" or float, default="auto"
        Precision of the slots' prior in units of the noise's, the penalty of ridge
        regression. "auto" maximises the evidence, anew after each write.

    corruption : {"mask", "noise", "both"}, callable or None, default=None
        What queries look like, as in `UHopMemory`; beta is chosen for it.

    device : str, default="auto"
        As in `UHopMemory`, but for "mps", which has no float64.

    random_state : int, RandomState instance or None, default=None
        Seed of the landmarks or frequencies, and of the corrupted copies.

    Attributes
    ----------
    slots_ : ndarray of shape (n_slots, n_features)
        Posterior mean of the slots.

    precision_factor_ : ndarray of shape (n_slots, n_slots)
        Upper triangular R; the posterior covariance of feature j's slots is
        ``noise_variance_[j] * inv(R.T @ R)``.

    noise_variance_ : ndarray of shape (n_features,)
        Estimated variance of the noise.

    anchors_ : ndarray of shape (n_slots, n_features) or (n_slots, n_features + 1)
        Landmarks less `mean_`; or frequencies and, in the last column, phases.

    mean_ : ndarray of shape (n_features,)
        Weighted mean of the first write, which empty slots answer with.

    unit_ : float
        Power of two near the largest entry of the first write, in which rows are
        compared and written, so that their size does not matter.

    beta_, alpha_ : float
        The sharpness and the prior precision in use.

    n_slots_ : int
        Number of slots.

    n_samples_seen_ : float
        Sum of the weights of all rows written.

    written_ : dict of str to ndarray
        What is kept of the rows, in parts of `unit_`: the factor F of their addresses,
        the rotated rows, the residual sums of squares and the sum of the addresses.

    n_features_in_ : int
        Number of features seen during `fit`.

    feature_names_in_ : ndarray of shape (n_features,)
        Names of the features, if X had any.

    See Also
    --------
    UHopMemory : Keeps the rows.
    sklearn.linear_model.BayesianRidge : The same regression for one output.
    sklearn.cluster.MiniBatchKMeans : Answers with the nearest centre.

    Notes
    -----
    The first write fixes mean, landmarks and beta; only from then on does the order of
    the rows not matter. Where rows come sorted, let the first write be a shuffled part.

    All is computed in float64, whatever X is; answers have the dtype of X. Features of
    different units belong on one scale first.

    References
    ----------
    Wu, Wayne, Graves, Lillicrap, "The Kanerva machine", ICLR 2018 (arXiv 1804.01756):
    the memory and its update, here with addresses that are not learned, without the
    encoder and the decoder. Kanerva, "Sparse distributed memory", 1988.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.datasets import load_digits
    >>> from skuhop import KanervaMemory
    >>> X = load_digits().data / 16
    >>> memory = KanervaMemory(n_slots=50, random_state=0).fit(X[:1000])
    >>> memory = memory.partial_fit(X[1000:1700])
    >>> memory.slots_.shape
    (50, 64)
    >>> answer, std = memory.retrieve(X[1700:], return_std=True)
    >>> answer.shape == std.shape == (97, 64)
    True
    >>> memory.sample(3, random_state=0).shape
    (3, 64)
    """

    _rules = KANERVA_RULES
    _parameters_of_fit = parameters_of_fit(KANERVA_EFFECTS)

    def __init__(
        self,
        n_slots: int = 100,
        *,
        addressing: str = "softmax",
        beta: str | float = "auto",
        alpha: str | float = "auto",
        corruption: str | Callable | None = None,
        device: str = "auto",
        random_state: int | np.random.RandomState | None = None,
    ) -> None:
        self.n_slots = n_slots
        self.addressing = addressing
        self.beta = beta
        self.alpha = alpha
        self.corruption = corruption
        self.device = device
        self.random_state = random_state

    @all_or_nothing
    @in_few_threads
    def fit(
        self,
        X: ArrayLike,
        y: object | None = None,
        sample_weight: ArrayLike | None = None,
    ) -> Self:
        """Forget everything and write the rows.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows to write, finite.

        y : None
            Ignored.

        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the rows: k is the same as k copies, 0 the same as none.

        Returns
        -------
        self : KanervaMemory
            The fitted memory.

        Raises
        ------
        ValueError
            If a parameter or an input is not allowed.
        """
        return self._write(X, sample_weight, True)

    @all_or_nothing
    @in_few_threads
    def partial_fit(
        self,
        X: ArrayLike,
        y: object | None = None,
        sample_weight: ArrayLike | None = None,
    ) -> Self:
        """Write more rows. The first call is `fit`.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows to write, finite.

        y : None
            Ignored.

        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the rows.

        Returns
        -------
        self : KanervaMemory
            The memory with the rows written.
        """
        return self._write(X, sample_weight, not hasattr(self, "slots_"))

    @all_or_nothing
    @in_few_threads
    def forget(self, X: ArrayLike, sample_weight: ArrayLike | None = None) -> Self:
        """Take rows out again: what is left is as if they had never been written.

        No rows are kept, so nobody can tell whether these were ever written. What the
        first write has fixed stays: the mean, the landmarks, beta and the unit.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows to take out, finite.

        sample_weight : array-like of shape (n_samples,), default=None
            Their weights, as they were written.

        Returns
        -------
        self : KanervaMemory
            The memory without the rows.

        Raises
        ------
        ValueError
            If nothing definite would be left, as of rows that were not written, or in a
            memory that has as many slots as rows; it is then as it was.
        """
        check_is_fitted(self)
        return self._write(X, sample_weight, False, erase)

    def _write(self, X, sample_weight, first, *step):
        self._check_parameters() if first else self._check_settled()
        device = self._find_device()
        refuse_masked(X=X)
        X = validate_numbers(self, X, dtype=DTYPES, reset=first)
        weights = check_weights(sample_weight, X)
        X = X.astype(np.float64)
        if weights is not None:
            X, weights = X[weights > 0], weights[weights > 0].astype(np.float64)
        if first:
            seed = check_random_state(self.random_state).randint(2**31 - 1)
            rng, written = np.random.RandomState(seed), None
            parameters = SlotParameters(
                self.n_slots, self.addressing, self.beta, self.alpha, self.corruption
            )
            fixed = begin(parameters, X, weights, rng, device)
        else:
            fixed, written = self._addressing(), self._written_state(device)
        written = absorb(written, X, weights, fixed, device, *step)
        self._set_written(fixed, written)
        if first:
            self._settled = copy_parameters(self, self._parameters_of_fit)
        return self

    @all_or_nothing
    @in_few_threads
    def merge(self, other: KanervaMemory) -> Self:
        """Write all that another memory was shown: one that is addressed alike.

        Sums are added, so that the answers are those of one memory in which the rows of
        both were written.

        Parameters
        ----------
        other : KanervaMemory
            A memory of the same mean, landmarks, beta and unit, such as a copy of this
            one in which other rows were written. It stays as it is.

        Returns
        -------
        self : KanervaMemory
            The memory with the rows of both.

        Raises
        ------
        ValueError
            If the two have other addresses or features; the memory is then as it was.
        """
        check_is_fitted(self)
        self._check_settled()
        check_same_columns(self, other)
        device, fixed = self._find_device(), self._addressing()
        for name, here, there in zip(
            Addressing._fields, fixed, other._addressing(), strict=True
        ):
            if not np.array_equal(here, there):
                raise InvalidParameterError(
                    "merge must be given a KanervaMemory whose first write was the "
                    f"same, such as a copy of this one. Got one of another {name}."
                )
        states = (memory._written_state(device) for memory in (self, other))
        self._set_written(fixed, unite(*states))
        return self

    def _set_written(self, fixed: Addressing, written: Written) -> None:
        """Set what follows from what has been written."""
        alpha = prior(self.alpha, written)
        after = posterior(written, alpha)
        kept = {name: to_numpy(value) for name, value in written._asdict().items()}
        count = float(kept.pop("total"))
        self.mean_ = fixed.mean
        self.anchors_ = fixed.anchors
        self.beta_ = fixed.beta
        self.unit_ = fixed.unit
        self.slots_ = to_numpy(after.slots) * fixed.unit
        self.precision_factor_ = to_numpy(after.precision_factor)
        self.noise_variance_ = to_numpy(after.noise_variance) * fixed.unit * fixed.unit
        self.alpha_ = alpha
        self.n_slots_ = len(after.slots)
        self.n_samples_seen_ = count
        self.written_ = kept

    def _find_device(self):
        """Find the device, which has to have float64."""
        device = resolve_device(self.device)
        if device.type == "mps":
            raise InvalidParameterError(
                "KanervaMemory computes in float64, which device='mps' has not; use "
                f"device='cpu'. Got device={self.device!r}."
            )
        return device

    def _written_state(self, device):
        kept = {**self.written_, "total": np.array(self.n_samples_seen_)}
        return Written(
            **{name: to_tensor(value, device) for name, value in kept.items()}
        )

    @in_few_threads
    def address(self, X: ArrayLike) -> np.ndarray:
        """Addresses of rows: where in the memory they are written and read.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        w : ndarray of shape (n_samples, n_slots)
            Addresses, in float64; with "softmax" they sum to one.
        """
        X, device = self._check_queries(X)
        return addresses(X.astype(np.float64), self._addressing(), device)

    def _check_queries(self, X):
        """Rows, checked, and the device."""
        reuse_record(self, self._check_settled)
        device = self._find_device()
        check_is_fitted(self)
        refuse_masked(X=X)
        return validate_numbers(self, X, dtype=DTYPES, reset=False), device

    def _addressing(self):
        # Files of earlier versions have no unit.
        unit = getattr(self, "unit_", 1.0)
        return Addressing(self.addressing, self.mean_, self.anchors_, self.beta_, unit)

    def retrieve(
        self, X: ArrayLike, return_std: bool = False
    ) -> np.ndarray | tuple[np.ndarray, np.ndarray]:
        """Read the memory at the addresses of queries.

        Parameters
        ----------
        X : array-like of shape (n_queries, n_features)
            Queries, damaged or not; finite.

        return_std : bool, default=False
            Whether to return the standard deviation of the predictive distribution.

        Returns
        -------
        X_retrieved : ndarray of shape (n_queries, n_features)
            Posterior mean ``mean_ + w(x)^T slots_``.

        X_std : ndarray of shape (n_queries, n_features)
            ``sqrt(noise_variance_ * (1 + w^T inv(R^T R) w))``, noise included as in
            `BayesianRidge`; only if `return_std`.
        """
        answers = self._read(X, return_std)
        return answers if return_std else answers[0]

    @in_few_threads
    def _read(self, X, return_std=False):
        """Answers and, if wanted, standard deviations, in the dtype of X."""
        X, device = self._check_queries(X)
        answers = tuple(np.empty_like(X) for _ in range(1 + bool(return_std)))
        for rows, w in self._parts(X, device):
            found = (
                self.mean_ + w @ self.slots_,
                *map(self._std, [w][: int(return_std)]),
            )
            for out, part in zip(answers, found, strict=True):
                out[rows] = cast(part, X.dtype, "What is retrieved")
        return answers

    def _parts(self, X, device):
        """Yield rows for which the working memory is enough, and their addresses."""
        fixed, row = self._addressing(), 8 * (4 * self.n_slots_ + 6 * X.shape[1])
        for rows in row_chunks(len(X), row, working_memory()):
            yield rows, addresses(X[rows].astype(np.float64), fixed, device)

    def _std(self, w):
        device = resolve_device(self.device)
        factor = to_tensor(self.precision_factor_, device)
        unsure = to_numpy(variance(factor, to_tensor(w, device)))
        return np.outer(np.sqrt(1 + unsure), np.sqrt(self.noise_variance_))

    def transform(self, X: ArrayLike) -> np.ndarray:
        """Retrieve rows: the first answer of `retrieve`.

        Parameters
        ----------
        X : array-like of shape (n_queries, n_features)
            Queries.

        Returns
        -------
        X_retrieved : ndarray of shape (n_queries, n_features)
            What the memory answers.
        """
        return self._read(X)[0]

    @in_few_threads
    def score_samples(self, X: ArrayLike) -> np.ndarray:
        """Logarithm of the predictive density of rows at their own addresses.

        Low for rows that the memory cannot give back, be they too noisy or unlike all
        that it was shown. A conditional density: it does not integrate to one. A
        feature that has never varied counts as if its noise were that of the others.

        Parameters
        ----------
        X : array-like of shape (n_queries, n_features)
            Rows.

        Returns
        -------
        scores : ndarray of shape (n_queries,)
            Sums over the features of the Gaussian log-density of the row.
        """
        X, device = self._check_queries(X)
        scores = np.empty(len(X), X.dtype)
        varies, level = self._varies(), self._common_level()
        for rows, w in self._parts(X, device):
            std = self._std(w)
            std[:, ~varies] = level
            gap = X[rows] - self.mean_ - w @ self.slots_
            gap /= std
            with np.errstate(over="ignore"):  # Of what is far away nothing is known.
                squares = np.square(gap, out=gap).sum(1)
                logs = np.log(2 * np.pi) * X.shape[1] / 2 + np.log(std).sum(1)
                scores[rows] = -squares / 2 - logs
        return scores

    def _varies(self):
        """Say which features have ever differed from their mean."""
        written = self.written_
        return written["residual"] + (written["rotated"] ** 2).sum(0) > 0

    def _common_level(self):
        """Noise level of the features that vary, which those that do not are given."""
        unit = self._addressing().unit
        levels = np.sqrt(self.noise_variance_[self._varies()]) / unit
        return np.sqrt(np.mean(levels**2)) * unit if len(levels) else unit

    def score(self, X: ArrayLike, y: ArrayLike | None = None) -> float:
        """Minus the mean over rows of the squared error of `transform`.

        Parameters
        ----------
        X : array-like of shape (n_queries, n_features)
            Queries.

        y : array-like of shape (n_queries, n_features), default=None
            What should be retrieved; None, or labels, is X itself.

        Returns
        -------
        score : float
            At most 0; higher is better.
        """
        return minus_error(self, self._read(X)[0], X, y)

    @in_few_threads
    def sample(
        self,
        n_samples: int = 1,
        random_state: int | np.random.RandomState | None = None,
    ) -> np.ndarray:
        """Draw rows from the memory.

        An address from the Gaussian that has the mean and the covariance of the
        addresses written, then the predictive distribution there: the Kanerva machine
        with its Gaussian over addresses fitted. Draws have the mean and nearly the
        covariance of the rows, and one hump: for draws from around stored rows there is
        `UHopMemory.sample`.

        Parameters
        ----------
        n_samples : int, default=1
            Number of rows to draw.

        random_state : int, RandomState instance or None, default=None
            Seed of the draws.

        Returns
        -------
        X : ndarray of shape (n_samples, n_features)
            The rows, in float64.
        """
        check_is_fitted(self)
        reuse_record(self, self._check_settled)
        device, rng = self._find_device(), check_draws(n_samples, random_state)
        normal = to_tensor(rng.standard_normal((n_samples, self.n_slots_)), device)
        kept = self._written_state(device)
        w = to_numpy(draw_addresses(kept.factor, kept.address_sum, kept.total, normal))
        noise = rng.standard_normal((n_samples, len(self.mean_)))
        return self.mean_ + w @ self.slots_ + self._std(w) * noise
