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


def judge_plainly(stored, row, detector):
    """Terms (d,) of one row by the definition, in plain loops."""
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


def test_stored_rows_are_judged_by_the_others():
    detector = UHopDetector().fit(X)
    np.testing.assert_allclose(detector.score_samples(X), detector.scores_)
    # One of them alone, and a row nearly the same, which has a neighbour.
    near = X[:1] + 1e-9 * X.std(0)
    np.testing.assert_allclose(detector.score_samples(X[:1]), detector.scores_[:1])
    assert detector.score_samples(near) > detector.scores_[0] + 0.01


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


def test_rows_do_not_know_each_other():
    detector = UHopDetector().fit(X)
    whole = detector.score_samples(NEW)
    single = np.concatenate([detector.score_samples(row[None]) for row in NEW])
    np.testing.assert_allclose(single, whole, rtol=1e-12)


BAD = {
    "n_neighbors": (0, ">= 1.*0"),
    "contamination": (0.6, "'auto' or a finite number > 0 and <= 0.5.*0.6"),
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
