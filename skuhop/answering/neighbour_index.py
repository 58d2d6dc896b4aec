"""An index over the keys of a very large memory, kept as bytes.

faiss builds it: of the libraries compared in doc/engine.md it builds and searches
fastest, it comes as a wheel, and it goes into a NumPy array and back.

Two kinds. "ivf" sorts the keys into lists around 2 sqrt(M) centroids and reads the
nearest lists in four bits for every two features; what it gains in size and speed pays
for looking at more of the memory and for more candidates, which the engine ranks
exactly anyway. "hnsw" walks a graph of neighbours, in full precision.

faiss sees the points that `skuhop.retrieval.index.lists.Space` makes of keys: centred,
of length 1 at most whatever their units are, and as near to each other as their scores
are high. What is built is tried on stored rows and on copies with noise, against exact
distances; where it loses neighbours the next way to build is tried, and where the last
one does, there is no index.
"""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np
import torch

from skuhop.choices import Index
from skuhop.retrieval import (
    NUMBERS_AT_ONCE,
    SEPARATIONS,
    SIMILARITIES,
    Lists,
    Nearest,
    Space,
    caution_of,
    checks_of,
    move,
    power_of_two,
    row_chunks,
    shares_found,
)
from skuhop.support import to_tensor

INDEXED = tuple(name for name, rule in SIMILARITIES.items() if rule.compare is None)
"""Similarities whose scores an index can rank: distances and inner products."""
PAYS = 200_000
"""Patterns from which ``index="auto"`` builds an index."""
SMALLEST = 1024
"""Fewer patterns than this are looked at one and all, whatever index is asked for."""
WIDTH = 64
"""How widely the graph is searched while it is built."""
LIST_SHARE = 1 / 5120
"""Share of the lists that is read for every candidate asked for."""
AT_LEAST = 8
"""Patterns in the lists that are read for every candidate asked for."""
TRAINING = 32
"""Patterns per list from which its centroid is learned."""
FEWEST_LEFT = 0.5
"""Share of what an index was built of that is left at least where it is not rebuilt."""
KEEPS, LOSES = 0.999, 0.02
"""Share of the nearest keys that an index has to find, and share of other neighbours
that it may lose among its first candidates."""


def _faiss():
    try:
        import faiss
    except ImportError as error:
        raise ImportError(
            "an index needs faiss: pip install 'skuhop[index]'. index=None needs "
            "nothing."
        ) from error
    return faiss


def _build_ivf(faiss, points, centroids, codes):
    """Inverted lists around centroids, of quantised points or of residuals, or plain.

    `points` have been rotated at random, which spreads what varies over all features,
    so that every pair of them has the same right to its four bits: on principal
    components the quantisation would otherwise lose single queries.
    """
    width, n_lists = points.shape[1], len(centroids)
    coarse = faiss.IndexFlatL2(width)
    coarse.add(centroids)
    if codes == "plain":
        index = faiss.IndexIVFFlat(coarse, width, n_lists, faiss.METRIC_L2)
    else:
        quantised = faiss.IndexIVFPQFastScan
        index = quantised(coarse, width, n_lists, width // 2, 4, faiss.METRIC_L2)
        index.by_residual = codes == "residual"
    index.train(points)
    index.add(points)
    return index


def _search_ivf(faiss, index, k, effort):
    return faiss.SearchParametersIVF(nprobe=lists_read(index.ntotal, index.nlist, k))


def lists_read(n_patterns, n_lists, k):
    """How many lists are read for k candidates."""
    share = k * max(LIST_SHARE, AT_LEAST / n_patterns)
    return max(1, math.ceil(min(1, share) * n_lists))


def _build_hnsw(faiss, points, centroids, links):
    index = faiss.IndexHNSWFlat(points.shape[1], links, faiss.METRIC_L2)
    index.hnsw.efConstruction = WIDTH
    index.add(points)
    return index


def _search_hnsw(faiss, index, k, effort):
    return faiss.SearchParametersHNSW(efSearch=effort * k)


class _Kind(NamedTuple):
    """A kind of index.

    Attributes
    ----------
    build : callable
        ``(faiss, points, centroids, way) -> index``.
    search : callable
        ``(faiss, index, k, effort) -> parameters`` of a search for the k best.
    candidates : tuple of int
        How many to ask for, and to ask for again where the bound is too large.
    ways : tuple of tuple
        Ways to build, and efforts of a search, from the cheapest to the surest.
    reads : bool
        Whether only what stands in the nearest lists can be found.
    """

    build: Callable
    search: Callable
    candidates: tuple[int, int]
    ways: tuple[tuple, ...]
    reads: bool


KINDS = {
    "ivf": _Kind(
        _build_ivf,
        _search_ivf,
        (256, 2048),
        (("whole", 1), ("residual", 1), ("plain", 1)),
        True,
    ),
    "hnsw": _Kind(
        _build_hnsw,
        _search_hnsw,
        (64, 512),
        ((16, 2), (16, 4), (32, 4), (32, 8)),
        False,
    ),
}
AUTO = "ivf"
"""Kind that ``index="auto"`` builds."""


def check_index(index: Index | None, similarity: str, separation: str) -> None:
    """Check what the parameters of an index allow of each other.

    Raises
    ------
    ValueError
        If scores cannot be ranked by it, or the weights have no tail to sample.
    """
    if index is None:
        return
    if index.kind in KINDS and similarity not in INDEXED:
        raise ValueError(
            f"index={index.kind!r} works with similarity in {list(INDEXED)}; got "
            f"similarity={similarity!r}. Use index=None or 'auto'."
        )
    allowed = [name for name, row in SEPARATIONS.items() if row.lift is not None]
    if index.tail == "sample" and separation not in allowed:
        raise ValueError(
            f"index__tail='sample' works with separation in {allowed}; got "
            f"separation={separation!r}, whose weights have no tail."
        )


def index_kind(index: str | None, similarity: str, n_patterns: int) -> str | None:
    """Kind of index that `fit` is to build, if any.

    Raises
    ------
    ImportError
        If one is asked for by name and faiss is not installed.
    """
    if index in KINDS:
        _faiss()
        return index if n_patterns >= SMALLEST else None
    if index is None or similarity not in INDEXED or n_patterns < PAYS:
        return None
    try:
        _faiss()
    except ImportError:
        return None
    return AUTO


def space_of(keys: torch.Tensor, products: bool) -> Space:
    """Space of keys (M, r)."""
    tiny = torch.finfo(keys.dtype).tiny
    unit = power_of_two(keys.abs().amax().item(), tiny)
    shift = (keys / unit).mean(0) * unit
    moved = keys - shift
    scale = 1 / power_of_two(moved.abs().amax().item(), tiny)
    longest = torch.linalg.vector_norm(moved.mul_(scale), dim=1).amax()
    # Products: the longest keys need no further feature to be of length 1.
    longest = longest.item()
    scale /= max(longest, 0.25) if products else power_of_two(longest, tiny)
    n = keys.shape[1] + products
    width = n + n % 2
    random = np.random.RandomState(0).standard_normal((width, width))
    rotation = torch.from_numpy(np.linalg.qr(random)[0][:n].astype(np.float32))
    return Space(shift, scale, rotation.to(keys.device), products)


def _centroids(faiss, points):
    n, width = points.shape
    n_lists = max(1, min(2 * math.isqrt(n), n // TRAINING))
    options = {"max_points_per_centroid": TRAINING, "min_points_per_centroid": 1}
    means = faiss.Kmeans(width, n_lists, niter=10, seed=0, **options)
    means.train(points)
    return means.centroids


def sort_into_lists(faiss, points: np.ndarray, space: Space) -> Lists:
    """Sort points into lists, and sum up what is kept of them."""
    centroids = _centroids(faiss, points)
    coarse = faiss.IndexFlatL2(points.shape[1])
    coarse.add(centroids)
    n_lists, width = centroids.shape
    list_of = np.empty(len(points), np.int32)
    spread, radius = np.zeros((2, n_lists))
    directions = np.zeros((width, width))
    for rows in row_chunks(len(points), n_lists + width, NUMBERS_AT_ONCE):
        nearest = list_of[rows] = coarse.search(points[rows], 1)[1][:, 0]
        apart = points[rows] - centroids[nearest]
        squares = (apart**2).sum(1)
        spread += np.bincount(nearest, squares, n_lists)
        np.maximum.at(radius, nearest, np.sqrt(squares))
        apart = apart[squares > 0] / np.sqrt(squares[squares > 0, None])
        directions += apart.T @ apart
    counts = np.bincount(list_of, minlength=n_lists)
    values, axes = np.linalg.eigh(directions / max(np.trace(directions), 1e-300))
    root = axes * np.sqrt(values.clip(0))
    kept = centroids, spread / counts.clip(1), radius, root, centroids @ root, counts
    centroids, spread, radius, root, rooted, mass = (
        torch.from_numpy(np.asarray(array, np.float32)) for array in kept
    )
    lists = torch.from_numpy(list_of)
    return Lists(space, centroids, spread, radius, root, rooted, 1.0, lists, mass)


class _Built(NamedTuple):
    """An index that keeps what it should, and the effort with which it is searched.

    `losses` are the shares of other neighbours that it loses among the first and the
    second candidates, and `first` the first candidates of all checks.
    """

    faiss_index: object
    effort: int
    losses: list[float]
    first: list


def _try_ways(faiss, kind, lists, keys, checks) -> _Built | None:
    """Build in the cheapest way that keeps the neighbours of all checks."""
    row, points, before, last = KINDS[kind], keys.numpy(), None, None
    for way, effort in row.ways:
        if way != before:
            index = row.build(faiss, points, lists.centroids.numpy(), way)
            before = way
        search = _search(faiss, index, row, effort)
        losses, nearest, firsts = [], 1.0, []
        for k in row.candidates:
            k = min(k, len(points))
            n_read = lists_read(len(points), len(lists.mass), k) if row.reads else None
            found = [search(check.points, k) for check in checks]
            shares = [
                shares_found(lists, keys, check, near, n_read)
                for check, near in zip(checks, found, strict=True)
            ]
            firsts.append(found)
            nearest = min(nearest, *(share[0] for share in shares))
            losses.append(1 - min(share[1] for share in shares))
        if nearest >= KEEPS:
            last = _Built(index, effort, losses, firsts[0])
            if losses[0] <= LOSES:
                break
    return last


def _search(faiss, index, row, effort, places=None):
    """Search for points (n, w), none for those that are not finite.

    `places` are the positions now of all keys that were built in, -1 for those that
    have gone since.
    """
    stands = None if places is None else np.packbits(places >= 0, bitorder="little")

    def search(points, k):
        finite = points.isfinite().all(1, keepdim=True)
        x = np.ascontiguousarray(points.masked_fill(~finite, 0).cpu().numpy())
        params = row.search(faiss, index, k, effort)
        if places is not None:
            # Who is kept by a Python object alone: faiss holds the bare pointer.
            params.sel = chosen = faiss.IDSelectorBitmap(stands)
            _, found = index.search(x, k, params=params)
            del chosen
            found = np.where(found < 0, -1, places[found])
        else:
            _, found = index.search(x, k, params=params)
        found = torch.from_numpy(found).to(points.device)
        return found.masked_fill_(~finite, -1)

    return search


def build_index(kind: str, scorer) -> np.ndarray | None:
    """Index of a kernel scorer's keys as an array of bytes; None where none is good."""
    faiss = _faiss()
    keys = scorer.keys[: scorer.n_patterns]
    space = space_of(keys, is_product(scorer))
    points = torch.cat([space.keys(part) for part in keys.split(NUMBERS_AT_ONCE)]).cpu()
    lists = sort_into_lists(faiss, np.ascontiguousarray(points.numpy()), space)
    checks = checks_of(points)
    built = _try_ways(faiss, kind, lists, points, checks)
    if built is None:
        return None
    caution = max(
        caution_of(lists, points, check, found)
        for check, found in zip(checks, built.first, strict=True)
    )
    numbers = [space.scale, space.products, built.effort, caution, *built.losses]
    state = {name: getattr(lists, name).numpy() for name in _KEPT}
    state |= {
        "shift": space.shift.cpu().numpy(),
        "rotation": space.rotation.cpu().numpy(),
        "numbers": np.array(numbers),
        "codes": faiss.serialize_index(built.faiss_index),
    }
    stream = io.BytesIO()
    np.savez(stream, **state)
    return np.frombuffer(stream.getvalue(), np.uint8)


_KEPT = "centroids", "spread", "radius", "root", "rooted", "list_of"
"""Fields of `Lists` that are kept as they are."""


def is_product(scorer) -> bool:
    """Whether a kernel scorer's keys may have any length, and scores are products."""
    return scorer.similarity is SIMILARITIES["dot"]


def open_index(
    kind: str, state: np.ndarray, tol: float, weights=None, places=None
) -> Nearest:
    """Make the bytes searchable.

    Parameters
    ----------
    kind : str
        A row of `KINDS`.
    state : ndarray of uint8
        What `build_index` has made.
    tol : float
        Largest weight that may be missing.
    weights : Tensor of shape (M,) or None
        Multiplicities of the patterns, on the device where to compute.
    places : ndarray of shape (n_built,) or None
        Positions now of the patterns that were built in, -1 for those that have gone.

    Raises
    ------
    ValueError
        If a version before made the bytes.
    """
    faiss = _faiss()
    if state[:2].tobytes() != b"PK":
        raise ValueError("The index was built by an earlier version; call fit again.")
    with np.load(io.BytesIO(state.tobytes()), allow_pickle=False) as arrays:
        kept = dict(arrays)
    index, row = faiss.deserialize_index(kept.pop("codes")), KINDS[kind]
    scale, products, effort, caution, *losses = kept.pop("numbers").tolist()
    kept = {name: torch.from_numpy(array) for name, array in kept.items()}
    shift, rotation = kept.pop("shift"), kept.pop("rotation")
    space = Space(shift, scale, rotation, bool(products))
    if places is not None:
        kept["list_of"] = kept["list_of"][torch.from_numpy(places >= 0)]
    list_of = kept["list_of"].long()
    mass = torch.bincount(list_of, weights, len(kept["centroids"]))
    lists = Lists(space, caution=caution, mass=mass.float(), **kept)
    search = _search(faiss, index, row, int(effort), places)
    return Nearest(search, tol, row.candidates, None, lists, tuple(losses))


def thin_index(built: Mapping, rows: np.ndarray, n_patterns: int) -> dict | None:
    """Make an index of fewer rows from that of more: the same bytes, and who has left.

    None where too few are left for it: what it knows of lists would be of others.

    Parameters
    ----------
    built : mapping
        The attribute `index_`.
    rows : ndarray of shape (m,), integer
        Positions of the rows that stay, rising.
    n_patterns : int
        Rows that there were.
    """
    if "bytes" not in built:
        return None
    places = built.get("places", np.arange(n_patterns))
    if len(rows) < max(SMALLEST, FEWEST_LEFT * len(places)):
        return None
    position = np.full(n_patterns, -1)
    position[rows] = np.arange(len(rows))
    places = np.where(places < 0, -1, position[places])
    tail = position[built["tail"]]
    return {**built, "places": places, "tail": tail[tail >= 0]}


class IndexChoice(NamedTuple):
    """Numbers of `Index`, as they are now; none without an index."""

    kind: str | None = None
    tol: float = 0.0
    tail: str = "drop"


def open_fitted_index(
    choice: IndexChoice, similarity: str, built: Mapping, weights, like
) -> Nearest | None:
    """Open the index for queries, None where it is not to be used.

    `built` is the attribute `index_`, `like` the stored patterns as a tensor.
    """
    if choice.kind in KINDS and choice.kind != built.get("kind"):
        if len(like) < SMALLEST or built == {"refused": choice.kind}:
            return None
        raise ValueError(f"index={choice.kind!r} was set after fit; call fit again.")
    if "bytes" not in built or choice.kind is None:
        return None
    if built["similarity"] != similarity:
        raise ValueError(
            f"The index was built for similarity={built['similarity']!r}; call fit "
            "again or set index=None."
        )
    built_in = built["kind"], built["bytes"]
    nearest = open_index(*built_in, choice.tol, weights, built.get("places"))
    lists = nearest.lists
    nearest = nearest._replace(lists=lists and move(lists, like))
    if choice.tail == "drop":
        return nearest
    if "tail" not in built:
        raise ValueError("This index was built without a tail; call fit again.")
    return nearest._replace(tail=to_tensor(built["tail"], like.device))
