"""Outliers: UHopDetector against scikit-learn's and PyOD's.

Of each table the rows of one class, at most 1,000, with rows of the others mixed in at
5 %: the three largest classes of 50 rows or more, one after the other. And the numeric
columns of the largest class with made outliers at 5 %: "local" (a Gaussian mixture of
the rows with five times the covariances), "global" (uniform, a tenth beyond the range)
and "dependency" (each column drawn from the rows by itself). Nobody sees a label; all
score the rows that they were fitted on. Columns are completed, nominal ones one-hot
encoded, all standardised, the same for all models.

Every peer stands with its defaults, and with that of five settings which is best on the
mean of all sets, chosen on the sets themselves. UHopDetector stands with its defaults
alone. These were chosen on the sets of seed 0; ``--seed 1`` draws others.

PyOD is compared where it is installed. Run it with
``python examples/benchmarks/detection.py --data FOLDER``, where FOLDER has a folder
`tabular` of tables as `_tables.py` describes them; the tables that come with
scikit-learn are always there.
"""

from __future__ import annotations

import argparse
import time
import warnings
from pathlib import Path

import numpy as np
from _report import markdown_rows, write_tables
from _tables import RULE_GENERATED, _load, preprocessing, table_names
from sklearn.ensemble import IsolationForest
from sklearn.metrics import average_precision_score, roc_auc_score
from sklearn.mixture import GaussianMixture
from sklearn.neighbors import KernelDensity, LocalOutlierFactor
from sklearn.svm import OneClassSVM

from skuhop import UHopDetector

OURS = "UHopDetector"
MOST, FEWEST, N_CLASSES, SHARE = 1000, 50, 3, 5 / 95
KINDS = ("class", "local", "global", "dependency")


def score_lof(X, n_neighbors=20):
    """Scores by LocalOutlierFactor."""
    model = LocalOutlierFactor(n_neighbors=min(n_neighbors, len(X) - 1)).fit(X)
    return -model.negative_outlier_factor_


def score_samples_of(model):
    """Scores by what has `score_samples`."""
    return lambda X, **params: -model(**params).fit(X).score_samples(X)


def score_forest(X, **params):
    """Scores by IsolationForest."""
    return -IsolationForest(random_state=0, **params).fit(X).score_samples(X)


def score_ours(X):
    """Scores by UHopDetector."""
    return -UHopDetector().fit(X).scores_


# Of each the defaults come first.
METHODS = {
    OURS: (score_ours, [{}]),
    "LOF": (score_lof, [{"n_neighbors": k} for k in (20, 5, 10, 35, 50)]),
    "IsolationForest": (
        score_forest,
        [
            {},
            {"n_estimators": 300},
            {"max_samples": 64},
            {"max_samples": 1.0},
            {"max_features": 0.5},
        ],
    ),
    "OneClassSVM": (
        score_samples_of(OneClassSVM),
        [{}, *({"gamma": g, "nu": 0.1} for g in ("scale", "auto", 0.01, 0.001))],
    ),
    "KernelDensity": (
        score_samples_of(KernelDensity),
        [{"bandwidth": h} for h in (1.0, "scott", 0.5, 2.0, 3.0)],
    ),
}


def add_pyod() -> None:
    """Add PyOD's detectors where it is installed."""
    try:
        from pyod.models.copod import COPOD
        from pyod.models.ecod import ECOD
        from pyod.models.hbos import HBOS
        from pyod.models.knn import KNN
    except ImportError:
        return

    def score_by(model):
        return lambda X, **params: model(**params).fit(X).decision_scores_

    neighbours = [{"n_neighbors": k, "method": "mean"} for k in (5, 3, 10, 20)]
    bins = [{"n_bins": n} for n in (5, 20, 50)] + [{"alpha": 0.5}]
    METHODS["PyOD KNN"] = score_by(KNN), [{}, *neighbours]
    METHODS["PyOD ECOD"] = score_by(ECOD), [{}]
    METHODS["PyOD COPOD"] = score_by(COPOD), [{}]
    METHODS["PyOD HBOS"] = score_by(HBOS), [{}, *bins]


def prepare(levels, rows):
    """Preprocess rows, without columns that do not vary."""
    Z = preprocessing(levels).fit_transform(rows)
    return Z[:, Z.std(axis=0) > 0]


def mix_classes(X, y, levels, seed):
    """Yield rows and labels for each of the largest classes as the normal one."""
    labels, counts = np.unique(y, return_counts=True)
    for label in labels[np.argsort(-counts, kind="stable")][:N_CLASSES]:
        rng = np.random.RandomState(seed)
        normal = rng.permutation(np.flatnonzero(y == label))[:MOST]
        if len(normal) < FEWEST:
            continue
        odd = rng.permutation(np.flatnonzero(y != label))
        odd = odd[: max(3, round(len(normal) * SHARE))]
        rows = np.concatenate([normal, odd])
        yield "class", prepare(levels, X[rows]), np.arange(len(rows)) >= len(normal)


def make_outliers(X, y, levels, seed):
    """Yield rows of the largest class with outliers made from them, and labels."""
    rng = np.random.RandomState(seed)
    labels, counts = np.unique(y, return_counts=True)
    X = X[y == labels[counts.argmax()]][:, levels == 0]
    if X.shape[1] < 3:
        return
    Z = prepare(np.zeros(X.shape[1], int), X[rng.permutation(len(X))[:MOST]])
    n = max(3, round(len(Z) * SHARE))
    low, high = Z.min(axis=0), Z.max(axis=0)
    spread = rng.uniform(-1.1, 1.1, (n, Z.shape[1])) * (high - low) / 2
    parts = min(5, max(1, len(Z) // 50))
    mixture = GaussianMixture(parts, reg_covar=1e-3, random_state=seed).fit(Z)
    drawn = rng.choice(parts, n, p=mixture.weights_ / mixture.weights_.sum())
    made = {
        "global": (low + high) / 2 + spread,
        "dependency": np.column_stack([rng.permutation(column)[:n] for column in Z.T]),
        "local": np.stack(
            [
                rng.multivariate_normal(mixture.means_[k], 5 * mixture.covariances_[k])
                for k in drawn
            ]
        ),
    }
    for kind, odd in made.items():
        yield kind, np.concatenate([Z, odd]), np.arange(len(Z) + n) >= len(Z)


def sets_of(name, folder, seed):
    """Yield kind, rows and labels of all sets of a table."""
    X, y, levels = _load(name, folder)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Mixtures of few rows do not converge.
        yield from mix_classes(X, y, levels, seed)
        yield from make_outliers(X, y, levels, seed)


def measure(sets):
    """AUROC, average precision and seconds of all methods and settings on all sets."""
    found = {}
    for method, (score, settings) in METHODS.items():
        for params in settings:
            results = []
            for _, kind, X, labels in sets:
                start = time.perf_counter()
                scores = np.nan_to_num(score(X, **params))
                seconds = time.perf_counter() - start
                quality = roc_auc_score(labels, scores)
                precision = average_precision_score(labels, scores)
                results.append((kind, quality, precision, seconds))
            found[method, str(params)] = results
            mean = np.mean([r[1:] for r in results], axis=0).round(4)
            print(method, params, *mean, flush=True)
    return found


def line_of(method, setting, results):
    """Line of the table for a method and a setting."""
    parts = {"all": results}
    parts |= {kind: [r for r in results if r[0] == kind] for kind in KINDS}
    means = {part: np.mean([r[1:] for r in rs], axis=0) for part, rs in parts.items()}
    quality = {f"AUROC, {part}": f"{mean[0]:.3f}" for part, mean in means.items()}
    precision = {f"AP, {part}": f"{mean[1]:.3f}" for part, mean in means.items()}
    seconds = {"s / set": f"{means['all'][2]:.3f}"}
    return {"method": method, "setting": setting} | quality | precision | seconds


def summarise(found):
    """Lines for defaults, and for the best of the settings by AUROC and by AP."""
    for method, (_, settings) in METHODS.items():
        yield line_of(method, "defaults", found[method, str(settings[0])])
        if len(settings) == 1:
            continue
        for name, column in (("AUROC", 1), ("AP", 2)):

            def quality(params, method=method, column=column):
                return np.mean([r[column] for r in found[method, str(params)]])

            best = max(settings, key=quality)
            numbers = ", ".join(f"{k}={v}" for k, v in best.items()) or "defaults"
            label = f"best of five by {name}: {numbers}"
            yield line_of(method, label, found[method, str(best)])


def main():
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", type=Path, default=Path("data"))
    parser.add_argument("--tables", nargs="*")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", default="benchmark_results/detection.csv")
    args = parser.parse_args()
    add_pyod()
    names = args.tables or table_names(args.data)
    sets = [
        (name, *rest)
        for name in names
        if name not in RULE_GENERATED
        for rest in sets_of(name, args.data, args.seed)
    ]
    print(f"{len(sets)} sets of {len(names)} tables", flush=True)
    lines = list(summarise(measure(sets)))
    print("\n" + markdown_rows(lines))
    write_tables(args.out, [lines])


if __name__ == "__main__":
    main()
