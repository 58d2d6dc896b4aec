"""Approximate candidates: right answers, an honest bound, clear refusals."""

import pickle
import sys

import numpy as np
import pytest
import torch
from sklearn.base import clone

from skuhop import Index, UHopMemory
from skuhop.answering import neighbour_index
from skuhop.answering.neighbour_index import INDEXED, KINDS
from skuhop.retrieval import SEPARATIONS, Memory, answers, associations, build_scorer
from skuhop.retrieval.index import candidates
from skuhop.retrieval.index.candidates import (
    Nearest,
    answer_from_index,
    best_from_index,
    missing_weight,
    settle,
)

RNG = np.random.default_rng(0)
PATTERNS = RNG.normal(size=(1500, 12))
X_FEW = PATTERNS[:500]
CANDIDATES = (64, 512)
QUERIES = PATTERNS[:80] + 0.2 * RNG.normal(size=(80, 12))
every_separation = pytest.mark.parametrize("separation", SEPARATIONS)


def memory_with_exact_index(similarity, separation, beta, weighted, tol=1e-3):
    """A memory whose index finds exactly the k best, by sorting."""
    patterns = torch.from_numpy(PATTERNS)
    weights = torch.from_numpy(RNG.uniform(0.5, 2, len(patterns))) if weighted else None
    scorer = build_scorer(similarity, beta, patterns, patterns.mean(0), weights, None)
    bias = 0 if scorer.bias is None else scorer.bias / scorer.beta

    def search(vectors, k):
        return (vectors @ scorer.keys[: len(patterns)].T + bias).topk(k).indices

    if scorer.bias is not None:
        bias = bias[: len(patterns)]
    rule = SEPARATIONS[separation]
    nearest = Nearest(search, tol, CANDIDATES)
    return Memory(
        scorer, rule, dict(rule.defaults), patterns, weights, True, nearest
    )  # fmt: skip


@pytest.mark.thin(4)
@pytest.mark.parametrize("weighted", [False, True], ids=["plain", "weighted"])
@pytest.mark.parametrize("beta", ["auto", 0.01, 1.0, 30.0])
@pytest.mark.parametrize("similarity", INDEXED)
@every_separation
def test_no_more_is_missing_than_the_bound_says(separation, similarity, beta, weighted):
    memory = memory_with_exact_index(similarity, separation, beta, weighted)
    X = torch.from_numpy(QUERIES)
    found = answer_from_index(memory, X, 2**28)
    weights = associations(memory, X, 2**28)
    exact = weights @ memory.patterns
    bound = missing_weight(memory, X, 2**28)
    assert (bound <= memory.nearest.tol).all()
    # Moving a share of the weight moves the answer by it times the largest distance.
    reach = torch.pdist(memory.patterns).amax()
    error = torch.linalg.vector_norm(found - exact, dim=1)
    assert (error <= bound * reach + 1e-9).all()
    expected = memory.scorer.block(memory.scorer.prepare(X), 0, len(memory.patterns))
    if memory.weights is not None:
        expected += memory.weights.log()
    if not weighted and separation not in ("softmax1", "polynomial"):
        assert torch.equal(best_from_index(memory, X, 2**28), expected.argmax(1))


@every_separation
def test_a_tolerance_of_nothing_is_exact(separation):
    memory = memory_with_exact_index("euclidean", separation, 0.05, False, tol=0.0)
    X = torch.from_numpy(QUERIES)
    torch.testing.assert_close(
        answer_from_index(memory, X, 2**28), answers(memory, X, 2**28)
    )


def asked_for(beta):
    """How many rows an exact index is asked about, and for how many candidates."""
    asked = []
    memory = memory_with_exact_index("euclidean", "softmax", beta, False)
    search = memory.nearest.search
    nearest = Nearest(
        lambda v, k: asked.append((len(v), k)) or search(v, k), 1e-3, CANDIDATES
    )
    X = torch.from_numpy(QUERIES)
    whole = answers(memory, X, 2**28)
    torch.testing.assert_close(
        answer_from_index(memory._replace(nearest=nearest), X, 2**28),
        whole,
        atol=1e-3 * torch.pdist(memory.patterns).amax().item(),
        rtol=0,
    )
    return asked


def test_flat_queries_are_answered_from_all_patterns_at_once():
    """At a small beta 64 candidates hold less than half the weight of 1,500."""
    assert asked_for(0.05) == [(len(QUERIES), CANDIDATES[0])]


def test_what_lacks_little_is_asked_for_more_candidates():
    first, second = asked_for(1.0)
    assert first == (len(QUERIES), CANDIDATES[0])
    assert second[1] == CANDIDATES[1]
    assert 0 < second[0] < len(QUERIES)


def test_an_index_that_finds_too_few_is_not_trusted():
    memory = memory_with_exact_index("euclidean", "softmax", 30.0, False)
    X = torch.from_numpy(QUERIES)
    exact = answers(memory, X, 2**28)
    lost = Nearest(lambda v, k: torch.full((len(v), k), -1), 1e-3, CANDIDATES)
    found = answer_from_index(memory._replace(nearest=lost), X, 2**28)
    torch.testing.assert_close(found, exact)


@pytest.mark.parametrize("similarity", ["auto", "manhattan"])
def test_refused_where_it_is_not_right(similarity):
    memory = UHopMemory(similarity=similarity, index="hnsw", max_iter=2)
    with pytest.raises(ValueError, match="index='hnsw' works with similarity"):
        memory.fit(PATTERNS)
    assert not hasattr(memory, "patterns_")


def test_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "faiss", None)
    memory = UHopMemory("identity", similarity="dot", index="hnsw")
    with pytest.raises(ImportError, match=r"skuhop\[index\]"):
        memory.fit(PATTERNS)
    monkeypatch.setattr(neighbour_index, "PAYS", 100)
    memory = UHopMemory("identity", similarity="dot", index="auto").fit(PATTERNS)
    assert memory.index_ == {}


def test_small_memories_need_no_index():
    memory = UHopMemory("identity", similarity="dot", index="auto").fit(PATTERNS)
    assert memory.index_ == {}
    assert not memory.missing_weight(QUERIES).any()


every_kind = pytest.mark.parametrize("kind", KINDS)


class TestFaiss:
    """With the library that the extra installs."""

    @pytest.fixture(autouse=True)
    def needs_faiss(self):
        pytest.importorskip("faiss")

    @pytest.mark.thin(2)
    @pytest.mark.parametrize("dtype", [np.float32, np.float64])
    @pytest.mark.parametrize("feature_map", ["identity", "linear"])
    @pytest.mark.parametrize("similarity", INDEXED)
    @every_kind
    def test_agrees_with_the_whole_memory(self, kind, similarity, feature_map, dtype):
        memory = UHopMemory(
            feature_map, similarity=similarity, beta=20.0, index=kind, max_iter=3,
            random_state=0,
        ).fit(PATTERNS.astype(dtype))  # fmt: skip
        queries = QUERIES.astype(dtype)
        whole = clone(memory).set_params(index=None).fit(PATTERNS.astype(dtype))
        found = memory.transform(queries)
        assert found.dtype == dtype
        np.testing.assert_allclose(found, whole.transform(queries), atol=5e-3)
        np.testing.assert_array_equal(memory.predict(queries), whole.predict(queries))
        assert (memory.missing_weight(queries) <= 1e-3).all()

    @every_kind
    def test_state_is_bytes(self, kind):
        params = {"similarity": "euclidean", "index": kind, "beta": 5.0}
        memory = UHopMemory("identity", **params).fit(PATTERNS)
        assert memory.index_["bytes"].dtype == np.uint8
        arrived = pickle.loads(pickle.dumps(memory))
        np.testing.assert_array_equal(
            arrived.transform(QUERIES), memory.transform(QUERIES)
        )

    @pytest.mark.parametrize("similarity", INDEXED)
    @every_kind
    def test_most_rows_are_answered_from_the_index(self, kind, similarity):
        """What the tests above hold is not held by asking the whole memory."""
        rng = np.random.default_rng(3)
        X = rng.normal(size=(3000, 9))
        X /= np.linalg.norm(X, axis=1, keepdims=True)
        memory = UHopMemory("identity", similarity=similarity, index=kind, beta=1e3)
        memory.fit(X)
        whole = []

        def settled(memory, X, budget, take, exact):
            def count(rows):
                whole.append(len(rows))
                exact(rows)

            settle(memory, X, budget, take, count)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(candidates, "settle", settled)
            found = memory.predict(X[:300])
        assert sum(whole) <= 3
        np.testing.assert_array_equal(found, np.arange(300))

    @every_kind
    def test_few_patterns_are_all_looked_at(self, kind):
        memory = UHopMemory("identity", similarity="dot", index=kind).fit(X_FEW)
        assert memory.index_ == {}
        np.testing.assert_array_equal(
            memory.transform(QUERIES),
            clone(memory).set_params(index=None).fit(X_FEW).transform(QUERIES),
        )

    def test_missing_entries_are_compared_with_all(self):
        memory = UHopMemory("identity", similarity="euclidean", index="hnsw")
        memory.fit(PATTERNS)
        queries = np.where(RNG.uniform(size=QUERIES.shape) < 0.3, np.nan, QUERIES)
        expected = clone(memory).set_params(index=None).fit(PATTERNS).transform(queries)
        np.testing.assert_allclose(memory.transform(queries), expected, atol=5e-3)

    def test_parameters_changed_after_fit(self):
        memory = UHopMemory("identity", similarity="dot").fit(PATTERNS)
        with pytest.raises(ValueError, match="fit again"):
            memory.set_params(index="hnsw").transform(QUERIES)
        memory.fit(PATTERNS)
        with pytest.raises(ValueError, match="fit again"):
            memory.set_params(index="ivf").transform(QUERIES)
        memory.fit(PATTERNS).set_params(similarity="cosine")
        with pytest.raises(ValueError, match="similarity='dot'"):
            memory.transform(QUERIES)
        memory.set_params(index=None).transform(QUERIES)

    def test_auto(self, monkeypatch):
        monkeypatch.setattr(neighbour_index, "PAYS", 1000)
        memory = UHopMemory("identity", similarity="dot", index="auto").fit(PATTERNS)
        assert memory.index_["kind"] == "ivf"
        assert UHopMemory(index="auto", max_iter=2).fit(PATTERNS).index_ == {}


# --- kinds of data --------------------------------------------------------------------


def clusters(k, apart):
    def make(rng, n):
        centres = apart * rng.normal(size=(k, 16))
        return centres[rng.integers(k, size=n)] + rng.normal(size=(n, 16))

    return make


def sparse_counts(rng, n):
    return rng.poisson(rng.gamma(0.3, 1, size=(n, 24))).astype(float)


def mixed_units(rng, n):
    levels = rng.choice([1000.0, 5000.0], size=(n, 1))
    return np.hstack([rng.normal(size=(n, 15)), levels])


def embeddings(rng, n):
    X = rng.normal(size=(n, 6)) @ rng.normal(size=(6, 48)) + rng.normal(size=48)
    X += 0.3 * rng.normal(size=X.shape)
    return X / np.linalg.norm(X, axis=1, keepdims=True)


def copies(jitter):
    def make(rng, n):
        X = np.repeat(rng.normal(size=(n // 20, 16)), 20, axis=0)
        return X + jitter * rng.normal(size=X.shape)

    return make


DATA = {
    "unstructured": lambda rng, n: rng.normal(size=(n, 16)),
    "2 clusters": clusters(2, 10),
    "2 clusters, far": clusters(2, 100),
    "50 clusters": clusters(50, 30),
    "heavy tails": lambda rng, n: rng.standard_t(2, size=(n, 16)),
    "heavier tails": lambda rng, n: rng.standard_t(1, size=(n, 16)),
    "mixed units": mixed_units,
    "copies": copies(0.0),
    "near copies": copies(0.01),
    "sparse counts": sparse_counts,
    "embeddings": embeddings,
    "offset": lambda rng, n: rng.normal(size=(n, 16)) + 1e6,
}
every_data = pytest.mark.parametrize("data", DATA)


def made(data, n=2000, n_queries=40, noise=0.5):
    """Patterns, noisy copies of some, and the precision of the noise."""
    rng = np.random.default_rng(7)
    X = DATA[data](rng, n)
    chosen = X[rng.choice(n, n_queries, replace=False)]
    gaps = np.linalg.norm(X[:, None, :] - chosen[None, :5], axis=2)
    scale = max(np.sort(gaps, axis=0)[21].min(), 1e-3)
    sd = noise * scale / np.sqrt(X.shape[1])
    return X, chosen + sd * rng.normal(size=chosen.shape), sd**-2


def whole(memory):
    """The same memory, asked without its index."""
    other = pickle.loads(pickle.dumps(memory))
    return other.set_params(index=None)


def first_look(memory, queries):
    """Weight that is missing after the first look at the index: told, and true."""
    inside = memory._prepare(True, queries.dtype, torch.device("cpu"))
    query = inside.scorer.prepare(torch.from_numpy(queries))
    found = candidates.ask(inside, query, inside.nearest.candidates[0])
    weights = torch.from_numpy(whole(memory).association(queries))
    return found.missing, 1 - weights.gather(1, found.indices).sum(1)


class TestKindsOfData:
    """Whatever the data are like, neighbours are kept or known to be missing."""

    @pytest.fixture(autouse=True)
    def needs_faiss(self):
        pytest.importorskip("faiss")

    @every_data
    @every_kind
    def test_neighbours_are_kept_or_known_to_be_missing(self, kind, data):
        X, queries, beta = made(data)
        memory = UHopMemory("identity", similarity="euclidean", index=kind, beta=beta)
        memory.fit(X)
        assert memory.index_["kind"] == kind
        exact = whole(memory)
        found, expected = memory.predict(queries), exact.predict(queries)
        np.testing.assert_allclose(X[found], X[expected], atol=1e-9)
        gaps = np.linalg.norm(
            memory.transform(queries) - exact.transform(queries), axis=1
        )
        reach = np.linalg.norm(X[expected][:, None] - X[None], axis=2).max(1)
        assert (gaps <= 2e-3 * reach).all()
        for sharpness in (0.1, 1.0):
            told, true = first_look(memory.set_params(beta=sharpness * beta), queries)
            true = true[told <= 1e-3]
            assert (true <= 2e-2).all()
            assert (true > 2e-3).sum() <= 2

    def test_two_clusters_as_reported(self):
        rng = np.random.RandomState(0)
        centres = rng.randn(2, 16) * 10
        X = centres[rng.randint(2, size=20000)] + rng.randn(20000, 16)
        chosen = rng.permutation(20000)[:200]
        queries = X[chosen] + 0.1 * rng.randn(200, 16)
        memory = UHopMemory(
            "identity", similarity="euclidean", beta=5.0, index="ivf", random_state=0
        ).fit(X)
        np.testing.assert_array_equal(memory.predict(queries), chosen)

    @pytest.mark.parametrize("similarity", INDEXED)
    def test_an_index_that_is_wrong_is_not_trusted(self, similarity, monkeypatch):
        """It finds nothing but patterns of the half that is farther away."""
        X, queries, _ = made("2 clusters")
        memory = UHopMemory(
            "identity", similarity=similarity, index="ivf", beta=20.0
        ).fit(X)
        side = memory.predict(queries)
        opened = neighbour_index._search

        def wrong(*args):
            search = opened(*args)
            return lambda points, k: search(points.flip(0), k)

        monkeypatch.setattr(neighbour_index, "_search", wrong)
        memory.set_params(beta=20.5)  # opens the index again
        same = (X[memory.predict(queries)] == X[side]).all(1)
        assert same.mean() >= 0.9  # it may lose one pattern of a list that it found

    @pytest.mark.parametrize("exponent", [480, -240])
    @every_kind
    def test_scale(self, kind, exponent):
        X, queries, beta = made("2 clusters")
        factor = 2.0**exponent
        memory = UHopMemory("identity", similarity="euclidean", index=kind, beta=beta)
        expected = memory.fit(X).predict(queries)
        memory.set_params(beta=beta / factor / factor).fit(X * factor)
        np.testing.assert_array_equal(memory.predict(queries * factor), expected)

    @pytest.mark.parametrize("products", [False, True])
    @pytest.mark.parametrize("exponent", [-100, -30, 30, 63, 100])
    def test_points_do_not_depend_on_units(self, exponent, products):
        keys = torch.from_numpy(made("heavy tails")[0]).float()
        factor = 2.0**exponent
        space, other = (
            neighbour_index.space_of(k, products) for k in (keys, keys * factor)
        )
        points = space.keys(keys)
        assert torch.equal(points, other.keys(keys * factor))
        assert torch.equal(space.queries(keys), other.queries(keys * factor))
        assert torch.linalg.vector_norm(points, dim=1).amax() <= 1 + 1e-5

    def test_an_index_that_loses_neighbours_is_not_kept(self, monkeypatch):
        monkeypatch.setattr(neighbour_index, "KEEPS", 2.0)
        memory = UHopMemory("identity", similarity="dot", index="ivf")
        with pytest.warns(UserWarning, match="index='ivf' loses neighbours"):
            memory.fit(PATTERNS)
        np.testing.assert_array_equal(
            memory.transform(QUERIES), whole(memory).transform(QUERIES)
        )
        assert not memory.missing_weight(QUERIES).any()

    @every_kind
    def test_bytes_of_earlier_versions(self, kind):
        memory = UHopMemory("identity", similarity="dot", index=kind).fit(PATTERNS)
        memory.index_ = memory.index_ | {"bytes": np.frombuffer(b"IxPT....", np.uint8)}
        with pytest.raises(ValueError, match="earlier version; call fit again"):
            memory.predict(QUERIES)

    @pytest.mark.parametrize("index", ["auto", "hnsw"])
    def test_rules_are_the_same_everywhere(self, index):
        """A small memory has no index, and refuses what a large one would."""
        params = {"similarity": "euclidean", "index": Index(index, tail="sample")}
        memory = UHopMemory("identity", **params).fit(X_FEW)
        for wrong in ({"separation": "sparsemax"}, {"similarity": "manhattan"}):
            if index == "auto" and "similarity" in wrong:
                continue
            memory.set_params(**wrong)
            for call in (memory.fit, memory.partial_fit, memory.predict):
                with pytest.raises(ValueError, match="works with s"):
                    call(X_FEW)
            memory.set_params(separation="softmax", similarity="euclidean")
