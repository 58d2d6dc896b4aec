"""KanervaMemory: one regression, however it is written; a citizen of scikit-learn."""

import copy
import pickle

import numpy as np
import pytest
import skops.io
from sklearn import config_context
from sklearn.cluster import KMeans
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.exceptions import NotFittedError
from sklearn.utils.estimator_checks import parametrize_with_checks

from skuhop import KanervaMemory
from skuhop.exceptions import InvalidParameterError
from skuhop.kanerva.address_rules import ADDRESSES
from skuhop.learning.corruptions import noise

RNG = np.random.default_rng(0)
X = RNG.normal(size=(300, 8)) @ RNG.normal(size=(8, 8)) + 5
WEIGHTS = RNG.uniform(0.2, 3, 300)
every_addressing = pytest.mark.parametrize("addressing", ADDRESSES)


def memory(addressing="softmax", **params):
    return KanervaMemory(30, addressing=addressing, random_state=0, **params)


@parametrize_with_checks(
    [
        KanervaMemory(),
        KanervaMemory(3, addressing="fourier"),
        KanervaMemory(5, beta=1.0, alpha=1.0),
    ]
)
def test_estimator_checks(estimator, check):
    check(estimator)


# --- one regression ------------------------------------------------------------------


def by_least_squares(fitted, X, weights):
    """Slots by NumPy's lstsq, with the prior as further rows."""
    root = np.sqrt(weights)[:, None]
    w = fitted.address(X)
    prior = np.sqrt(fitted.alpha_) * np.eye(fitted.n_slots_)
    left = np.vstack([root * w, prior])
    right = np.vstack([root * (X - fitted.mean_), np.zeros((len(prior), X.shape[1]))])
    slots = np.linalg.lstsq(left, right, rcond=None)[0]
    return slots, ((right - left @ slots) ** 2).sum(0)


@every_addressing
@pytest.mark.parametrize("beta", ["auto", 0.01, 10.0])
@pytest.mark.parametrize("alpha", ["auto", 1e-6, 1.0])
@pytest.mark.parametrize("weighted", [False, True])
def test_posterior_mean_is_the_batch_least_squares_solution(
    addressing, beta, alpha, weighted
):
    weights = WEIGHTS if weighted else np.ones(len(X))
    fitted = memory(addressing, beta=beta, alpha=alpha).fit(
        X, sample_weight=weights if weighted else None
    )
    slots, _ = by_least_squares(fitted, X, weights)
    answers = fitted.address(X) @ slots + fitted.mean_
    np.testing.assert_allclose(fitted.transform(X), answers, rtol=1e-8, atol=1e-8)
    scale = np.abs(slots).max()
    # Slots that no row has reached are as hard to tell as the condition is bad.
    precision = fitted.precision_factor_
    condition = np.linalg.cond(precision)
    bound = max(1e-8, 1e-15 * condition**2)
    np.testing.assert_allclose(fitted.slots_, slots, rtol=0, atol=bound * scale)


def test_slots_equal_least_squares_to_1e_8():
    fitted = memory(alpha=1e-3, beta=0.05).fit(X, sample_weight=WEIGHTS)
    slots, left = by_least_squares(fitted, X, WEIGHTS)
    np.testing.assert_allclose(fitted.slots_, slots, rtol=1e-8, atol=1e-8)
    w = fitted.address(X)
    gram = (w.T * WEIGHTS) @ w + fitted.alpha_ * np.eye(30)
    found = fitted.precision_factor_.T @ fitted.precision_factor_
    np.testing.assert_allclose(found, gram, rtol=1e-10, atol=1e-10)
    # The noise: what the regression leaves, and one row of a thousandth before it.
    before = 1e-3 * (WEIGHTS @ (X - fitted.mean_) ** 2) / WEIGHTS.sum()
    variance = (left + before) / (WEIGHTS.sum() + 1)
    np.testing.assert_allclose(fitted.noise_variance_, variance, rtol=1e-8)
    unsure = np.einsum("nk,kl,nl->n", w, np.linalg.inv(gram), w)
    _, std = fitted.retrieve(X, return_std=True)
    np.testing.assert_allclose(std**2, np.outer(1 + unsure, variance), rtol=1e-7)


@every_addressing
@pytest.mark.parametrize("alpha", ["auto", 0.1])
@pytest.mark.parametrize("cuts", [[60], [10, 11, 12], list(range(1, 200, 7))])
def test_order_and_portions_do_not_matter(addressing, alpha, cuts):
    start, rest = X[:100], RNG.permutation(X[100:])
    whole = memory(addressing, alpha=alpha).fit(start).partial_fit(X[100:])
    parts = memory(addressing, alpha=alpha).fit(start)
    for portion in np.split(rest, cuts):
        parts.partial_fit(portion)
    assert parts.n_samples_seen_ == whole.n_samples_seen_ == 300
    np.testing.assert_allclose(parts.alpha_, whole.alpha_, rtol=1e-12)
    np.testing.assert_allclose(parts.slots_, whole.slots_, rtol=1e-8, atol=1e-8)
    for found, expected in zip(
        parts.retrieve(X, return_std=True),
        whole.retrieve(X, return_std=True),
        strict=True,
    ):
        np.testing.assert_allclose(found, expected, rtol=1e-8)


@every_addressing
def test_row_by_row_is_the_update_of_the_kanerva_machine(addressing):
    """The paper's update of mean and covariance, one row at a time."""
    fitted = memory(addressing, alpha=0.5).fit(X)
    mean, covariance = np.zeros((30, 8)), np.eye(30) / 0.5
    for w, x in zip(fitted.address(X), X - fitted.mean_, strict=True):
        gain = covariance @ w / (w @ covariance @ w + 1)
        mean += np.outer(gain, x - w @ mean)
        covariance -= np.outer(gain, w @ covariance)
    np.testing.assert_allclose(fitted.slots_, mean, rtol=1e-7, atol=1e-8)
    factor = np.linalg.inv(fitted.precision_factor_)
    np.testing.assert_allclose(factor @ factor.T, covariance, rtol=1e-7, atol=1e-8)


def test_weights_are_copies_and_none_at_all():
    counts = np.arange(300) % 3
    weighted = memory().fit(X, sample_weight=counts)
    copies = memory().fit(np.repeat(X, counts, axis=0))
    np.testing.assert_allclose(weighted.slots_, copies.slots_, rtol=1e-7, atol=1e-7)
    np.testing.assert_allclose(weighted.noise_variance_, copies.noise_variance_)


@every_addressing
def test_first_write_is_the_same_in_any_order(addressing):
    one, other = memory(addressing).fit(X), memory(addressing).fit(X[::-1])
    np.testing.assert_allclose(one.transform(X), other.transform(X), rtol=1e-9)


def test_evidence_is_the_one_of_the_gaussian():
    """alpha_ maximises what SciPy says, the noise level put where it is best."""
    from scipy.optimize import minimize_scalar

    fitted = memory(beta=0.05).fit(X)
    w, Y = fitted.address(X), X - fitted.mean_
    prior = 1e-3 * (Y**2).mean(0)

    def minus_evidence(log_alpha):
        covariance = np.eye(300) + w @ w.T / np.exp(log_alpha)
        _, logdet = np.linalg.slogdet(covariance)
        left = (Y * np.linalg.solve(covariance, Y)).sum(0) + prior
        return 8 * logdet / 2 + 301 / 2 * np.log(left).sum()

    best = minimize_scalar(minus_evidence, bounds=(-15, 5), method="bounded").x
    assert abs(best - np.log(fitted.alpha_)) < 0.3  # the grid's steps are 0.23


# --- what it is good for -------------------------------------------------------------


def test_it_cleans_digits_it_has_not_seen():
    """Better than the best PCA and than the nearest of as many centres."""
    digits = load_digits().data / 16
    train, clean = digits[:1500], digits[1500:]
    noisy = noise(clean, np.random.RandomState(1))
    fitted = KanervaMemory(100, corruption="noise", random_state=0).fit(train)

    def error(found):
        return ((found - clean) ** 2).sum(1).mean()

    axes = (PCA(k).fit(train) for k in (5, 10, 20, 30, 40))
    by_pca = min(error(pca.inverse_transform(pca.transform(noisy))) for pca in axes)
    centres = KMeans(100, n_init=1, random_state=0).fit(train)
    by_centre = error(centres.cluster_centers_[centres.predict(noisy)])
    found = error(fitted.transform(noisy))
    assert found < 0.9 * min(by_pca, by_centre, error(noisy))
    assert fitted.score(noisy, clean) == pytest.approx(-found)


def test_standard_deviation_covers_and_grows_where_nothing_was_written():
    train, test = X[:250], X[250:]
    fitted = memory("fourier", beta=0.02).fit(train)
    answer, std = fitted.retrieve(test, return_std=True)
    inside = (np.abs(test - answer) < 2 * std).mean()
    assert 0.88 < inside <= 1
    _, far = fitted.retrieve(test + 40, return_std=True)
    assert (far.mean(0) > 1.02 * std.mean(0)).all()


def test_what_is_unknown_scores_lower():
    digits = load_digits().data / 16
    fitted = memory().fit(digits[:1500])
    known = fitted.score_samples(digits[1500:])
    shuffled = RNG.permuted(digits[1500:], axis=1)
    assert np.median(fitted.score_samples(shuffled)) < np.quantile(known, 0.01)


@every_addressing
def test_samples_have_the_moments_they_claim(addressing):
    fitted = memory(addressing).fit(X)
    draws = fitted.sample(20_000, random_state=0)
    error = draws.std(0) / np.sqrt(len(draws))
    np.testing.assert_array_less(np.abs(draws.mean(0) - X.mean(0)), 5 * error + 0.01)
    np.testing.assert_allclose(draws.var(0), X.var(0), rtol=0.1)
    # Noise is independent between features: a covariance is kept as far as slots go.
    w = fitted.address(X)
    _, std = fitted.retrieve(X, return_std=True)
    claimed = np.cov((w @ fitted.slots_).T, bias=True) + np.diag((std**2).mean(0))
    scale = np.sqrt(np.outer(X.var(0), X.var(0)))
    assert (np.abs(np.cov(draws.T) - claimed) / scale).max() < 0.05
    np.testing.assert_array_equal(draws, fitted.sample(20_000, random_state=0))


# --- a citizen -----------------------------------------------------------------------


@every_addressing
def test_saved_and_loaded(addressing):
    fitted = memory(addressing).fit(X.astype("f4"))
    data = skops.io.dumps(fitted)
    foreign = skops.io.get_untrusted_types(data=data)
    assert all(name.startswith("skuhop.") for name in foreign)
    for again in (
        pickle.loads(pickle.dumps(fitted)),
        copy.deepcopy(fitted),
        skops.io.loads(data, trusted=foreign),
    ):
        np.testing.assert_array_equal(again.transform(X), fitted.transform(X))
        np.testing.assert_array_equal(
            again.partial_fit(X).slots_, copy.deepcopy(fitted).partial_fit(X).slots_
        )


def test_dtype_in_is_dtype_out():
    fitted = memory().fit(X.astype("f4"))
    for dtype in ("f4", "f8"):
        answers = fitted.retrieve(X.astype(dtype), return_std=True)
        assert {a.dtype for a in answers} == {np.dtype(dtype)}
        assert fitted.score_samples(X.astype(dtype)).dtype == dtype


def test_little_memory_is_enough():
    whole = memory().fit(X)
    with config_context(working_memory=0.01):
        parts = memory().fit(X)
        found = parts.transform(X)
    np.testing.assert_allclose(found, whole.transform(X), rtol=1e-8)


@pytest.mark.parametrize("rows", [X[:1], np.ones((5, 3)), X[:10]])
def test_few_and_constant_rows(rows):
    fitted = memory().fit(rows)
    answer, std = fitted.retrieve(rows, return_std=True)
    assert np.isfinite(answer).all()
    assert (std > 0).all()
    assert np.isfinite(fitted.score_samples(rows)).all()
    assert fitted.n_slots_ <= len(rows)
    assert np.isfinite(fitted.sample(4)).all()


WRONG = {
    "n_slots": [0, -1, 2.5, None],
    "addressing": ["hash", None],
    "beta": [0, "best", np.nan],
    "alpha": [0.0, -1, "best"],
    "corruption": ["blur", 3],
    "device": ["banana", None],
}


@pytest.mark.parametrize(
    "name, value", [(name, value) for name, values in WRONG.items() for value in values]
)
def test_wrong_parameters(name, value):
    estimator = memory().set_params(**{name: value})
    with pytest.raises(InvalidParameterError, match=name) as caught:
        estimator.fit(X)
    assert repr(value) in str(caught.value)
    assert not any(key.endswith("_") for key in vars(estimator))


def test_bad_input():
    with pytest.raises(NotFittedError):
        memory().sample()
    fitted = memory().fit(X)
    before = fitted.slots_
    with pytest.raises(ValueError, match="NaN"):
        fitted.transform(np.full((1, 8), np.nan))
    with pytest.raises(ValueError, match="infinity"):
        fitted.partial_fit(np.full((1, 8), np.inf))
    with pytest.raises(ValueError, match="zero"):
        fitted.partial_fit(X, sample_weight=np.zeros(300))
    with pytest.raises(InvalidParameterError, match="n_samples"):
        fitted.sample(0)
    with pytest.raises(ValueError, match="shape"):
        fitted.score(X, X[:, :3])
    assert fitted.slots_ is before


# --- forget --------------------------------------------------------------------------


@pytest.mark.parametrize("addressing", ["softmax", "fourier"])
@pytest.mark.parametrize("weighted", [False, True])
def test_forgetting_what_was_written_last_changes_nothing(addressing, weighted):
    rng = np.random.RandomState(0)
    rows, more = rng.normal(size=(200, 5)) + 3, rng.normal(size=(60, 5)) + 3
    first, then = (1 + np.arange(n) % 3 if weighted else None for n in (200, 60))
    memory = KanervaMemory(8, addressing=addressing, random_state=0)
    memory.fit(rows, sample_weight=first)
    before = copy.deepcopy(memory)
    memory.partial_fit(more, sample_weight=then)
    assert np.abs(memory.slots_ - before.slots_).max() > 1e-3
    memory.forget(more, sample_weight=then)
    for name in ("slots_", "noise_variance_", "alpha_", "n_samples_seen_"):
        np.testing.assert_allclose(getattr(memory, name), getattr(before, name), 1e-6)
    answers, std = memory.retrieve(more, return_std=True)
    expected, expected_std = before.retrieve(more, return_std=True)
    np.testing.assert_allclose(answers, expected, rtol=1e-7)
    np.testing.assert_allclose(std, expected_std, rtol=1e-7)
    np.testing.assert_allclose(
        memory.score_samples(rows), before.score_samples(rows), rtol=1e-6
    )


def test_what_leaves_nothing_definite_is_refused():
    rng = np.random.RandomState(0)
    rows = rng.normal(size=(30, 4))
    memory = KanervaMemory(6, random_state=0).fit(rows)
    before = dict(vars(memory))
    for gone in (rows, rows[:28], rows[[3] * 20]):
        with pytest.raises(ValueError, match=r"rows that were written.*cannot"):
            memory.forget(gone)
        assert vars(memory) == before
    few = KanervaMemory(30, random_state=0).fit(rows[:20]).partial_fit(rows)
    with pytest.raises(ValueError, match="leave more of them than"):
        few.forget(np.repeat(rows[:1], 60, axis=0))
