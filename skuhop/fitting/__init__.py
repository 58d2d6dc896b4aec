"""Between the estimators and `learning`: rows in, fitted attributes out."""

from skuhop.fitting.feature_map import StageOne, run_stage_one
from skuhop.fitting.imputation import learn_imputation, mark_holes, merge_copies
from skuhop.fitting.lessons import Lesson, weights_unless_one
from skuhop.fitting.linear_models import LOGISTIC, RIDGE
from skuhop.fitting.members import cross_fitted, kernels_to_learn, n_steps
from skuhop.fitting.memory_attributes import (
    FitOfPatterns,
    check_given_rows,
    finish_fit,
    store_fewer,
    store_others,
)
from skuhop.fitting.sparsity import read_chosen_alpha
from skuhop.fitting.streams import Coming, Keeping, Stream, follow_stream

__all__ = [
    "LOGISTIC",
    "RIDGE",
    "Coming",
    "FitOfPatterns",
    "Keeping",
    "Lesson",
    "StageOne",
    "Stream",
    "check_given_rows",
    "cross_fitted",
    "finish_fit",
    "follow_stream",
    "kernels_to_learn",
    "learn_imputation",
    "mark_holes",
    "merge_copies",
    "n_steps",
    "read_chosen_alpha",
    "run_stage_one",
    "store_fewer",
    "store_others",
    "weights_unless_one",
]
