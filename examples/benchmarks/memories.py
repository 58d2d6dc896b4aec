"""Tables: compact memory, answers, sparsity, rejection, sampled tails, peaks of memory.

Run ``python examples/benchmarks/memories.py``; everything is bundled with scikit-learn
or made up, and takes some two minutes on one core. Names of tables as arguments make
these alone.
"""

import sys
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from resource import RUSAGE_SELF, getrusage

import numpy as np
from sklearn import clone, config_context
from sklearn.cluster import KMeans
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.metrics import roc_auc_score
from sklearn.neighbors import NearestNeighbors

from skuhop import Entmax, Index, KanervaMemory, UHopClassifier, UHopMemory, Updates

RNG = np.random.RandomState(0)
DIGITS, LABELS = load_digits(return_X_y=True)
DIGITS, ORDER = DIGITS / 16, RNG.permutation(len(DIGITS))
DIGITS, LABELS = DIGITS[ORDER], LABELS[ORDER]
SCALE = np.sqrt(((DIGITS - DIGITS.mean(0)) ** 2).mean())


def error(found, right):
    """Mean over rows of the squared error."""
    return ((found - right) ** 2).sum(1).mean()


def row(*cells):
    """Print a row of a Markdown table."""
    cells = [c if isinstance(c, str) else f"{c:.3g}" for c in cells]
    print("| " + " | ".join(cells) + " |", flush=True)


class Noise:
    """Gaussian noise of some standard deviations of the entries."""

    def __init__(self, strength):
        self.strength = strength

    def __call__(self, X, random_state):
        """Damage rows."""
        return X + self.strength * SCALE * random_state.standard_normal(X.shape)


def kanerva():
    """Noisy digits that were never written: error of what comes back."""
    train, clean = DIGITS[:1500], DIGITS[1500:]
    centres = KMeans(100, n_init=1, random_state=0).fit(train)
    columns = "query", "100 slots", "50 slots", "fourier", "PCA", "k-means", "all rows"
    row("noise", *columns)
    row(*["---"] * (1 + len(columns)))
    for strength in (0.5, 1.0, 2.0):
        damage = Noise(strength)
        noisy = damage(clean, np.random.RandomState(1))
        cells = [error(noisy, clean)]
        for slots, kind in ((100, "softmax"), (50, "softmax"), (100, "fourier")):
            memory = KanervaMemory(
                slots, addressing=kind, corruption=damage, random_state=0
            ).fit(train)
            cells.append(error(memory.transform(noisy), clean))
        axes = [PCA(k).fit(train) for k in (2, 5, 10, 15, 20, 30, 40)]
        cells.append(
            min(error(p.inverse_transform(p.transform(noisy)), clean) for p in axes)
        )
        cells.append(error(centres.cluster_centers_[centres.predict(noisy)], clean))
        stored = UHopMemory("identity", similarity="euclidean").fit(train)
        betas = np.geomspace(0.01, 3, 16) / (strength * SCALE) ** 2
        cells.append(
            min(error(stored.set_params(beta=b).transform(noisy), clean) for b in betas)
        )
        row(f"{strength} SD", *cells)


def answers():
    """Centred digits of length 1, noise, dot product: error by `answer`."""
    patterns = DIGITS[:500] - DIGITS[:500].mean(0)
    patterns /= np.linalg.norm(patterns, axis=1, keepdims=True)
    noisy = patterns + np.random.RandomState(1).standard_normal(patterns.shape) / 8
    betas = (1, 3, 10, 20, 50, 100)
    row("`answer`", *(f"β = {beta}" for beta in betas))
    row(*["---"] * (1 + len(betas)))
    for answer in ("plain", "l2"):
        for steps in (1, 5):
            found = [
                UHopMemory(
                    "identity",
                    similarity="dot",
                    beta=float(beta),
                    update_steps=Updates(steps, answer=answer),
                )
                .fit(patterns)
                .transform(noisy)
                for beta in betas
            ]
            name = f'"{answer}", {steps} update{"s" * (steps > 1)}'
            row(name, *(error(f, patterns) for f in found))


def sparsity():
    """Noisy digits, beta given: error by separation, and alpha as chosen."""
    train = DIGITS[:1000]
    damage = Noise(0.5)
    noisy = damage(train, np.random.RandomState(1))
    row("β", "softmax", "entmax 1.5", "sparsemax", '"auto"', "alpha chosen")
    row(*["---"] * 6)
    for beta in (0.3, 1.0, 3.0, 10.0, 30.0, 100.0):
        cells = []
        for separation in ("softmax", "entmax", "sparsemax", Entmax("auto")):
            memory = UHopMemory(
                "identity",
                similarity="euclidean",
                beta=beta,
                separation=separation,
                corruption=damage,
                random_state=0,
            ).fit(train)
            cells.append(error(memory.transform(noisy), train))
        row(f"{beta:g}", *cells, memory.separation_params_["alpha"])


def rejection():
    """Digits 0 to 4 stored: area under the curve, against digits 5 to 9."""
    stored = DIGITS[LABELS < 5]
    row("noise", "weight of nothing, β given", 'the same, β "auto"', "nearest distance")
    row(*["---"] * 4)
    for strength in (0.5, 1.0, 1.5):
        known = Noise(strength)(stored, np.random.RandomState(1))
        strange = Noise(strength)(DIGITS[LABELS >= 5], np.random.RandomState(2))
        queries = np.vstack([known, strange])
        y = np.repeat([0, 1], [len(known), len(strange)])
        cells = []
        for beta in ((strength * SCALE) ** -2, "auto"):
            memory = UHopMemory(
                "identity", similarity="euclidean", separation="softmax1", beta=beta
            ).fit(stored)
            _, null = memory.predict(queries, return_null=True)
            cells.append(roc_auc_score(y, null))
        near, _ = NearestNeighbors(n_neighbors=1).fit(stored).kneighbors(queries)
        row(f"{strength} SD", *cells, roc_auc_score(y, near))


def tails():
    """500,000 patterns, 64 features: the tail looked up, dropped or sampled."""
    rng = np.random.RandomState(0)
    patterns = rng.standard_normal((500_000, 64)).astype("f4")
    queries = patterns[:500] + 0.3 * rng.standard_normal((500, 64)).astype("f4")
    row("β", "missing weight", "dropped", "sampled", "reported", "s, all", "s, sampled")
    row(*["---"] * 7)
    memory = UHopMemory(
        "identity", similarity="euclidean", beta=1.0, index="ivf", random_state=0
    ).fit(patterns)

    def asked(**params):
        memory.set_params(**params)
        memory.transform(queries[:8])
        start = time.perf_counter()
        return memory.transform(queries), time.perf_counter() - start

    for beta in (0.1, 0.2, 0.3, 0.5, 1.0):
        memory.set_params(beta=beta)
        exact, whole = asked(index=None)
        dropped, _ = asked(index=Index("ivf", tol=1.0))
        lacking = memory.missing_weight(queries).mean()
        sampled, fast = asked(index=Index("ivf", tail="sample"))
        std = memory.tail_std(queries)
        gaps = [np.sqrt(error(found, exact)) for found in (dropped, sampled)]
        row(f"{beta:g}", lacking, *gaps, np.sqrt((std**2).mean()), whole, fast)


def peaks():
    """MiB held beside data and answer, at most, in a process for each call."""
    calls = {
        "transform, 400,000 x 64": (UHopMemory(**PLAIN), 50, 64, 400_000),
        "transform, half with gaps": (UHopMemory(**PLAIN), 50, 64, -400_000),
        "predict_proba, 100,000 x 64": (UHopClassifier(max_iter=5), 500, 64, 100_000),
        "Kanerva, transform, 100,000 x 64": (KanervaMemory(50), 500, 64, 100_000),
        "fit, 50,000 x 64": (UHopMemory(max_iter=10), 50_000, 64, 0),
        "fit, 5 x 1,000,000": (UHopMemory(max_iter=10), 5, 1_000_000, 0),
    }
    budgets = (16, 64, 1024)
    row("call", *(f"`working_memory` {budget} MiB" for budget in budgets))
    row(*["---"] * (1 + len(budgets)))
    for name, call in calls.items():
        cells = []
        for budget in budgets:
            with ProcessPoolExecutor(1, get_context("spawn")) as child:
                cells.append(child.submit(peak_of, *call, budget).result())
        row(name, *(f"{cell:.0f}" for cell in cells))


PLAIN = {"feature_map": "identity", "similarity": "euclidean"}


def peak_of(estimator, n_rows, n_features, n_queries, budget):
    """MiB by which resident memory grows at most, less what the answer takes.

    A negative number of queries is for rows of which every other one lacks an entry;
    without queries it is `fit` that is watched.
    """
    rng = np.random.default_rng(0)

    def made(n):
        return rng.random((n, n_features), dtype=np.float32)

    def fitted(X):
        return clone(estimator).fit(X, (X[:, 0] > 0.5).astype(int))

    small = fitted(made(100)[:, :9]) if n_features > 1000 else fitted(made(100))
    X, queries = made(n_rows), made(abs(n_queries))
    queries[: len(queries) * (n_queries < 0) : 2, 0] = np.nan
    ask = getattr(small, "predict_proba", None) or small.transform
    with config_context(working_memory=budget):
        ask(made(100)[:, : small.n_features_in_])
        before = getrusage(RUSAGE_SELF).ru_maxrss
        answer = ask(queries) if n_queries else fitted(X).mean_
        after = getrusage(RUSAGE_SELF).ru_maxrss
    return (after - before) / 2**10 - answer.nbytes / 2**20


TABLES = {f.__name__: f for f in (kanerva, answers, sparsity, rejection, tails, peaks)}

if __name__ == "__main__":
    for name in sys.argv[1:] or TABLES:
        print(f"\n{name}: {TABLES[name].__doc__}\n")
        TABLES[name]()
