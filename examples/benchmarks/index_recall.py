"""What an index finds, over many kinds of data.

20,000 patterns of every kind, and 200 of them with noise of half the distance of their
nearest other pattern as queries; beta is the precision of the noise. "hits" are the
queries for which `predict` gives the pattern of exact retrieval, or one equal to it;
"error" is the largest distance between answers of `transform`, over the largest of a
pattern from the mean. "told" and "missing" are what `missing_weight` counts after
the first look at the index and what exact retrieval says is missing, the largest over
the queries that are answered then ("first look"); "whole" is the share answered from
the whole memory. With ``--data`` (a folder of banking77_minilm.npz and mnist.npz)
embeddings of sentences and images are among the data.

Run ``python examples/benchmarks/index_recall.py --data FOLDER``; names of data make
these alone, ``--smaller 10`` takes a tenth of the patterns. Numbers go to
``benchmark_results/index_recall.csv``.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
import torch
from _report import machine, markdown_rows, write_tables
from sklearn.datasets import load_digits
from sklearn.neighbors import NearestNeighbors

from skuhop import Index, UHopMemory
from skuhop.answering.neighbour_index import KINDS
from skuhop.retrieval.index import candidates as approximate

N_PATTERNS, N_QUERIES = 20_000, 200
NOISE = 0.5


def normal(width):
    """Nothing but noise."""
    return lambda rng, n: rng.normal(size=(n, width))


def clusters(k, apart):
    """As many clusters, so many standard deviations apart."""

    def make(rng, n):
        centres = apart * rng.normal(size=(k, 16))
        return centres[rng.integers(k, size=n)] + rng.normal(size=(n, 16))

    return make


def heavy(freedom):
    """Entries of a t distribution."""
    return lambda rng, n: rng.standard_t(freedom, size=(n, 16))


def digits(rng, n):
    """Small images, again and again with noise."""
    images = load_digits().data
    return images[rng.integers(len(images), size=n)] + rng.normal(size=(n, 64))


def two_levels(rng, n):
    """Digits and a column of other units."""
    return np.column_stack([digits(rng, n), rng.choice([1000.0, 5000.0], n)])


def half_scaled(rng, n):
    """Digits of which every other pixel goes to 255."""
    return digits(rng, n) * np.where(np.arange(64) % 2, 1, 255 / 16)


def copies(jitter):
    """Every row 20 times, with noise or without."""

    def make(rng, n):
        X = np.repeat(rng.normal(size=(n // 20, 16)), 20, axis=0)
        return X + jitter * rng.normal(size=X.shape)

    return make


def counts(rng, n):
    """Make counts that are mostly zero."""
    return rng.poisson(rng.gamma(0.3, 1, size=(n, 64))).astype(float)


DATA = {
    "unstructured, 16": normal(16),
    "unstructured, 64": normal(64),
    "2 clusters, 10": clusters(2, 10),
    "2 clusters, 30": clusters(2, 30),
    "2 clusters, 100": clusters(2, 100),
    "50 clusters, 30": clusters(50, 30),
    "heavy tails, t(2)": heavy(2),
    "heavy tails, t(1)": heavy(1),
    "mixed units": two_levels,
    "half scaled": half_scaled,
    "copies": copies(0.0),
    "near copies": copies(0.01),
    "sparse counts": counts,
    "offset 1e6": lambda rng, n: rng.normal(size=(n, 16)) + 1e6,
}


def stored_data(folder):
    """Embeddings and images from the folder, as far as they are there."""
    for name, key in (("embeddings", "banking77_minilm"), ("images", "mnist")):
        file = Path(folder) / f"{key}.npz"
        if file.exists():
            with np.load(file) as data:
                X = data["X"][:N_PATTERNS]
            X = X.reshape(len(X), -1).astype(float)
            yield name, lambda rng, n, X=X: X[:n]


def queries_of(X, rng):
    """Noisy copies of some rows, and the precision of the noise."""
    chosen = X[rng.permutation(len(X))[:N_QUERIES]]
    near = NearestNeighbors(n_neighbors=21).fit(X).kneighbors(chosen)[0]
    apart = np.where(near > 1e-9 * near[:, -1:], near, np.inf).min(1)
    deviation = NOISE * np.median(apart) / np.sqrt(X.shape[1])
    return chosen + deviation * rng.normal(size=chosen.shape), deviation**-2


def timed(work):
    """Give the least of three times, and what comes out."""
    spent = []
    for _ in range(3):
        start = time.perf_counter()
        found = work()
        spent.append(time.perf_counter() - start)
    return min(spent), found


def inside(memory, queries):
    """Memory as the engine has it, and queries as tensors."""
    made = memory._prepare(True, queries.dtype, torch.device("cpu"))
    return made, torch.from_numpy(queries)


def asked_whole(memory, queries):
    """Share of the queries that are answered from the whole memory."""
    left = []
    made, x = inside(memory, queries)
    approximate.settle(made, x, 2**28, lambda rows, found: None, left.append)
    return sum(map(len, left)) / len(x)


def first_look(memory, queries):
    """Weight (n,) that is missing after the first look: as told, and as it is."""
    made, x = inside(memory, queries)
    candidates = made.nearest.candidates[0]
    found = approximate.ask(made, made.scorer.prepare(x), candidates)
    memory.set_params(index=None)
    weights = torch.from_numpy(memory.association(queries))
    true = 1 - weights.gather(1, found.indices).sum(1)
    return found.missing.numpy(), true.clamp_min(0).numpy()


def one(name, make, kind, smaller):
    """Row of one kind of data and of index."""
    rng = np.random.default_rng(0)
    X = make(rng, N_PATTERNS // smaller)
    queries, beta = queries_of(X, rng)
    memory = UHopMemory("identity", similarity="euclidean", beta=beta, index=kind)
    start = time.perf_counter()
    memory.fit(X)
    fit = time.perf_counter() - start
    spent, answers = timed(lambda: memory.transform(queries))
    best = memory.predict(queries)
    whole = asked_whole(memory, queries)
    told, missing = first_look(memory, queries)
    spent_exact, exact = timed(lambda: memory.transform(queries))
    error = np.linalg.norm(answers - exact, axis=1).max()
    reach = np.linalg.norm(X - X.mean(0), axis=1).max()
    early = told <= Index.of(memory.index).tol
    more = (missing > told + 1e-6)[early]
    return {
        "data": name,
        "index": kind,
        "hits": f"{np.mean(X[best] == X[memory.predict(queries)]):.4f}",
        "error": f"{error / reach:.0e}",
        "first look": f"{early.mean():.0%}",
        "told": f"{told[early].max(initial=0):.0e}",
        "missing": f"{missing[early].max(initial=0):.0e}",
        "more missing than told": f"{more.mean():.1%}" if early.any() else "none",
        "whole": f"{whole:.0%}",
        "fit (s)": f"{fit:.1f}",
        "ms per query": f"{1e3 * spent / len(queries):.2f}",
        "times exact retrieval": f"{spent / spent_exact:.2f}",
    }


def main():
    """Make the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("names", nargs="*", help="kinds of data; all if none")
    parser.add_argument("--data", help="folder of banking77_minilm.npz and mnist.npz")
    parser.add_argument("--index", nargs="*", choices=KINDS, default=list(KINDS))
    parser.add_argument("--smaller", type=int, default=1, metavar="FACTOR")
    parser.add_argument("--out", default="benchmark_results/index_recall.csv")
    args = parser.parse_args()
    data = DATA | (dict(stored_data(args.data)) if args.data else {})
    print(machine(), end="\n\n", flush=True)
    rows = []
    for name in args.names or data:
        for kind in args.index:
            rows.append(one(name, data[name], kind, args.smaller))
            print(markdown_rows(rows[-1:]), end="\n\n", flush=True)
    write_tables(args.out, [rows])


if __name__ == "__main__":
    main()
