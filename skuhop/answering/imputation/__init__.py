"""Questions to rows with holes: what holes are filled with, and how sure that is."""

from skuhop.answering.imputation.completion import (
    Answer,
    Asked,
    answer_column,
    donor_spread,
    expect_spread,
    pose_queries,
    weigh_donors,
)
from skuhop.answering.imputation.draws import draw_columns
from skuhop.answering.imputation.stored_rows import (
    Imputation,
    StoredRows,
    lines_as_values,
    normalise,
    view_column,
    view_rows,
)

__all__ = [
    "Answer",
    "Asked",
    "Imputation",
    "StoredRows",
    "answer_column",
    "donor_spread",
    "draw_columns",
    "expect_spread",
    "lines_as_values",
    "normalise",
    "pose_queries",
    "view_column",
    "view_rows",
    "weigh_donors",
]
