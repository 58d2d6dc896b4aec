"""Time and peak memory of both stages against the size of the memory.

1. `fit` of a plain memory (identity, Euclidean, fixed beta) and `transform` against M,
   Q and d, each in a fresh process whose peak beyond data and memory is measured.
2. With an index (``--index ivf hnsw``, needs the extra "index"): M = 1,000,000 patterns
   of 128 features. With ``--data`` they are MNIST, its images shifted by up to two
   pixels again and again, on their first 128 principal components with noise of
   standard deviation 0.1; without it random patterns stand in, for which no index is
   of use. Queries are stored patterns with noise of 0.3 per component (beta is its
   precision) and test images. "weight missed" is the weight that exact retrieval puts
   on patterns that the index did not find, over the queries that it answers.
3. With ``--fit``: `fit` with the defaults on all 60,000 images of MNIST (without
   ``--data`` on as many random patterns).

Run it with ``python examples/benchmarks/scaling.py --data FOLDER``, where FOLDER holds
mnist.npz (X, X_test: uint8 images); ``--tables 1 3 --smaller 100`` runs some tables
on a hundredth of the patterns and queries. Numbers go to
``benchmark_results/scaling.csv``.
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

from skuhop import Index, UHopMemory
from skuhop.answering.neighbour_index import KINDS, open_index
from skuhop.retrieval import SEPARATIONS, Memory, associations, build_scorer
from skuhop.retrieval.index.candidates import settle

NOISE = 0.3
CASES = (
    [(256, m, 64) for m in (10_000, 100_000, 1_000_000)]
    + [(q, 10_000, 64) for q in (1, 1000, 100_000)]
    + [(1000, 10_000, d) for d in (16, 256, 2048)]
)


def peak_memory():
    """Largest resident size of this process in MB, as Linux counts it."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / 1024


def peak_of(work):
    """Seconds of work, and by how many MB the peak grew."""
    Path("/proc/self/clear_refs").write_text("5")
    before, start = peak_memory(), time.perf_counter()
    work()
    return time.perf_counter() - start, peak_memory() - before


def one_case(n_queries, n_patterns, n_features, device):
    """Body of a fresh process: seconds and MB of fit, seconds and MB of transform."""
    rng = np.random.default_rng(0)
    patterns = rng.random((n_patterns, n_features), dtype=np.float32)
    queries = rng.random((n_queries, n_features), dtype=np.float32)
    memory = UHopMemory("identity", similarity="euclidean", beta=1.0, device=device)
    fit = peak_of(lambda: memory.fit(patterns))
    memory.transform(queries[:1])  # encodes the patterns, once for all later calls
    print(*fit, *peak_of(lambda: memory.transform(queries)))


def plain(device, smaller):
    """Rows of the first table."""
    for n_queries, n_patterns, n_features in CASES:
        case = max(1, n_queries // smaller), n_patterns // smaller, n_features
        command = [sys.executable, __file__, "--device", device]
        command += ["--case", *map(str, case)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        fit, fit_mb, seconds, extra = map(float, done.stdout.split()[-4:])
        yield {
            "Q × M × d": " × ".join(f"{n:,}" for n in case),
            "fit (s)": f"{fit:.2f}",
            "fit (MB)": f"{fit_mb:.0f}",
            "transform (s)": f"{seconds:.3f}",
            "per query (ms)": f"{1e3 * seconds / case[0]:.3f}",
            "transform (MB)": f"{extra:.0f}",
        }


def shifted(images, rng):
    """Images moved by up to two pixels either way."""
    out = np.empty_like(images)
    steps = rng.integers(-2, 3, (2, len(images)))
    for dy in range(-2, 3):
        for dx in range(-2, 3):
            rows = (steps[0] == dy) & (steps[1] == dx)
            out[rows] = np.roll(images[rows], (dy, dx), (1, 2))
    return out


def augmented(folder, n_patterns, n_features=128):
    """Patterns and unseen images, float32."""
    rng = np.random.default_rng(0)
    path = Path(folder or ".") / "mnist.npz"
    if not folder or not path.exists():
        made = rng.random((n_patterns + 1000, n_features), dtype=np.float32)
        return made[:-1000], made[-1000:], "random"
    with np.load(path) as data:
        images, unseen = data["X"], data["X_test"][:1000]

    def pixels(images):
        return images.reshape(len(images), -1).astype(np.float32) / 255

    centred = pixels(images)
    mean = centred.mean(0)
    centred -= mean
    axes = np.linalg.eigh(centred.T @ centred)[1][:, ::-1][:, :n_features]
    parts = [centred @ axes]
    while sum(map(len, parts)) < n_patterns:
        part = (pixels(shifted(images, rng)) - mean) @ axes
        noise = rng.standard_normal(part.shape, dtype=np.float32)
        parts.append(part + 0.1 * noise)
    patterns = np.concatenate(parts)[:n_patterns]
    return np.ascontiguousarray(patterns), (pixels(unseen) - mean) @ axes, "MNIST"


def inside(memory):
    """Memory as the engine has it, with the index."""
    patterns, mean = map(torch.from_numpy, (memory.patterns_, memory.mean_))
    scorer = build_scorer("euclidean", memory.beta, patterns, mean, None, None)
    kept = memory.index_
    nearest = open_index(kept["kind"], kept["bytes"], Index.of(memory.index).tol)
    return Memory(scorer, SEPARATIONS["softmax"], {}, patterns, None, nearest=nearest)


def answered_exactly(memory, queries):
    """Which queries no look at the index was enough for."""
    x, exact = torch.from_numpy(queries), torch.zeros(len(queries), dtype=torch.bool)

    def note(rows):
        exact[rows] = True

    settle(memory, x, 2**28, lambda rows, found: None, note)
    return exact


def weight_missed(memory, queries, top=1024):
    """Weight (n,) that exact retrieval gives to what the first look did not find."""
    x = torch.from_numpy(queries)
    near, weights = associations(memory, x, 2**28, top)
    vectors = memory.scorer.prepare(x).encoded[0] / memory.scorer.beta
    points = memory.nearest.lists.space.queries(vectors)
    found = memory.nearest.search(points, memory.nearest.candidates[0])
    hit = (near[:, :, None] == found[:, None, :]).any(2)
    return 1 - (weights * hit).sum(1)


def with_index(kinds, folder, n_patterns, repeats):
    """Rows of the second table."""
    patterns, unseen, name = augmented(folder, n_patterns)
    data = f"{name} {len(patterns):,} × {patterns.shape[1]}"
    for kind in kinds:
        for row in one_index(kind, patterns, unseen, repeats):
            yield {"patterns": data, "index": kind} | row


def one_index(kind, patterns, unseen, repeats):
    """Rows of one kind of index."""
    rng = np.random.default_rng(1)
    stored = patterns[rng.choice(len(patterns), 1000, replace=False)]
    noisy = stored + NOISE * rng.standard_normal(stored.shape, dtype=np.float32)
    params = {"similarity": "euclidean", "beta": NOISE**-2}
    memory = UHopMemory("identity", index=kind, **params)
    plain_fit = peak_of(lambda: UHopMemory("identity", **params).fit(patterns))[0]
    index_fit = peak_of(lambda: memory.fit(patterns))[0]
    exact = UHopMemory("identity", **params)
    exact.__setstate__(memory.__getstate__())
    exact.set_params(index=None)
    prepared = inside(memory)
    for asked, queries, n in (
        ("noisy copies, one", noisy, 1),
        ("noisy copies, 64", noisy, 64),
        ("noisy copies, 1,000", noisy, 1000),
        ("test images, 1,000", unseen, 1000),
    ):
        chosen = np.ascontiguousarray(queries[:n], dtype=np.float32)
        few = chosen[:500]
        times = {"exact": [], "index": []}
        for _ in range(repeats + 1):
            for way, m, rows in (("exact", exact, few), ("index", memory, chosen)):
                start = time.perf_counter()
                m.transform(rows)
                spent = (time.perf_counter() - start) / len(rows)
                times[way].append(1e3 * spent)
        per_query = {way: min(spent[1:]) for way, spent in times.items()}
        bound = memory.missing_weight(chosen)
        whole = answered_exactly(prepared, chosen)
        missed = weight_missed(prepared, few)[~whole[: len(few)]]
        difference = memory.transform(few) - exact.transform(few)
        yield {
            "queries": asked,
            "exact (ms per query)": f"{per_query['exact']:.3f}",
            "index (ms per query)": f"{per_query['index']:.3f}",
            "times faster": f"{per_query['exact'] / per_query['index']:.0f}",
            "from the whole memory": f"{whole.double().mean():.1%}",
            "bound, largest": f"{bound.max():.1e}",
            "weight missed, mean": f"{missed.mean():.1e}" if len(missed) else "",
            "weight missed, largest": f"{missed.max():.1e}" if len(missed) else "",
            "answer moved, largest": f"{np.linalg.norm(difference, axis=1).max():.1e}",
            "fit, plain / with index (s)": f"{plain_fit:.0f} / {index_fit:.0f}",
            "index (MB)": f"{memory.index_['bytes'].nbytes / 2**20:.0f}",
        }


def images_or_random(folder):
    """All images of MNIST and 64 unseen ones, or as many random patterns."""
    if not folder:
        made = np.random.default_rng(0).random((60_064, 784), dtype=np.float32)
        return made[:-64], made[-64:], "random"
    with np.load(Path(folder) / "mnist.npz") as data:
        parts = data["X"], data["X_test"][:64]
    images, queries = (p.reshape(len(p), -1).astype(np.float32) / 255 for p in parts)
    return images, queries, "MNIST"


def default_fit(folder, device, smaller):
    """Row of the third table."""
    images, queries, name = images_or_random(folder)
    images = images[: len(images) // smaller]
    memory = UHopMemory(random_state=0, device=device)
    seconds, extra = peak_of(lambda: memory.fit(images))
    memory.transform(queries[:1])
    answered, answer_mb = peak_of(lambda: memory.transform(queries))
    yield {
        "patterns": f"{name} {len(images):,} × {images.shape[1]}",
        "fit (s)": f"{seconds:.0f}",
        "fit (MB)": f"{extra:.0f}",
        "steps": str(memory.n_iter_),
        "kept step": str(memory.selection_["step"]),
        "transform (ms per query)": f"{1e3 * answered / 64:.0f}",
        "transform (MB)": f"{answer_mb:.0f}",
    }


def main():
    """Run the tables."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", help="folder of mnist.npz")
    parser.add_argument("--patterns", type=int, default=1_000_000)
    parser.add_argument("--index", nargs="*", choices=KINDS, default=["ivf"])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--fit", action="store_true", help="also time a default fit")
    parser.add_argument("--tables", nargs="+", type=int, choices=(1, 2, 3))
    parser.add_argument("--smaller", type=int, default=1, metavar="FACTOR")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--out", default="benchmark_results/scaling.csv")
    parser.add_argument("--case", nargs=3, type=int, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.case:
        one_case(*args.case, args.device)
        return
    print(machine(), f"device: {args.device}", sep="; ", end="\n\n", flush=True)
    chosen = args.tables or ((1, 2, 3) if args.fit else (1, 2))
    n_patterns = args.patterns // args.smaller
    known = {
        1: lambda: plain(args.device, args.smaller),
        2: lambda: with_index(args.index, args.data, n_patterns, args.repeats),
        3: lambda: default_fit(args.data, args.device, args.smaller),
    }
    tables = []
    for number in chosen:
        rows = list(known[number]())
        if rows:
            tables.append(rows)
            print(markdown_rows(rows), end="\n\n", flush=True)
    write_tables(args.out, tables)


if __name__ == "__main__":
    main()
