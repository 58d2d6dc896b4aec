"""Rows with holes, completed by rows with holes."""

from skuhop.retrieval.imputation.blends import blend, candidate_columns
from skuhop.retrieval.imputation.donors import (
    Donors,
    donor_distances,
    donor_weights,
    weigh_distances,
)
from skuhop.retrieval.imputation.lines import (
    Gaussian,
    Solved,
    complete,
    complete_without,
    conditional_variances,
    lines_of_hidden,
    multiply_solved,
    solve_masks,
)

__all__ = [
    "Donors",
    "Gaussian",
    "Solved",
    "blend",
    "candidate_columns",
    "complete",
    "complete_without",
    "conditional_variances",
    "donor_distances",
    "donor_weights",
    "lines_of_hidden",
    "multiply_solved",
    "solve_masks",
    "weigh_distances",
]
