"""partial_fit with a limit: what is kept, how it fades, and what a failure leaves."""

import copy
import pickle

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.datasets import load_digits

from skuhop import Retention, UHopClassifier, UHopMemory, UHopRegressor
from skuhop.exceptions import InvalidParameterError
from skuhop.retention import RETENTION, RetentionRule
from skuhop.retrieval import SIMILARITIES

RNG = np.random.default_rng(0)
X = RNG.normal(size=(90, 10))
Y = np.arange(90) % 3
QUERIES = X[:12] + 0.3 * RNG.normal(size=(12, 10))
CHOOSING = [name for name in RETENTION if name != "merge"]
BY_ORDER = ["fifo", "reservoir"]
COMPARING = [name for name in RETENTION if name not in BY_ORDER]
PLAIN = {"feature_map": "identity", "similarity": "euclidean", "beta": 1.5}
KINDS = {"memory": UHopMemory, "classifier": UHopClassifier, "regressor": UHopRegressor}


def make(kind="memory", retention="merge", max_patterns=None, decay=1.0, **params):
    kept = Retention(retention, max_patterns=max_patterns, decay=decay)
    return KINDS[kind](retention=kept, **{**PLAIN, "random_state": 0, **params})


def feed(estimator, pieces=(25, 3, 50, 12), data=X, weights=None):
    ends = np.cumsum(pieces)
    for start, end in zip(ends - pieces, ends, strict=True):
        rows = slice(start, end)
        own = None if weights is None else weights[rows]
        estimator.partial_fit(data[rows], Y[rows], sample_weight=own)
    return estimator


def ask(estimator):
    if isinstance(estimator, UHopMemory):
        return estimator.transform(QUERIES)
    return estimator.association(QUERIES)


def state(estimator):
    """Everything that a call could change, as values."""
    return pickle.dumps(sorted(vars(estimator).items()))


def by_pickle(estimator):
    return pickle.loads(pickle.dumps(estimator))


# --- without a limit -----------------------------------------------------------------


@pytest.mark.parametrize("similarity", SIMILARITIES)
@pytest.mark.parametrize("beta", ["auto", 1.5])
def test_without_a_limit_it_is_fit_of_all_rows(similarity, beta):
    params = {"similarity": similarity, "beta": beta}
    weights = RNG.uniform(0.5, 2, 90)
    streamed = feed(make(**params), weights=weights)
    whole = make(**params).fit(X, sample_weight=weights)
    np.testing.assert_array_equal(streamed.patterns_, X)
    for method in ("transform", "predict", "energy"):
        np.testing.assert_allclose(
            getattr(streamed, method)(QUERIES), getattr(whole, method)(QUERIES)
        )
    np.testing.assert_allclose(streamed.mean_, whole.mean_)


@pytest.mark.parametrize("kind", ["classifier", "regressor"])
def test_values_without_a_limit(kind):
    # beta is given and nothing is learned, but the share of the prior is calibrated.
    streamed, whole = feed(make(kind)), make(kind).fit(X, Y)
    np.testing.assert_array_equal(streamed.patterns_, whole.patterns_)
    np.testing.assert_allclose(ask(streamed), ask(whole))


@pytest.mark.parametrize("similarity", ["auto", "euclidean"])
def test_nothing_is_learned_after_the_first_call(similarity):
    memory = make(feature_map="linear", similarity=similarity, max_iter=5)
    memory.partial_fit(X[:40])
    kept = {k: getattr(memory, k) for k in ("feature_map_state_", "damage_model_")}
    kept |= {"selection_": memory.selection_, "components_": memory.components_}
    memory.partial_fit(X[40:])
    for name, value in kept.items():
        assert getattr(memory, name) is value, name
    assert np.isfinite(memory.transform(QUERIES)).all()
    found = memory.predict(X)
    np.testing.assert_array_equal(found, np.arange(90))


def test_patterns_beyond_what_the_damage_model_has_seen():
    for params in ({}, {"corruption": "noise"}):
        memory = UHopMemory(max_iter=3, random_state=0, **params).partial_fit(X[:40])
        far = np.concatenate([50 + X[40:50], -20 + X[50:60]])
        memory.partial_fit(far)
        np.testing.assert_array_equal(memory.predict(far), np.arange(40, 60))
        np.testing.assert_allclose(memory.transform(far), far, atol=0.5)


# --- with one ------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("retention", RETENTION)
def test_memory_is_constant(kind, retention, monkeypatch):
    sizes, rule = [], RETENTION[retention]

    def watched(rows, budget, seed):
        sizes.append(len(rows.arrivals))
        return rule.plan(rows, budget, seed)

    monkeypatch.setitem(RETENTION, retention, RetentionRule(watched, rule.compares))
    estimator = make(kind, max_patterns=8, retention=retention)
    many = RNG.normal(size=(2000, 10))
    estimator.partial_fit(many, np.arange(2000) % 3)
    for rows in many, many[:5]:
        estimator.partial_fit(rows, np.arange(len(rows)) % 3)
        assert len(estimator.patterns_) == 8
        assert estimator.stream_["arrivals"].shape == (8,)
    assert estimator.stream_["seen"] == 4005
    assert max(sizes) <= 8 + 256
    assert np.isfinite(ask(estimator)).all()


@pytest.mark.parametrize("retention", CHOOSING)
@pytest.mark.parametrize("kind", KINDS)
def test_patterns_are_rows_of_the_stream(kind, retention):
    estimator = feed(make(kind, max_patterns=20, retention=retention))
    rows = estimator.stream_["arrivals"]
    np.testing.assert_array_equal(estimator.patterns_, X[rows])
    if kind == "classifier":
        labels = estimator.classes_[estimator.pattern_classes_]
        np.testing.assert_array_equal(labels, Y[rows])
    if kind == "regressor":
        np.testing.assert_array_equal(estimator.values_, Y[rows])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("pieces", [(90,), (30, 30, 30), (1,) * 90, (89, 1)])
@pytest.mark.parametrize("retention", BY_ORDER)
def test_any_way_to_cut_the_stream(retention, pieces, kind):
    params = {"max_patterns": 13, "retention": retention, "decay": 0.95}
    first, second = (feed(make(kind, **params), cut) for cut in ((40, 50), pieces))
    np.testing.assert_array_equal(first.patterns_, second.patterns_)
    np.testing.assert_allclose(first.sample_weight_, second.sample_weight_)
    if retention == "fifo":
        np.testing.assert_array_equal(first.patterns_, X[77:])


def test_the_sample_follows_the_seed():
    def kept(seed):
        return feed(make(max_patterns=10, retention="reservoir", random_state=seed))

    assert kept(0).stream_["arrivals"].tolist() == kept(0).stream_["arrivals"].tolist()
    assert kept(0).stream_["arrivals"].tolist() != kept(1).stream_["arrivals"].tolist()


@pytest.mark.parametrize("retention", ["coverage", "merge"])
@pytest.mark.parametrize("kind", KINDS)
def test_weight_is_kept(kind, retention):
    weights = RNG.uniform(0.5, 2, 90)
    params = {"max_patterns": 12, "retention": retention}
    estimator = feed(make(kind, **params), weights=weights)
    np.testing.assert_allclose(estimator.sample_weight_.sum(), weights.sum())
    if kind == "classifier":  # and so are the classes' shares
        shares = np.bincount(Y, weights) / weights.sum()
        np.testing.assert_allclose(estimator.class_prior_, shares)
    if retention == "merge":
        mean = np.average(estimator.patterns_, 0, estimator.sample_weight_)
        np.testing.assert_allclose(mean, np.average(X, 0, weights))
    if retention == "merge" and kind == "regressor":
        mean = np.average(estimator.values_, 0, estimator.sample_weight_)
        np.testing.assert_allclose(mean, np.average(Y, 0, weights))


def test_one_merge_is_the_weighted_mean():
    data = np.array([[0.0, 0], [5, 0], [0, 7], [0.5, 0]])
    memory = make(max_patterns=3, retention="merge")
    memory.partial_fit(data, sample_weight=[1, 1, 1, 3])
    np.testing.assert_allclose(memory.patterns_, [[5, 0], [0, 7], [0.375, 0]])
    np.testing.assert_array_equal(memory.sample_weight_, [1, 1, 4])
    np.testing.assert_array_equal(memory.stream_["arrivals"], [1, 2, 3])


def test_rules_either_compare_or_go_by_order():
    assert {name: rule.compares for name, rule in RETENTION.items()} == {
        **dict.fromkeys(BY_ORDER, False),
        **dict.fromkeys(COMPARING, True),
    }


@pytest.mark.parametrize("retention", COMPARING)
def test_distances_are_those_of_the_features(retention):
    # Cosine does not see lengths, so rows of one direction are copies of each other.
    directions = RNG.normal(size=(4, 10))
    data = (directions[None] * RNG.uniform(1, 9, (6, 4, 1))).reshape(-1, 10)
    memory = make(similarity="cosine", max_patterns=4, retention=retention)
    memory.partial_fit(data)
    found = memory.patterns_ / np.linalg.norm(memory.patterns_, axis=1)[:, None]
    own = directions / np.linalg.norm(directions, axis=1)[:, None]
    assert ((found @ own.T > 1 - 1e-9).sum(0) == 1).all()


@pytest.mark.parametrize("retention", BY_ORDER)
def test_order_knows_no_features(retention):
    kept = [
        feed(make(similarity=similarity, max_patterns=10, retention=retention))
        for similarity in ("cosine", "manhattan")
    ]
    arrivals = kept[0].stream_["arrivals"]
    np.testing.assert_array_equal(kept[1].stream_["arrivals"], arrivals)
    for memory in kept:
        np.testing.assert_array_equal(memory.patterns_, X[arrivals])
    assert (arrivals.tolist() == list(range(80, 90))) == (retention == "fifo")


@pytest.mark.parametrize("retention", COMPARING)
def test_classes_do_not_mix_and_are_not_forgotten(retention):
    same = np.repeat(X[:5], 6, axis=0)
    labels = np.tile(["a", "b", "c"], 10)
    classifier = make("classifier", max_patterns=15, retention=retention)
    classifier.partial_fit(same, labels)
    proba = classifier.predict_proba(X[:5])
    np.testing.assert_allclose(proba, proba[:1].repeat(5, 0), atol=0.3)
    assert np.bincount(classifier.pattern_classes_).tolist() == [5, 5, 5]
    classifier.set_params(retention__rule="fifo").partial_fit(X[:20], np.full(20, "d"))
    assert classifier.classes_.tolist() == ["a", "b", "c", "d"]
    assert set(classifier.predict(X)) == {"d"}


def test_the_limit_and_the_rule_may_change_on_the_way():
    memory = feed(make(max_patterns=30, retention="fifo"))
    memory.set_params(
        retention__max_patterns=10, retention__rule="reservoir"
    ).partial_fit(X[:1])
    assert len(memory.patterns_) == 10
    memory.set_params(retention__max_patterns=None).partial_fit(X[:30])
    assert len(memory.patterns_) == 40
    memory.set_params(retention__max_patterns=15, retention__rule="merge").partial_fit(
        X[:30]
    )
    assert len(memory.patterns_) == 15


def test_fit_stores_what_it_is_given_and_starts_anew():
    memory = feed(make(max_patterns=10))
    memory.fit(X)
    assert len(memory.patterns_) == 90
    assert memory.stream_ == {}
    memory.partial_fit(QUERIES)
    assert len(memory.patterns_) == 10
    assert memory.stream_["seen"] == 102


def test_phi_is_refreshed_from_what_is_kept():
    memory = make(feature_map="linear", max_patterns=30)
    feed(memory.set_params(max_iter=5, training__early_stopping=False))
    kept, old = memory.patterns_, memory.components_
    memory.fit(memory.patterns_, sample_weight=memory.sample_weight_)
    np.testing.assert_array_equal(memory.patterns_, kept)
    assert not np.array_equal(memory.components_, old)


def test_classes_that_come_one_by_one_are_known_in_the_end():
    data, labels = load_digits(return_X_y=True)
    order = np.argsort(labels, kind="stable")
    train, test = order[::2], order[1::2]
    scores = {}
    for retention in RETENTION:
        classifier = UHopClassifier(
            "identity",
            beta=40.0,
            retention=Retention(retention, max_patterns=60),
            random_state=0,
        )
        for rows in np.array_split(train, 15):
            classifier.partial_fit(data[rows], labels[rows])
        scores[retention] = classifier.score(data[test], labels[test])
    assert scores["fifo"] < 0.25 < scores["reservoir"]
    assert scores["coverage"] > scores["reservoir"] + 0.02
    assert scores["merge"] > scores["reservoir"] + 0.05


def test_innovation_holds_what_came_once():
    """Rare rows among many copies with noise: a fair sample has lost most of them."""
    data = load_digits().data[::9] / 16
    rng = np.random.default_rng(0)
    share = 1 / np.arange(1, len(data) + 1) ** 2
    which = rng.choice(len(data), 2000, p=share / share.sum())
    known = {}
    for retention in RETENTION:
        memory = make(max_patterns=100, retention=retention, beta=100.0)
        for rows in np.array_split(which, 7):
            memory.partial_fit(data[rows] + 0.05 * rng.normal(size=(len(rows), 64)))
        seen = np.unique(which)
        held = which[memory.stream_["arrivals"]][memory.predict(data[seen])]
        known[retention] = (held == seen).mean()
    assert known["innovation"] == 1
    assert known["merge"] > 0.9
    assert known["reservoir"] < 0.6 > known["fifo"]


# --- fading and weights --------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("pieces", [(90,), (25, 3, 50, 12)])
def test_decay_is_weights(kind, pieces):
    weights = RNG.uniform(0.5, 2, 90)
    faded = feed(make(kind, decay=0.97), pieces, weights=weights)
    told = feed(make(kind), weights=weights * 0.97 ** np.arange(90)[::-1])
    np.testing.assert_allclose(faded.sample_weight_, told.sample_weight_)
    np.testing.assert_allclose(ask(faded), ask(told))


@pytest.mark.parametrize("retention", RETENTION)
def test_what_has_faded_away_is_forgotten(retention):
    memory = make(max_patterns=50, retention=retention, decay=1e-30)
    feed(memory, data=X.astype("f4"))
    assert (memory.sample_weight_ > 0).all()
    assert len(memory.patterns_) < 5
    assert memory.patterns_.dtype == memory.sample_weight_.dtype == np.float32
    assert np.isfinite(memory.transform(QUERIES.astype("f4"))).all()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("retention", RETENTION)
def test_rows_without_weight_have_not_come(kind, retention):
    weights = RNG.permutation(np.repeat([0.0, 1, 2.5], 30))
    params = {"max_patterns": 15, "retention": retention, "decay": 0.98}
    some = weights > 0
    cuts = np.array([some[:40].sum(), some[40:].sum()])
    told = feed(make(kind, **params), (40, 50), weights=weights)
    left_out = make(kind, **params)
    for rows in np.split(np.flatnonzero(some), cuts[:1]):
        left_out.partial_fit(X[rows], Y[rows], sample_weight=weights[rows])
    np.testing.assert_array_equal(told.patterns_, left_out.patterns_)
    np.testing.assert_array_equal(told.sample_weight_, left_out.sample_weight_)


# --- failures and files --------------------------------------------------------------

BAD = {
    "infinity": (np.where(np.arange(10) == 3, np.inf, X[:5]), None, ValueError),
    "features": (X[:5, :4], None, ValueError),
    "one row": (X[0], None, ValueError),
    "weights": (X[:5], [1, 1, 1, 1, -1], ValueError),
    "no weight": (X[:5], [0] * 5, ValueError),
    "length": (X[:5], [1] * 4, ValueError),
    "text": (np.full((5, 10), "a"), None, ValueError),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("case", BAD)
@pytest.mark.parametrize("first", [True, False])
def test_bad_rows_leave_it_as_it_was(kind, case, first):
    if case in ("features", "text") and first:
        pytest.skip("allowed")
    rows, weights, error = BAD[case]
    estimator = make(kind, max_patterns=20)
    if not first:
        feed(estimator)
    before = state(estimator)
    with pytest.raises(error):
        estimator.partial_fit(rows, Y[:5], sample_weight=weights)
    assert state(estimator) == before


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("first", [True, False])
def test_a_failure_on_the_way_leaves_it_as_it_was(kind, first, monkeypatch):
    def broken(rows, budget, seed):
        raise MemoryError("no more")

    estimator = make(kind, max_patterns=20, retention="coverage")
    if not first:
        feed(estimator)
    before = state(estimator)
    monkeypatch.setitem(RETENTION, "coverage", RetentionRule(broken, False))
    with pytest.raises(MemoryError):
        estimator.partial_fit(X, np.arange(90) % 5)
    assert state(estimator) == before
    assert hasattr(estimator, "patterns_") != first


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "name, value",
    [
        ("retention__max_patterns", 0),
        ("retention__rule", "newest"),
        ("retention", "newest"),
        ("retention__decay", 0.0),
    ],
)
def test_parameters_are_checked_in_every_call(kind, name, value):
    estimator = feed(make(kind)).set_params(**{name: value})
    with pytest.raises(InvalidParameterError, match=name):
        estimator.partial_fit(X, Y)


@pytest.mark.parametrize("retention", RETENTION)
@pytest.mark.parametrize(
    "copied", [copy.deepcopy, lambda e: pickle.loads(pickle.dumps(e))]
)
def test_a_stream_goes_on_after_a_file(retention, copied):
    memory = make(max_patterns=15, retention=retention, decay=0.99, random_state=None)
    memory.partial_fit(X[:50])
    again = copied(memory)
    for one in (memory, again):
        one.partial_fit(X[50:])
    np.testing.assert_array_equal(memory.patterns_, again.patterns_)
    np.testing.assert_array_equal(memory.transform(QUERIES), again.transform(QUERIES))
    assert not hasattr(clone(memory), "stream_")


def test_answers_follow_the_patterns():
    # Prepared memories are kept between calls: the new patterns make new ones.
    memory = make(max_patterns=10, retention="fifo", beta=1e4).partial_fit(X[:20])
    memory.transform(QUERIES)
    memory.partial_fit(X[80:])
    np.testing.assert_allclose(memory.transform(X[80:]), X[80:])


def test_an_index_is_built_anew():
    pytest.importorskip("faiss")
    many = RNG.normal(size=(3000, 8))
    memory = make(index="hnsw", beta=50.0).partial_fit(many[:2000])
    memory.partial_fit(many[2000:])
    assert memory.index_["kind"] == "hnsw"
    plain = make(beta=50.0).fit(many)
    np.testing.assert_array_equal(memory.predict(many[::50]), plain.predict(many[::50]))
    memory.set_params(retention__max_patterns=500).partial_fit(many[:1])
    assert memory.index_ == {}
    assert len(memory.transform(many[:3])) == 3
