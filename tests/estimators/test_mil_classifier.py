"""UHopMILClassifier: bags of every form, and what their labels come from."""

import pickle

import numpy as np
import pytest
from scipy.spatial.distance import cdist
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_score
from sklearn.utils.estimator_checks import parametrize_with_checks

from skuhop import UHopMILClassifier


@parametrize_with_checks(
    [
        UHopMILClassifier(),
        UHopMILClassifier(
            poolings=("sparsemax",), betas=[1.0], class_weight="balanced"
        ),
    ]
)
def test_estimator_checks(estimator, check):
    check(estimator)


def make_bags(n=60, seed=0, n_classes=2):
    rng = np.random.RandomState(seed)
    bags = [rng.normal(size=(rng.randint(3, 9), 4)) for _ in range(n)]
    y = np.arange(n) % n_classes
    for bag, label in zip(bags, y, strict=True):
        bag[0, label - 1] += 6 * (label > 0)
    return bags, y


def as_array(bags, seed=1):
    """The same bags in one array, with rows that do not count anywhere in between."""
    rng = np.random.RandomState(seed)
    X, mask = np.full((len(bags), 12, 4), 1e3), np.zeros((len(bags), 12), bool)
    for i, bag in enumerate(bags):
        places = np.sort(rng.permutation(12)[: len(bag)])
        X[i, places], mask[i, places] = bag, True
    return X, mask


def test_learns_what_one_row_decides():
    bags, y = make_bags()
    classifier = UHopMILClassifier().fit(bags[:40], y[:40])
    assert classifier.score(bags[40:], y[40:]) >= 0.8
    shuffled = np.random.RandomState(0).permutation(y[:40])
    by_chance = UHopMILClassifier().fit(bags[:40], shuffled)
    assert by_chance.score(bags[40:], y[40:]) < 0.8


def test_bags_of_every_form_are_the_same():
    bags, y = make_bags()
    X, mask = as_array(bags)
    groups = np.repeat(np.arange(len(bags)), [len(bag) for bag in bags])
    order = np.argsort(np.random.RandomState(3).uniform(size=len(groups)))
    rows = np.concatenate(bags)
    expected = UHopMILClassifier().fit(bags, y).decision_function(bags[:9])
    masked = UHopMILClassifier().fit(X, y, mask=mask)
    found = masked.decision_function(X[:9], mask=mask[:9])
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    grouped = UHopMILClassifier().fit(rows[order], y, groups=groups[order])
    some = groups[order] < 9
    found = grouped.decision_function(rows[order][some], groups=groups[order][some])
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def ref_responses(bag, states, beta, pooling):
    scores = -beta * cdist(states, bag, "sqeuclidean") / 2
    return np.exp(scores).mean(1) if pooling == "softmax" else np.exp(scores).max(1)


@pytest.mark.parametrize("pooling", ["softmax", "max"])
def test_decisions_are_those_of_a_logistic_regression_on_kernels(pooling):
    bags, y = make_bags()
    classifier = UHopMILClassifier(betas=(3.0,), poolings=(pooling,), C=10.0)
    found = classifier.fit(bags, y).decision_function(bags)
    rows = np.concatenate(bags)
    mean, scale = rows.mean(0), rows.std(0) * 2
    bags = [(bag - mean) / scale for bag in bags]
    states = (rows - mean) / scale
    F = np.array([ref_responses(bag, states, 3.0, pooling) for bag in bags])
    F -= F.mean(0)
    F /= np.sqrt((F**2).sum(1).mean())
    model = LogisticRegression(C=10.0, max_iter=10_000, tol=1e-8).fit(F, y)
    np.testing.assert_allclose(found, model.decision_function(F), atol=2e-2)


def test_members_are_averaged():
    bags, y = make_bags()
    both = UHopMILClassifier(betas=(3.0,)).fit(bags, y).decision_function(bags)
    alone = [
        UHopMILClassifier(betas=(3.0,), poolings=(pooling,)).fit(bags, y)
        for pooling in ("softmax", "max")
    ]
    mean = np.mean([one.decision_function(bags) for one in alone], axis=0)
    np.testing.assert_allclose(both, mean, rtol=1e-6)


@pytest.mark.parametrize("n_classes", [2, 3])
def test_association_names_the_rows_that_decided(n_classes):
    bags, y = make_bags(90, n_classes=n_classes)
    names = np.array(["no", "left", "right"])[y]
    classifier = UHopMILClassifier().fit(bags[:60], names[:60])
    assert classifier.score(bags[60:], names[60:]) > 0.75
    proba = classifier.predict_proba(bags[60:])
    np.testing.assert_allclose(proba.sum(axis=1), 1)
    weights = classifier.association(bags[60:])
    right = classifier.predict(bags[60:]) == names[60:]
    hits = []
    for bag, w, label, is_right in zip(bags[60:], weights, y[60:], right, strict=True):
        assert w.shape == (len(bag),)
        assert (w >= 0).all()
        assert w.sum() == pytest.approx(1)
        if label and is_right:
            hits.append(w.argmax() == 0)
    assert np.mean(hits) > 0.8


def test_order_of_rows_and_the_other_bags_do_not_matter():
    bags, y = make_bags()
    classifier = UHopMILClassifier().fit(bags, y)
    expected = classifier.decision_function(bags)
    found = [classifier.decision_function([bag[::-1].copy()])[0] for bag in bags]
    np.testing.assert_allclose(found, expected, rtol=1e-8)


def test_float32_follows_float64():
    bags, y = make_bags()
    expected = UHopMILClassifier().fit(bags, y).predict_proba(bags)
    small = [bag.astype(np.float32) for bag in bags]
    classifier = UHopMILClassifier().fit(small, y)
    assert classifier.states_.dtype == np.float32
    np.testing.assert_allclose(classifier.predict_proba(small), expected, atol=1e-2)


def test_states_can_be_a_choice():
    bags, y = make_bags()
    classifier = UHopMILClassifier(max_states=50, random_state=0).fit(bags, y)
    assert classifier.states_.shape == (50, 4)
    assert classifier.coef_.shape == (4, 1, 50)
    again = clone(classifier).fit(bags, y)
    assert np.array_equal(again.states_, classifier.states_)
    assert classifier.score(bags, y) > 0.9


def test_pickles_and_scikit_learns_tools():
    bags, y = make_bags()
    classifier = UHopMILClassifier().fit(bags, y)
    loaded = pickle.loads(pickle.dumps(classifier))
    assert np.array_equal(loaded.predict_proba(bags), classifier.predict_proba(bags))
    assert cross_val_score(UHopMILClassifier(), bags, y, cv=3).mean() > 0.8


BAGS, Y = make_bags(20)


@pytest.mark.parametrize(
    "params, given, message",
    [
        ({"betas": 2.0}, {}, "'betas'.*2.0"),
        ({"betas": (0.0,)}, {}, "'betas'.*0.0"),
        ({"poolings": ("mean",)}, {}, "'poolings'.*softmax.*'mean'"),
        ({"C": -1}, {}, "'C'.*-1"),
        ({}, {"y": Y[:5]}, "each of the 20 bags; got 5"),
        ({}, {"y": Y * 0}, "two classes"),
        ({}, {"X": [*BAGS[:-1], BAGS[0][:0]]}, "Bag 19 of X is empty"),
        ({}, {"X": [*BAGS[:-1], BAGS[0][:, :2]]}, "same columns"),
        ({}, {"groups": Y}, "groups must be None"),
        ({}, {"X": np.zeros((20, 3, 4)), "mask": np.ones((20, 2))}, r"\(20, 3\)"),
        ({}, {"X": np.zeros((20, 3, 4)), "mask": np.zeros((20, 3))}, "Bag 0 .* empty"),
        ({}, {"X": np.zeros((20, 4)), "groups": Y[:7]}, "each of the 20 rows"),
        ({}, {"X": [*BAGS[:-1], BAGS[0] * np.nan]}, "NaN"),
    ],
)
def test_bad_input(params, given, message):
    fitted = UHopMILClassifier().fit(BAGS, Y)
    before = fitted.predict_proba(BAGS)
    with pytest.raises(ValueError, match=message):
        fitted.set_params(**params).fit(**({"X": BAGS, "y": Y} | given))
    fitted.set_params(**UHopMILClassifier().get_params())
    assert np.array_equal(fitted.predict_proba(BAGS), before)
