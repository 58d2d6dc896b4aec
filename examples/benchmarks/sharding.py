"""A memory in shards on a Dask cluster of this machine, against one process.

Patterns are generated into ``.npy`` files of a temporary folder: clusters with a spread
of 0.3. Queries are stored patterns with noise of 1 in every entry, and beta is the
precision of that noise, so that many patterns take part in an answer. The table has the
time to read the patterns and that of `transform`: the first, which prepares the keys;
the second; one in which a worker is killed by SIGKILL while it answers; and one after
every hundredth pattern has been forgotten, with the time that forgetting took. The
differences are those to the answers of one process that holds all patterns, or all that
are left. It answers only the first ``--few`` queries; its times are those of as many
queries as the cluster had, in proportion.

Every worker has one thread, and so has the process unless ``--threads`` says otherwise.
On a machine with fewer cores than workers the workers share the cores. Turns come in
the order in which ``--turns`` names them; forgotten patterns do not come back.

Run it with ``python examples/benchmarks/sharding.py``; numbers go to
``benchmark_results/sharding.csv``.
"""

from __future__ import annotations

import argparse
import copy
import os
import signal
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
import torch
from _report import machine, markdown_rows, write_tables
from distributed import Client, LocalCluster

from skuhop import UHopMemory
from skuhop.distributed import ShardedMemory

NOISE = 1.0
TURNS = {
    "first": "first transform",
    "second": "second transform",
    "killed": "a worker killed",
    "forgotten": "every hundredth pattern forgotten, transform",
}
FORGOTTEN = slice(50, None, 100)


def generate(folder, n_patterns, n_features, n_files):
    """Write the patterns, clustered as data are, and return the files."""
    rng = np.random.default_rng(0)
    centres = rng.standard_normal((1000, n_features), dtype=np.float32)
    files = []
    for part, rows in enumerate(np.array_split(np.arange(n_patterns), n_files)):
        own = centres[rng.integers(len(centres), size=len(rows))]
        own = own + 0.3 * rng.standard_normal(own.shape, dtype=np.float32)
        files.append(Path(folder) / f"patterns_{part:03d}.npy")
        np.save(files[-1], own)
    return files


def noisy(files, n_queries):
    """Noisy copies of stored patterns, a few of every file."""
    rng = np.random.default_rng(1)
    rows = []
    for file, n in zip(files, share(n_queries, len(files)), strict=True):
        patterns = np.load(file, mmap_mode="r")
        rows.append(patterns[np.sort(rng.choice(len(patterns), n, replace=False))])
    queries = np.concatenate(rows)
    return queries + NOISE * rng.standard_normal(queries.shape, dtype=np.float32)


def share(total, parts):
    """Split a number as evenly as possible."""
    return [len(rows) for rows in np.array_split(np.arange(total), parts)]


def timed(work):
    """Give the result of work, and seconds."""
    start = time.perf_counter()
    result = work()
    return result, time.perf_counter() - start


def kill_one(client):
    """Kill a worker half a second after questions have come to it."""
    processes, victims = client.run(os.getpid), []

    def kill():
        while not victims:
            for worker, keys in client.processing().items():
                if any(str(key).startswith("ask") for key in keys):
                    time.sleep(0.5)
                    os.kill(processes[worker], signal.SIGKILL)
                    victims.append(worker)
                    break
            time.sleep(0.01)

    thread = threading.Thread(target=kill)
    thread.start()
    return thread


def on_the_cluster(args, workers, model, files, queries):
    """Yield way, seconds, answers and turn of every turn of the cluster."""
    with (
        LocalCluster(
            n_workers=workers,
            threads_per_worker=1,
            dashboard_address=":0",
            local_directory=files[0].parent,
        ) as cluster,
        Client(cluster) as client,
    ):
        memory = ShardedMemory(model, client=client, shard_size=args.shard_size)
        _, load = timed(lambda: memory.fit(files))
        way = f"{workers} workers, {len(memory.shard_sizes_)} shards"
        yield f"{way}: read", load, None, False
        fewer = False
        for turn in args.turns:
            if turn == "forgotten":
                rows = np.arange(args.patterns)[FORGOTTEN]
                _, seconds = timed(lambda rows=rows: memory.forget(rows))
                yield f"{way}: forget {len(rows):,} patterns", seconds, None, fewer
                fewer = True
            thread = kill_one(client) if turn == "killed" else None
            answers, seconds = timed(lambda: memory.transform(queries))
            if thread:
                thread.join()
            yield f"{way}: {TURNS[turn]}", seconds, answers, fewer


def in_one_process(args, model, files, queries):
    """Yield the same of one process with all patterns."""
    torch.set_num_threads(args.threads)
    memory, few = copy.copy(model), queries[: args.few]
    memory.patterns_, load = timed(lambda: np.concatenate(list(map(np.load, files))))
    way = f"one process, {args.threads} thread(s)"
    yield f"{way}: read", load, None, False
    share = "" if len(few) == len(queries) else f" ({len(few):,} queries)"
    for turn in ("first", "second", "forgotten"):
        if turn == "forgotten":
            memory.patterns_ = np.delete(memory.patterns_, FORGOTTEN, axis=0)
        found, seconds = timed(lambda: memory.transform(few))
        seconds *= len(queries) / len(few)
        yield f"{way}: {TURNS[turn]}{share}", seconds, found, turn == "forgotten"


def main():
    """Run the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument("--patterns", type=int, default=2_000_000)
    parser.add_argument("--features", type=int, default=64)
    parser.add_argument("--queries", type=int, default=10_000)
    parser.add_argument("--few", type=int, default=1000)
    parser.add_argument("--files", type=int, default=8)
    parser.add_argument("--shard-size", type=int, default=125_000)
    parser.add_argument("--separation", default="softmax")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--dtype", default="float32", help="what is computed in")
    parser.add_argument("--turns", nargs="+", choices=TURNS, default=list(TURNS))
    parser.add_argument("--out", default="benchmark_results/sharding.csv")
    args = parser.parse_args()
    print(machine(), end="\n\n", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        files = generate(folder, args.patterns, args.features, args.files)
        queries = noisy(files, args.queries).astype(args.dtype)
        model = UHopMemory(
            "identity",
            similarity="euclidean",
            beta=NOISE**-2,
            separation=args.separation,
        ).fit(np.load(files[0])[:10_000])
        measured, expected = [], {}
        ways = [in_one_process(args, model, files, queries)]
        ways += [on_the_cluster(args, n, model, files, queries) for n in args.workers]
        for way in ways:
            for what, seconds, answers, fewer in way:
                if answers is not None:
                    expected.setdefault(fewer, answers)
                measured.append(row(args, what, seconds, answers, expected.get(fewer)))
                print(*measured[-1].values(), sep=" | ", flush=True)
    print("\n" + markdown_rows(measured))
    write_tables(args.out, [measured])


def row(args, what, seconds, answers, expected):
    """Row of the table; answers are compared on the queries that are expected."""
    moved = ""
    if answers is not None and expected is not None:
        moved = f"{np.abs(answers[: len(expected)] - expected).max():.1e}"
    return {
        "patterns": f"{args.patterns:,} × {args.features}",
        "queries": f"{args.queries:,}, {args.dtype}",
        "what": what,
        "seconds": f"{seconds:.1f}",
        "largest difference": moved,
    }


if __name__ == "__main__":
    main()
