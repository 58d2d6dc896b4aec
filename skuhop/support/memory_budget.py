"""How much memory a call may take, and what to do when it runs out."""

from __future__ import annotations

from collections.abc import Callable

import torch
from sklearn import get_config

from skuhop.exceptions import InsufficientMemoryError


def working_memory() -> int:
    """Bytes of extra memory to keep to, as scikit-learn is configured now."""
    return int(get_config()["working_memory"] * 2**20)


_SMALLEST_BUDGET = 2**20
_SMALLER = 4


def out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory ran out, on whichever device."""
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return True
    # torch has no type of its own for the CPU's.
    return isinstance(error, RuntimeError) and "DefaultCPUAllocator" in str(error)


def in_smaller_chunks(work: Callable[[int], object], budget: int, device: torch.device):
    """``work(budget)``, with ever smaller budgets while memory runs out.

    Raises
    ------
    InsufficientMemoryError
        If it runs out with the smallest budget too; says what to lower.
    """
    failure = None
    while budget >= _SMALLEST_BUDGET or failure is None:
        try:
            return work(budget)
        except (RuntimeError, MemoryError) as error:
            if not out_of_memory(error):
                raise
            failure = str(error)
        # Outside the handler, where the traceback holds no tensors any more.
        budget //= _SMALLER
        if device.type == "cuda":
            torch.cuda.empty_cache()
    raise InsufficientMemoryError(
        f"Out of memory on {str(device)!r}, even in chunks of 1 MiB. Lower the batch "
        "size (pass fewer rows of X at a time), lower "
        "sklearn.config_context(working_memory=...) if other work shares the memory, "
        f"or use another device. The last error was: {failure}"
    )
