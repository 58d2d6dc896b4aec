"""UHopClassifier: what it promises beyond scikit-learn's checks."""

import copy
import io
import pickle
from functools import cache

import joblib
import numpy as np
import pytest
import skops.io
import torch
from scipy.special import softmax
from sklearn.base import clone
from sklearn.compose import make_column_transformer
from sklearn.datasets import load_iris, make_classification
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from skuhop import CrossFitting, Training, UHopClassifier
from skuhop.estimators.parameters import CLASSIFIER_RULES
from skuhop.exceptions import InvalidParameterError
from skuhop.learning import LOSSES
from skuhop.learning.members.member_maps import MEMBER_MAPS
from skuhop.retrieval import SEPARATIONS, SIMILARITIES

X, Y = load_iris(return_X_y=True)
TRAIN, TEST = np.arange(0, 150, 2), np.arange(1, 150, 2)
MAPS = (*MEMBER_MAPS, "identity")


class Network(torch.nn.Sequential):
    def __init__(self, n_features):
        super().__init__(torch.nn.Linear(n_features, 4), torch.nn.BatchNorm1d(4))


def quick(**params):
    fast = {"max_iter": 5, "n_components": 8, "random_state": 0}
    fast["training"] = CrossFitting(n_folds=3)
    return UHopClassifier(**fast).set_params(**params)


@cache
def fit_once(**params):
    """A fitted classifier that tests share, and so may not change."""
    return quick(**params).fit(X[TRAIN], Y[TRAIN])


def fitted(**params):
    return copy.deepcopy(fit_once(**params))


# --- answers -------------------------------------------------------------------------


def test_default_learns_iris():
    classifier = UHopClassifier(random_state=0).fit(X[TRAIN], Y[TRAIN])
    assert classifier.score(X[TEST], Y[TEST]) >= 0.93
    assert classifier.selection_["kept"] == "learned"
    assert 40 <= len(classifier.loss_curve_) == classifier.n_iter_ <= 200
    assert classifier.loss_ == classifier.loss_curve_[-1] < classifier.loss_curve_[0]


def test_learning_sees_through_noise():
    rng = np.random.default_rng(0)
    data = rng.normal(size=(1000, 16))
    labels = np.abs(data[:, 0]) + data[:, 1] > 0.8
    learned, untrained = (
        UHopClassifier(feature_map, max_iter=50, random_state=0).fit(
            data[:200], labels[:200]
        )
        for feature_map in ("periodic", "identity")
    )
    gain = learned.score(data[200:], labels[200:])
    gain -= untrained.score(data[200:], labels[200:])
    assert gain > 0.05


def test_spread_is_kept_where_it_tells():
    data, labels = make_classification(
        300, 30, n_informative=4, n_redundant=0, class_sep=1.5, random_state=0
    )
    assert np.ptp(quick().fit(data, labels).scale_) == 0
    assert np.ptp(quick().fit(data * np.geomspace(1, 1e6, 30), labels).scale_) > 0


@pytest.mark.thin(4)
@pytest.mark.parametrize("separation", SEPARATIONS)
@pytest.mark.parametrize("similarity", SIMILARITIES)
def test_probabilities(separation, similarity):
    classifier = fitted(
        feature_map="linear", separation=separation, similarity=similarity
    )
    proba = classifier.predict_proba(X[TEST])
    assert proba.min() >= 0
    np.testing.assert_allclose(proba.sum(1), 1)
    np.testing.assert_array_equal(
        classifier.classes_[proba.argmax(1)], classifier.predict(X[TEST])
    )
    assert (classifier.predict(X[TEST]) == Y[TEST]).mean() > 0.6


@pytest.mark.parametrize("separation", SEPARATIONS)
def test_probabilities_are_votes_of_the_association(separation):
    classifier = fitted(separation=separation, training__linear_share=0)
    weights = classifier.association(X[TEST])
    votes = weights @ np.eye(3)[classifier.pattern_classes_]
    votes += (1 - votes.sum(1, keepdims=True)) * classifier.class_prior_
    share = classifier.prior_weight_
    expected = (1 - share) * votes + share * classifier.class_prior_
    assert classifier.linear_share_ == 0
    np.testing.assert_allclose(classifier.predict_proba(X[TEST]), expected, atol=1e-9)


def line_of(classifier, rows):
    Z = (rows - classifier.mean_) / classifier.scale_
    scores = Z @ classifier.linear_coef_.T + classifier.linear_intercept_
    return softmax(scores, axis=1)


@pytest.mark.parametrize("feature_map", MAPS)
def test_a_line_gets_its_share(feature_map):
    alone, shared, line = (
        fitted(feature_map=feature_map, training__linear_share=share, beta=3.0)
        for share in (0, 0.3, 1)
    )
    expected = line_of(line, X[TEST])
    np.testing.assert_allclose(line.predict_proba(X[TEST]), expected, atol=1e-9)
    expected = 0.7 * alone.predict_proba(X[TEST]) + 0.3 * line_of(shared, X[TEST])
    np.testing.assert_allclose(shared.predict_proba(X[TEST]), expected, atol=1e-9)
    np.testing.assert_array_equal(
        shared.association(X[TEST]), alone.association(X[TEST])
    )


@pytest.mark.parametrize("n_classes", [2, 3])
def test_the_line_is_a_logistic_regression(n_classes):
    some = TRAIN[Y[TRAIN] < n_classes]
    line = quick(training__linear_share=1).fit(X[some], Y[some])
    Z = StandardScaler().fit_transform(X[some])
    penalties = [
        np.abs(
            LogisticRegression(C=1 / penalty).fit(Z, Y[some]).predict_proba(Z)
            - line.predict_proba(X[some])
        ).max()
        for penalty in (1, 10, 100)
    ]
    assert min(penalties) < 0.02


def test_a_share_is_found_where_classes_are_linear():
    rng = np.random.default_rng(0)
    data = rng.normal(size=(300, 15))
    labels = data @ rng.normal(size=15) > 0
    alone, shared = (
        UHopClassifier(
            random_state=0, max_iter=30, training=CrossFitting(linear_share=share)
        ).fit(data[:150], labels[:150])
        for share in (0, "auto")
    )
    assert shared.linear_share_ > 0.3
    assert shared.score(data[150:], labels[150:]) > alone.score(
        data[150:], labels[150:]
    )
    found = shared.selection_
    assert found["loss_with_line"] < found["learned_loss"]


def test_a_new_class_ends_the_line():
    two, rest = np.flatnonzero(Y < 2), np.flatnonzero(Y == 2)
    classifier = quick(training__linear_share=0.9).fit(X[two], Y[two])
    classifier.partial_fit(X[two[:5]], Y[two[:5]])
    assert classifier.linear_share_ == 0.9
    classifier.partial_fit(X[rest], Y[rest])
    assert classifier.linear_share_ == 0
    assert classifier.linear_coef_ is classifier.linear_intercept_ is None
    assert (classifier.predict(X[rest]) == 2).mean() > 0.8


def test_the_line_sees_completed_queries():
    classifier = fitted(training__linear_share=1)
    damaged = X[TEST].copy()
    damaged[:, 2] = np.nan
    # The longest entry of iris follows from the others.
    assert (classifier.predict(damaged) == Y[TEST]).mean() > 0.85


def test_association_top():
    classifier = fitted()
    dense = classifier.association(X[TEST])
    indices, weights = classifier.association(X[TEST], top=4)
    assert indices.shape == weights.shape == (75, 4)
    np.testing.assert_allclose(np.take_along_axis(dense, indices, 1), weights)
    np.testing.assert_allclose(weights, -np.sort(-dense, axis=1)[:, :4])
    with pytest.raises(InvalidParameterError, match="top"):
        classifier.association(X[TEST], top=76)


@pytest.mark.parametrize("loss", LOSSES)
def test_unsupervised_losses(loss):
    assert fitted(loss=loss, feature_map="linear").score(X[TEST], Y[TEST]) > 0.6


def test_paper_kernel():
    classifier = fitted(feature_map="identity", similarity="dot", beta=1.0)
    assert [kernel["state"] for kernel in classifier.kernels_] == [{}]
    weights = torch.softmax(torch.from_numpy(X[TEST] @ X[TRAIN].T), 1).numpy()
    np.testing.assert_allclose(classifier.association(X[TEST]), weights, atol=1e-10)


@pytest.mark.parametrize("feature_map", [*MAPS, Network])
def test_rows_do_not_depend_on_each_other(feature_map):
    classifier = fitted(feature_map=feature_map)
    together = classifier.predict_proba(X[TEST])
    apart = np.vstack([classifier.predict_proba(X[[row]]) for row in TEST])
    np.testing.assert_allclose(together, apart, rtol=1e-7, atol=1e-12)


def test_dtype_of_queries_is_kept():
    classifier = quick().fit(X[TRAIN].astype("f4"), Y[TRAIN])
    assert classifier.predict_proba(X[TEST].astype("f4")).dtype == np.float32
    assert classifier.predict_proba(X[TEST]).dtype == np.float64


# --- seeds, order, weights -----------------------------------------------------------


@pytest.mark.parametrize("feature_map", [*MAPS, Network])
def test_same_seed_same_bits_in_any_order(feature_map):
    order = np.random.default_rng(0).permutation(TRAIN)
    first = quick(feature_map=feature_map).fit(X[TRAIN], Y[TRAIN])
    second = quick(feature_map=feature_map).fit(X[order], Y[order])
    assert first.loss_curve_ == second.loss_curve_
    for one, other in zip(first.kernels_, second.kernels_, strict=True):
        np.testing.assert_array_equal(one["betas"], other["betas"])
        for name, array in one["state"].items():
            np.testing.assert_array_equal(array, other["state"][name])
    np.testing.assert_allclose(
        first.predict_proba(X[TEST]), second.predict_proba(X[TEST]), rtol=1e-7
    )


def test_seed_matters_and_global_state_does_not():
    before = torch.random.get_rng_state()
    first, other = (quick(random_state=s).fit(X[TRAIN], Y[TRAIN]) for s in (0, 1))
    assert torch.equal(torch.random.get_rng_state(), before)
    assert first.loss_curve_ != other.loss_curve_


@pytest.mark.parametrize("separation", SEPARATIONS)
def test_weights_are_copies(separation):
    weights = np.random.default_rng(0).integers(0, 3, len(TRAIN))
    copies = np.repeat(TRAIN, weights)
    params = {"separation": separation}
    params["feature_map"] = "auto" if separation == "softmax" else "linear"
    weighted = quick(**params).fit(X[TRAIN], Y[TRAIN], weights)
    copied = quick(**params).fit(X[copies], Y[copies])
    np.testing.assert_allclose(
        weighted.predict_proba(X[TEST]), copied.predict_proba(X[TEST]), rtol=1e-6
    )


def test_larger_sets_are_learned_in_batches_and_weights_are_copies_still():
    data, labels = make_classification(900, 5, random_state=0)
    labels[:100] = 1
    weights = np.where(np.arange(900) < 100, 2, 1)
    copies = np.repeat(np.arange(900), weights)
    params = {"feature_map": "linear"}
    params["training"] = CrossFitting(n_folds=3, batch_size=64)
    weighted = quick(**params).fit(data, labels, weights)
    copied = quick(**params).fit(data[copies], labels[copies])
    assert weighted.loss_curve_ == copied.loss_curve_
    np.testing.assert_allclose(
        weighted.predict_proba(data[:50]), copied.predict_proba(data[:50]), rtol=1e-6
    )


def test_class_weights_multiply_weights():
    weights = np.array([3.0, 1.0, 0.5])
    by_class = quick(class_weight=dict(enumerate(weights))).fit(X[TRAIN], Y[TRAIN])
    assert by_class.class_prior_ == pytest.approx(weights / weights.sum())
    by_row = quick().fit(X[TRAIN], Y[TRAIN], weights[Y[TRAIN]])
    np.testing.assert_array_equal(by_class.sample_weight_, by_row.sample_weight_)


def test_balanced_classes_weigh_the_same():
    rows = np.r_[0:50, 50:60, 100:105]
    classifier = quick(class_weight="balanced").fit(X[rows], Y[rows])
    np.testing.assert_allclose(classifier.class_prior_, 1 / 3)


def test_zero_weights():
    weights = np.where(Y[TRAIN] == 2, 0, 1)
    classifier = quick().fit(X[TRAIN], Y[TRAIN], weights)
    assert len(classifier.patterns_) == weights.sum()
    with pytest.raises(ValueError, match="zero"):
        quick().fit(X[TRAIN], Y[TRAIN], np.zeros(75))


# --- labels and small data -----------------------------------------------------------


@pytest.mark.parametrize(
    "names",
    [
        np.array(["setosa", "versicolor", "virginica"]),
        np.array(["b", "a", "c"], dtype=object),
        np.array([10, -3, 7]),
        np.array([0.0, 1.0, 2.0]),
    ],
    ids=["str", "object", "int", "float"],
)
def test_labels_of_any_type(names):
    classifier = quick().fit(X[TRAIN], names[Y[TRAIN]])
    np.testing.assert_array_equal(classifier.classes_, np.sort(names))
    assert classifier.score(X[TEST], names[Y[TEST]]) > 0.6


def test_bool_labels():
    classifier = quick().fit(X[TRAIN], Y[TRAIN] == 1)
    assert classifier.predict(X[TEST]).dtype == bool


@pytest.mark.parametrize("feature_map", MAPS)
def test_one_class(feature_map):
    classifier = quick(feature_map=feature_map).fit(X[:20], np.full(20, "only"))
    np.testing.assert_array_equal(classifier.predict_proba(X), np.ones((150, 1)))
    assert set(classifier.predict(X)) == {"only"}


@pytest.mark.parametrize("n", [1, 2, 3, 4, 5, 6])
@pytest.mark.parametrize("feature_map", MAPS)
def test_few_samples(n, feature_map):
    rows = np.linspace(0, 149, n).astype(int)
    classifier = UHopClassifier(feature_map, random_state=0).fit(X[rows], Y[rows])
    assert np.isfinite(classifier.predict_proba(X)).all()
    np.testing.assert_array_equal(classifier.predict(X[rows]), Y[rows])


def test_a_class_of_one_row():
    rows = np.r_[0:30, 50:80, 100]
    proba = quick().fit(X[rows], Y[rows]).predict_proba(X[[100]])
    assert proba.shape == (1, 3)
    assert np.isfinite(proba).all()


def test_constant_and_huge_features():
    odd = np.column_stack([X, np.ones(150), X[:, 0] * 1e12, X[:, 1] * 1e-12])
    classifier = quick().fit(odd[TRAIN], Y[TRAIN])
    assert classifier.score(odd[TEST], Y[TEST]) > 0.6
    assert np.isinf(classifier.scale_[4])


# --- missing values ------------------------------------------------------------------


@pytest.mark.parametrize("feature_map", MAPS)
def test_missing_in_queries_is_completed(feature_map):
    classifier = fitted(feature_map=feature_map, max_iter=30)
    damaged = X[TEST].copy()
    damaged[np.arange(75), np.arange(75) % 4] = np.nan
    assert classifier.score(damaged, Y[TEST]) > 0.85
    np.testing.assert_allclose(classifier.predict_proba(damaged).sum(1), 1)
    np.testing.assert_allclose(classifier.association(damaged).sum(1), 1)


def test_complete_rows_do_not_mind_incomplete_ones():
    classifier = fitted()
    damaged = X[TEST].copy()
    damaged[::2, 0] = np.nan
    np.testing.assert_allclose(
        classifier.predict_proba(damaged)[1::2],
        classifier.predict_proba(X[TEST])[1::2],
        rtol=1e-7,
    )


def test_nothing_known():
    assert np.isfinite(fitted().predict_proba(np.full((2, 4), np.nan))).all()


def test_missing_in_fit_is_the_mean():
    damaged = X[TRAIN].copy()
    damaged[::5, 2] = np.nan
    filled = np.where(np.isnan(damaged), np.nanmean(damaged, axis=0), damaged)
    first, second = (quick().fit(A, Y[TRAIN]) for A in (damaged, filled))
    np.testing.assert_allclose(first.patterns_, filled)
    np.testing.assert_allclose(
        first.predict_proba(X[TEST]), second.predict_proba(X[TEST]), rtol=1e-4
    )


def test_a_column_of_nothing_but_nan():
    damaged = np.column_stack([X, np.full(150, np.nan)])
    assert quick(max_iter=30).fit(damaged[TRAIN], Y[TRAIN]).score(damaged, Y) > 0.8


# --- partial_fit ---------------------------------------------------------------------


def test_partial_fit_adds_rows_and_classes():
    two = TRAIN[Y[TRAIN] < 2]
    classifier = quick().partial_fit(X[two], Y[two])
    kernels = classifier.kernels_
    assert (classifier.predict(X[100:]) < 2).all()
    three = TRAIN[Y[TRAIN] == 2]
    classifier.partial_fit(X[three], Y[three])
    assert classifier.kernels_ is kernels
    np.testing.assert_array_equal(classifier.classes_, [0, 1, 2])
    np.testing.assert_array_equal(classifier.patterns_, X[np.r_[two, three]])
    assert (classifier.predict(X[100:]) == 2).mean() > 0.6


def test_partial_fit_sorts_new_classes_in():
    classifier = quick().partial_fit(X[50:], np.array(["a", "m", "z"])[Y[50:]])
    classifier.partial_fit(X[:50], np.full(50, "c"))
    np.testing.assert_array_equal(classifier.classes_, ["c", "m", "z"])
    assert (classifier.predict(X[:50]) == "c").mean() > 0.9
    assert (classifier.predict(X[50:]) != "c").mean() > 0.9


def test_partial_fit_in_parts_is_partial_fit_at_once():
    parts = np.array_split(TEST, 3)
    first, second = fitted(), fitted()
    for rows in parts:
        first.partial_fit(X[rows], Y[rows], sample_weight=np.full(len(rows), 2.0))
    second.partial_fit(X[TEST], Y[TEST], sample_weight=np.full(75, 2.0))
    np.testing.assert_allclose(
        first.predict_proba(X[TEST]), second.predict_proba(X[TEST]), rtol=1e-9
    )
    assert first.sample_weight_.sum() == 75 + 150


def test_partial_fit_classes():
    classifier = quick().partial_fit(X[TRAIN], Y[TRAIN], classes=[0, 1, 2, 9])
    np.testing.assert_array_equal(classifier.classes_, [0, 1, 2, 9])
    assert (classifier.predict_proba(X[TEST])[:, 3] == 0).all()
    classifier.partial_fit(X[:1], [1], classes=[5])
    np.testing.assert_array_equal(classifier.classes_, [0, 1, 2, 5, 9])


# --- parameters ----------------------------------------------------------------------

WRONG = {
    "feature_map": ["quadratic", None, 3],
    "n_components": [0, 2.5, None],
    "loss": ["hinge", None],
    "similarity": ["channel", "l2", None],
    "separation": ["argmax", None],
    "separation__alpha": [3, "auto"],
    "separation__gamma": [1],
    "separation__k": [0.5],
    "separation__degree": [0],
    "beta": [0, -1, np.nan, "high", True],
    "class_weight": ["equal", 2],
    "training": ["adamw", Training()],
    "training__n_folds": [1, 2.5, "many", None],
    "max_iter": [0, 1.5, None],
    "training__learning_rate": [0, np.inf],
    "training__weight_decay": [-1, None],
    "training__batch_size": [1, 2.5],
    "loss__label_smoothing": [-0.1, 1.1],
    "training__early_stopping": [1, None],
    "warm_start": [1, "no"],
    "verbose": [-1, "loud"],
    "retention": ["newest", None, 1],
    "retention__rule": ["newest", None, 1],
    "retention__max_patterns": [0, -1, 2.5, "many", True],
    "retention__decay": [0, -0.5, 1.01, np.nan, "slow", None],
    "precision": ["float64", 32, None],
    "device": ["banana", 0],
    "training__linear_share": [-0.1, 1.5, "much", np.nan, None, True],
    "categorical_features": ["dtype", 3, [0.5], [[True]]],
}


def test_every_parameter_has_wrong_values():
    assert set(WRONG) == set(CLASSIFIER_RULES)
    names = {name for name in WRONG if "__" not in name} | {"random_state"}
    assert names == set(UHopClassifier().get_params())


@pytest.mark.parametrize(
    "name, value", [(name, value) for name, values in WRONG.items() for value in values]
)
def test_wrong_values_are_named(name, value):
    owners = {"alpha": "entmax", "gamma": "normmax", "k": "ksubsets"}
    estimator = UHopClassifier()
    if name.startswith("separation__"):
        estimator.separation = owners.get(name.split("__")[1], "polynomial")
    with pytest.raises(InvalidParameterError, match=name):
        estimator.set_params(**{name: value}).fit(X, Y)


def test_absent_device_is_an_error():
    with pytest.raises(InvalidParameterError, match="not available"):
        quick(device="cuda:99").fit(X, Y)


def test_infinity_is_refused():
    with pytest.raises(ValueError, match="infinity"):
        fitted().predict([[np.inf, 0, 0, 0]])


@pytest.mark.parametrize(
    "change",
    [{"beta": 3.0}, {"feature_map": "identity"}, {"similarity": "manhattan"}],
)
def test_what_stage_one_was_told_later_waits_for_the_next_fit(change):
    classifier = fitted()
    before = classifier.predict_proba(X[TEST])
    classifier.set_params(**change)
    np.testing.assert_array_equal(classifier.predict_proba(X[TEST]), before)


def test_warm_start_continues():
    cold = quick(warm_start=True, max_iter=30)
    cold.set_params(training__early_stopping=False)
    first = cold.fit(X[TRAIN], Y[TRAIN]).loss_curve_
    second = cold.fit(X[TRAIN], Y[TRAIN]).loss_curve_
    assert second[0] < first[0]


def test_early_stopping_off_keeps_the_last_step():
    noise = np.random.default_rng(0).normal(size=(60, 3))
    labels = np.random.default_rng(1).integers(0, 2, 60)
    kept = [
        quick(max_iter=60).set_params(training__early_stopping=flag).fit(noise, labels)
        for flag in (False, True)
    ]
    assert kept[0].selection_["steps"] == 2 * [[60, 60, 60]]
    assert all(kernel["state"] for kernel in kept[0].kernels_)
    assert (
        kept[1].selection_["kept"] == "untrained"
        or np.max(kept[1].selection_["steps"]) < 60
    )


def test_verbose_prints(capsys):
    quick(verbose=1).fit(X[TRAIN], Y[TRAIN])
    assert capsys.readouterr().out.startswith("Iteration 1, loss = ")
    quick().fit(X[TRAIN], Y[TRAIN])
    assert capsys.readouterr().out == ""


# --- persistence ---------------------------------------------------------------------


def by_pickle(estimator):
    return pickle.loads(pickle.dumps(estimator))


def by_joblib(estimator):
    file = io.BytesIO()
    joblib.dump(estimator, file)
    file.seek(0)
    return joblib.load(file)


def by_skops(estimator):
    data = skops.io.dumps(estimator)
    unknown = skops.io.get_untrusted_types(data=data)
    return skops.io.loads(data, trusted=unknown)


@pytest.mark.parametrize("through", [by_pickle, by_joblib, by_skops, copy.deepcopy])
@pytest.mark.parametrize("feature_map", MAPS)
def test_saved_and_loaded(through, feature_map):
    classifier = fit_once(feature_map=feature_map)
    loaded = through(classifier)
    np.testing.assert_array_equal(
        loaded.predict_proba(X[TEST]), classifier.predict_proba(X[TEST])
    )


@pytest.mark.parametrize("feature_map", [*MAPS, Network])
def test_state_is_numpy(feature_map):
    plain = (np.ndarray, str, bool, int, float, type(None))

    def leaves(value):
        if isinstance(value, dict):
            value = list(value.values())
        if isinstance(value, list):
            return [leaf for item in value for leaf in leaves(item)]
        return [value]

    classifier = fitted(feature_map=feature_map)
    for name, value in vars(classifier).items():
        if name.endswith("_"):
            found = [leaf for leaf in leaves(value) if leaf is not feature_map]
            assert all(isinstance(leaf, plain) for leaf in found), name


# --- with scikit-learn ---------------------------------------------------------------


def test_pipeline_and_grid_search():
    table = np.column_stack([X, np.where(X[:, 0] > 6, 2, 1)])
    columns = make_column_transformer(
        (StandardScaler(), [0, 1, 2, 3]), (OneHotEncoder(sparse_output=False), [4])
    )
    search = GridSearchCV(
        make_pipeline(columns, quick()),
        {"uhopclassifier__n_components": [2, 8], "uhopclassifier__beta": [8.0, "auto"]},
        cv=2,
        error_score="raise",
        scoring="neg_log_loss",
    ).fit(table[TRAIN], Y[TRAIN])
    assert search.score(table[TEST], Y[TEST]) > -1


def test_clone_forgets():
    assert not hasattr(clone(fitted()), "patterns_")


def test_refit_forgets():
    classifier = fitted().fit(X[:100, :3], Y[:100])
    assert classifier.predict_proba(X[:, :3]).shape == (150, 2)
