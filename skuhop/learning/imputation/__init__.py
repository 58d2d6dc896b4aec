"""What is learned from rows with holes, to complete others."""

from skuhop.learning.imputation.gaussians import choose_gaussian, fit_gaussian
from skuhop.learning.imputation.shares import learn_mixture, learn_shares
from skuhop.learning.imputation.sharpness import SHARPNESS, Column, choose_sharpness

__all__ = [
    "SHARPNESS",
    "Column",
    "choose_gaussian",
    "choose_sharpness",
    "fit_gaussian",
    "learn_mixture",
    "learn_shares",
]
