"""What arrays hold is looked at last: nothing that is no number gets in."""

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.datasets import make_classification
from sklearn.model_selection import cross_val_predict

from skuhop import KanervaMemory, UHopClassifier, UHopMemory, UHopRegressor
from skuhop.metrics import hit_rate, retrieval_error
from skuhop.support.checks.entries import cast, check_columns

RNG = np.random.RandomState(0)
X = RNG.randn(24, 4)
Y = X[:, 0] + 1
LABELS = (Y > 1).astype(int)
MEMORY = UHopMemory("identity", similarity="euclidean")
CLASSIFIER = UHopClassifier("identity", random_state=0)
REGRESSOR = UHopRegressor("identity", random_state=0)
KANERVA = KanervaMemory(4, random_state=0)
ALL = {type(e).__name__: e for e in (MEMORY, CLASSIFIER, REGRESSOR, KANERVA)}


def fit(estimator, rows=X, **more):
    """Fit a clone on rows, with labels or values where it wants them."""
    target = {"UHopClassifier": (LABELS,), "UHopRegressor": (Y,)}
    return clone(estimator).fit(rows, *target.get(type(estimator).__name__, ()), **more)


def add(estimator, rows, **more):
    """Store more rows."""
    n = len(rows)
    target = {"UHopClassifier": (LABELS[:n],), "UHopRegressor": (Y[:n],)}
    return estimator.partial_fit(
        rows, *target.get(type(estimator).__name__, ()), **more
    )


def state(estimator):
    return {k: v for k, v in vars(estimator).items() if k.endswith("_")}


# --- what is no number ---------------------------------------------------------------

NO_NUMBERS = {
    "None": None,
    "NaN": np.nan,
    "infinity": -np.inf,
    "'nan'": "nan",
    "'inf'": "inf",
    "word": "one",
    "complex": 1j,
    "NA": pd.NA,
    "NaT": pd.NaT,
}


def spoilt(values, wrong):
    out = np.asarray(values).astype(object)
    out[3] = wrong
    return out


@pytest.mark.parametrize("wrong", NO_NUMBERS.values(), ids=NO_NUMBERS)
@pytest.mark.parametrize("columns", [1, 2])
def test_values_of_a_regressor(wrong, columns):
    y = spoilt(np.column_stack([Y] * columns).squeeze(), wrong)
    with pytest.raises(ValueError, match=r"\by\b"):
        fit(REGRESSOR).fit(X, y)
    regressor = clone(REGRESSOR).fit(X, np.column_stack([Y] * columns).squeeze())
    before, answer = state(regressor), regressor.predict(X)
    with pytest.raises(ValueError, match=r"\by\b"):
        regressor.partial_fit(X, y)
    assert state(regressor).keys() == before.keys()
    np.testing.assert_array_equal(regressor.predict(X), answer)


@pytest.mark.parametrize(
    "y",
    [
        [*map(str, Y[:-1]), "nan"],
        Y + 0j,
        np.ma.masked_less(Y, 0.5),
        pd.Series([*Y[:-1], None], dtype="Float64"),
        pd.date_range("2020", periods=24),
    ],
    ids=["text", "complex", "masked", "missing", "dates"],
)
def test_other_values_of_a_regressor(y):
    with pytest.raises(ValueError, match=r"\by\b"):
        clone(REGRESSOR).fit(X, y)


@pytest.mark.parametrize("convert", [list, lambda y: y.astype(object), pd.Series])
def test_values_that_are_numbers_after_all(convert):
    expected = fit(REGRESSOR).predict(X)
    np.testing.assert_array_equal(
        clone(REGRESSOR).fit(X, convert(Y)).predict(X), expected
    )


@pytest.mark.parametrize("wrong", NO_NUMBERS.values(), ids=NO_NUMBERS)
@pytest.mark.parametrize("estimator", ALL.values(), ids=ALL)
def test_weights(estimator, wrong):
    weights = spoilt(np.ones(24), wrong)
    with pytest.raises(ValueError, match="sample_weight"):
        fit(estimator, sample_weight=weights)
    fitted = fit(estimator)
    with pytest.raises(ValueError, match="sample_weight"):
        add(fitted, X, sample_weight=weights)


@pytest.mark.parametrize("metric", [retrieval_error, hit_rate])
@pytest.mark.parametrize("wrong", [*NO_NUMBERS.values(), -1.0], ids=[*NO_NUMBERS, "-1"])
def test_weights_of_metrics(metric, wrong):
    with pytest.raises(ValueError, match="sample_weight"):
        metric(X, X, sample_weight=spoilt(np.ones(24), wrong))


@pytest.mark.parametrize("metric", [retrieval_error, hit_rate])
def test_weights_of_metrics_that_are_all_zero(metric):
    with pytest.raises(ValueError, match=r"sample_weight.*zero"):
        metric(X, X, sample_weight=np.zeros(24))


@pytest.mark.parametrize("estimator", ALL.values(), ids=ALL)
def test_masks_are_not_dropped_without_a_word(estimator):
    masked = np.ma.masked_greater(X, 1)
    fitted = fit(estimator)
    ask = fitted.predict if hasattr(fitted, "predict") else fitted.transform
    for call in (lambda: fit(estimator, masked), lambda: add(fitted, masked)):
        with pytest.raises(ValueError, match="X must not have masked entries"):
            call()
    with pytest.raises(ValueError, match="X must not have masked entries"):
        ask(masked)
    with pytest.raises(ValueError, match="sample_weight must not have masked"):
        fit(estimator, sample_weight=np.ma.masked_array(np.ones(24), mask=LABELS))
    np.testing.assert_array_equal(ask(np.ma.masked_array(X)), ask(X))


@pytest.mark.parametrize("wrong", [None, np.nan, pd.NA, pd.NaT], ids=str)
@pytest.mark.parametrize("values", [LABELS, LABELS.astype(str)], ids=["int", "str"])
def test_labels_that_are_missing(values, wrong):
    labels = spoilt(values, wrong)
    with pytest.raises(ValueError, match=r"\by must not have missing labels"):
        clone(CLASSIFIER).fit(X, labels)
    with pytest.raises(ValueError, match="classes must not have missing labels"):
        clone(CLASSIFIER).partial_fit(X, values, classes=labels)
    with pytest.raises(ValueError, match="groups must not have missing labels"):
        clone(REGRESSOR).fit(X, Y, groups=labels)


@pytest.mark.parametrize("wrong", [np.nan, np.inf])
def test_numeric_labels_that_are_missing(wrong):
    labels = np.r_[LABELS[1:].astype(float), wrong]
    with pytest.raises(ValueError, match=r"Input y contains"):
        clone(CLASSIFIER).fit(X, labels)
    with pytest.raises(ValueError, match="Input classes contains"):
        clone(CLASSIFIER).partial_fit(X, LABELS, classes=labels)
    with pytest.raises(ValueError, match="Input groups contains"):
        clone(REGRESSOR).fit(X, Y, groups=labels)


@pytest.mark.parametrize(
    "groups",
    [np.ones((24, 2)), np.ones(23), 3, "a", np.array([1, "a"] * 12, object)],
    ids=["two columns", "short", "number", "word", "mixed"],
)
def test_groups_are_named(groups):
    with pytest.raises(ValueError, match="groups must"):
        clone(REGRESSOR).fit(X, Y, groups=groups)


@pytest.mark.parametrize(
    "wrong", [-1, -1e-9, np.nan, np.inf, -np.inf, "a", None, 1e39, [1]], ids=repr
)
@pytest.mark.parametrize("label", [0, 1, "unheard of"])
def test_class_weights(wrong, label):
    class_weight = {0: 1, 1: 2, label: wrong}
    classifier = fit(CLASSIFIER).set_params(class_weight=class_weight)
    for call in (
        lambda: classifier.fit(X, LABELS),
        lambda: classifier.partial_fit(X, LABELS),
    ):
        with pytest.raises(ValueError, match=r"'class_weight'.*finite num") as caught:
            call()
        assert f"{label!r}: {wrong!r}" in str(caught.value)


def test_a_class_weight_of_zero_is_allowed():
    classifier = clone(CLASSIFIER).set_params(class_weight={0: 0, 1: 1.5})
    assert (classifier.fit(X, LABELS).predict(X) == 1).all()


# --- what the dtype does not have ----------------------------------------------------


@pytest.mark.parametrize("beyond", [1e39, -1e300])
@pytest.mark.parametrize("name", ["UHopMemory", "UHopClassifier", "UHopRegressor"])
def test_rows_beyond_the_precision_that_they_join(name, beyond):
    fitted = fit(ALL[name], X.astype("f4"))
    before, answer = state(fitted), fitted.predict(X)
    rows = X[:3].copy()
    rows[1, 2] = beyond
    with pytest.raises(ValueError, match=r"X must be within the range of float32"):
        add(fitted, rows)
    assert state(fitted).keys() == before.keys()
    np.testing.assert_array_equal(fitted.predict(X), answer)
    add(fitted, X[:3])
    assert fitted.patterns_.dtype == np.float32


@pytest.mark.parametrize("estimator", ALL.values(), ids=ALL)
def test_answers_beyond_the_precision_of_the_question(estimator):
    fitted = fit(estimator, 1e39 * (X + 9))
    ask = fitted.predict if hasattr(fitted, "predict") else fitted.transform
    assert np.isfinite(ask(1e39 * (X + 9))).all()
    with pytest.raises(ValueError, match="float32"):
        ask(X.astype("f4"))


def test_values_beyond_the_precision_of_the_question():
    regressor = clone(REGRESSOR).fit(X, 1e39 * Y)
    assert np.isfinite(regressor.predict(X)).all()
    with pytest.raises(ValueError, match=r"y is of the size .* float32 cannot hold"):
        regressor.predict(X.astype("f4"))


@pytest.mark.parametrize("estimator", ALL.values(), ids=ALL)
@pytest.mark.parametrize("weights", [np.full(24, 1e38), np.r_[1e39, np.ones(23)]])
def test_weights_beyond_the_precision(estimator, weights):
    with pytest.raises(ValueError, match=r"sum of sample_weight.*float32. Got"):
        fit(estimator, X.astype("f4"), sample_weight=weights)


@pytest.mark.parametrize("estimator", [CLASSIFIER, REGRESSOR])
def test_weights_beyond_the_precision_of_what_learns(estimator):
    with pytest.raises(ValueError, match=r"sum of sample_weight.*float32. Got 1e"):
        fit(estimator, sample_weight=np.r_[1e39, np.ones(23)])


def test_class_weights_and_weights_together():
    classifier = clone(CLASSIFIER).set_params(class_weight={0: 1e30, 1: 1})
    with pytest.raises(ValueError, match="sample_weight times class_weight"):
        classifier.fit(X, LABELS, sample_weight=np.full(24, 1e30))


def test_a_corruption_beyond_the_precision():
    memory = UHopMemory(corruption=lambda X, r: np.full(X.shape, 1e60), max_iter=2)
    with pytest.raises(ValueError, match="corruption must return a finite array"):
        memory.fit(X.astype("f4"))


def test_infinity_that_was_there_before_is_no_loss():
    wide = np.array([np.inf, 1.0, np.nan])
    np.testing.assert_array_equal(cast(wide, np.float32, "X"), wide.astype("f4"))


# --- columns -------------------------------------------------------------------------

FRAME = pd.DataFrame(X, columns=list("abcd"))
OTHER = {
    "reordered": FRAME[list("bacd")],
    "renamed": FRAME.rename(columns={"a": "z"}),
}
NAMES = "feature names should match those that were passed during fit"


@pytest.mark.parametrize("frame", OTHER.values(), ids=OTHER)
def test_frames_of_other_columns(frame):
    memory, kanerva = fit(MEMORY, FRAME), fit(KANERVA, FRAME)
    calls = {
        "queries": lambda: clone(MEMORY).fit(FRAME, queries=frame),
        "queries of a refit": lambda: memory.fit(frame, queries=FRAME),
        "score": lambda: memory.score(FRAME, frame),
        "score of Kanerva": lambda: kanerva.score(FRAME, frame),
        "partial_fit": lambda: memory.partial_fit(frame),
        "partial_fit of Kanerva": lambda: kanerva.partial_fit(frame),
        "error": lambda: retrieval_error(FRAME, frame),
        "hits": lambda: hit_rate(FRAME, frame),
        "hits among": lambda: hit_rate(FRAME, X, patterns=frame),
    }
    for call in calls.values():
        with pytest.raises(ValueError, match=NAMES):
            call()


@pytest.mark.parametrize(
    "frame", [FRAME, X, pd.DataFrame(X)], ids=["same", "no", "int"]
)
def test_what_has_no_names_goes_through(frame):
    memory = clone(MEMORY).fit(FRAME, queries=frame)
    assert memory.score(FRAME, frame) == memory.score(FRAME)
    assert retrieval_error(FRAME, frame) == 0
    assert hit_rate(frame, FRAME, patterns=frame) == 1
    check_columns(X, None, frame)


def test_set_output_leaves_scores_alone():
    pytest.importorskip("pandas")
    kanerva = fit(KANERVA, FRAME)
    expected = kanerva.score(FRAME)
    assert kanerva.set_output(transform="pandas").score(FRAME) == expected


# --- modules, and probabilities ------------------------------------------------------


@pytest.mark.parametrize("given", [None, 3, np.tanh], ids=str)
@pytest.mark.parametrize("kind", [UHopMemory, UHopClassifier, UHopRegressor])
def test_a_callable_that_gives_no_module(kind, given):
    estimator = kind(lambda n_features: given, max_iter=2)
    with pytest.raises(ValueError, match=r"'feature_map'.*torch.nn.Module.*returned"):
        fit(estimator)


def test_logarithms_of_probabilities():
    X, y = make_classification(60, random_state=0)
    classifier = UHopClassifier("identity", random_state=0)
    expected = np.log(cross_val_predict(classifier, X, y, method="predict_proba"))
    found = cross_val_predict(classifier, X, y, method="predict_log_proba")
    np.testing.assert_allclose(found, expected, rtol=1e-12)
    single = X.astype("f4")
    log_proba = classifier.fit(X, y).predict_log_proba(single)
    proba = classifier.predict_proba(single)
    # Equal logarithms of probabilities that differ would change the order of classes.
    np.testing.assert_array_equal(log_proba.argsort(), proba.argsort())
