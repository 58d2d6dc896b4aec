"""Streams: what 1,000 patterns know of 60,000 rows of MNIST, and of rare rows.

First a classifier. The training images come once, in calls of 1,000 rows: digit by
digit (all zeros, then all ones, ...), and in the order of the file, which is mixed. The
classifier compares pixels (identity, cosine, fixed beta), so that the rules of
retention are all that differs. A fair sample is the mean over some seeds.
"MiniBatchKMeans" is scikit-learn's, one for each digit, of 100 centres, fed the same
rows: it is told beforehand how many digits there will be. "refitted" is the classifier
that learns Phi, by `fit` with its defaults, from what was kept of the digits one by
one.

Then a memory without labels: 20,000 rows, each a copy of one of 1,000 images, the
k-th of which comes in proportion to 1 / k, with noise of 0.1 per pixel. "known" is the
share of the images that have come whose nearest pattern is a copy of theirs, by how
often they have come.

Run it with ``python examples/benchmarks/streams.py --data FOLDER``, where FOLDER holds
mnist.npz (X, X_test: uint8 images; y, y_test); numbers go to
``benchmark_results/streams.csv``.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
from _report import machine, markdown_rows, write_tables
from _tables import large
from sklearn.cluster import MiniBatchKMeans

from skuhop import Retention, UHopClassifier, UHopMemory
from skuhop.retention import RETENTION

CALL = 1000
BETAS = (40.0, 80.0)


def plain(beta, **params):
    """Classifier that compares pixels."""
    return UHopClassifier("identity", similarity="cosine", beta=beta, **params)


def kept_by(rule, X, y, budget, seed):
    """Patterns, labels and weights that a rule keeps, and how many of each label."""
    classifier = plain(
        BETAS[0], retention=Retention(rule, max_patterns=budget), random_state=seed
    )
    for start in range(0, len(X), CALL):
        rows = slice(start, start + CALL)
        classifier.partial_fit(X[rows], y[rows])
    labels = classifier.classes_[classifier.pattern_classes_]
    return classifier.patterns_, labels, classifier.sample_weight_


def centres(X, y, budget, seed):
    """Centres of k-means for each label, and their labels."""
    labels = np.unique(y)
    share = budget // len(labels)
    models = {c: MiniBatchKMeans(share, n_init=1, random_state=seed) for c in labels}
    waiting = dict.fromkeys(labels, X[:0])
    for start in range(0, len(X), CALL):
        rows = slice(start, start + CALL)
        for c in np.unique(y[rows]):
            # As many rows as centres are needed at least.
            waiting[c] = np.concatenate([waiting[c], X[rows][y[rows] == c]])
            if len(waiting[c]) >= CALL // 2:
                models[c].partial_fit(waiting[c])
                waiting[c] = X[:0]
    for c, rest in waiting.items():
        if len(rest):
            models[c].partial_fit(rest)
    found = [model.cluster_centers_ for model in models.values()]
    return np.concatenate(found), np.repeat(labels, share), None


def accuracies(kept, X, y):
    """Accuracy at every beta."""
    return [plain(beta).fit(*kept).score(X, y) for beta in BETAS]


def ways(budget, seeds):
    """Name, function that keeps rows, seeds."""
    for rule in RETENTION:

        def keep(X, y, seed, rule=rule):
            return kept_by(rule, X, y, budget, seed)

        yield rule, keep, range(seeds) if rule == "reservoir" else [0]
    yield "MiniBatchKMeans", lambda X, y, seed: centres(X, y, budget, seed), [0]


def rare(images, budget, n_rows=20_000, noise=0.1):
    """Rows of the second table."""
    rng = np.random.default_rng(0)
    share = 1 / np.arange(1, len(images) + 1)
    which = rng.choice(len(images), n_rows, p=share / share.sum())
    times = np.bincount(which, minlength=len(images))
    ranges = {"once": (1, 1), "2 to 9 times": (2, 9), "more": (10, n_rows)}
    for rule in RETENTION:
        memory = UHopMemory("identity", similarity="euclidean", beta=1 / noise**2)
        kept = Retention(rule, max_patterns=budget)
        memory.set_params(retention=kept, random_state=0)
        draw, start = np.random.default_rng(1), time.perf_counter()
        for rows in np.array_split(which, n_rows // CALL):
            damage = draw.standard_normal((len(rows), images.shape[1]), np.float32)
            memory.partial_fit(images[rows] + np.float32(noise) * damage)
        seconds = time.perf_counter() - start
        known = which[memory.stream_["arrivals"]][memory.predict(images)]
        known = known == np.arange(len(images))
        row = {"kept": rule}
        for name, (low, high) in ranges.items():
            some = (times >= low) & (times <= high)
            row[f"known, came {name} ({some.sum()} images)"] = (
                f"{known[some].mean():.1%}"
            )
        yield row | {"seconds": f"{seconds:.0f}"}


def main():
    """Run the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", required=True, help="folder of mnist.npz")
    parser.add_argument("--budget", type=int, default=1000)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--no-refit", action="store_true")
    parser.add_argument("--out", default="benchmark_results/streams.csv")
    args = parser.parse_args()
    data = large("mnist", Path(args.data))
    digits = np.argsort(data.y, kind="stable")
    orders = {"digit by digit": digits, "mixed": np.arange(len(digits))}
    print(machine(), end="\n\n", flush=True)
    rows = []
    for name, keep, seeds in ways(args.budget, args.seeds):
        row = {"kept": name}
        for title, order in orders.items():
            X, y = data.X[order], data.y[order]
            start = time.perf_counter()
            kept = [keep(X, y, seed) for seed in seeds]
            seconds = (time.perf_counter() - start) / len(kept)
            found = np.array([accuracies(k, data.X_test, data.y_test) for k in kept])
            for beta, accuracy in zip(BETAS, found.mean(0), strict=True):
                row[f"{title}, beta {beta:g}"] = f"{accuracy:.2%}"
            row[f"{title} (s)"] = f"{seconds:.0f}"
            if title == "digit by digit":
                counts = np.unique_counts(kept[0][1]).counts
                row["patterns of a digit"] = f"{counts.min()} to {counts.max()}"
                refitted = kept[0]
        if not args.no_refit:
            classifier = UHopClassifier(random_state=0).fit(*refitted)
            row["refitted"] = f"{classifier.score(data.X_test, data.y_test):.2%}"
        rows.append(row)
        print(markdown_rows([row]), flush=True)
    tables = [rows, list(rare(data.X[: args.budget], args.budget))]
    print("\n" + "\n\n".join(map(markdown_rows, tables)))
    write_tables(args.out, tables)


if __name__ == "__main__":
    main()
