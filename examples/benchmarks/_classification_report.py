"""What the classification benchmark says of its results, as Markdown."""

from collections import defaultdict
from collections.abc import Iterable

import numpy as np
from _classifiers import MODELS, PEERS
from _report import machine, markdown
from _tables import LARGE, RULE_GENERATED

OURS = "UHopClassifier"
NUMBERS = ("accuracy", "log_loss", "fit_seconds", "predict_seconds")


def table_means(results: Iterable) -> dict:
    """``table -> model -> {number: mean over seeds and folds}``.

    A table counts with the seeds that all of its models have, so that no model has
    had other splits than another.
    """
    grouped = defaultdict(lambda: defaultdict(lambda: defaultdict(list)))
    for result in results:
        grouped[result.table][result.model][result.seed].append(result)
    means = {}
    for table, models in grouped.items():
        seeds = set.intersection(*(set(by_seed) for by_seed in models.values()))
        if seeds:
            means[table] = {
                model: _means([r for seed in seeds for r in by_seed[seed]])
                for model, by_seed in models.items()
            }
    return means


def _means(results):
    return {n: float(np.mean([getattr(r, n) for r in results])) for n in NUMBERS}


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
    """Mean over the tables of the models that ran on all of them."""
    models = [m for m in _models(means) if all(m in of for of in means.values())]
    if not models:
        return "No model ran on all tables."
    rank = _ranks(means, models, "accuracy", -1)
    rank_loss = _ranks(means, models, "log_loss", 1)
    rows = []
    for model in models:
        mean = {n: np.mean([m[model][n] for m in means.values()]) for n in NUMBERS}
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


def seed_spread(results: Iterable) -> str:
    """Spread of the mean over the tables from seed to seed, for every model."""
    grouped = defaultdict(lambda: defaultdict(lambda: defaultdict(list)))
    for result in results:
        grouped[result.model][result.seed][result.table].append(result)
    rows = []
    for model in [model for model in MODELS if model in grouped]:
        by_seed = grouped[model]
        tables = set.intersection(*(set(tables) for tables in by_seed.values()))
        row = [model, str(len(by_seed)), str(len(tables))]
        for number in ("accuracy", "log_loss"):
            values = [
                np.mean([_means(of_seed[table])[number] for table in tables])
                for of_seed in by_seed.values()
            ]
            row += [
                f"{np.mean(values):.4f}",
                f"{np.std(values):.4f}",
                f"{min(values):.4f} to {max(values):.4f}",
            ]
        rows.append(row)
    columns = ["accuracy", "deviation", "range", "log-loss", "deviation", "range"]
    return markdown(["model", "seeds", "tables", *columns], rows)


def report(results: Iterable, n_folds: int) -> str:
    """Write the whole result as Markdown."""
    results = list(results)
    seeds = sorted({result.seed for result in results})
    title = f"# Classification, {n_folds} folds, seeds {seeds}"
    return "\n\n".join([title, machine(), *sections(results)])


def sections(results: Iterable) -> list[str]:
    """Headings and tables of the report, wherever it is shown."""
    results = list(results)
    means = table_means(results)
    real = {t: m for t, m in means.items() if t not in (*RULE_GENERATED, *LARGE)}
    ruled = {t: m for t, m in means.items() if t in RULE_GENERATED}
    big = {t: m for t, m in means.items() if t in LARGE}
    parts = []
    if real:
        parts += ["## Means", summary_table(real), targets(real)]
        parts += ["## Seeds", seed_spread(r for r in results if r.table in real)]
        parts += ["## Accuracy", each_table(real, "accuracy")]
        parts += ["## Log-loss", each_table(real, "log_loss")]
        parts += ["## Fit seconds", each_table(real, "fit_seconds")]
    for title, group in (("Generated by rules", ruled), ("Own test sets", big)):
        for number in NUMBERS if group else ():
            parts += [f"## {title}: {number}", each_table(group, number)]
    return parts
