"""Speed of Stage II against the arithmetic it cannot avoid, and the published loop.

One softmax retrieval of Q queries over M patterns of d features costs two matrix
products, queries x patterns^T and weights x patterns. The table gives the time of
``UHopMemory.transform`` as a ratio to those two products alone (``torch.mm``, same
threads, same run), and the extra memory it took beyond its inputs: the growth of the
process's peak, measured in a fresh process (Linux only).

The published code recomputes ``W Xi`` for every query; the second table times that
loop at M = 500, d = 3072 on a few queries and compares per query. The third says what
the default similarity, which weighs many models of damage, costs.

Run it with ``python examples/benchmarks/retrieval_speed.py``; the numbers go to
``benchmark_results/retrieval_speed.csv``.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import torch
from _report import machine, markdown_rows, write_tables

from skuhop import UHopMemory

SHAPES = {"paper": (4096, 10_000, 784)}
SEPARATIONS = ("softmax", "sparsemax", "entmax")


def make_data(n_rows, n_features, seed):
    """Random float32 data in [0, 1), made without temporary copies."""
    return np.random.default_rng(seed).random((n_rows, n_features), dtype=np.float32)


def fitted(patterns, separation="softmax"):
    """Fit a memory without Stage I at a fixed beta."""
    memory = UHopMemory(
        feature_map="identity", similarity="euclidean", beta=1.0, separation=separation
    )
    return memory.fit(patterns)


def best_of(functions, repeats):
    """Time functions in turn, so that a busy machine is busy for all of them."""
    times = [[] for _ in functions]
    for _ in range(repeats + 1):
        for row, function in zip(times, functions, strict=True):
            start = time.perf_counter()
            function()
            row.append(time.perf_counter() - start)
    return [min(row[1:]) for row in times]


def time_shape(shape, repeats):
    """Rows of the first table for one (Q, M, d)."""
    n_queries, n_patterns, n_features = shape
    patterns = make_data(n_patterns, n_features, 0)
    queries = make_data(n_queries, n_features, 1)
    x, p = torch.from_numpy(queries), torch.from_numpy(patterns)
    memories = [fitted(patterns, separation) for separation in SEPARATIONS]

    def bare():
        scores = torch.mm(x, p.T)
        torch.mm(scores, p)

    bare_time, *ours = best_of(
        [bare, *(lambda m=m: m.transform(queries) for m in memories)], repeats
    )
    for separation, seconds in zip(SEPARATIONS, ours, strict=True):
        yield {
            "Q, M, d": f"{n_queries:,} × {n_patterns:,} × {n_features}",
            "separation": separation,
            "bare products (s)": f"{bare_time:.3f}",
            "transform (s)": f"{seconds:.3f}",
            "ratio": f"{seconds / bare_time:.2f}",
            "extra memory (MB)": f"{extra_memory(shape, separation):.0f}",
        }


def extra_memory(shape, separation):
    """Growth in MB of a fresh process's peak during `transform`."""
    command = [sys.executable, __file__, "--memory-of", separation, *map(str, shape)]
    found = subprocess.run(command, capture_output=True, text=True, check=True)
    return float(found.stdout.split()[-1])


def print_extra_memory(separation, shape):
    """Body of that process."""
    n_queries, n_patterns, n_features = map(int, shape)
    queries = make_data(n_queries, n_features, 1)
    memory = fitted(make_data(n_patterns, n_features, 0), separation)
    memory.transform(queries[:1])  # encodes the patterns, once for all later calls
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts again from now
    before = peak_memory()
    memory.transform(queries)
    print((peak_memory() - before) / 1024)


def peak_memory():
    """Largest resident size of this process in kB, as Linux counts it."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0])


def time_published_loop(repeats, n_patterns=500, n_features=3072, n_looped=2):
    """Compare with a loop that computes W Xi anew for every query."""
    patterns = make_data(n_patterns, n_features, 0)
    queries = make_data(n_patterns, n_features, 1)
    memory = UHopMemory(similarity="dot", beta=1.0, max_iter=1).fit(patterns)
    xi, x = torch.from_numpy(patterns), torch.from_numpy(queries)
    weight = torch.eye(n_features)

    def loop():
        for query in x[:n_looped]:
            features = xi @ weight.T
            torch.softmax(features @ (weight @ query), 0) @ xi

    looped, ours = best_of([loop, lambda: memory.transform(queries)], repeats)
    per_loop, per_query = looped / n_looped, ours / len(queries)
    yield {
        "M, d": f"{n_patterns} × {n_features}",
        "published loop (ms per query)": f"{1e3 * per_loop:.1f}",
        "transform (ms per query)": f"{1e3 * per_query:.4f}",
        "times faster": f"{per_loop / per_query:.0f}",
    }


def time_default(repeats, n_patterns=2000, n_features=784):
    """Compare the default similarity with a plain softmax retrieval."""
    patterns = make_data(n_patterns, n_features, 0)
    queries = make_data(n_patterns, n_features, 1)
    memories = UHopMemory(max_iter=1).fit(patterns), fitted(patterns)
    auto, plain = best_of([lambda m=m: m.transform(queries) for m in memories], repeats)
    yield {
        "Q, M, d": f"{n_patterns:,} × {n_patterns:,} × {n_features}",
        "similarity='auto' (s)": f"{auto:.2f}",
        "plain softmax (s)": f"{plain:.3f}",
        "ratio": f"{auto / plain:.0f}",
    }


def main():
    """Run the tables."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--out", default="benchmark_results/retrieval_speed.csv")
    parser.add_argument("--memory-of", nargs=4, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.memory_of:
        print_extra_memory(args.memory_of[0], args.memory_of[1:])
        return
    print(machine(), end="\n\n")
    speed = [row for s in SHAPES.values() for row in time_shape(s, args.repeats)]
    loop = list(time_published_loop(args.repeats))
    default = list(time_default(args.repeats))
    tables = speed, loop, default
    print(*map(markdown_rows, tables), sep="\n\n")
    write_tables(args.out, tables)


if __name__ == "__main__":
    main()
