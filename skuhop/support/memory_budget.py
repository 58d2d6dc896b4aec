"""How much memory a call may take, and what to do when it runs out."""

from __future__ import annotations

from collections.abc import Iterator

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


class Attempt:
    """A try at some work within a budget of bytes, as a context.

    An error that says that memory ran out ends the try and not the work: the next try
    begins outside the handler, where the traceback holds no tensors any more.
    """

    def __init__(self, budget: int):
        self.budget, self.failure = budget, ""

    def __enter__(self):
        """Begin."""

    def __exit__(self, kind, error, trace) -> bool:
        """Note why it failed, and suppress the error if it is lack of memory."""
        if not isinstance(error, (RuntimeError, MemoryError)):
            return False
        if not out_of_memory(error):
            return False
        self.failure = str(error) or kind.__name__
        return True


def shrinking_budgets(budget: int, device: torch.device) -> Iterator[Attempt]:
    """Yield tries, of ever smaller budgets while memory runs out.

    ``for attempt in shrinking_budgets(...):`` is to have a body of ``with attempt:``.

    Raises
    ------
    InsufficientMemoryError
        If it runs out with the smallest budget too; says what to lower.
    """
    attempt = Attempt(budget)
    yield attempt
    while attempt.failure and attempt.budget // _SMALLER >= _SMALLEST_BUDGET:
        if device.type == "cuda":
            torch.cuda.empty_cache()
        attempt = Attempt(attempt.budget // _SMALLER)
        yield attempt
    if attempt.failure:
        raise InsufficientMemoryError(
            f"Out of memory on {str(device)!r}, even in chunks of 1 MiB. Lower the "
            "batch size (pass fewer rows of X at a time), lower "
            "sklearn.config_context(working_memory=...) if other work shares the "
            "memory, or use another device. The last error was: "
            f"{attempt.failure}"
        )
