"""Rows that repeat, with one value or several: every copy is a row of its own."""

import itertools

import numpy as np
import pytest
import torch

from skuhop import CrossFitting, UHopClassifier, UHopRegressor
from skuhop.learning.supervised.folds import deal
from skuhop.support.rows import count_copies

CELLS = np.array(list(itertools.product([0.0, 1.0], repeat=3)))
QUICK = {"max_iter": 30, "random_state": 0}


def table(rates, n_rows, seed=0):
    """Rows of cells and labels that are 1 at the rate of the cell."""
    rng = np.random.RandomState(seed)
    cell = rng.randint(len(rates), size=n_rows)
    return cell, (rng.uniform(size=n_rows) < rates[cell]).astype(int)


RATES = {
    "parity": np.where(CELLS.sum(1) % 2, 0.9, 0.1),
    "one column": np.where(CELLS[:, 0], 0.8, 0.3),
    "nothing": np.full(len(CELLS), 0.3),
    "rare": np.where(CELLS.sum(1) == 3, 0.6, 0.05),
}


def log_loss(proba, labels):
    return -np.log(np.where(labels, proba, 1 - proba)).mean()


@pytest.mark.thin(2)
@pytest.mark.parametrize("rates", RATES.values(), ids=RATES)
@pytest.mark.parametrize("n_rows", [120, 400])
def test_cells_are_answered_as_by_their_frequencies(rates, n_rows):
    cell, y = table(rates, n_rows)
    asked, truth = table(rates, 20_000, seed=1)
    ones, all_of = (np.bincount(cell, w, len(CELLS)) for w in (y, None))
    tried = [
        log_loss(((ones + k * y.mean()) / (all_of + k))[asked], truth)
        for k in (0.3, 1, 3, 10, 30)
    ]
    classifier = UHopClassifier(**QUICK).fit(CELLS[cell], y)
    proba = classifier.predict_proba(CELLS)[:, 1]
    # The smoothing is the one that is best on the test rows, which nobody knows.
    assert log_loss(proba[asked], truth) < 1.04 * min(tried)


@pytest.mark.parametrize("shape", [int, float], ids=["whole", "numbers"])
def test_a_regressor_answers_the_means_of_cells(shape):
    rng = np.random.RandomState(0)
    cell = rng.randint(len(CELLS), size=400)
    y = np.where(CELLS.sum(1) % 2, 3, -3)[cell] + 3 * rng.normal(size=400)
    y = y.round() if shape is int else y
    fitted = UHopRegressor(**QUICK).fit(CELLS[cell], y)
    means = np.bincount(cell, y, len(CELLS)) / np.bincount(cell)
    np.testing.assert_allclose(fitted.predict(CELLS), means, atol=0.6)


@pytest.mark.parametrize("n_copies", [2, 20])
@pytest.mark.parametrize("model", [UHopClassifier, UHopRegressor])
def test_copies_of_one_value_are_known(model, n_copies):
    X = np.repeat(CELLS, n_copies, axis=0)
    y = X.sum(1) % 2
    fitted = model(**QUICK).fit(X, y)
    expected = CELLS.sum(1) % 2
    np.testing.assert_allclose(fitted.predict(CELLS), expected, atol=0.05)


def test_one_point_with_two_labels():
    X, y = np.ones((10, 2)), np.repeat([0, 1], [7, 3])
    alone = UHopClassifier(**QUICK).fit(X, y)
    assert alone.predict_proba(X[:1])[0, 0] == pytest.approx(0.7)
    rng = np.random.RandomState(0)
    others = rng.normal(size=(80, 2)) + np.repeat([[9, 0], [-9, 0]], 40, axis=0)
    X, y = np.vstack([X, others]), np.append(y, np.repeat([0, 1], 40))
    among = UHopClassifier(**QUICK).fit(X, y)
    assert among.predict_proba(X[:1])[0, 0] == pytest.approx(0.7, abs=0.05)


def spelt(cell, y, n_labels, factor=1.0):
    """Every distinct row once, with its weight."""
    counts = np.zeros((len(CELLS), n_labels))
    np.add.at(counts, (cell, y), 1)
    of_cell, label = counts.nonzero()
    return CELLS[of_cell], label, factor * counts[of_cell, label]


@pytest.mark.parametrize("model", [UHopClassifier, UHopRegressor])
@pytest.mark.parametrize("factor", [1.0, 1 / 300])
def test_weights_are_copies(model, factor):
    cell, y = table(RATES["parity"], 300)
    order = np.random.RandomState(0).permutation(300)
    few = {**QUICK, "max_iter": 5}
    copies = model(**few).fit(CELLS[cell[order]], y[order])
    X, labels, counts = spelt(cell, y, 2, factor)
    weighted = model(**few).fit(X, labels, sample_weight=counts)
    ask = "predict_proba" if model is UHopClassifier else "predict"
    found, expected = (getattr(m, ask)(CELLS) for m in (weighted, copies))
    # Counts to the last bit of what is learned; a common factor moves their rounding,
    # and the strength of a line's penalty.
    np.testing.assert_allclose(found, expected, atol=1e-12 if factor == 1 else 0.05)


def test_balanced_weights_keep_rows_whole_where_none_repeats():
    rng = np.random.RandomState(0)
    labels = (rng.uniform(size=50) < 0.2).astype(int)
    weights = np.where(labels, 50 / labels.sum(), 50 / (50 - labels.sum())) / 2
    assert (count_copies(weights, labels) == 1).all()
    assert (count_copies(rng.uniform(0.1, 1.9, size=50), labels) == 1).all()


def test_counts_are_told_from_weights():
    counts = np.array([1.0, 7, 3, 2, 10])
    labels = np.array([0, 0, 1, 1, 1])
    for weights in (counts, counts / counts.sum(), counts * np.where(labels, 0.7, 3.1)):
        expected = counts if weights[0] != counts[0] * 3.1 else [1, 7, 3, 2, 10]
        np.testing.assert_array_equal(count_copies(weights, labels), expected)


@pytest.mark.parametrize("loss", ["average", "max", "logsumexp"])
def test_losses_without_values_see_a_repeated_row_once(loss):
    """The closest pair of rows is not a row and its copy, which nothing can part."""
    rng = np.random.RandomState(0)
    X, y = rng.normal(size=(20, 4)), np.arange(20) % 2
    settings = {"loss": loss, "feature_map": "linear", **QUICK}
    settings["training"] = CrossFitting(n_folds=2, early_stopping=False)
    once = UHopClassifier(**settings).fit(X, y)
    twice = UHopClassifier(**settings).fit(np.vstack([X, X]), np.append(y, 1 - y))
    assert np.isfinite(twice.loss_curve_).all()
    assert np.ptp(twice.loss_curve_) > 0.1 * np.ptp(once.loss_curve_)
    alike = UHopClassifier(**settings).fit(np.ones((20, 2)), y)
    assert alike.predict_proba(np.ones((1, 2)))[0, 0] == pytest.approx(0.5)


def test_copies_are_dealt_evenly():
    rng = np.random.RandomState(0)
    copies = torch.as_tensor(rng.randint(1, 30, size=40))
    labels = torch.as_tensor(rng.randint(3, size=40))
    dealt = deal(labels, copies, 8, torch.Generator().manual_seed(0))
    torch.testing.assert_close(dealt.sum(1), copies)
    for rows in (labels >= 0, *(labels == k for k in range(3))):
        sizes = dealt[rows].sum(0)
        assert sizes.max() - sizes.min() <= 1
    assert (dealt.amax(1) - dealt.amin(1) <= 1).all()
