"""Speed of Stage II against the arithmetic it cannot avoid, and against others.

One softmax retrieval of Q queries over M patterns of d features costs two matrix
products, queries x patterns^T and weights x patterns, and one exponential per score.
"bare" does just that, block by block (1,024 queries, 2^24 scores), without bias,
maximum, normaliser or checks. Everything else is a ratio to it in the same run, in
turns, minimum over the repeats: `UHopMemory.transform`, torch's fused attention (SDPA)
on the raw tensors, the Hopfield module of hflayers (it makes all scores at once, so
256 MiB of them at a time), scikit-learn's brute-force `NearestNeighbors` (k = 5) and
faiss's flat index (k = 5), where installed. Queries are random and know no pattern, so
all patterns have weight; those of "softmax, known" are stored patterns with noise, and
beta is its precision. Extra memory is the growth of the peak of
a fresh process during `transform` (on Linux), or of what torch has allocated on a GPU.

On a GPU patterns, queries and answers are tensors that stay there, for all alike, and
"softmax, NumPy" is what the way from the host and back adds; the searches for the
nearest are left to the CPU. ``--precision`` is that of `transform`, and of "SDPA" as
well, which runs on tensors of half the bits with "bf16"; "bare" stays float32.

Then: what one query costs beyond its arithmetic; the published loop, which recomputes
``W Xi`` for every query; and the default similarity, which weighs many models.

Run it with ``python examples/benchmarks/retrieval_speed.py [--device cuda
--precision bf16]``, with ``--smaller 100`` for a hundredth of the queries and patterns;
numbers go to ``benchmark_results/retrieval_speed.csv``.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from contextlib import nullcontext
from functools import partial
from pathlib import Path

os.environ.setdefault("SCIPY_ARRAY_API", "1")  # SciPy reads it when it is imported

import numpy as np
import sklearn
import torch
from _report import machine, markdown_rows, write_tables

from skuhop import UHopMemory
from skuhop.answering.precision import tf32_allowed

SHAPES = (
    (4096, 10_000, 784),
    (10_000, 100_000, 64),
    (1, 100_000, 384),
    (64, 1_000_000, 128),
)
SEPARATIONS = ("softmax", "sparsemax", "entmax")
GPU_SHAPES = (*SHAPES, (65_536, 100_000, 768))
BLOCK_ROWS, BLOCK = 1024, 2**24
MOST_SCORES = 2**26
NOISE = 0.1


def make_data(n_rows, n_features, seed):
    """Random float32 data in [0, 1), made without temporary copies."""
    return np.random.default_rng(seed).random((n_rows, n_features), dtype=np.float32)


def make_known(patterns, n_rows):
    """Make queries, stored patterns with noise, in which few patterns have weight."""
    rng = np.random.default_rng(1)
    rows = rng.integers(len(patterns), size=n_rows)
    noise = rng.standard_normal((n_rows, patterns.shape[1]), dtype=np.float32)
    return patterns[rows] + NOISE * noise


def fitted(patterns, separation="softmax", device="cpu", precision="float32", beta=1.0):
    """Fit a memory without Stage I at a fixed beta."""
    memory = UHopMemory(
        feature_map="identity",
        similarity="euclidean",
        beta=beta,
        separation=separation,
        device=device,
        precision=precision,
    )
    return memory.fit(patterns)


def best_of(functions, repeats):
    """Time functions in turn, so that a busy machine is busy for all of them."""
    wait = torch.cuda.synchronize if torch.cuda.is_available() else lambda: None
    times = [[] for _ in functions]
    for _ in range(repeats + 1):
        for row, function in zip(times, functions, strict=True):
            wait()
            start = time.perf_counter()
            function()
            wait()
            row.append(time.perf_counter() - start)
    return [min(row[1:]) for row in times]


def bare(x, p):
    """Two products and one exponential, block by block."""
    out = torch.zeros_like(x)
    for rows in range(0, len(x), BLOCK_ROWS):
        part, answer = x[rows : rows + BLOCK_ROWS], out[rows : rows + BLOCK_ROWS]
        width = BLOCK // len(part)
        for start in range(0, len(p), width):
            scores = torch.mm(part, p[start : start + width].T).exp_()
            answer.addmm_(scores, p[start : start + width])
    return out


def sdpa(x, p, precision):
    """Fused attention without checks, bias or the border to NumPy."""
    dtype = torch.bfloat16 if precision == "bf16" else x.dtype
    x, p = (a.to(dtype)[None, None] for a in (x, p))
    with tf32_allowed() if precision == "tf32" else nullcontext():
        return torch.nn.functional.scaled_dot_product_attention(x, p, p, scale=1.0)


def hopfield_module(x, p):
    """Set the module of hflayers up as plain retrieval, where it is installed."""
    try:
        from hflayers import Hopfield
    except ImportError:
        return {}
    settings = {}
    for name in ("stored_pattern", "state_pattern", "pattern_projection"):
        settings[f"{name}_as_static"] = True
        settings[f"normalize_{name}"] = settings[f"normalize_{name}_affine"] = False
    module = Hopfield(
        scaling=1.0, batch_first=True, disable_out_projection=True, **settings
    ).to(x.device)

    def ask():
        with torch.no_grad():
            parts = x.split(max(1, MOST_SCORES // len(p)))
            return [module((p[None], part[None], p[None])) for part in parts]

    return {"hflayers": ask}


def neighbours(patterns, queries):
    """List searches for the 5 nearest, those that are installed."""
    from sklearn.neighbors import NearestNeighbors

    brute = NearestNeighbors(n_neighbors=5, algorithm="brute").fit(patterns)
    found = {"kneighbors, k = 5": lambda: brute.kneighbors(queries)}
    try:
        import faiss
    except ImportError:
        return found
    flat = faiss.IndexFlatL2(patterns.shape[1])
    flat.add(patterns)
    return {**found, "faiss flat, k = 5": lambda: flat.search(queries, 5)}


def time_shape(shape, repeats, device, precision):
    """Row of the first table for one (Q, M, d)."""
    n_queries, n_patterns, n_features = shape
    on_cpu = device == "cpu"
    patterns = make_data(n_patterns, n_features, 0)
    queries = make_data(n_queries, n_features, 1)
    known = make_known(patterns, n_queries)
    # Smaller numbers for the bare loop, whose exponentials would overflow.
    x, p = (0.1 * torch.from_numpy(a).to(device) for a in (queries, patterns))
    asked, sure = (
        a if on_cpu else torch.from_numpy(a).to(device) for a in (queries, known)
    )
    memory = fitted(patterns, device=device, precision=precision)
    peaked = fitted(patterns, beta=NOISE**-2, device=device, precision=precision)

    def transform(separation, queries):
        memory.set_params(separation=separation).transform(queries)

    runs = {"bare": lambda: bare(x, p), "SDPA": lambda: sdpa(x, p, precision)}
    runs |= hopfield_module(x, p)
    runs |= {name: partial(transform, name, asked) for name in SEPARATIONS}
    runs["softmax, known"] = lambda: peaked.transform(sure)
    if on_cpu:
        runs |= neighbours(patterns, queries)
    else:
        runs["softmax, NumPy"] = partial(transform, "softmax", queries)
    with sklearn.config_context(array_api_dispatch=not on_cpu):
        times = dict(zip(runs, best_of(list(runs.values()), repeats), strict=True))
    bare_time = times.pop("bare")
    row = {
        "Q × M × d": " × ".join(f"{n:,}" for n in shape),
        "bare (s)": f"{bare_time:.4f}",
    }
    return row | {name: f"{spent / bare_time:.2f}" for name, spent in times.items()}


def memory_of_shape(shape, device, precision):
    """Row of the second table: MB that `transform` needs beside data and memory."""
    row = {"Q × M × d": " × ".join(f"{n:,}" for n in shape)}
    for separation in SEPARATIONS:
        if device == "cpu":
            extra = extra_memory(shape, separation)
        else:
            extra = extra_on_gpu(shape, separation, device, precision)
        row[f"{separation} (MB)"] = f"{extra:.0f}"
    return row


def extra_on_gpu(shape, separation, device, precision):
    """MB that torch allocates during `transform` beside patterns and queries."""
    n_queries, n_patterns, n_features = shape
    memory = fitted(make_data(n_patterns, n_features, 0), separation, device, precision)
    queries = torch.from_numpy(make_data(n_queries, n_features, 1)).to(device)
    with sklearn.config_context(array_api_dispatch=True):
        memory.transform(queries[:1])
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        memory.transform(queries)
    return (torch.cuda.max_memory_allocated() - before) / 2**20


def time_one_query(repeats, device, n_patterns=10_000, n_features=384):
    """Time what a service pays: one query, with all that surrounds its arithmetic.

    The arithmetic is `answers` on the prepared memory, a private function.
    """
    from skuhop.retrieval import SEPARATIONS as RULES
    from skuhop.retrieval import Memory, answers, build_scorer

    patterns, query = make_data(n_patterns, n_features, 0), make_data(1, n_features, 1)
    x = torch.from_numpy(query).to(device)
    for similarity in ("euclidean", "dot", "cosine", "correlation", "manhattan"):
        memory = UHopMemory(
            "identity", similarity=similarity, beta=1.0, device=device
        ).fit(patterns)
        # One copy of the patterns: another would be in the cache when it is not.
        p = torch.from_numpy(memory.patterns_).to(device)
        scorer = build_scorer(similarity, 1.0, p, p.mean(0), None, None)
        prepared = Memory(scorer, RULES["softmax"], {}, p, None)
        bare_time, inner, outer = best_of(
            [
                lambda p=p: bare(x, p),
                lambda prepared=prepared: answers(prepared, x, 2**30),
                lambda memory=memory: memory.transform(query),
            ],
            100 * repeats,
        )
        yield {
            "one query, M × d": f"{n_patterns:,} × {n_features}",
            "similarity": similarity,
            "bare (ms)": f"{1e3 * bare_time:.2f}",
            "arithmetic (ms)": f"{1e3 * inner:.2f}",
            "transform (ms)": f"{1e3 * outer:.2f}",
            "overhead (ms)": f"{1e3 * (outer - inner):.2f}",
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


def time_published_loop(repeats, device, n_patterns=500, n_features=3072, n_looped=2):
    """Compare with a loop that computes W Xi anew for every query."""
    patterns = make_data(n_patterns, n_features, 0)
    queries = make_data(n_patterns, n_features, 1)
    memory = UHopMemory(similarity="dot", beta=1.0, max_iter=1, device=device)
    memory.fit(patterns)
    xi, x = (torch.from_numpy(a).to(device) for a in (patterns, queries))
    weight = torch.eye(n_features, device=device)

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


def time_default(repeats, device, n_patterns=2000, n_features=784):
    """Compare the default similarity with a plain softmax retrieval."""
    patterns = make_data(n_patterns, n_features, 0)
    queries = make_data(n_patterns, n_features, 1)
    memories = (
        UHopMemory(max_iter=1, device=device).fit(patterns),
        fitted(patterns, device=device),
    )
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
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--precision", default="float32", help="of transform")
    parser.add_argument("--smaller", type=int, default=1, metavar="FACTOR")
    parser.add_argument("--out", default="benchmark_results/retrieval_speed.csv")
    parser.add_argument("--memory-of", nargs=4, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.memory_of:
        print_extra_memory(args.memory_of[0], args.memory_of[1:])
        return
    print(machine(), f"device: {args.device}", sep="; ", end="\n\n")
    shapes = [
        (max(1, q // args.smaller), m // args.smaller, d)
        for q, m, d in (SHAPES if args.device == "cpu" else GPU_SHAPES)
    ]
    timed = (args.repeats, args.device, args.precision)
    tables = []
    for table in (
        (time_shape(shape, *timed) for shape in shapes),
        time_one_query(args.repeats, args.device),
        (memory_of_shape(shape, *timed[1:]) for shape in shapes),
        time_published_loop(args.repeats, args.device),
        time_default(args.repeats, args.device),
    ):
        rows = []
        for row in table:
            print(*row.items(), file=sys.stderr, flush=True)  # some take minutes
            rows.append(row)
        if rows:
            tables.append(rows)
            print(markdown_rows(rows), end="\n\n", flush=True)
    write_tables(args.out, tables)


if __name__ == "__main__":
    main()
