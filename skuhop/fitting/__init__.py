"""Between the estimators and `learning`: rows in, fitted attributes out."""

from skuhop.fitting.feature_map import run_stage_one, stage_one_of
from skuhop.fitting.imputation import learn_imputation
from skuhop.fitting.lessons import (
    Lesson,
    learned_attributes,
    line_attributes,
    stored_rows,
)
from skuhop.fitting.linear_models import LOGISTIC, RIDGE
from skuhop.fitting.members import cross_fitted, kernels_to_learn, n_steps
from skuhop.fitting.memory_attributes import (
    attributes_for,
    checked,
    columns,
    followed_attributes,
)
from skuhop.fitting.sparsity import settled
from skuhop.fitting.streams import followed

__all__ = [
    "LOGISTIC",
    "RIDGE",
    "Lesson",
    "attributes_for",
    "checked",
    "columns",
    "cross_fitted",
    "followed",
    "followed_attributes",
    "kernels_to_learn",
    "learn_imputation",
    "learned_attributes",
    "line_attributes",
    "n_steps",
    "run_stage_one",
    "settled",
    "stage_one_of",
    "stored_rows",
]
