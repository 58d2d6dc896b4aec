"""Classification benchmark: UHopClassifier at its defaults against tuned peers.

Every table is cut into stratified folds and preprocessed alike for all models. Tables
that a rule has generated are shown but enter no mean.

Run ``python examples/benchmarks/classification.py --data FOLDER``; ``--help`` says
more.
"""

import argparse
import csv
import sys
import time
import warnings
from collections import defaultdict
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import numpy as np
from _classifiers import LARGE_MODELS, MODELS, OWN, PEERS
from _report import machine, markdown
from _tables import LARGE, RULE_GENERATED, Split, folds, large, table_names

OURS = "UHopClassifier"


@dataclass(frozen=True)
class Result:
    """One model on one fold of one table; times in seconds."""

    table: str
    fold: int
    model: str
    accuracy: float
    log_loss: float
    fit_seconds: float
    predict_seconds: float

    @property
    def key(self):
        """What was run."""
        return self.table, self.fold, self.model


def log_loss(classifier, split: Split) -> float:
    """Mean of ``-log p(right class)``; a class never seen in training has p = 0."""
    proba = classifier.predict_proba(split.X_test)
    column = {label: place for place, label in enumerate(classifier.classes_)}
    right = [
        row[column[label]] if label in column else 0.0
        for row, label in zip(proba, split.y_test, strict=True)
    ]
    floor = np.finfo(np.float64).eps
    return float(-np.log(np.clip(right, floor, 1)).mean())


def measure(classifier, split: Split, table: str, fold: int, model: str) -> Result:
    """Fit, predict, and take the time of both."""
    with warnings.catch_warnings():
        # Peers warn of rare classes in the inner folds and of unfinished searches.
        warnings.simplefilter("ignore")
        start = time.perf_counter()
        classifier.fit(split.X, split.y)
        fitted = time.perf_counter()
        predicted = classifier.predict(split.X_test)
        done = time.perf_counter()
        loss = log_loss(classifier, split)
    accuracy = float(np.mean(predicted == split.y_test))
    return Result(table, fold, model, accuracy, loss, fitted - start, done - fitted)


# ---- the runs


def jobs(options):
    """Yield every (table, fold, split, models) that was asked for."""
    for name in options.tables:
        parts = folds(name, options.data, options.folds, options.seed)
        for fold, split in enumerate(parts):
            yield name, fold, split, {m: MODELS[m] for m in options.models}
    for name in options.large:
        known = LARGE_MODELS[name]
        wanted = {m: known[m] for m in options.models if m in known}
        yield name, 0, large(name, options.data), wanted


def run(options, results: dict) -> dict:
    """Run what `results` does not have yet, and write the file after every fold."""
    for table, fold, split, models in jobs(options):
        for model, make in models.items():
            if (table, fold, model) in results:
                continue
            result = measure(make(options.seed), split, table, fold, model)
            results[result.key] = result
            print(
                f"{table}/{fold} {model}: accuracy {result.accuracy:.4f}, log-loss "
                f"{result.log_loss:.4f}, fit {result.fit_seconds:.1f} s",
                file=sys.stderr,
                flush=True,
            )
        write_csv(results, options.out)
    return results


def read_csv(file: Path) -> dict:
    """Results of an earlier run."""
    if not file.exists():
        return {}
    kinds = {"table": str, "fold": int, "model": str}

    def parse(line):
        return Result(**{key: kinds.get(key, float)(t) for key, t in line.items()})

    with file.open() as stream:
        lines = [parse(line) for line in csv.DictReader(stream)]
    return {result.key: result for result in lines}


def write_csv(results: dict, file: Path) -> None:
    """Write one line for each table, fold and model."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, [field.name for field in fields(Result)])
        writer.writeheader()
        writer.writerows(asdict(results[key]) for key in sorted(results))


# ---- the summary

_NUMBERS = ("accuracy", "log_loss", "fit_seconds", "predict_seconds")


def table_means(results: dict) -> dict:
    """``table -> model -> {number: mean over the folds}``."""
    grouped = defaultdict(lambda: defaultdict(list))
    for result in results.values():
        grouped[result.table][result.model].append(result)
    return {
        table: {
            model: {n: float(np.mean([getattr(r, n) for r in rs])) for n in _NUMBERS}
            for model, rs in models.items()
        }
        for table, models in grouped.items()
    }


def _models(means):
    found = {model for models in means.values() for model in models}
    return [model for model in MODELS if model in found]


def _ranks(means, models, number, sign):
    """Mean rank of every model; the best one has 1, ties share theirs."""
    ranks = []
    for table in means.values():
        values = sign * np.array([round(table[model][number], 4) for model in models])
        better = (values[None] < values[:, None]).sum(1)
        ranks.append(better + 0.5 * ((values[None] == values[:, None]).sum(1) - 1) + 1)
    return dict(zip(models, np.mean(ranks, axis=0), strict=True))


def summary_table(means: dict) -> str:
    """Mean over the tables that all models have."""
    models = _models(means)
    means = {t: m for t, m in means.items() if set(models) <= set(m)}
    if not means:
        return "No table has all models."
    rank = _ranks(means, models, "accuracy", -1)
    rank_loss = _ranks(means, models, "log_loss", 1)
    rows = []
    for model in models:
        mean = {n: np.mean([m[model][n] for m in means.values()]) for n in _NUMBERS}
        rows.append(
            [
                model,
                f"{mean['accuracy']:.4f}",
                f"{mean['log_loss']:.4f}",
                f"{mean['fit_seconds']:.2f}",
                f"{mean['predict_seconds']:.3f}",
                f"{rank[model]:.2f}",
                f"{rank_loss[model]:.2f}",
            ]
        )
    header = ["model", "accuracy", "log-loss", "fit s", "predict s", "rank", "rank ll"]
    return f"{len(means)} tables\n\n" + markdown(header, rows)


def each_table(means: dict, number: str) -> str:
    """One number of every model on every table."""
    models = _models(means)
    rows = [
        [table, *(f"{m[k][number]:.4f}" if k in m else "-" for k in models)]
        for table, m in means.items()
    ]
    return markdown(["table", *models], rows)


def targets(means: dict) -> str:
    """Compare with the best peer, with SVC table by table and with no training."""
    have = [m for m in means.values() if OURS in m]
    peers = [p for p in PEERS if have and all(p in m for m in have)]
    if not peers:
        return "The targets need UHopClassifier and its peers on every table."

    def mean(model, number):
        return float(np.mean([m[model][number] for m in have]))

    best = max(peers, key=lambda p: mean(p, "accuracy"))
    surest = min(peers, key=lambda p: mean(p, "log_loss"))
    lines = [
        f"- accuracy {mean(OURS, 'accuracy'):.4f}; best peer {best} "
        f"{mean(best, 'accuracy'):.4f}",
        f"- log-loss {mean(OURS, 'log_loss'):.4f}; best peer {surest} "
        f"{mean(surest, 'log_loss'):.4f}; ratio "
        f"{mean(OURS, 'log_loss') / mean(surest, 'log_loss'):.3f}",
    ]
    for other, slack in (("svc", 0.002), ("untrained", 0.005)):
        pairs = {t: m for t, m in means.items() if OURS in m and other in m}
        gaps = {t: m[OURS]["accuracy"] - m[other]["accuracy"] for t, m in pairs.items()}
        if gaps:
            share = np.mean([gap >= -slack for gap in gaps.values()])
            worst = min(gaps, key=gaps.get)
            lines.append(
                f"- not below {other} - {slack:g} on {share:.0%} of the tables; worst "
                f"{worst} {gaps[worst]:+.4f}"
            )
    return "\n".join(lines)


def report(results: dict, options) -> str:
    """Write the whole result as Markdown."""
    means = table_means(results)
    real = {t: m for t, m in means.items() if t not in (*RULE_GENERATED, *LARGE)}
    ruled = {t: m for t, m in means.items() if t in RULE_GENERATED}
    big = {t: m for t, m in means.items() if t in LARGE}
    parts = [f"# Classification, {options.folds} folds, seed {options.seed}", machine()]
    if real:
        parts += ["## Means", summary_table(real), targets(real)]
        parts += ["## Accuracy", each_table(real, "accuracy")]
        parts += ["## Log-loss", each_table(real, "log_loss")]
        parts += ["## Fit seconds", each_table(real, "fit_seconds")]
    for title, group in (("Generated by rules", ruled), ("Own test sets", big)):
        for number in _NUMBERS if group else ():
            parts += [f"## {title}: {number}", each_table(group, number)]
    return "\n\n".join(parts)


# ---- command line


def _parser():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add(
        "--data",
        type=Path,
        default=Path("data"),
        help="folder with tabular/*.npz, banking77_minilm.npz and mnist.npz; without "
        "it only the tables that scikit-learn bundles are run (default: ./data)",
    )
    add("--tables", nargs="*", metavar="NAME", help="default: all at hand")
    add("--models", nargs="+", choices=MODELS, default=list(MODELS))
    add("--large", nargs="*", choices=LARGE, default=[], metavar="NAME")
    add("--folds", type=int, default=5)
    add("--seed", type=int, default=0)
    add("--out", type=Path, default=Path("benchmark_results/classification.csv"))
    add("--resume", action="store_true", help="keep what --out has, run the rest")
    add("--refresh", action="store_true", help="with --resume: run skuhop's own again")
    add("--quick", action="store_true", help="iris and wine, two folds, no search")
    return parser


def main(arguments=None):
    """Run the benchmark from the command line."""
    options = _parser().parse_args(arguments)
    if options.quick:
        options.tables, options.folds = ["iris", "wine"], 2
        options.models = ["logistic", *OWN]
    if options.tables is None:
        options.tables = table_names(options.data)
    results = read_csv(options.out) if options.resume else {}
    if options.refresh:
        results = {
            key: r
            for key, r in results.items()
            if r.model not in OWN or r.model not in options.models
        }
    text = report(run(options, results), options)
    options.out.with_suffix(".md").write_text(text + "\n")
    print(text)
    print(f"\nAll numbers: {options.out}")


if __name__ == "__main__":
    main()
