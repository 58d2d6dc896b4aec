"""Forecasting: the next day, four days and month of a transformer's temperature.

ETTh1 holds hourly measurements of a power transformer. From 168 hours of the oil
temperature (OT) to its next 24, 96 and 720 hours; twelve months to learn from, four to
tune on and four to test on, all in standard deviations of the twelve. Windows start at
every hour; those of test and validation may reach back for their 168 hours, never for
their answers.

Every model may subtract the window's last value or its mean from window and answer (and
add it to the forecast), which matters more than the model: the last months are cooler
and calmer than the first. This and every other setting is chosen on the validation
months, model by model and horizon by horizon, on every sixth window. "MSE, +4 months"
has the same settings with the validation months among what is known: UHopRegressor
stores them by `partial_fit` and learns nothing, the others are fitted again.

UHopRegressor learns from every fourth window, with months as `groups`, and stores all
of them; its errors are means over three seeds, with the least and the most. One boosted
model for each of 720 hours is not affordable: one model forecasts all hours, from the
last day, the means of the seven days, the lead and the hour of the day. It sees 60,000
random pairs of window and lead.

Run it with ``python examples/benchmarks/forecasting.py --data FOLDER``, where FOLDER
has ``ett_h1.csv``: ETTh1.csv of https://github.com/zhouhaoyi/ETDataset (columns date,
HUFL, ..., OT; a row an hour). ``--horizons`` and ``--models`` choose; what the file of
results has for others is kept. Numbers go to ``benchmark_results``.
"""

from __future__ import annotations

import argparse
import csv
import time
from collections.abc import Callable
from itertools import pairwise, product
from pathlib import Path
from typing import NamedTuple

import numpy as np
from _forecasters import MODELS, NORMALISATIONS
from _report import machine, markdown_rows, write_tables

WINDOW = 168
HORIZONS = (24, 96, 720)
MONTH = 30 * 24
TRAIN, VALIDATION, TEST = 12 * MONTH, 4 * MONTH, 4 * MONTH
TUNE_EVERY = 6
_ABSENT = """{file} is absent or has fewer than {rows} rows. It is ETTh1.csv of
https://github.com/zhouhaoyi/ETDataset (ETT-small), renamed."""


class Windows(NamedTuple):
    """Windows (n, 168), what follows them (n, horizon), and when that starts (n,)."""

    X: np.ndarray
    y: np.ndarray
    start: np.ndarray

    def every(self, step):
        """Every so many windows."""
        return Windows(*(part[::step] for part in self))

    def joined(self, other):
        """Join them with others."""
        pairs = zip(self, other, strict=True)
        return Windows(*(np.concatenate(pair) for pair in pairs))


def load(folder: Path) -> np.ndarray:
    """Oil temperature of twenty months, standardised by the first twelve."""
    file, rows = folder / "ett_h1.csv", TRAIN + VALIDATION + TEST
    series = []
    if file.exists():
        with file.open(newline="") as stream:
            for row, _ in zip(csv.DictReader(stream), range(rows), strict=False):
                series.append(float(row["OT"]))
    if len(series) < rows:
        raise SystemExit(_ABSENT.format(file=file, rows=rows))
    known = np.array(series[:TRAIN])
    return (np.array(series) - known.mean()) / known.std()


def windows(series, horizon) -> tuple[Windows, Windows, Windows]:
    """Training, validation and test windows, by where their answers lie."""
    ends = np.cumsum([0, TRAIN, VALIDATION, TEST])
    parts = []
    for begin, end in pairwise(ends):
        start = np.arange(max(begin, WINDOW), end - horizon + 1)
        X = series[start[:, None] + np.arange(-WINDOW, 0)]
        parts.append(Windows(X, series[start[:, None] + np.arange(horizon)], start))
    return tuple(parts)


def shifted(name, part: Windows) -> tuple[Windows, np.ndarray]:
    """Windows and answers without what the normalisation takes off, and that."""
    offset = NORMALISATIONS[name](part.X)[:, None]
    return part._replace(X=part.X - offset, y=part.y - offset), offset


def error(prediction, y):
    """Mean squared and mean absolute error."""
    return np.square(prediction - y).mean(), np.abs(prediction - y).mean()


def tune(tries: Callable, train, validation):
    """Least validation error, with its normalisation and settings."""
    found = []
    for name in NORMALISATIONS:
        known, _ = shifted(name, train)
        asked, offset = shifted(name, validation)
        for settings, prediction in tries(known, asked):
            mse, _ = error(prediction + offset, validation.y)
            found.append((mse, name, settings))
    return min(found, key=lambda one: one[0])


def measure(model, settings, name, train, more, test):
    """Errors without and with more windows known, and seconds of the first fit."""
    known, _ = shifted(name, train)
    later, _ = shifted(name, more)
    asked, offset = shifted(name, test)
    begin = time.process_time()
    fitted = model.fit(settings, known)
    seconds = time.process_time() - begin
    mse, mae = error(model.predict(fitted, asked) + offset, test.y)
    fitted = model.add(settings, fitted, known, later)
    return mse, mae, error(model.predict(fitted, asked) + offset, test.y)[0], seconds


def row_of(name, horizon, series):
    """Row of the table for a model and a horizon."""
    train, validation, test = windows(series, horizon)
    model = MODELS[name]
    best, subtracted, settings = tune(model.tries, train, validation.every(TUNE_EVERY))
    found = [
        measure(model, {**settings, **seed}, subtracted, train, validation, test)
        for seed in model.seeds
    ]
    mse, mae, later, seconds = np.mean(found, axis=0)
    each = [one[0] for one in found]
    return {
        "horizon": horizon,
        "model": name,
        "MSE": f"{mse:.4f}",
        "least to most": f"{min(each):.4f} to {max(each):.4f}",
        "MAE": f"{mae:.4f}",
        "MSE, +4 months": f"{later:.4f}",
        "validation MSE": f"{best:.4f}",
        "fit s": f"{seconds:.1f}",
        "subtracted": subtracted,
        "settings": ", ".join(f"{k} {v}" for k, v in settings.items()) or "-",
    }


def kept_rows(file: Path) -> dict:
    """Rows that the file of results has, by horizon and model."""
    if not file.exists():
        return {}
    lines = [x for x in file.read_text().splitlines() if not x.startswith("#")]
    return {(int(row["horizon"]), row["model"]): row for row in csv.DictReader(lines)}


def main():
    """Run what is asked for, print the table and write it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--horizons", type=int, nargs="+", default=HORIZONS)
    parser.add_argument("--models", nargs="+", choices=MODELS, default=list(MODELS))
    parser.add_argument(
        "--out", type=Path, default=Path("benchmark_results/forecasting.csv")
    )
    options = parser.parse_args()
    series = load(options.data)
    rows = kept_rows(options.out)
    for horizon, name in product(options.horizons, options.models):
        rows[horizon, name] = row_of(name, horizon, series)
        print(" | ".join(map(str, rows[horizon, name].values())), flush=True)
        order = [key for key in product(HORIZONS, MODELS) if key in rows]
        table = [rows[key] for key in order]
        write_tables(options.out, [table])
    page = (
        f"{markdown_rows([{k: str(v) for k, v in row.items()} for row in table])}\n\n"
    )
    options.out.with_suffix(".md").write_text(page + machine() + "\n")
    print(page + machine())


if __name__ == "__main__":
    main()
