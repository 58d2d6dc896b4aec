"""How many rows at once."""

from __future__ import annotations

from collections.abc import Iterator


def row_chunks(n_rows: int, bytes_per_row: int, budget: int) -> Iterator[slice]:
    """Slices of rows that together need at most `budget` bytes, one row at least."""
    step = max(1, budget // max(1, bytes_per_row))
    for start in range(0, n_rows, step):
        yield slice(start, min(start + step, n_rows))
