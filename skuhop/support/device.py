"""Devices and the border between NumPy and torch: the only place for ``.to``."""

from __future__ import annotations

from collections.abc import Iterator
from threading import Lock

import numpy as np
import torch
from torch import Tensor

from skuhop.exceptions import InvalidParameterError
from skuhop.retrieval import tensor_of


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

    See `skuhop.retrieval.numpy_tensors.tensor_of`.
    """
    return move(tensor_of(array), device)


def move(tensor: Tensor, device: torch.device) -> Tensor:
    """Return the tensor on `device`."""
    if device.type == "mps" and tensor.dtype == torch.float64:
        raise InvalidParameterError(_NO_FLOAT64)
    return tensor.to(device)


_STAGED = 2**25
"""Bytes of queries that are sent to a GPU at once."""


def send_pieces(rows: Tensor, device: torch.device) -> Iterator[Tensor]:
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


TF32 = Lock()
BEFORE_TF32: list = []
"""What the setting was before it was changed, once for every thread that needs it."""
