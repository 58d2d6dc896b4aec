"""Stored patterns with holes: what they can be asked, and how columns vary.

Rejected: patterns completed by the conditional means of a Gaussian, as `UHopImputer`
has them. They take a matrix of all features for every set of observed ones, for which
a memory of 10,000 images has no room; who wants them puts the imputer before the
memory.
"""

from __future__ import annotations

from torch import Tensor

from skuhop.retrieval import WITH_HOLES

_INSTEAD = "Fill them first, as with UHopImputer, or leave them out."


def check_incomplete(parameters, taught: bool) -> None:
    """Refuse to compare patterns with holes where nothing is expected of them.

    What a memory has been taught of damage, by a corruption or by queries, would not
    count.

    Raises
    ------
    ValueError
        Names the parameter, and the values with which they can be compared.
    """
    given = {
        "similarity": (parameters.similarity, WITH_HOLES),
        "index": (parameters.index_choice.kind, (None,)),
    }
    for name, (value, allowed) in given.items():
        if value not in allowed:
            raise ValueError(
                f"Patterns that contain NaN need {name} in {list(allowed)}; got "
                f"{name}={value!r}. {_INSTEAD}"
            )
    if taught:
        raise ValueError(
            "Patterns that contain NaN are compared by plain noise: with "
            "similarity='auto' they are for memories without corruption and without "
            f"queries to learn from. Got one that learns from them. {_INSTEAD}"
        )


def refuse_incomplete(question: str) -> None:
    """Refuse a question that only patterns without holes can answer.

    Raises
    ------
    ValueError
        Names the question.
    """
    raise ValueError(f"{question} needs patterns that do not contain NaN. {_INSTEAD}")


def measure_variance(patterns: Tensor, mean: Tensor, weights: Tensor | None) -> Tensor:
    """Weighted variances (d,) of what is known; 0 where nothing is."""
    share = (~patterns.isnan()).to(patterns)
    share = share if weights is None else share * weights[:, None]
    squares = (patterns - mean).nan_to_num_(0).square_()
    least = 1e-30  # Where nothing is known, both sums are zero.
    return (squares * share).sum(0) / share.sum(0).clamp_min(least)
