"""How many threads a call may have: one where more would wait for each other.

At the end of every parallel section the threads wait for the slowest. A fit of a small
table is thousands of sections of less than a millisecond, and beside another busy
process each of them may wait for a time slice of the scheduler. OpenMP's number of
threads is a setting of the calling thread, unlike that of `torch.set_num_threads`,
which threads that start later inherit.

Rejected: a handler of `os.register_at_fork`. A process that was forked after use has no
threads, and its first parallel section waits for them for ever; but to keep all that it
does to one thread is not for this package to decide, only what this package does.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from functools import cache, wraps
from typing import Any

import torch
from threadpoolctl import ThreadpoolController

WORTH = 2**20
"""Numbers in the tensors of a step from which threads are worth waiting for."""
_BATCH = 512
"""Rows that a step of a fit compares each of its rows with, as far as there are any."""
_PROCESS = os.getpid()
_OUTSIDE = threading.local()
"""How many threads the caller has, while a call is kept to one."""


@cache
def _libraries(_loaded) -> list:
    """OpenMP libraries of this process; of several, each counts its own threads."""
    openmp = ThreadpoolController().select(user_api="openmp")
    return [one.dynlib for one in openmp.lib_controllers]


@contextmanager
def _limit(number: int):
    """Let OpenMP have so many threads for what the calling thread does."""
    torch.get_num_threads()  # sets OpenMP's number when a thread calls it first
    before = []
    for library in _libraries("faiss" in sys.modules):
        before.append((library, library.omp_get_max_threads()))
        library.omp_set_num_threads(number)
    try:
        yield
    finally:
        for library, earlier in before:
            library.omp_set_num_threads(earlier)


def run_side_by_side(tasks: Sequence[Callable[[Callable[[], bool]], Any]]) -> None:
    """Call functions that need nothing of each other, in as many threads as there are.

    Parameters
    ----------
    tasks : sequence of callable
        ``task(is_wanted)``, the heaviest first; what it returns is not kept. Where one
        fails or the call is interrupted, `is_wanted` says False and the others end.
    """
    allowed = getattr(_OUTSIDE, "allowed", None) or torch.get_num_threads()
    n_threads = min(len(tasks), allowed) if os.getpid() == _PROCESS else 1
    if n_threads < 2:
        for task in tasks:
            task(lambda: True)
        return
    given_up = threading.Event()

    def work(task):
        if given_up.is_set():
            return
        with _limit(max(1, allowed // n_threads)):
            task(lambda: not given_up.is_set())

    with ThreadPoolExecutor(n_threads) as pool:
        try:
            for done in [pool.submit(work, task) for task in tasks]:
                done.result()
        except BaseException:
            given_up.set()
            raise


class FewThreads:
    """Context of a call: one thread unless there are `size` numbers, enough for more.

    In a process that was forked after the import it is always one.
    """

    def __init__(self, size: int):
        self.size = size

    def __enter__(self) -> None:
        """Keep OpenMP to one thread, if more would wait for each other."""
        self.open = ExitStack()
        if self.size >= WORTH and os.getpid() == _PROCESS:
            return
        if not hasattr(_OUTSIDE, "allowed"):
            _OUTSIDE.allowed = torch.get_num_threads()
            self.open.callback(delattr, _OUTSIDE, "allowed")
        self.open.enter_context(_limit(1))

    def __exit__(self, *_) -> None:
        """Put back what was changed."""
        self.open.close()


def in_few_threads(method):
    """Decorate a method that works on rows: those of a small table get one thread."""

    @wraps(method)
    def few(self, *args, **kwargs):
        rows = args[0] if args else kwargs.get("X")
        shape = getattr(rows, "shape", ())
        n, d = shape if len(shape) == 2 else (0, 0)
        with FewThreads(n * (d + min(n, _BATCH))):
            return method(self, *args, **kwargs)

    return few
