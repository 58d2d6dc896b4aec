"""From states and stored patterns in heads to weights, answers and energies.

Vectors are (B, H, n, D): batch, head, pattern, feature. Rules of `skuhop.retrieval`
that know rows alone get rows.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from skuhop.nn.masks import Masks
from skuhop.retrieval import READ_OUTS, SIMILARITIES, Separation

MOST_STEPS = 1000
"""Updates after which a state that should move until it rests is let be."""


class Association(NamedTuple):
    """How heads associate, for one forward pass.

    Attributes
    ----------
    similarity : str
        A row of ``SIMILARITIES``.
    separation : Separation
    params : mapping
        Its parameters, numbers or tensors (H, 1, 1).
    beta : float or Tensor of shape (H, 1, 1)
    feature_map : callable or None
        Phi, on vectors.
    null : bool
        Whether a stored "nothing" of score 0 takes part.
    answer : str
        A row of ``READ_OUTS``.
    multiplicity : Tensor of shape (S,) or None
        How many copies of every stored pattern there are.
    """

    similarity: str
    separation: Separation
    params: Mapping
    beta: Tensor | float
    feature_map: Callable[[Tensor], Tensor] | None
    null: bool
    answer: str
    multiplicity: Tensor | None


def by_rows(function: Callable, vectors: Tensor):
    """Apply a function of rows (n, D) that gives rows, numbers (n,), or both."""

    def restore(found):
        shape = vectors.shape[:-1]
        return None if found is None else found.reshape(*shape, *found.shape[1:])

    found = function(vectors.reshape(-1, vectors.shape[-1]))
    return tuple(map(restore, found)) if isinstance(found, tuple) else restore(found)


def encode(how: Association, vectors: Tensor) -> tuple[Tensor, Tensor | None]:
    """Features as the similarity compares them, and its bias (B, H, n) or None."""
    features = vectors if how.feature_map is None else how.feature_map(vectors)
    if how.similarity == "dot":
        return features, None
    return by_rows(SIMILARITIES[how.similarity].encode, features)


def score(how: Association, states: Tensor, keys: tuple) -> Tensor:
    """``beta s(Phi(xi), Phi(x))`` of shape (B, H, L, S), for encoded keys."""
    (queries, query_bias), (vectors, bias) = encode(how, states), keys
    if SIMILARITIES[how.similarity].compare is not None:
        return -how.beta * torch.cdist(queries, vectors, p=1)
    scores = queries @ vectors.mT
    if bias is not None and query_bias is not None:
        scores = scores + bias[..., None, :] + query_bias[..., None]
    # Sums of many weights need more bits than half precision has.
    half = scores.dtype in (torch.float16, torch.bfloat16)
    return how.beta * (scores.float() if half else scores)


def weigh(how: Association, scores: Tensor, masks: Masks, dead: Tensor | None):
    """Weights (B, H, L, S) of scores, zero in dead rows."""
    scores, copies = _with_null(how, masks.apply(scores))
    weights = how.separation.weights(scores, copies, **how.params)
    if how.null:
        weights = weights[..., :-1]
    return weights if dead is None else weights.masked_fill(dead, 0)


def _with_null(how: Association, scores: Tensor) -> tuple[Tensor, Tensor | None]:
    """Scores and multiplicities, those of "nothing" at the end if it takes part."""
    copies = how.multiplicity
    if how.null:
        scores = torch.nn.functional.pad(scores, (0, 1))
        if copies is not None:
            copies = torch.nn.functional.pad(copies, (0, 1), value=1)
    return scores, copies


def post_transform(how: Association, answers: Tensor) -> Tensor:
    """Answers (B, H, L, D) after the post-transformation."""
    transform = READ_OUTS[how.answer]
    return answers if transform is None else by_rows(transform, answers)


def attend(how: Association, states, keys, values, masks: Masks, dropout: float):
    """Answers of one step of softmax, by torch's fused attention."""
    queries, _ = encode(how, states)
    vectors, _ = encode(how, keys)
    if how.null or how.separation.null:
        vectors, values = add_zero(vectors), add_zero(values)
        masks = masks.extend()
    dead = masks.dead_rows()
    masks = masks.revive(dead)
    mask = masks.bias
    if mask is not None:
        mask = masks.apply(torch.zeros_like(mask, dtype=queries.dtype))
    elif masks.blocked is not None:
        mask = ~masks.blocked
    answers = torch.nn.functional.scaled_dot_product_attention(
        (queries * how.beta).to(queries.dtype),
        vectors,
        values,
        attn_mask=mask,
        dropout_p=dropout,
        scale=1.0,
    )
    return answers if dead is None else answers.masked_fill(dead, 0)


def add_zero(vectors: Tensor) -> Tensor:
    """Vectors (B, H, n + 1, D), the last one zero."""
    return torch.nn.functional.pad(vectors, (0, 0, 0, 1))


def associate(how: Association, states, keys, masks: Masks, steps, tolerance) -> Tensor:
    """Weights (B, H, L, S) after `steps` updates of the states.

    Every state pattern stops once an update changes its weights by no more than the
    tolerance, whatever the others do.
    """
    dead = masks.dead_rows()
    masks = masks.revive(dead)
    encoded = encode(how, keys)
    weights = weigh(how, score(how, states, encoded), masks, dead)
    if isinstance(steps, Tensor):
        moving, most = steps[:, None, None] > 0, int(steps.max())
    else:
        moving, most = None, MOST_STEPS if steps is None else steps
    for step in range(1, most + 1):
        moved = post_transform(how, weights.to(keys.dtype) @ keys)
        new = weigh(how, score(how, moved, encoded), masks, dead)
        change = torch.linalg.vector_norm(
            (new - weights).detach(), dim=-1, keepdim=True
        )
        weights = new if moving is None else torch.where(moving, new, weights)
        unrest = change > tolerance
        moving = unrest if moving is None else moving & unrest
        if isinstance(steps, Tensor):
            moving = moving & (steps[:, None, None] > step)
        if not torch.compiler.is_compiling() and not moving.any():
            break
    return weights


def measure_energy(how: Association, states, keys, masks: Masks) -> Tensor:
    """``s(x, x) / 2 - Psi*(beta s(Xi, x)) / beta`` of shape (B, H, L)."""
    features = states if how.feature_map is None else how.feature_map(states)
    own = by_rows(SIMILARITIES[how.similarity].self_score, features)
    scores = masks.apply(score(how, states, encode(how, keys)))
    scores, copies = _with_null(how, scores)
    weights = how.separation.weights(scores, copies, **how.params)
    assert how.separation.conjugate is not None  # The layer has looked.
    conjugate = how.separation.conjugate(scores, weights, copies, **how.params)
    beta = how.beta
    if isinstance(beta, Tensor) and beta.ndim:
        beta = beta[..., 0]
    return own / 2 - conjugate / beta
