"""What an imputer learns, from arrays to arrays."""

from skuhop.fitting.imputation.learned_columns import learn_imputation

__all__ = ["learn_imputation"]
