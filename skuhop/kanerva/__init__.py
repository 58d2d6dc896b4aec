"""A compact memory of slots: addresses, and the mathematics of its writes."""

from skuhop.kanerva.address_rules import ADDRESSES
from skuhop.kanerva.linear_gaussian import (
    Written,
    draw_addresses,
    erase,
    posterior,
    unite,
    variance,
)
from skuhop.kanerva.slots import (
    Addressing,
    SlotParameters,
    absorb,
    addresses,
    begin,
    prior,
)

__all__ = [
    "ADDRESSES",
    "Addressing",
    "SlotParameters",
    "Written",
    "absorb",
    "addresses",
    "begin",
    "draw_addresses",
    "erase",
    "posterior",
    "prior",
    "unite",
    "variance",
]
