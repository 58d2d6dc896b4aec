"""Retrieval benchmark: how far UHopMemory is from the best one could do.

Every stored pattern is damaged once and asked for. A cell is data set x number of
stored patterns x corruption; its figure is the sum of squared pixel errors. The
memory answers told nothing, with unlabelled queries, and told the corruption; it is
compared with fixed similarities at the beta that is best on the test queries, with
the published Stage I, with A-Hop told the corruption, and with the Bayes posterior.

Run it with ``python examples/benchmarks/retrieval.py --data FOLDER``; ``--help`` says
more.
"""

import argparse
import csv
import sys
import time
from dataclasses import asdict
from functools import partial
from pathlib import Path

import numpy as np
import torch
from _baselines import (
    LOG_LIKELIHOODS,
    SIMILARITIES,
    Outcome,
    ahop_outcomes,
    fixed_outcomes,
    gaussian_log_likelihood,
    oracle_outcome,
    softmax_outcome,
)
from _cells import (
    CORRUPTION_CHOICES,
    SETS,
    cell_random_state,
    corrupt,
    corruption_table,
    distinct_labels,
    gaussian,
    hit_rate,
    load_patterns,
    mean_pattern_error,
    squared_error,
)
from _report import machine, markdown, markdown_rows, write_tables

SIGMAS = (0.1, 0.2, 0.3, 0.5, 0.7, 1.0, 1.5, 2.0, 3.0, 4.0)
BASELINES = ("fixed", "paper", "ahop", "bayes")

# ---- the memory's modes


def _told_nothing(memory_class, patterns, extra, corruption, seed):
    return memory_class(random_state=seed).fit(patterns)


def _with_queries(memory_class, patterns, extra, corruption, seed):
    return memory_class(random_state=seed).fit(patterns, queries=extra)


def _told(memory_class, patterns, extra, corruption, seed):
    return memory_class(corruption=corruption, random_state=seed).fit(patterns)


#: mode -> fitted memory
MODES = {"default": _told_nothing, "queries": _with_queries, "told": _told}


def _memory_class():
    # Imported late: the baselines run without the package.
    from skuhop import UHopMemory

    return UHopMemory


def memory_outcome(fit, queries, patterns, labels):
    """Fit a memory, ask it, and take the time of both.

    Parameters
    ----------
    fit : callable
        Returns the fitted memory.
    queries, patterns : ndarray of shape (M, n_features)
    labels : ndarray of shape (M,)
        See `distinct_labels`.

    Returns
    -------
    outcome : Outcome
    """
    start = time.perf_counter()
    memory = fit()
    fitted = time.perf_counter()
    retrieved = memory.transform(queries)
    done = time.perf_counter()
    return Outcome(
        error=squared_error(retrieved, patterns),
        hit=hit_rate(memory.predict(queries), labels),
        fit_seconds=fitted - start,
        retrieve_seconds=done - fitted,
    )


# ---- the published Stage I


def _paper_memory(loss, patterns, seed):
    memory = _memory_class()(
        feature_map="linear",
        similarity="dot",
        beta=1.0,
        loss=loss,
        random_state=seed,
    )
    return memory.fit(patterns)


def _paper_scores(memory, queries, patterns):
    """Scores <W q, W x>, checked against what the memory itself answers at beta 1."""
    left, right = (A.astype(float) @ memory.components_.T for A in (queries, patterns))
    scores = left @ right.T
    weights = torch.softmax(torch.from_numpy(scores), dim=1).numpy()
    if not np.allclose(weights, memory.association(queries), atol=1e-2):
        raise RuntimeError("components_ does not reproduce the memory's association")
    return scores


def paper_outcomes(memories, queries, patterns, labels):
    """Outcome of the published losses, at the paper's beta and at the oracle's.

    Parameters
    ----------
    memories : dict
        Loss -> memory fitted on `patterns`.
    queries, patterns : ndarray of shape (M, n_features)
    labels : ndarray of shape (M,)
        See `distinct_labels`.

    Returns
    -------
    outcomes : dict
    """
    outcomes = {}
    for loss, memory in memories.items():
        name = f"paper_{loss}"
        scores = _paper_scores(memory, queries, patterns)
        outcomes[name] = memory_outcome(lambda m=memory: m, queries, patterns, labels)
        outcomes[f"{name}_oracle"] = oracle_outcome(scores, patterns, labels)
    return outcomes


# ---- the cells


def run_cell(cell, patterns, corruption, log_likelihood, memories, options):
    """Run every method in one cell.

    Parameters
    ----------
    cell : tuple
        ``(set, M, corruption)`` names, which seed the cell.
    patterns : ndarray of shape (M, n_features)
    corruption : callable
        ``(X, random_state) -> X_corrupted``.
    log_likelihood : callable or None
        ``(queries, patterns) -> (M, M)``, where the Bayes posterior is known.
    memories : dict
        Published loss -> memory fitted on `patterns`.
    options : argparse.Namespace

    Returns
    -------
    outcomes : dict
        Method -> `Outcome`.
    """
    draw = partial(cell_random_state, *cell, options.seed)
    labels = distinct_labels(patterns)
    queries = corrupt(corruption, patterns, draw("test"))
    data = (queries, patterns, labels)
    order = draw("order").permutation(len(patterns))
    extra = corrupt(corruption, patterns, draw("extra"))[order]

    chance = float(np.mean(labels == labels[0]))
    outcomes = {"mean_pattern": Outcome(mean_pattern_error(patterns), chance)}
    if "fixed" in options.baselines:
        outcomes |= fixed_outcomes(*data)
    outcomes |= paper_outcomes(memories, *data)
    if "bayes" in options.baselines and log_likelihood is not None:
        scores = log_likelihood(queries, patterns)
        outcomes["bayes"] = softmax_outcome(scores, patterns, labels)
    if "ahop" in options.baselines and len(patterns) <= options.ahop_max_m:
        outcomes |= ahop_outcomes(
            *data, corruption, draw("ahop"), epochs=options.ahop_epochs
        )
    for mode in options.modes:
        fit = partial(
            MODES[mode], _memory_class(), patterns, extra, corruption, options.seed
        )
        outcomes[mode] = memory_outcome(fit, *data)
    return outcomes


def _sized_sets(options):
    """Yield name, patterns and image shape for each data set and size at hand."""
    for name in options.sets:
        sizes = [size for size in options.sizes if size <= SETS[name].max_size]
        try:
            drawn, shape = load_patterns(
                name, options.data, max(sizes, default=0), options.seed
            )
        except FileNotFoundError as absent:
            print(f"{name} is skipped: {absent}", file=sys.stderr)
            continue
        for size in sizes:
            yield name, drawn[:size], shape


def _gaussian_table(shape):
    return {
        f"gaussian_{sigma}": (
            partial(gaussian, sigma=sigma),
            partial(gaussian_log_likelihood, sigma=sigma),
        )
        for sigma in SIGMAS
    }


def _main_table(group, shape):
    return {
        name: (corruption, LOG_LIKELIHOODS.get(name))
        for name, corruption in corruption_table(group, shape).items()
    }


def run(options, table):
    """Run all cells.

    Parameters
    ----------
    options : argparse.Namespace
    table : callable
        Image shape -> dict of name -> (corruption, log-likelihood or None).

    Returns
    -------
    results : dict
        ``(set, M, corruption)`` -> method -> `Outcome`.
    """
    results = {}
    for name, patterns, shape in _sized_sets(options):
        losses = ("average", "max") if "paper" in options.baselines else ()
        memories = {
            loss: _paper_memory(loss, patterns, options.seed) for loss in losses
        }
        for label, (corruption, log_likelihood) in table(shape).items():
            cell = (name, len(patterns), label)
            start = time.perf_counter()
            results[cell] = run_cell(
                cell, patterns, corruption, log_likelihood, memories, options
            )
            seconds = time.perf_counter() - start
            print(f"{cell_name(cell)}: {seconds:.1f} s", file=sys.stderr, flush=True)
    return results


# ---- the summary


def cell_name(cell):
    """Write a cell as ``set/M/corruption``."""
    return "/".join(map(str, cell))


def best_fixed(outcomes):
    """Name of the fixed similarity with the least error at its oracle beta."""
    return min(SIMILARITIES, key=lambda name: outcomes[name].error)


def error_ratio(outcomes, method, reference):
    """Error of a method over that of a reference, both lifted by epsilon.

    Parameters
    ----------
    outcomes : dict
        Method -> `Outcome` of one cell; epsilon is a thousandth of the error of
        ``"mean_pattern"``.
    method, reference : str

    Returns
    -------
    ratio : float
    """
    epsilon = 0.001 * outcomes["mean_pattern"].error
    return (outcomes[method].error + epsilon) / (outcomes[reference].error + epsilon)


def summarise(results, method, reference):
    """Ratios of one method to the reference over all cells that have both.

    Parameters
    ----------
    results : dict
        Cell -> method -> `Outcome`.
    method : str
    reference : callable
        Outcomes of a cell -> name of the reference.

    Returns
    -------
    ratios : dict
        Cell -> ratio.
    """
    return {
        cell: error_ratio(outcomes, method, reference(outcomes))
        for cell, outcomes in results.items()
        if method in outcomes and reference(outcomes) in outcomes
    }


def _methods(results):
    """All methods, in the order in which cells first have them."""
    return list(dict.fromkeys(m for outcomes in results.values() for m in outcomes))


def summary_rows(results, reference):
    """Geometric mean and worst cell of each method, as a table of dicts."""
    rows = []
    for method in _methods(results):
        ratios = summarise(results, method, reference)
        if ratios:
            worst = max(ratios, key=ratios.get)
            mean = np.exp(np.mean(np.log(list(ratios.values()))))
            hit = np.mean([results[cell][method].hit for cell in ratios])
            rows.append(
                {
                    "method": method,
                    "geometric mean": f"{mean:.3f}",
                    "worst": f"{ratios[worst]:.2f}",
                    "worst cell": cell_name(worst),
                    "mean hit": f"{hit:.3f}",
                    "cells": str(len(ratios)),
                }
            )
    return rows


def _summaries(results, options):
    """Tables of ratios by what they are ratios to."""
    summaries = {}
    if "fixed" in options.baselines and not options.gaussian:
        title = "Ratio to the best fixed similarity with its oracle beta"
        summaries[title] = summary_rows(results, best_fixed)
    if "bayes" in options.baselines:
        title = "Ratio to the Bayes posterior, where it is known"
        summaries[title] = summary_rows(results, lambda outcomes: "bayes")
    return summaries


#: Columns of the table of errors; the CSV has all methods.
_SHOWN = (
    "plain",
    "paper_average",
    "paper_max",
    "paper_average_oracle",
    "paper_max_oracle",
    "ahop",
    "bayes",
    *MODES,
)


def error_table(results):
    """Write the error of the main methods in each cell as a Markdown table."""
    shown = [method for method in _SHOWN if method in _methods(results)]
    rows = []
    for cell, outcomes in results.items():
        fixed = best_fixed(outcomes) if "dot" in outcomes else None
        best = f"{outcomes[fixed].error:.3g} ({fixed})" if fixed else "-"
        errors = [f"{outcomes[m].error:.3g}" if m in outcomes else "-" for m in shown]
        rows.append([cell_name(cell), best, *errors])
    return markdown(["cell", "best fixed, oracle beta", *shown], rows)


def _above_ahop(results, mode):
    """Names of the cells where a mode errs more than A-Hop."""
    return [
        cell_name(cell)
        for cell, outcomes in results.items()
        if {mode, "ahop"} <= set(outcomes)
        and outcomes[mode].error > outcomes["ahop"].error
    ]


def report(results, options):
    """Write the whole result as Markdown.

    Parameters
    ----------
    results : dict
        Cell -> method -> `Outcome`.
    options : argparse.Namespace

    Returns
    -------
    text : str
    """
    parts = ["Error (sum of squares, mean over queries)", error_table(results)]
    for title, rows in _summaries(results, options).items():
        parts += [title, markdown_rows(rows)]
    if "ahop" in options.baselines:
        parts += [
            f"Cells where `{mode}` errs more than A-Hop: "
            + (", ".join(_above_ahop(results, mode)) or "none")
            for mode in options.modes
        ]
    return "\n\n".join(parts)


def write_csv(results, file):
    """Write every number of every cell, one line for each method."""
    file.parent.mkdir(parents=True, exist_ok=True)
    fields = list(Outcome.__dataclass_fields__)
    with file.open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["set", "n_patterns", "corruption", "method", *fields])
        for cell, outcomes in results.items():
            for method, outcome in outcomes.items():
                writer.writerow([*cell, method, *asdict(outcome).values()])


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
        help="folder of mnist.npz, cifar10.npz and usps.npz; a set whose file is "
        "absent is skipped, with a word on how to build it (default: ./data)",
    )
    add("--sets", nargs="+", choices=SETS, default=list(SETS))
    add(
        "--sizes",
        nargs="+",
        type=int,
        default=[100, 300, 500, 2000],
        help="stored patterns; 2000 is for MNIST only (default: 100 300 500 2000)",
    )
    add(
        "--corruptions",
        nargs="+",
        choices=CORRUPTION_CHOICES,
        default=["inside"],
        metavar="NAME",
        help=f"groups or names among {', '.join(CORRUPTION_CHOICES)} (default: inside)",
    )
    add("--modes", nargs="*", choices=MODES, default=list(MODES))
    add("--baselines", nargs="*", choices=BASELINES, default=list(BASELINES))
    add("--ahop-max-m", type=int, default=100, help="A-Hop runs up to this many")
    add("--ahop-epochs", type=int, default=200)
    add(
        "--gaussian",
        action="store_true",
        help="instead of the corruptions: Gaussian noise, sigma 0.1 to 4, against the "
        "Bayes posterior",
    )
    add("--seed", type=int, default=0)
    add("--out", type=Path, default=Path("benchmark_results/retrieval.csv"))
    add("--quick", action="store_true", help="digits, M = 100, few A-Hop epochs")
    return parser


def main(arguments=None):
    """Run the benchmark from the command line."""
    options = _parser().parse_args(arguments)
    if options.quick:
        options.sets, options.sizes, options.ahop_epochs = ["digits"], [100], 10
    if options.gaussian:
        table = _gaussian_table
        options.baselines = ["bayes"]
    else:

        def table(shape):
            groups = [_main_table(group, shape) for group in options.corruptions]
            return {name: entry for group in groups for name, entry in group.items()}

    results = run(options, table)
    write_csv(results, options.out)
    summary = options.out.with_stem(options.out.stem + "_summary")
    write_tables(summary, _summaries(results, options).values())
    print(f"Retrieval benchmark, seed {options.seed}. {machine()}\n")
    print(report(results, options))
    print(f"\nAll numbers: {options.out}; the summary: {summary}")


if __name__ == "__main__":
    main()
