"""Speed and worth of Stage I: the published loop, scaling, separation reached.

1. Seconds until the average separation loss is as low as the published loop leaves
   it: a full d x d matrix, plain gradient descent at rate 10, 100 steps (the schedule
   that the code divides by sqrt(n + 1) is left out, which helps it). skuhop learns in
   the span of the patterns from W = I.
2. Seconds of `fit` with the defaults against the number of patterns and of features.
3. Smallest and mean distance of the normalised features, before and after each loss.

Run it with ``python examples/benchmarks/fit_speed.py --data FOLDER``, where FOLDER
holds mnist.npz and cifar10.npz (keys X: uint8 images; sklearn.datasets.fetch_openml
has them as "mnist_784" and "CIFAR_10"); random patterns stand in without. ``--device
cuda`` runs all on a GPU, ``--smaller 10`` on a tenth of the patterns. Numbers go
to ``benchmark_results/fit_speed.csv``, the scaling plot beside it. ``--busy 1`` instead
prints seconds of fits and of questions beside so many processes that do nothing but
count; ``taskset -c 0,1`` before it keeps them all to the same cores. ``--shapes``
prints seconds of classifiers on wide rows and on many classes, ``--peers`` those of
tables of 150 to 1,850 rows, from FOLDER/tabular as classification.py wants them, beside
a forest and a searched SVC, each on all cores, with the log-loss that they bought.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from _classifiers import TunedSVC
from _report import machine, markdown_rows, write_tables
from _tables import BUNDLED, folds, table_names
from joblib import parallel_config
from sklearn.datasets import make_classification
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss

from skuhop import Training, UHopClassifier, UHopMemory
from skuhop.learning import LOSSES

PEER_TABLES = (
    *("iris", "wine", "breast_cancer", "vehicle", "credit_g", "cmc", "yeast"),
    "segment",
)
PUBLISHED_STEPS = 100
PUBLISHED_RATE = 10.0


def load(folder, name, n_features):
    """Rows of a stored image set in [0, 1], or random ones where it is absent."""
    path = Path(folder or ".") / f"{name}.npz"
    if folder and path.exists():
        images = np.load(path)["X"]
        return images.reshape(len(images), -1).astype(np.float32) / 255, name
    rng = np.random.default_rng(0)
    return rng.random((4000, n_features), dtype=np.float32), "random"


def published_loop(patterns, device, n_steps=PUBLISHED_STEPS):
    """Seconds and loss curve of gradient descent on a full random d x d matrix."""
    x = torch.from_numpy(patterns).to(device)
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(x.shape[1], x.shape[1], generator=generator).to(device)
    weight.requires_grad_(True)
    curve = []
    start = time.perf_counter()
    for _ in range(n_steps):
        loss = LOSSES["average"](x @ weight.T)
        (gradient,) = torch.autograd.grad(loss, weight)
        with torch.no_grad():
            weight -= PUBLISHED_RATE * gradient
        curve.append(loss.item())
    return time.perf_counter() - start, curve


def ours_until(patterns, target, device):
    """Seconds of `fit`, its steps, and the loss, stopping as soon as it reaches."""
    for max_iter in (2, 5, 10, 20, 50, 100, 200):
        memory = UHopMemory(
            similarity="dot",
            max_iter=max_iter,
            training=Training(early_stopping=False, tol=0.0),
            device=device,
        )
        start = time.perf_counter()
        memory.fit(patterns)
        seconds = time.perf_counter() - start
        components = torch.from_numpy(memory.components_)
        reached = LOSSES["average"](torch.from_numpy(patterns) @ components.T).item()
        if reached <= target:
            break
    return seconds, max_iter, reached


def against_published(patterns, name, device):
    """Row of the first table."""
    UHopMemory(max_iter=1, device=device).fit(patterns[:10])
    loop_seconds, curve = published_loop(patterns, device)
    seconds, steps, loss = ours_until(patterns, curve[-1], device)
    return {
        "patterns": f"{name} {patterns.shape[0]} × {patterns.shape[1]}",
        "published loop (s)": f"{loop_seconds:.1f}",
        "its loss, first → last": f"{curve[0]:.3f} → {curve[-1]:.3f}",
        "fit (s)": f"{seconds:.2f}",
        "steps": str(steps),
        "loss": f"{loss:.3f}",
        "times sooner": f"{loop_seconds / seconds:.0f}",
    }


def scaling(mnist, cifar, device, smaller):
    """Rows of the second table: seconds of `fit` with the defaults."""
    cases = [(mnist, n, 784) for n in (100, 300, 1000, 2000, 4000)]
    cases += [(cifar, 500, d) for d in (48, 192, 768, 3072)]
    for images, n, d in cases:
        n = max(10, n // smaller)
        patterns = np.ascontiguousarray(images[:n, :: images.shape[1] // d][:, :d])
        start = time.perf_counter()
        memory = UHopMemory(random_state=0, device=device).fit(patterns)
        seconds = time.perf_counter() - start
        yield {
            "M": str(len(patterns)),
            "d": str(patterns.shape[1]),
            "fit (s)": f"{seconds:.2f}",
            "steps": str(memory.n_iter_),
            "kept step": str(memory.selection_["step"]),
        }


def distances(features):
    """Smallest and mean distance between rows of unit length."""
    unit = torch.nn.functional.normalize(features.double(), dim=1)
    found = torch.pdist(unit)
    return found.min().item(), found.mean().item()


def separations(patterns, name, device):
    """Rows of the third table."""
    x = torch.from_numpy(patterns)
    smallest, mean = distances(x)
    for loss in LOSSES:
        memory = UHopMemory(
            similarity="dot",
            loss=loss,
            training=Training(early_stopping=False),
            device=device,
        )
        components = torch.from_numpy(memory.fit(patterns).components_)
        after = distances(x @ components.T)
        yield {
            "patterns": f"{name} {patterns.shape[0]} × {patterns.shape[1]}",
            "loss": loss,
            "smallest distance": f"{smallest:.3f} → {after[0]:.3f}",
            "mean distance": f"{mean:.3f} → {after[1]:.3f}",
        }
    bound = (2 * len(patterns) / (len(patterns) - 1)) ** 0.5
    yield {
        "patterns": "spherical-code bound",
        "loss": "simplex",
        "smallest distance": f"{bound:.3f}",
        "mean distance": f"{bound:.3f}",
    }


@contextmanager
def busy_processes(number):
    """Count beside what is done inside, in so many processes."""
    command = [sys.executable, "-c", "while True: pass"]
    processes = [subprocess.Popen(command) for _ in range(number)]
    try:
        yield
    finally:
        for process in processes:
            process.kill()
            process.wait()


def beside_others(n_busy, device):
    """Seconds of fits and questions of several sizes beside busy processes."""
    for n, d in ((150, 4), (1000, 20), (20_000, 20)):
        X = np.random.RandomState(0).normal(size=(n, d))
        y = X[:, 0] + X[:, 1] ** 2 > 1
        memory = UHopMemory(random_state=0, max_iter=20, device=device)
        classifier = UHopClassifier(random_state=0, max_iter=20, device=device)
        calls = {
            "classifier, fit (20 steps)": lambda c=classifier, X=X, y=y: c.fit(X, y),
            "memory, fit (20 steps)": lambda m=memory, X=X: m.fit(X),
            "memory, 20 queries": lambda m=memory, X=X: m.transform(X[:20]),
        }
        for name, call in calls.items():
            call()
            with busy_processes(n_busy):
                start = time.perf_counter()
                call()
                seconds = time.perf_counter() - start
            yield {
                "rows": f"{n} × {d}",
                "call": name,
                "busy processes": str(n_busy),
                "seconds": f"{seconds:.3f}",
            }


def unusual_shapes(smaller):
    """Seconds of `fit` of classifiers where features, or classes, are many."""
    models = {
        "UHopClassifier": UHopClassifier(random_state=0),
        "forest of 300": RandomForestClassifier(300, random_state=0),
        "logistic regression": LogisticRegression(),
    }
    for n, d, n_classes in ((40, 10_000, 2), (200, 2000, 2), (4000, 20, 1000)):
        n, d, n_classes = n // smaller, d // smaller, max(2, n_classes // smaller)
        X, y = make_classification(
            n,
            d,
            n_informative=10,
            n_classes=n_classes,
            n_clusters_per_class=1,
            random_state=0,
        )
        row = {"rows": str(n), "columns": str(d), "classes": str(n_classes)}
        for name, model in models.items():
            start = time.perf_counter()
            model.fit(X, y)
            row[f"{name} (s)"] = f"{time.perf_counter() - start:.2f}"
        yield row


def beside_peers(folder):
    """Seconds of `fit` and log-loss of classifiers, table by table, and mean ratios."""
    models = {
        "UHopClassifier": lambda: UHopClassifier(random_state=0),
        "forest of 300": lambda: RandomForestClassifier(300, n_jobs=-1, random_state=0),
        "searched SVC": lambda: TunedSVC(0),
    }
    at_hand = table_names(Path(folder)) if folder else list(BUNDLED)
    ratios = []
    for name in (name for name in PEER_TABLES if name in at_hand):
        part = next(folds(name, Path(folder or "."), 5, 0))
        row, seconds = {"table": name, "rows": str(len(part.y))}, []
        for model_name, make in models.items():
            start = time.perf_counter()
            with parallel_config(n_jobs=-1):
                model = make().fit(part.X, part.y)
            seconds.append(time.perf_counter() - start)
            answers = model.predict_proba(part.X_test)
            loss = log_loss(part.y_test, answers, labels=model.classes_)
            row[model_name] = f"{seconds[-1]:.2f} s, {loss:.3f}"
        ratios.append([seconds[0] / each for each in seconds])
        yield row
    means = np.exp(np.log(ratios).mean(axis=0))
    found = [f"{mean:.2f} ×" for mean in means]
    yield dict(zip(row, ["our time by theirs", "", *found], strict=True))


def plot(rows, path):
    """Draw seconds of `fit` against M and against d."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 2, figsize=(8, 3.2), sharey=True)
    for axis, fixed, varied, label in (
        (axes[0], ("d", "784"), "M", "stored patterns M (d = 784)"),
        (axes[1], ("M", "500"), "d", "features d (M = 500)"),
    ):
        chosen = [row for row in rows if row[fixed[0]] == fixed[1]]
        axis.loglog(
            [float(row[varied]) for row in chosen],
            [float(row["fit (s)"]) for row in chosen],
            "o-",
            color="#0072B2",
        )
        axis.set_xlabel(label)
        axis.grid(alpha=0.3)
    axes[0].set_ylabel("fit with defaults (s)")
    figure.tight_layout()
    figure.savefig(path, dpi=110)


def main():
    """Run the three tables."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", help="folder of mnist.npz and cifar10.npz")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--smaller", type=int, default=1, metavar="FACTOR")
    parser.add_argument("--out", default="benchmark_results/fit_speed.csv")
    parser.add_argument("--busy", type=int, metavar="PROCESSES")
    parser.add_argument("--shapes", action="store_true")
    parser.add_argument("--peers", action="store_true")
    args = parser.parse_args()
    if args.peers:
        print(machine(), end="\n\n")
        print(markdown_rows(list(beside_peers(args.data))))
        return
    if args.shapes:
        print(machine(), end="\n\n")
        print(markdown_rows(list(unusual_shapes(args.smaller))))
        return
    if args.busy is not None:
        print(machine(), f"device: {args.device}", sep="; ", end="\n\n")
        print(markdown_rows(list(beside_others(args.busy, args.device))))
        return
    mnist, mnist_name = load(args.data, "mnist", 784)
    cifar, cifar_name = load(args.data, "cifar10", 3072)
    print(machine(), f"device: {args.device}", sep="; ", end="\n\n")
    few = max(10, 500 // args.smaller)
    tables = [
        [against_published(cifar[:few], cifar_name, args.device)],
        list(scaling(mnist, cifar, args.device, args.smaller)),
        [*separations(mnist[:few], mnist_name, args.device)],
    ]
    print("\n\n".join(markdown_rows(table) for table in tables))
    write_tables(args.out, tables)
    plot(tables[1], Path(args.out).with_suffix(".png"))


if __name__ == "__main__":
    main()
