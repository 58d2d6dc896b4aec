"""Between the estimators and `retrieval`: fitted attributes that answer."""

from skuhop.answering.damage_scorer import linear_matrix
from skuhop.answering.density import draw, has_density
from skuhop.answering.given_tables import (
    coding_of,
    describe_numbers,
    read_rows,
    validate_numbers,
    validate_rows,
    write_rows,
)
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
from skuhop.answering.incomplete_patterns import check_incomplete
from skuhop.answering.memory_of_patterns import (
    FittedPatterns,
    RecallParameters,
    find_nearest,
    weigh_missing,
)
from skuhop.answering.memory_of_values import (
    FittedValues,
    Standards,
    StoredLabels,
    StoredNumbers,
    Trend,
    ValueParameters,
    with_prior,
)
from skuhop.answering.neighbour_index import (
    KINDS,
    IndexChoice,
    build_index,
    check_index,
    index_kind,
    thin_index,
)
from skuhop.answering.precision import PRODUCTS
from skuhop.answering.question_checks import (
    check_null,
    check_queries,
    check_top,
    has_energy,
)
from skuhop.answering.questions import Record, ask

__all__ = [
    "KINDS",
    "PRODUCTS",
    "Answer",
    "Asked",
    "FittedPatterns",
    "FittedValues",
    "Imputation",
    "IndexChoice",
    "RecallParameters",
    "Record",
    "Standards",
    "StoredLabels",
    "StoredNumbers",
    "StoredRows",
    "Trend",
    "ValueParameters",
    "answer_column",
    "ask",
    "build_index",
    "check_incomplete",
    "check_index",
    "check_null",
    "check_queries",
    "check_top",
    "coding_of",
    "describe_numbers",
    "donor_spread",
    "draw",
    "draw_columns",
    "expect_spread",
    "find_nearest",
    "has_density",
    "has_energy",
    "index_kind",
    "linear_matrix",
    "lines_as_values",
    "normalise",
    "pose_queries",
    "read_rows",
    "thin_index",
    "validate_numbers",
    "validate_rows",
    "view_column",
    "view_rows",
    "weigh_donors",
    "weigh_missing",
    "with_prior",
    "write_rows",
]
