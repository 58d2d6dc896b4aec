"""similarity="auto": told nothing, told the damage, shown queries."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn import config_context
from sklearn.datasets import load_digits, load_iris
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler

from skuhop import Training, UHopMemory
from skuhop.learning import CORRUPTIONS
from skuhop.learning.trainer import WATCH_EVERY

X = load_digits().data[:60] / 16
RNG = np.random.RandomState(0)
HALF = X * (RNG.uniform(size=X.shape) < 0.5) * 2
NOISY = X + 0.4 * RNG.standard_normal(X.shape)


def half_mask(A, random_state):
    return A * (random_state.uniform(size=A.shape) < 0.5) * 2


def offset(A, random_state):
    return A + random_state.uniform(-0.5, 0.5, (len(A), 1))


def error(memory, queries, target=X):
    return ((memory.transform(queries).clip(0, 1) - target) ** 2).sum(1).mean()


MODES = {
    "told nothing": lambda A: UHopMemory(max_iter=5).fit(A),
    "told": lambda A: UHopMemory(corruption=half_mask, max_iter=5, random_state=0).fit(
        A
    ),
    "shown queries": lambda A: UHopMemory(max_iter=5).fit(A, queries=HALF),
    "both": lambda A: UHopMemory(corruption="both", max_iter=5, random_state=0).fit(A),
}


@pytest.mark.parametrize("mode", MODES)
def test_stored_patterns_come_back_exactly(mode):
    memory = MODES[mode](X)
    assert_allclose(memory.transform(X), X, atol=1e-10)
    assert_array_equal(memory.predict(X), np.arange(len(X)))


@pytest.mark.parametrize("mode", MODES)
def test_order_of_patterns_changes_nothing(mode):
    order = np.random.RandomState(1).permutation(len(X))
    one, other = MODES[mode](X), MODES[mode](X[order])
    assert_allclose(one.transform(HALF), other.transform(HALF), atol=1e-8)
    assert_allclose(
        one.association(NOISY)[:, order], other.association(NOISY), atol=1e-7
    )


@pytest.mark.parametrize("mode", MODES)
def test_rows_do_not_know_each_other(mode):
    memory = MODES[mode](X)
    together = memory.transform(NOISY)
    alone = np.vstack([memory.transform(row[None]) for row in NOISY[:10]])
    assert_allclose(alone, together[:10], atol=1e-8)
    with config_context(working_memory=0.01):
        assert_allclose(memory.transform(NOISY), together, atol=1e-8)


@pytest.mark.parametrize("mode", MODES)
def test_weight_k_is_k_copies(mode):
    weights = np.random.RandomState(2).randint(0, 4, size=len(X))
    copies = MODES[mode](np.repeat(X, weights, axis=0))
    memory = UHopMemory(**copies.get_params())
    queries = {"queries": HALF} if mode == "shown queries" else {}
    memory.fit(X, sample_weight=weights, **queries)
    assert_allclose(memory.transform(NOISY), copies.transform(NOISY), atol=1e-7)
    assert_allclose(memory.energy(NOISY), copies.energy(NOISY), rtol=1e-7)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("scale", [256.0, 2.0**-10])
def test_units_do_not_matter(mode, scale):
    if mode == "shown queries":
        memory = UHopMemory(max_iter=5).fit(scale * X, queries=scale * HALF)
    else:
        memory = MODES[mode](scale * X)
    found = memory.transform(scale * NOISY) / scale
    assert_allclose(found, MODES[mode](X).transform(NOISY), atol=1e-6)


def test_energy_is_minus_log_likelihood():
    memory = UHopMemory(max_iter=5).fit(X)
    assert_allclose(memory.score_samples(HALF), -memory.energy(HALF))
    strange = np.random.RandomState(3).uniform(size=X.shape)
    assert memory.score_samples(X).min() > memory.score_samples(strange).max()


def test_told_nothing_beats_every_plain_similarity():
    ours = error(UHopMemory(random_state=0).fit(X), HALF)
    for similarity in ("euclidean", "cosine", "correlation", "manhattan"):
        plain = UHopMemory("identity", similarity=similarity).fit(X)
        assert ours < 0.5 * error(plain, HALF)


def test_told_offset_is_not_taken_for_a_channel():
    queries = offset(X, np.random.RandomState(5))
    memory = UHopMemory(corruption=offset, max_iter=5, random_state=0).fit(X)
    assert error(memory, queries) < 1e-3
    trust = memory.damage_model_["trust"]
    assert all(value >= 0 for value in trust.values())


@pytest.mark.parametrize("corruption", CORRUPTIONS)
def test_named_corruptions(corruption):
    queries = CORRUPTIONS[corruption](X, np.random.RandomState(7))
    told = UHopMemory(corruption=corruption, max_iter=5, random_state=0).fit(X)
    plain = UHopMemory("identity", similarity="cosine").fit(X)
    assert error(told, queries) <= error(plain, queries) + 1e-6


def test_queries_through_a_pipeline():
    with config_context(enable_metadata_routing=True):
        memory = UHopMemory(max_iter=5).set_fit_request(queries=True)
        pipeline = make_pipeline(MinMaxScaler(), memory, memory=None).set_params()
        pipeline.transform_input = ["queries"]
        pipeline.fit(16 * X, queries=16 * HALF)
        assert error(pipeline, 16 * HALF, pipeline[0].transform(16 * X)) < 0.1


def test_queries_with_nan_are_left_out():
    broken = HALF.copy()
    broken[::2, 3] = np.nan
    memory = UHopMemory(max_iter=5).fit(X, queries=broken)
    complete = UHopMemory(max_iter=5).fit(X, queries=HALF[1::2])
    assert_array_equal(memory.transform(NOISY), complete.transform(NOISY))


def test_queries_of_another_width():
    with pytest.raises(ValueError, match="queries must have the 64 features"):
        UHopMemory().fit(X, queries=HALF[:, :5])


def test_queries_and_corruption_are_one_too_many():
    memory = UHopMemory(corruption="mask")
    with pytest.raises(ValueError, match="queries or the parameter corruption"):
        memory.fit(X, queries=HALF)
    assert not hasattr(memory, "patterns_")


@pytest.mark.parametrize("corruption", [lambda A, r: A[:, :3], lambda A, r: A + np.nan])
def test_corruption_that_is_none(corruption):
    with pytest.raises(ValueError, match="corruption must return a finite array"):
        UHopMemory(corruption=corruption).fit(X)


def test_auto_needs_its_fit():
    memory = UHopMemory(similarity="dot", max_iter=5).fit(X)
    with pytest.raises(ValueError, match="call fit again"):
        memory.set_params(similarity="auto").transform(X)


def test_selection_says_what_was_kept():
    memory = UHopMemory(max_iter=20).fit(X)
    selection = memory.selection_
    assert selection["kept"] in ("learned", "identity")
    # The score is that of the step it names, and a step is learned unless the first.
    look = memory.validation_scores_[selection["step"] // WATCH_EVERY]
    assert selection["kept_score"] == look >= selection["start_score"]
    assert (selection["kept"] == "learned") == (selection["step"] > 0)
    assert isinstance(selection["reason"], str)


@pytest.mark.parametrize("feature_map", ["linear", "mlp"])
def test_posterior_loss_learns_occlusion(feature_map):
    def lower_half_gone(A, random_state):
        return np.where(np.arange(A.shape[1]) < 32, A, 0)

    params = {"similarity": "euclidean", "random_state": 0}
    plain = UHopMemory("identity", **params).fit(X)
    learned = UHopMemory(
        feature_map,
        loss="posterior",
        corruption=lower_half_gone,
        training=Training(learning_rate=3e-3),
        **params,
    ).fit(X)
    queries = lower_half_gone(X, None)
    assert error(learned, queries) < 0.2 * error(plain, queries)
    assert learned.selection_["kept"] == "learned"


def test_training_that_harms_is_undone():
    memory = UHopMemory(
        similarity="euclidean",
        training=Training(learning_rate=1.0),
        loss="max",
        random_state=0,
    ).fit(X)
    assert memory.selection_["step"] == 0
    plain = UHopMemory("identity", similarity="euclidean").fit(X)
    assert error(memory, NOISY) < 1.02 * error(plain, NOISY)


def test_no_better_than_the_identity_is_the_identity():
    # Queries as they were stored: nothing can be learned that the identity lacks.
    memory = UHopMemory(
        similarity="euclidean", corruption=lambda A, random_state: A, random_state=0
    ).fit(X)
    assert memory.selection_["kept"] == "identity"
    plain = UHopMemory("identity", similarity="euclidean").fit(X)
    assert_array_equal(memory.transform(NOISY), plain.transform(NOISY))


def test_few_features_are_compared_by_distance():
    A = load_iris().data
    queries = A + 0.2 * np.random.RandomState(0).standard_normal(A.shape)
    plain = UHopMemory("identity", similarity="euclidean").fit(A)
    assert_allclose(UHopMemory().fit(A).transform(queries), plain.transform(queries))
