"""What a step of Stage I compares with what."""

from __future__ import annotations

import torch
from torch import Tensor

FULL_BATCH = 512
"""Up to so many patterns every one is a query and a memory in every step."""
CANDIDATE_SHARE = 0.2
"""Share of the other patterns that a batch of a larger set is compared with."""
MAX_CANDIDATES = 2048
"""Most patterns that a batch is compared with beside itself."""


def _padded(parts: list[Tensor]) -> tuple[Tensor, Tensor]:
    """Row indices of the members as (K, m), and which are no padding."""
    longest = max(map(len, parts))
    index = torch.stack([torch.cat([p, p[:1].repeat(longest - len(p))]) for p in parts])
    lengths = torch.tensor([len(p) for p in parts], device=index.device)
    return index, torch.arange(longest, device=index.device) < lengths[:, None]


def batches(parts: list[Tensor], batch_size: int, generator: torch.Generator):
    """Endless ``(indices, valid, n_queries)``; queries come first.

    Small sets are taken whole. Of larger ones a batch is compared with itself and
    with a random share of the rest, as in ModernNCA.
    """
    shortest = min(map(len, parts))
    if shortest <= max(FULL_BATCH, batch_size):
        index, valid = _padded(parts)
        while True:
            yield index, valid, index.shape[1]
    extra = min(int(CANDIDATE_SHARE * (shortest - batch_size)), MAX_CANDIDATES)
    valid = torch.ones(
        (len(parts), batch_size + extra), dtype=torch.bool, device=parts[0].device
    )
    while True:
        drawn = [
            part[torch.randperm(len(part), generator=generator)[: batch_size + extra]]
            for part in parts
        ]
        yield torch.stack(drawn), valid, batch_size
