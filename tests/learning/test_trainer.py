"""The Stage I loop, seen from the estimator: the curve, the rules, the seeds."""

import numpy as np
import pytest
import torch

from skuhop import Training, UHopMemory
from skuhop.learning import LOSSES, trainer
from skuhop.learning.losses import EXPONENTS

RNG = np.random.default_rng(0)
X = RNG.normal(size=(30, 8)) + 2


class Module(torch.nn.Sequential):
    def __init__(self, n_features):
        super().__init__(torch.nn.Linear(n_features, 6), torch.nn.Tanh())


def fit(data=X, weights=None, max_iter=20, **params):
    """Fit a memory; what `Training` knows goes into one."""
    training = Training(
        early_stopping=False, n_iter_no_change=10_000, learning_rate=1e-2
    )
    numbers = {name: params.pop(name) for name in vars(training) if name in params}
    params = {
        "training": training.set_params(**numbers),
        "max_iter": max_iter,
        "random_state": 0,
        **params,
    }
    return UHopMemory(**params).fit(data, sample_weight=weights)


def dim(X, random_state):
    """A corruption without chance, so that the posterior loss has a smooth curve."""
    return 0.5 * X + 0.3


def kernel(memory):
    return memory.components_.T @ memory.components_


@pytest.mark.parametrize("feature_map", ["linear", "mlp", Module])
@pytest.mark.parametrize("loss", [*LOSSES, "posterior"])
def test_the_loss_falls(loss, feature_map):
    memory = fit(loss=loss, feature_map=feature_map, max_iter=60, corruption=dim)
    curve = memory.loss_curve_
    assert np.mean(curve[-20:]) < np.mean(curve[:20])
    assert len(curve) == memory.n_iter_ == 60
    assert memory.loss_ == curve[-1]
    assert all(isinstance(value, float) for value in curve)


@pytest.mark.parametrize("loss", LOSSES)
def test_the_curve_starts_at_the_loss_of_the_patterns(loss):
    expected = LOSSES[loss](torch.tensor(X)).item()
    assert fit(loss=loss).loss_curve_[0] == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("feature_map", ["linear", "mlp", Module])
@pytest.mark.parametrize("loss", ["average", "posterior"])
@pytest.mark.parametrize("early_stopping", [True, False])
def test_deterministic_for_a_seed(feature_map, loss, early_stopping):
    params = {
        "feature_map": feature_map,
        "loss": loss,
        "early_stopping": early_stopping,
        "random_state": 3,
    }
    one, other = fit(**params), fit(**params)
    assert one.loss_curve_ == other.loss_curve_
    for key, value in one.feature_map_state_.items():
        np.testing.assert_array_equal(value, other.feature_map_state_[key])


def test_another_seed_starts_a_module_elsewhere():
    one, other = (fit(feature_map=Module, random_state=seed) for seed in (0, 1))
    assert one.loss_curve_ != other.loss_curve_


def test_torchs_global_state_is_left_alone():
    torch_state, numpy_state = torch.random.get_rng_state(), np.random.get_state()[1]
    numpy_state = numpy_state.copy()
    fit(feature_map=Module, loss="posterior", early_stopping=True)
    assert torch.equal(torch.random.get_rng_state(), torch_state)
    np.testing.assert_array_equal(np.random.get_state()[1], numpy_state)


@pytest.mark.parametrize("early_stopping", [True, False])
@pytest.mark.parametrize("n, d", [(30, 8), (6, 15)])
def test_order_of_the_patterns_is_irrelevant(n, d, early_stopping):
    data = RNG.normal(size=(n, d))
    order = RNG.permutation(n)
    one = fit(data, early_stopping=early_stopping)
    other = fit(data[order], early_stopping=early_stopping)
    np.testing.assert_array_equal(kernel(one), kernel(other))
    np.testing.assert_array_equal(other.patterns_, data[order])


@pytest.mark.parametrize("early_stopping", [True, False])
@pytest.mark.parametrize("loss", LOSSES)
def test_weights_are_copies(loss, early_stopping):
    w = RNG.integers(0, 4, size=30)
    one = fit(weights=w.astype(float), loss=loss, early_stopping=early_stopping)
    other = fit(np.repeat(X, w, axis=0), loss=loss, early_stopping=early_stopping)
    np.testing.assert_allclose(kernel(one), kernel(other), rtol=1e-12, atol=1e-12)
    assert one.loss_curve_ == pytest.approx(other.loss_curve_)
    if loss != "max":  # whose closest pair does not care how often it counts
        assert not np.allclose(kernel(one), kernel(fit(X[w > 0], loss=loss)))


def test_weights_are_copies_for_the_answers():
    w = np.arange(30) % 4
    queries = RNG.normal(size=(9, 8)) + 2
    one, other = fit(weights=w.astype(float)), fit(np.repeat(X, w, axis=0))
    np.testing.assert_allclose(one.transform(queries), other.transform(queries))
    np.testing.assert_allclose(one.energy(queries), other.energy(queries))
    np.testing.assert_array_equal(one.patterns_, X[w > 0])


@pytest.mark.parametrize("feature_map, rate", [("linear", 0.01), ("mlp", 0.001)])
def test_early_stopping_keeps_what_retrieves_best(feature_map, rate):
    """The map is the one of the best look: that of a fit which ends there."""
    params = {"feature_map": feature_map, "learning_rate": rate}
    memory = fit(**params, early_stopping=True, max_iter=200, n_iter_no_change=20)
    step, scores = memory.selection_["step"], memory.validation_scores_
    assert scores[step // trainer.WATCH_EVERY] == max(scores) > scores[0]
    assert step % trainer.WATCH_EVERY == 0 < step < memory.n_iter_ == step + 20
    best, last = (fit(**params, max_iter=n) for n in (step, memory.n_iter_))
    for name, value in memory.feature_map_state_.items():
        np.testing.assert_array_equal(value, best.feature_map_state_[name])
    assert not np.array_equal(memory.components_, last.components_)


def test_early_stopping_goes_back_to_the_start():
    memory = fit(early_stopping=True, learning_rate=1.0, max_iter=30)
    assert memory.n_iter_ > memory.selection_["step"] == 0
    np.testing.assert_allclose(kernel(memory), np.eye(8), atol=1e-12)


def test_patience():
    short, long = (
        fit(early_stopping=True, learning_rate=1.0, max_iter=300, n_iter_no_change=n)
        for n in (5, 60)
    )
    assert short.n_iter_ < long.n_iter_


def test_tol_decides_what_counts_as_better():
    memory = fit(early_stopping=True, tol=1e3, n_iter_no_change=7, max_iter=300)
    assert memory.n_iter_ <= 10


def test_max_iter_is_the_most():
    assert fit(max_iter=1).n_iter_ == 1
    assert fit(max_iter=3, early_stopping=True).n_iter_ <= 3


def test_one_pattern_has_nothing_to_learn():
    memory = fit(X[:1])
    assert memory.loss_curve_ == []
    assert np.isnan(memory.loss_)
    assert memory.n_iter_ == 1  # as scikit-learn wants it
    copies = fit(np.repeat(X[:1], 5, axis=0))
    assert copies.loss_curve_ == []


def test_mini_batches(monkeypatch):
    """More patterns than a full batch holds: shuffled parts, the same for a seed."""
    seen = []

    def distances(features):
        seen.append(len(features))
        return average(features)

    average = EXPONENTS["average"]
    monkeypatch.setitem(EXPONENTS, "average", distances)
    monkeypatch.setattr(trainer, "FULL_BATCH", 8)
    one, other = fit(max_iter=40), fit(max_iter=40)
    assert set(seen) == {8}
    assert one.loss_curve_ == other.loss_curve_
    assert len(set(one.loss_curve_)) > 1
    weighted = fit(weights=np.arange(1.0, 31.0), max_iter=40)
    assert weighted.loss_curve_ != one.loss_curve_
    assert np.isfinite(weighted.components_).all()
    start, end = torch.tensor(X), torch.tensor(X @ one.components_.T)
    assert LOSSES["average"](end) < LOSSES["average"](start)


def test_all_patterns_get_a_turn(monkeypatch):
    monkeypatch.setattr(trainer, "FULL_BATCH", 8)
    generator = torch.Generator().manual_seed(0)
    batches = trainer._batches(30, generator)
    rows = torch.stack([next(batches) for _ in range(3)]).flatten()
    assert len(set(rows.tolist())) == 24
    more = torch.stack([next(batches) for _ in range(30)]).flatten()
    assert set(more.tolist()) == set(range(30))


@pytest.mark.parametrize("feature_map", ["linear", "mlp"])
def test_warm_start(feature_map):
    params = {"feature_map": feature_map, "loss": "average"}
    memory = fit(**params, warm_start=True)
    last = memory.loss_
    memory.fit(X)
    cold = fit(**params)
    cold.fit(X)
    # The last step may rise a little, but the start is far away.
    assert cold.loss_curve_[0] - last > 0.1
    assert abs(memory.loss_curve_[0] - last) < 0.1 * (cold.loss_curve_[0] - last)
    memory.fit(X[:, :5])  # the old shape does not fit: a fresh start
    assert memory.components_.shape == (5, 5)


@pytest.mark.parametrize("rank", [1, 3])
def test_rank_deficient_patterns(rank):
    flat = RNG.normal(size=(12, rank)) @ RNG.normal(size=(rank, 8))
    memory = fit(flat, similarity="euclidean")
    assert np.isfinite(memory.components_).all()
    np.testing.assert_allclose(memory.transform(flat), flat, atol=1e-6)


def test_verbose(capsys):
    fit(verbose=1, max_iter=4)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 4
    assert all("loss = " in line for line in lines)
    fit(verbose=0, max_iter=4)
    assert capsys.readouterr().out == ""
