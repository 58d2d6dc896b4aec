"""Classification benchmark: UHopClassifier at its defaults against tuned peers.

Every table is cut into stratified folds and preprocessed alike for all models. Tables
that a rule has generated are shown but enter no mean. What the file of results holds
already is not run again, so that a run can be stopped, and several can share a file.

Run ``python examples/benchmarks/classification.py --data FOLDER``; ``--help`` says
more.
"""

import argparse
import csv
import sys
import time
import warnings
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import numpy as np
import torch
from _classification_report import report
from _classifiers import LARGE_MODELS, MODELS, OWN
from _tables import LARGE, Split, folds, large, table_names

CLOCKS = time.process_time, time.perf_counter
"""With one thread processor time, which is what an idle core would take, on a machine
that others use as well; with more the time on the wall of a quiet machine."""


@dataclass(frozen=True)
class Result:
    """One model on one fold of one table; seconds as `CLOCKS` has them."""

    table: str
    seed: int
    fold: int
    model: str
    accuracy: float
    log_loss: float
    fit_seconds: float
    predict_seconds: float

    @property
    def key(self):
        """What was run."""
        return self.table, self.seed, self.fold, self.model


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


def measure(classifier, split: Split, key: tuple) -> Result:
    """Fit, predict, and take the time of both."""
    clock = CLOCKS[torch.get_num_threads() > 1]
    with warnings.catch_warnings():
        # Peers warn of rare classes in the inner folds and of unfinished searches.
        warnings.simplefilter("ignore")
        start = clock()
        classifier.fit(split.X, split.y)
        fitted = clock()
        predicted = classifier.predict(split.X_test)
        done = clock()
        loss = log_loss(classifier, split)
    accuracy = float(np.mean(predicted == split.y_test))
    return Result(*key, accuracy, loss, fitted - start, done - fitted)


# ---- the runs


def jobs(options):
    """Yield every (table, seed, fold, split, models) that was asked for."""
    for seed in options.seeds:
        for name in options.tables:
            parts = folds(name, options.data, options.folds, seed)
            for fold, split in enumerate(parts):
                yield name, seed, fold, split, {m: MODELS[m] for m in options.models}
        for name in options.large:
            known = LARGE_MODELS[name]
            wanted = {m: known[m] for m in options.models if m in known}
            yield name, seed, 0, large(name, options.data), wanted


def run(options) -> None:
    """Run what the file does not have yet, and add a line to it after every model."""
    done = read_results(options.out)
    for table, seed, fold, split, models in jobs(options):
        for model, make in models.items():
            key = table, seed, fold, model
            if key in done and model not in options.again:
                continue
            result = measure(make(seed), split, key)
            append_result(result, options.out)
            print(
                f"{table}, seed {seed}, fold {fold}, {model}: accuracy "
                f"{result.accuracy:.4f}, log-loss {result.log_loss:.4f}, fit "
                f"{result.fit_seconds:.1f} s",
                file=sys.stderr,
                flush=True,
            )


def read_results(file: Path) -> dict:
    """Results by key; of a key that was run again the last."""
    if not file.exists():
        return {}
    kinds = {field.name: field.type for field in fields(Result)}
    with file.open(newline="") as stream:
        lines = [
            Result(**{name: kinds[name](text) for name, text in line.items()})
            for line in csv.DictReader(stream)
        ]
    return {line.key: line for line in lines}


def append_result(result: Result, file: Path) -> None:
    """Add a line; in one write, since other runs may add to the same file."""
    file.parent.mkdir(parents=True, exist_ok=True)
    if not file.exists():
        file.write_text(",".join(field.name for field in fields(Result)) + "\n")
    with file.open("a", newline="") as stream:
        csv.writer(stream).writerow(asdict(result).values())


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
    add("--seeds", type=int, nargs="+", default=[0], help="of the folds and the models")
    add("--threads", type=int, default=1, help="of torch; more than 1: seconds passed")
    add("--out", type=Path, default=Path("benchmark_results/classification.csv"))
    add(
        "--again", nargs="+", choices=MODELS, default=[], help="run though --out has it"
    )
    add("--quick", action="store_true", help="iris and wine, two folds, no search")
    return parser


def main(arguments=None):
    """Run the benchmark from the command line."""
    options = _parser().parse_args(arguments)
    if options.quick:
        options.tables, options.folds = ["iris", "wine"], 2
        options.models = ["logistic", *OWN]
        options.again = options.models
    if options.tables is None:
        options.tables = table_names(options.data)
    torch.set_num_threads(options.threads)
    run(options)
    text = report(read_results(options.out).values(), options.folds)
    options.out.with_suffix(".md").write_text(text + "\n")
    print(text)
    print(f"\nAll numbers: {options.out}")


if __name__ == "__main__":
    main()
