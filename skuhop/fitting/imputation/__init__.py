"""What an imputer learns, from arrays to arrays."""

from skuhop.fitting.imputation.learned_columns import (
    learn_imputation,
    mark_holes,
    merge_copies,
)

__all__ = ["learn_imputation", "mark_holes", "merge_copies"]
