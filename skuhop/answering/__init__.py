"""Between the estimators and `retrieval`: fitted attributes that answer."""

from skuhop.answering.damage_scorer import linear_matrix
from skuhop.answering.density import draw, has_density
from skuhop.answering.memory_of_patterns import (
    is_answer,
    nearest_patterns,
    of_answers,
    pattern_keys,
    recall_memory,
    retrieving,
    weight_kept_out,
)
from skuhop.answering.memory_of_values import (
    inputs_of,
    value_keys,
    value_memory,
    with_prior,
)
from skuhop.answering.neighbour_index import KINDS, build_index, check_index, wanted
from skuhop.answering.precision import PRODUCTS
from skuhop.answering.question_checks import (
    check_null,
    check_queries,
    check_top,
    has_energy,
)
from skuhop.answering.questions import PREPARING, ask

__all__ = [
    "KINDS",
    "PREPARING",
    "PRODUCTS",
    "ask",
    "build_index",
    "check_index",
    "check_null",
    "check_queries",
    "check_top",
    "draw",
    "has_density",
    "has_energy",
    "inputs_of",
    "is_answer",
    "linear_matrix",
    "nearest_patterns",
    "of_answers",
    "pattern_keys",
    "recall_memory",
    "retrieving",
    "value_keys",
    "value_memory",
    "wanted",
    "weight_kept_out",
    "with_prior",
]
