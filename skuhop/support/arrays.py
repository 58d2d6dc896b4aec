"""Arrays of other libraries, as scikit-learn's array API dispatch has them.

With dispatch on, answers follow the queries: same library, same device, no way through
the host. A torch tensor is taken as it is, and others change hands by DLPack. Fitted
state is NumPy nevertheless, so `fit` copies what it is given to the host, once.

Rejected: fitted state in the library of `X`, which the tag `array_api_support` and its
checks ask for. A memory that was fitted with tensors would then refuse NumPy queries,
and its file would not load where there is no GPU. The tag stays off.
"""

from __future__ import annotations

import numpy as np
import torch
from scipy.sparse import issparse
from sklearn import get_config
from torch import Tensor

from skuhop.exceptions import InsufficientMemoryError
from skuhop.support.device import resolve_device, to_numpy, to_tensor

_DLPACK_CPU = 1
NUMPY_DTYPES = {torch.float64: np.dtype("f8"), torch.float32: np.dtype("f4")}
"""What is computed in, as torch and as NumPy call it."""


def is_dispatched(X) -> bool:
    """Whether dispatch is on and X is an array that is not NumPy's."""
    if isinstance(X, (np.ndarray, np.generic)):
        return False
    foreign = isinstance(X, Tensor) or hasattr(X, "__array_namespace__")
    return foreign and get_config()["array_api_dispatch"]


def float_dtypes(X) -> list:
    """Dtypes that X may keep, as its library calls them; others become the first."""
    if not is_dispatched(X):
        return [np.float64, np.float32]
    if not isinstance(X, Tensor):
        library = X.__array_namespace__()
        return [library.float64, library.float32]
    return [torch.float32] if X.device.type == "mps" else [torch.float64, torch.float32]


def as_tensor(X) -> Tensor:
    """X as a tensor on the device that it lives on, in the same memory where it can."""
    if isinstance(X, Tensor):
        return X.detach().contiguous()
    if not isinstance(X, np.ndarray):
        if X.__dlpack_device__()[0] != _DLPACK_CPU:
            return torch.from_dlpack(X).contiguous()
        # By way of NumPy: torch aborts the process over negative strides.
        X = np.from_dlpack(X)
    return to_tensor(X, torch.device("cpu"))


def like(found, X):
    """Answers, a tensor or a tuple of them, as X is: its library, and its device."""
    if isinstance(found, tuple):
        return tuple(like(part, X) for part in found)
    if not is_dispatched(X):
        return to_numpy(found)
    home = as_tensor(X[:0, ...])
    found = found.detach().to(home.device)
    if isinstance(X, Tensor):
        return found
    return X.__array_namespace__().from_dlpack(found).to_device(X.device)


def on_host(X):
    """Arrays of other libraries as NumPy arrays; anything else as it is."""
    return to_numpy(as_tensor(X)) if is_dispatched(X) else X


def densify(X):
    """Write a sparse matrix out; anything else stays as it is.

    Patterns are stored and compared as they are, zeros too.

    Raises
    ------
    InsufficientMemoryError
        If there is no memory for that; names the size.
    """
    if not issparse(X):
        return X
    try:
        return X.toarray()
    except MemoryError as error:
        size = np.prod(X.shape, dtype=float) * X.dtype.itemsize / 2**30
        raise InsufficientMemoryError(
            f"X is sparse and takes {size:.3g} GiB as a dense array, which is how rows "
            "are stored and compared. Pass fewer rows at a time, or reduce its columns "
            "first, as with TruncatedSVD."
        ) from error


def choose_device(device: str, X) -> torch.device:
    """Where to compute: as the parameter says, and for "auto" where dispatched X is."""
    if device == "auto" and is_dispatched(X):
        device = str(as_tensor(X[:0, ...]).device)
    return resolve_device(device)


def labels_like(X, labels: np.ndarray, positions):
    """Labels at positions, which are an array like X; words stay NumPy."""
    if not is_dispatched(X):
        return labels[positions]
    if labels.dtype.kind not in "biuf":
        return labels[on_host(positions)]
    positions = as_tensor(positions)
    return like(to_tensor(labels, positions.device)[positions], X)


DTYPES = [np.float64, np.float32]
"""What is computed in; any other number is converted to the first."""
