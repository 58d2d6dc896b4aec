"""UHopDetector: its scores, what they are made of, and what it sees."""

import pickle

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.covariance import ledoit_wolf
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from skuhop import UHopDetector

RNG = np.random.RandomState(0)
MIX = RNG.normal(size=(4, 4))
X = RNG.normal(size=(120, 4)) @ MIX * [1, 10, 0.1, 5] + [0, 3, 0, -100]
NEW = np.concatenate([X[:3], RNG.normal(size=(5, 4)) @ MIX * [1, 10, 0.1, 5]])


CHECKS = parametrize_with_checks([UHopDetector()])


@pytest.mark.parametrize("estimator, check", list(CHECKS.args[1]))
def test_estimator_checks(estimator, check):
    check(estimator)


def judge_plainly(stored, row, detector, copies=1):
    """Terms (d,) of one row by the definition, in plain loops."""
    stored = np.repeat(stored, copies, axis=0)
    mean, scale = stored.mean(0), stored.std(0)
    Z = (stored - mean) / scale
    P = np.linalg.inv(ledoit_wolf(Z, assume_centered=True)[0])
    both = [np.concatenate([z, z @ P / np.sqrt(np.diag(P))]) for z in Z]
    own = (row - mean) / scale
    own = np.concatenate([own, own @ P / np.sqrt(np.diag(P))])
    others = np.array(both)[(stored != row).any(1)]
    near = np.abs(others - own).sum(1).argsort()[: detector.n_neighbors]
    terms = np.abs(others[near] - own).mean(0) / detector.distance_
    density = np.exp(-np.abs(others - own) / 0.3).mean(0)
    terms -= np.log((density + 1e-6) / 0.6) / 2 / len(row)
    return terms[: len(row)] + terms[len(row) :]


def test_scores_are_those_of_the_definition():
    detector = UHopDetector(n_neighbors=3).fit(X)
    expected = np.array([judge_plainly(X, row, detector) for row in NEW])
    np.testing.assert_allclose(detector.explain(NEW), expected, rtol=1e-6)
    np.testing.assert_allclose(detector.score_samples(NEW), -expected.sum(1))


@pytest.mark.parametrize("n, d", [(480, 9), (117, 60), (230, 18)])
def test_a_row_is_known_again_whatever_it_is_asked_with(n, d):
    """Rounding differs from product to product, and with it what residuals are."""
    rng = np.random.RandomState(0)
    rows = rng.randint(1, 11, size=(n, d)) + rng.normal(size=n)[:, None].round()
    detector = UHopDetector().fit(rows)
    one_by_one = [detector.score_samples(row[None])[0] for row in rows[:40]]
    np.testing.assert_allclose(one_by_one, detector.scores_[:40])
    np.testing.assert_allclose(detector.score_samples(rows), detector.scores_)
    # It is none of its own neighbours: a row beside it has one more, and near.
    beside = rows[:40] + 1e-3 * rows.std(0)
    assert (detector.score_samples(beside) > detector.scores_[:40]).all()


@pytest.mark.parametrize("apart", [1e2, 1e4, 1e6])
def test_clusters_that_are_far_apart_are_no_one_heap(apart):
    """Candidates are looked for in single precision: inside a cluster it is none."""
    rng = np.random.RandomState(0)
    middles = apart * rng.normal(size=(4, 3))
    rows = middles[rng.randint(4, size=400)] + rng.normal(size=(400, 3))
    asked = np.concatenate([middles + 0.5, middles + 4])
    detector = UHopDetector(n_neighbors=3).fit(rows)
    expected = np.array([judge_plainly(rows, row, detector) for row in asked])
    np.testing.assert_allclose(detector.explain(asked), expected, rtol=1e-5, atol=1e-8)


def test_stored_rows_are_judged_by_the_others():
    detector = UHopDetector().fit(X)
    np.testing.assert_allclose(detector.score_samples(X), detector.scores_)
    # One of them alone, and a row nearly the same, which has a neighbour.
    near = X[:1] + 1e-9 * X.std(0)
    np.testing.assert_allclose(detector.score_samples(X[:1]), detector.scores_[:1])
    assert detector.score_samples(near) > detector.scores_[0] + 0.01


WEIGHTS = RNG.randint(0, 4, len(X))


@pytest.mark.parametrize("n_neighbors", [1, 5, 40])
@pytest.mark.parametrize("share", ["auto", 0.1])
def test_weights_are_copies(n_neighbors, share):
    params = {"n_neighbors": n_neighbors, "contamination": share}
    order = RNG.permutation(WEIGHTS.sum())
    copies = UHopDetector(**params).fit(X.repeat(WEIGHTS, axis=0)[order])
    weight = UHopDetector(**params).fit(X, sample_weight=WEIGHTS)
    np.testing.assert_array_equal(weight.patterns_, X[WEIGHTS > 0])
    np.testing.assert_array_equal(weight.sample_weight_, WEIGHTS[WEIGHTS > 0])
    for name in ("mean_", "scale_", "precision_", "distance_", "offset_"):
        np.testing.assert_allclose(getattr(weight, name), getattr(copies, name), 1e-9)
    np.testing.assert_allclose(weight.explain(NEW), copies.explain(NEW))
    np.testing.assert_allclose(weight.score_samples(X), copies.score_samples(X))
    scores = weight.scores_.repeat(WEIGHTS[WEIGHTS > 0])[order]
    np.testing.assert_allclose(scores, copies.scores_)
    ones = UHopDetector().fit(X, sample_weight=np.ones(len(X)))
    assert ones.sample_weight_ is None


def test_weights_by_the_definition():
    weights, new = 1 + WEIGHTS, NEW[3:]
    detector = UHopDetector(n_neighbors=6).fit(X, sample_weight=weights)
    expected = [judge_plainly(X, row, detector, weights) for row in new]
    np.testing.assert_allclose(detector.explain(new), expected, rtol=1e-6)
    low, high = np.quantile(detector.scores_.repeat(weights), [0.25, 0.75])
    assert detector.offset_ == pytest.approx(low - 1.5 * (high - low))
    # Half the weight, half the neighbours: the same rows.
    half = UHopDetector(n_neighbors=3).fit(X, sample_weight=weights / 2)
    half.precision_, half.distance_ = detector.precision_, detector.distance_
    np.testing.assert_allclose(half.explain(new), detector.explain(new))


def test_copies_are_neighbours_of_each_other():
    detector = UHopDetector(n_neighbors=1).fit(np.repeat(X, 2, axis=0))
    terms = detector.explain(X)
    alone = UHopDetector(n_neighbors=1).fit(X).explain(X)
    assert (terms.sum(1) < alone.sum(1)).all()
    many = UHopDetector(n_neighbors=3).fit(np.repeat(X[:2], 9, axis=0))
    assert np.isfinite(many.scores_).all()
    assert many.distance_ == 1


@pytest.mark.parametrize("share", [0.01, 0.05, 0.1, 0.5])
def test_contamination_is_the_share_of_outliers(share):
    detector = UHopDetector(contamination=share).fit(X)
    assert abs((detector.predict(X) == -1).mean() - share) < 0.01
    np.testing.assert_array_equal(detector.fit_predict(X), detector.predict(X))
    decision = detector.decision_function(X)
    np.testing.assert_array_equal(decision < 0, detector.predict(X) == -1)
    np.testing.assert_allclose(decision + detector.offset_, detector.scores_)


def test_auto_is_the_fence_of_a_box_plot():
    detector = UHopDetector().fit(X)
    low, high = np.percentile(detector.scores_, [25, 75])
    assert detector.offset_ == pytest.approx(low - 1.5 * (high - low))


def test_what_it_sees_and_why():
    """Outliers by themselves and beside others, blamed on the right features."""
    rng = np.random.RandomState(1)
    rows = rng.normal(size=(400, 5))
    rows[:, 4] = rows[:, 0] + rows[:, 1] + 0.05 * rng.normal(size=400)
    odd = rows[[5, 250]].copy()
    odd[0, 2], odd[1, 4] = 6.0, odd[1, 4] + 2
    table = np.concatenate([rows, odd])
    detector = UHopDetector().fit(table)
    kinds = np.arange(len(table)) >= 400
    assert roc_auc_score(kinds, -detector.scores_) == 1
    assert abs(odd[1, 4]) < np.abs(rows[:, 4]).max()  # Usual by itself.
    terms = detector.explain(odd)
    assert terms[0].argmax() == 2
    # Of a dependency all that take part in it are to blame.
    assert set(terms[1].argsort()[-3:]) == {0, 1, 4}


@pytest.mark.parametrize("scale", [1e-150, 1e-3, 1e6, 1e150])
def test_units_do_not_matter(scale):
    shift = 7 * scale * X.std(0)
    detector, other = UHopDetector().fit(X), UHopDetector().fit(X * scale + shift)
    np.testing.assert_allclose(other.scores_, detector.scores_, rtol=1e-5)


@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_precision_and_far_rows(dtype):
    detector = UHopDetector().fit(X.astype(dtype))
    assert detector.scores_.dtype == dtype
    assert detector.patterns_.dtype == dtype
    most = np.finfo(dtype).max / 8
    scores = detector.score_samples(np.full((1, 4), most, dtype))
    assert np.isfinite(scores).all()
    assert scores < detector.scores_.min() - 100
    full = UHopDetector().fit(X).scores_
    np.testing.assert_allclose(detector.scores_, full, rtol=2e-3, atol=2e-3)


def test_constant_and_dependent_columns():
    rows = np.column_stack([X, X[:, 0] * 2, np.full(len(X), 3.0)])
    detector = UHopDetector().fit(rows)
    odd = rows[:1].copy()
    odd[0, 5] = 4
    assert detector.predict(odd) == -1
    assert detector.explain(odd).argmax() == 5
    assert np.isfinite(UHopDetector().fit(np.ones((7, 2))).scores_).all()


def test_unknown_entries():
    holes = X.copy()
    holes[RNG.random_sample(X.shape) < 0.1] = np.nan
    detector = UHopDetector().fit(holes)
    assert not np.isnan(detector.patterns_).any()
    asked = np.where(np.isnan(NEW * 0), 0, NEW)
    asked[0, 1] = np.nan
    filled = asked.copy()
    filled[0, 1] = detector.mean_[1]
    np.testing.assert_allclose(
        detector.score_samples(asked), detector.score_samples(filled)
    )


def test_lives_among_the_tools():
    frame = pd.DataFrame(X, columns=list("abcd"))
    detector = UHopDetector().fit(frame)
    assert list(detector.feature_names_in_) == list("abcd")
    loaded = pickle.loads(pickle.dumps(detector))
    np.testing.assert_array_equal(loaded.predict(frame), detector.predict(frame))
    piped = make_pipeline(StandardScaler(), clone(detector)).fit(frame)
    np.testing.assert_allclose(piped.score_samples(frame), detector.scores_)
    assert cross_val_predict(UHopDetector(), X, method="predict").shape == (120,)


WORDS = np.array(["up", "down", "left"])[RNG.randint(3, size=120)]
TABLE = pd.DataFrame(X, columns=list("abcd"))
TABLE.insert(2, "word", pd.Categorical(WORDS))
TABLE["flag"] = X[:, 0] > 0


def test_nominal_columns_are_indicators():
    columns = [TABLE["a"], TABLE["b"]]
    columns += [WORDS == word for word in sorted(set(WORDS))]
    columns += [TABLE["c"], TABLE["d"], ~TABLE["flag"], TABLE["flag"]]
    plain = np.column_stack(columns).astype(float)
    weights = 1 + WEIGHTS
    detector = UHopDetector().fit(TABLE, sample_weight=weights)
    other = UHopDetector().fit(plain, sample_weight=weights)
    np.testing.assert_array_equal(detector.patterns_, plain)
    np.testing.assert_allclose(detector.scores_, other.scores_)
    terms, parts = detector.explain(TABLE), other.explain(plain)
    assert terms.shape == TABLE.shape
    expected = np.add.reduceat(parts, [0, 1, 2, 5, 6, 7], axis=1)
    np.testing.assert_allclose(terms, expected)
    np.testing.assert_allclose(terms.sum(1), -detector.score_samples(TABLE))
    assert list(detector.feature_names_in_) == list(TABLE.columns)
    assert detector.is_categorical_.tolist() == [False, False, True, False, False, True]
    loaded = pickle.loads(pickle.dumps(detector))
    np.testing.assert_array_equal(loaded.predict(TABLE), detector.predict(TABLE))


def test_what_a_value_says():
    """A value that is rare, and one that does not go with another column."""
    rng = np.random.RandomState(2)
    kind = rng.randint(2, size=300)
    table = pd.DataFrame({"size": rng.normal(size=300) + 6 * kind})
    table["kind"] = np.array(["mouse", "horse"], object)[kind]
    table["tail"] = np.where(np.arange(300) == 7, "two", "one")
    odd = pd.DataFrame({"size": [6.0], "kind": ["mouse"], "tail": ["one"]})
    detector = UHopDetector().fit(table)
    assert detector.scores_.argmin() == 7
    assert detector.explain(table)[7].argmax() == 2
    assert detector.predict(odd) == -1
    assert detector.explain(odd)[0, 2] < detector.explain(odd)[0, :2].min()
    # What has not been met is a hole, and columns may be named.
    new, hole = odd.assign(kind="whale"), odd.assign(kind=None)
    assert detector.score_samples(new) == detector.score_samples(hole)
    codes = table.assign(kind=kind, tail=table["tail"] == "two").astype(float)
    named = UHopDetector(categorical_features=["kind", "tail"]).fit(codes)
    np.testing.assert_allclose(named.scores_, detector.scores_, rtol=1e-6)


def test_bad_tables_and_weights_leave_all_as_it_was():
    detector = UHopDetector().fit(TABLE)
    before = dict(vars(detector))
    with pytest.raises(ValueError, match="Negative"):
        detector.fit(TABLE, sample_weight=-np.ones(120))
    with pytest.raises(ValueError, match="are zero"):
        detector.fit(TABLE, sample_weight=np.zeros(120))
    many = pd.DataFrame({"word": [f"word {i}" for i in range(300)]})
    with pytest.raises(ValueError, match="at most 255 values"):
        detector.fit(many)
    assert vars(detector) == before


def test_rows_do_not_know_each_other():
    detector = UHopDetector().fit(X)
    whole = detector.score_samples(NEW)
    single = np.concatenate([detector.score_samples(row[None]) for row in NEW])
    np.testing.assert_allclose(single, whole, rtol=1e-12)


BAD = {
    "n_neighbors": (0, ">= 1.*0"),
    "contamination": (0.6, "'auto' or a finite number > 0 and <= 0.5.*0.6"),
    "categorical_features": (3, "'from_dtype' or None or an array-like"),
    "device": (3, "a string"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_parameters_leave_all_as_it_was(name):
    value, message = BAD[name]
    detector = UHopDetector().fit(X)
    detector.set_params(**{name: value})
    before = dict(vars(detector))
    with pytest.raises(ValueError, match=message):
        detector.fit(X[:50])
    assert vars(detector) == before


def test_one_row_has_no_others():
    with pytest.raises(ValueError, match="minimum of 2"):
        UHopDetector().fit(X[:1])
    assert UHopDetector().fit(X[:2]).predict(X[:2]).shape == (2,)
