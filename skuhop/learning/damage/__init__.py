"""Stage I of damage: what has happened to queries, learned."""

from skuhop.learning.damage.from_corruption import learn_channels, learn_exponents
from skuhop.learning.damage.from_queries import learn_from_queries
from skuhop.learning.damage.generic_channels import learn_bank

__all__ = [
    "learn_bank",
    "learn_channels",
    "learn_exponents",
    "learn_from_queries",
]
