"""Stage II as the estimators call it: queries in, answers of the same kind out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from numbers import Integral
from types import MappingProxyType

import numpy as np
import torch
from sklearn.utils.validation import check_is_fitted, validate_data

from skuhop import _validation as rules
from skuhop._arrays import NUMPY_DTYPES, as_tensor, choose_device, float_dtypes, like
from skuhop._cache import derived
from skuhop._device import in_smaller_chunks, sent, working_memory
from skuhop._entries import refuse_masked
from skuhop._threads import run_in_threads
from skuhop._validation import check_parameters, check_settled
from skuhop.retrieval import SEPARATIONS, Memory, associations
from skuhop.retrieval.chunks import row_chunks

DTYPES = [np.float64, np.float32]
"""What is computed in; any other number is converted to the first."""
_PREPARING = 64
"""Queries that preparing a memory takes as much work as."""
_COUNTED = 9
"""Bytes per entry for counting what is missing: one, and eight as it is added up."""
SEPARATION_RULES = {
    "alpha": (rules.Number(low=1, open_low=True, high=2),),
    "gamma": (rules.Number(low=1, open_low=True),),
    "k": (rules.COUNT,),
    "degree": (rules.POSITIVE,),
}


def ask(
    estimator,
    X,
    question: Callable,
    prepare: Callable[..., Memory],
    device,
):
    """Put a question to a fitted estimator's memory; rows with NaN go apart.

    Parameters
    ----------
    estimator : object
        Owner of the prepared memories.
    X : array of shape (n, d)
        Queries; NaN where unknown. Answers are arrays like X, see `_arrays`.
    question : callable
        ``(memory, queries, budget) -> tensor``, or a tuple of tensors, with a row
        for every query; the budget is in bytes.
    prepare : callable
        ``(estimator, complete, dtype) -> Memory``, for queries without or with NaN.
    device : torch.device
        Where to compute.
    """
    budget = working_memory()
    given = as_tensor(X)
    dtype = NUMPY_DTYPES[given.dtype]
    out = None
    for complete, rows in _by_completeness(given, budget):
        queries = given if rows is None else given[rows]

        def answer(budget, complete=complete, queries=queries):
            memory = derived(
                estimator,
                (complete, dtype.str, str(device)),
                lambda reading: prepare(reading, complete, dtype),
            )
            return _joined(
                [question(memory, piece, budget) for piece in sent(queries, device)]
            )

        found = in_smaller_chunks(answer, budget, device)
        out = found if rows is None else _put(found, rows, len(given), out)
    return like(out, X)


def _by_completeness(X, budget):
    """Yield rows that are complete and that are not, as (complete, rows), in chunks.

    Rows is None for all as they stand, or a slice. Incomplete rows come in the order of
    how many entries they lack, as `retrieval.new_rows` likes them. Chunks, because rows
    that are taken are copied, as are their answers when they are put in their places.
    """
    row = _COUNTED * X.shape[1]
    lacking = torch.cat(
        [X[some].isnan().sum(dim=1) for some in row_chunks(len(X), row, budget)]
    )
    n_incomplete = int(lacking.count_nonzero())
    row = 4 * X.element_size() * X.shape[1]
    if n_incomplete == 0:
        whole = [None] if len(X) * row <= budget else row_chunks(len(X), row, budget)
        yield from ((True, rows) for rows in whole)
        return
    order = lacking.argsort(stable=True)
    known, unknown = order.tensor_split([len(X) - n_incomplete])
    for complete, rows in ((True, known), (False, unknown)):
        for some in row_chunks(len(rows), row, budget):
            yield complete, rows[some]


def _joined(pieces):
    """Answers, tensors or tuples of them, one after the other."""
    if len(pieces) == 1:
        return pieces[0]
    if isinstance(pieces[0], tuple):
        return tuple(torch.cat(part) for part in zip(*pieces, strict=True))
    return torch.cat(pieces)


def _put(found, rows, n_rows, out):
    """Put answers for some rows, a tensor or a tuple of them, in their places."""
    if isinstance(found, tuple):
        places = out or (None,) * len(found)
        pairs = zip(found, places, strict=True)
        return tuple(_put(part, rows, n_rows, place) for part, place in pairs)
    if out is None:
        out = found.new_empty((n_rows, *found.shape[1:]))
    out[rows if isinstance(rows, slice) else rows.to(out.device)] = found
    return out


def has_energy(estimator) -> bool:
    """Whether the theory knows an energy for the separation.

    Raises
    ------
    AttributeError
        If it does not; names the separations that have one.
    """
    separation = SEPARATIONS.get(estimator.separation)
    if separation is not None and separation.conjugate is None:
        raise AttributeError(
            f"separation={estimator.separation!r} has no energy; those that have one: "
            f"{[k for k, v in SEPARATIONS.items() if v.conjugate is not None]}."
        )
    return True


def check_null(separation: str) -> None:
    """Refuse to weigh "nothing stored" where it has no weight.

    Raises
    ------
    ValueError
        Names the separations in which it has one.
    """
    if not SEPARATIONS[separation].null:
        allowed = [name for name, row in SEPARATIONS.items() if row.null]
        raise ValueError(
            f"return_null=True needs a separation in {allowed}, in which nothing "
            f"stored has a weight; got separation={separation!r}."
        )


def check_queries(estimator, X):
    """Validate queries as an array of floats; NaN is allowed, infinity is not."""
    check_is_fitted(estimator)
    refuse_masked(X=X)
    return validate_data(
        estimator,
        X,
        dtype=float_dtypes(X),
        order="C",
        reset=False,
        ensure_all_finite="allow-nan",
    )


def check_top(top, n_patterns: int) -> int:
    """Check how many of the heaviest patterns are wanted."""
    allowed = {"top": (rules.Number(Integral, 1, high=n_patterns),)}
    check_parameters("association", {"top": top}, allowed)
    return int(top)


class StageTwoMixin:
    """What every estimator with a memory shares: its checks and its questions.

    An estimator gives `_rules`, the table of its parameters; `_prepare(complete,
    dtype, device)`, its memory for queries without or with NaN; and `_fixed`, the
    parameters that `fit` settles for Stage II.
    """

    _rules: Mapping = MappingProxyType({})
    _separation_rules: Mapping = MappingProxyType(SEPARATION_RULES)
    _fixed: tuple = ()

    def association(self, X, top=None):
        """Compute retrieval weights: how much each stored pattern has in the answer.

        Parameters
        ----------
        X : array-like of shape (n_queries, n_features)
            Queries; NaN marks entries that are unknown.

        top : int, default=None
            If given, only so many of the heaviest patterns.

        Returns
        -------
        weights : ndarray of shape (n_queries, n_patterns)
            Weights; rows sum to one (to less with "softmax1"). If `top` is given, a
            tuple ``(indices, weights)`` of shape (n_queries, top) each instead, the
            heaviest first.
        """
        X = self._check_queries(X)
        if top is None:
            return self._ask(X, associations)
        top = check_top(top, len(self.patterns_))
        return self._ask(X, lambda *args: associations(*args, top=top))

    def _check_parameters(self):
        """Check all parameters against their rules."""
        # Not get_params: it reads the signature anew, a third of a small call's time.
        values = {name: getattr(self, name) for name in self._rules}
        check_parameters(type(self).__name__, values, self._rules)
        defaults = SEPARATIONS[self.separation].defaults
        check_parameters(
            f"separation={self.separation!r}",
            self.separation_params or {},
            {name: self._separation_rules[name] for name in defaults},
        )

    def _check_settled(self):
        """Check all parameters of a fitted estimator, which `fit` may have settled."""
        self._check_parameters()
        check_settled(self, self._fixed)

    def _separation_params(self):
        """Parameters of the separation, the defaults included."""
        defaults = SEPARATIONS[self.separation].defaults
        return {**defaults, **(self.separation_params or {})}

    def _check_queries(self, X):
        """Validate queries as an array of floats; NaN is allowed, infinity is not."""
        return check_queries(self, X)

    def _ask(self, X, question):
        """Put a question of Stage II to the memory."""
        self._check_settled()
        device = choose_device(self.device, X)

        def prepare(estimator, complete, dtype):
            return estimator._prepare(complete, dtype, device)

        n, d = self.patterns_.shape
        size = (len(X) + _PREPARING) * n * max(d, 64) // 64
        return run_in_threads(size, ask, self, X, question, prepare, device)
