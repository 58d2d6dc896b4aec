"""How much is done at once: chunks of queries, blocks of patterns.

With several threads blocks are as large as the cache bears: small ones make so many
short parallel steps that a busy machine spends its time waiting at their ends. One
thread waits for nobody, and takes blocks for which the allocator does not ask the
system for fresh pages every time: up to four times faster than blocks that leave the
cache.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from skuhop.retrieval.engine.memory_record import Memory
from skuhop.retrieval.engine.partial_results import TooManyCandidatesError

# Scores per block; bytes where one thread works alone; and the fewest rows of one.
_BLOCK = {"cpu": (2**22, 1024), "cuda": (2**26, 1024), "mps": (2**24, 1024)}
_BLOCK_ALONE = (2**22, 512)
# A scorer that needs all patterns at once holds much more: smaller chunks of rows, but
# fewer than some starve the matrix product.
DENSE_BLOCK = {"cpu": 2**21, "cuda": 2**25, "mps": 2**22}
FEWEST_ROWS = 64
# Of wide blocks, for those who look for the best of each.
_WIDE_ROWS = 128
# Bytes per candidate at its peak, and the most that are kept.
_CANDIDATE = 64
_MOST_CANDIDATES = 2**21


def block_ranges(n_patterns: int, width: int) -> Iterator[tuple[int, int]]:
    """Yield start and stop of all blocks of patterns."""
    for start in range(0, n_patterns, width):
        yield start, min(start + width, n_patterns)


class _Plan(NamedTuple):
    """How much to do at once: rows, scores in a block, candidates."""

    rows: int
    cells: int
    most: int

    def width(self, memory: Memory, n_rows: int) -> int:
        """Patterns per block for so many rows."""
        if not memory.scorer.streams:
            return memory.scorer.n_patterns
        return max(1, self.cells // n_rows)


def _block(memory: Memory, X: Tensor) -> tuple[int, int]:
    """Scores per block, and the fewest rows of one."""
    small = torch.get_num_threads() == 1
    if X.device.type == "cpu" and small:
        n_bytes, rows = _BLOCK_ALONE
        return n_bytes // X.element_size(), rows
    return _BLOCK[X.device.type]


def plan_pass(
    memory: Memory, X: Tensor, budget: int, read: bool = False, wide: bool = False
) -> _Plan:
    """Keep to the budget, with blocks as large as pay, and wide ones of few rows."""
    scorer, device = memory.scorer, X.device.type
    n_values = 2 * memory.patterns.shape[1] if read else 0
    row = X.element_size() * (scorer.row_width + scorer.width + n_values)
    most = max(1, min(_MOST_CANDIDATES, budget // (4 * _CANDIDATE)))
    cells = budget // (2 * X.element_size() * (scorer.width + 1))
    if scorer.streams:
        block, fewest = _block(memory, X)
        fewest = _WIDE_ROWS if wide and device == "cpu" else fewest
        cells = min(block, cells)
        rows = max(fewest, -(-block // scorer.n_patterns))
    else:
        cells = min(cells, max(DENSE_BLOCK[device], FEWEST_ROWS * scorer.n_patterns))
        rows = cells // scorer.n_patterns
    return _Plan(max(1, min(rows, budget // (4 * row))), cells, most)


class Pass:
    """One pass over the patterns, for some rows of queries, as a context.

    It ends without an answer, and without an error, where candidates abound; the rows
    then come again, fewer at a time.

    Attributes
    ----------
    rows : slice
        Which queries.
    width : int
        Patterns per block.
    most : int or None
        Number of candidates to stop at; None for a single query, which has to do.
    """

    def __init__(self, rows: slice, width: int, most: int | None):
        self.rows, self.width, self.most = rows, width, most
        self.failed = False

    def __enter__(self):
        """Begin."""

    def __exit__(self, kind, error, trace) -> bool:
        """Note whether there were too many candidates, and suppress that error."""
        self.failed = kind is TooManyCandidatesError
        return self.failed

    def blocks(self, memory: Memory) -> Iterator[tuple[int, int]]:
        """Yield start and stop of all blocks of patterns."""
        return block_ranges(memory.scorer.n_patterns, self.width)


def passes(
    memory: Memory, X: Tensor, budget: int, wide: bool = False
) -> Iterator[Pass]:
    """Yield passes until all queries have been answered.

    ``for one in passes(...):`` is to have a body of ``with one:``. Wide blocks, of many
    patterns for few queries, suit those who look for the best of a block.
    """
    plan = plan_pass(memory, X, budget, read=True, wide=wide)
    start, step = 0, plan.rows
    while start < len(X):
        rows = slice(start, min(start + step, len(X)))
        n_rows = rows.stop - rows.start
        width, most = plan.width(memory, n_rows), plan.most if n_rows > 1 else None
        turn = Pass(rows, width, most)
        yield turn
        if turn.failed:
            step = -(-n_rows // 4)
        else:
            start = rows.stop
