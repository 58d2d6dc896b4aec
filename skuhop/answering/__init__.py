"""Between the estimators and `retrieval`: fitted attributes that answer."""

from skuhop.answering.damage_scorer import linear_matrix
from skuhop.answering.density import draw, has_density
from skuhop.answering.imputation import (
    Answer,
    Asked,
    Imputation,
    StoredRows,
    answer_column,
    donor_spread,
    draw_columns,
    expect_spread,
    lines_as_values,
    normalise,
    pose_queries,
    view_column,
    view_rows,
    weigh_donors,
)
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
    "Answer",
    "Asked",
    "Imputation",
    "KINDS",
    "PREPARING",
    "PRODUCTS",
    "StoredRows",
    "answer_column",
    "ask",
    "build_index",
    "check_index",
    "check_null",
    "check_queries",
    "check_top",
    "donor_spread",
    "draw",
    "draw_columns",
    "expect_spread",
    "has_density",
    "has_energy",
    "inputs_of",
    "is_answer",
    "linear_matrix",
    "lines_as_values",
    "nearest_patterns",
    "normalise",
    "of_answers",
    "pattern_keys",
    "pose_queries",
    "recall_memory",
    "retrieving",
    "value_keys",
    "value_memory",
    "view_column",
    "view_rows",
    "wanted",
    "weigh_donors",
    "weight_kept_out",
    "with_prior",
]
