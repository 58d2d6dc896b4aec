"""Devices and the border between NumPy and torch: the only place for ``.to``."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Lock

import numpy as np
import torch
from sklearn import get_config
from torch import Tensor

from skuhop.exceptions import InsufficientMemoryError, InvalidParameterError
from skuhop.retrieval.arrays import tensor_of
from skuhop.retrieval.products import bf16, exact


def resolve_device(device: str) -> torch.device:
    """Return the device a name stands for on this machine, now.

    ``"auto"`` is the current CUDA device where there is one, else the CPU. Apple's
    "mps" has to be asked for: it has no float64.

    Raises
    ------
    InvalidParameterError
        If the device is not there. There is no silent fall-back to the CPU.
    """
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        resolved = torch.device(device)
    except (RuntimeError, TypeError):
        resolved = None
    if resolved is None or resolved.type not in _AVAILABLE:
        raise InvalidParameterError(
            "device must be 'auto', 'cpu', 'cuda', 'cuda:<index>' or 'mps', "
            f"got {device!r}."
        )
    if not _AVAILABLE[resolved.type](resolved.index):
        raise InvalidParameterError(
            f"device={device!r} is not available on this machine: this build of torch "
            f"{torch.__version__} sees {torch.cuda.device_count()} CUDA device(s). "
            "Use device='auto' or device='cpu'."
        )
    return resolved


_AVAILABLE = {
    "cpu": lambda index: index in (None, 0),
    "cuda": lambda index: (
        torch.cuda.is_available() and (index or 0) < torch.cuda.device_count()
    ),
    "mps": lambda index: torch.backends.mps.is_available(),
}


_NO_FLOAT64 = "device='mps' has no float64; pass float32 data or use device='cpu'."


def to_tensor(array: np.ndarray, device: torch.device) -> Tensor:
    """Make a tensor on `device`; on the CPU it shares the array's memory where it can.

    See `skuhop.retrieval.arrays.tensor_of`.
    """
    return move(tensor_of(array), device)


def move(tensor: Tensor, device: torch.device) -> Tensor:
    """Return the tensor on `device`."""
    if device.type == "mps" and tensor.dtype == torch.float64:
        raise InvalidParameterError(_NO_FLOAT64)
    return tensor.to(device)


_STAGED = 2**25
"""Bytes of queries that are sent to a GPU at once."""


def sent(rows: Tensor, device: torch.device) -> Iterator[Tensor]:
    """Yield rows on `device`, one piece after the other, the first to come first.

    From the host to a GPU they go in pieces by way of two pinned buffers: while one
    piece is worked on, the next is on its way. Anything else is one piece.
    """
    n_rows = max(1, _STAGED // max(1, rows[:1].nbytes))
    if rows.device.type != "cpu" or device.type != "cuda" or len(rows) <= n_rows:
        yield move(rows, device)
        return
    pieces = rows.split(n_rows)
    buffers = [torch.empty_like(pieces[0], pin_memory=True) for _ in range(2)]
    side, work = torch.cuda.Stream(device), torch.cuda.current_stream(device)

    def send(number):
        # This buffer's last piece has arrived: the work on it has been waited for.
        staged = buffers[number % 2][: len(pieces[number])].copy_(pieces[number])
        with torch.cuda.stream(side):
            piece = staged.to(device, non_blocking=True)
            return piece, side.record_event()

    ahead = send(0)
    for number in range(len(pieces)):
        piece, arrived = ahead
        arrived.synchronize()
        piece.record_stream(work)
        if number + 1 < len(pieces):
            ahead = send(number + 1)
        yield piece


def to_numpy(tensor: Tensor) -> np.ndarray:
    """Return the tensor as a NumPy array on the CPU."""
    return tensor.detach().cpu().numpy()


_TF32 = Lock()
_BEFORE_TF32: list = []
"""What the setting was before it was changed, once for every thread that needs it."""


@contextmanager
def tf32_allowed():
    """Let CUDA round the factors of float32 products to TF32, and then no longer.

    The setting is one for the whole process: other threads see it meanwhile, and the
    last one to leave puts it back.
    """
    flags = torch.backends.cuda.matmul
    # torch 2.9 has a new name, and does not take both to be used.
    new = hasattr(flags, "fp32_precision")
    name, value = ("fp32_precision", "tf32") if new else ("allow_tf32", True)
    with _TF32:
        _BEFORE_TF32.append(*_BEFORE_TF32[:1] or [getattr(flags, name)])
        setattr(flags, name, value)
    try:
        yield
    finally:
        with _TF32:
            before = _BEFORE_TF32.pop()
            if not _BEFORE_TF32:
                setattr(flags, name, before)


def tf32(a: Tensor, b: Tensor, bias: Tensor | None = None) -> Tensor:
    """Multiply as `exact`, with factors that CUDA rounds to TF32."""
    with tf32_allowed():
        return exact(a, b, bias)


PRODUCTS: dict[str, dict] = {
    "float32": {},
    "tf32": {"cuda": tf32},
    "bf16": {"cuda": bf16, "cpu": bf16},
}
"""Precision to device to product; `exact` where there is none."""


def choose_product(precision: str, dtype: np.dtype, device: torch.device) -> Callable:
    """How to multiply: with fewer bits where that is asked for and data are float32."""
    if dtype != np.float32:
        return exact
    return PRODUCTS[precision].get(device.type, exact)


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
