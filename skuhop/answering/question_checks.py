"""What is refused before a question is asked."""

from __future__ import annotations

from numbers import Integral

from sklearn.utils.validation import check_is_fitted

from skuhop.answering.given_tables import validate_rows
from skuhop.choices import name_of
from skuhop.retrieval import SEPARATIONS
from skuhop.support import check_parameters, float_dtypes
from skuhop.support import parameter_rules as rules


def has_energy(estimator) -> bool:
    """Whether the theory knows an energy for the separation.

    Raises
    ------
    AttributeError
        If it does not; names the separations that have one.
    """
    separation = SEPARATIONS.get(name_of(estimator.separation))
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
    """Validate queries as rows of floats; NaN is allowed, infinity is not."""
    check_is_fitted(estimator)
    how = {"dtype": float_dtypes(X), "ensure_all_finite": "allow-nan"}
    return validate_rows(estimator, X, reset=False, **how)


def check_top(top, n_patterns: int) -> int:
    """Check how many of the heaviest patterns are wanted."""
    allowed = {"top": (rules.Number(Integral, 1, high=n_patterns),)}
    check_parameters("association", {"top": top}, allowed)
    return int(top)
