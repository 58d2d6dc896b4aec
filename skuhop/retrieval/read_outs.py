"""What becomes of an answer after an update: post-transformations.

In a Hopfield-Fenchel-Young network the update is ``x <- g(Xi^T Sep(beta s(Xi, x)))``,
where g maximises the inner product with the plain answer over the rows that may be
answers. For "l2" these are the rows of length 1, for "layernorm" those of mean 0 and
variance 1, that is of length sqrt(d). Over either set s(x, x) is constant for the
similarity "dot" on the inputs, and the energy, minus a convex function there, falls
with every update: its linear part does, at most.

References
----------
Martins et al., "Hopfield-Fenchel-Young networks", 2024 (arXiv 2411.08590):
l2-normalisation with radius 1; layer normalisation with gain 1 and shift 0.
"""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from skuhop.retrieval.scores import direction, less_mean


def layer_normalise(rows: Tensor) -> Tensor:
    """Rows of mean 0 and variance 1; a constant row becomes zero."""
    return direction(less_mean(rows)).mul_(rows.shape[1] ** 0.5)


READ_OUTS: dict[str, Callable[[Tensor], Tensor] | None] = {
    "plain": None,
    "l2": direction,
    "layernorm": layer_normalise,
}
