"""Tables as people have them: columns of any kind to numbers and codes, and back."""

from skuhop.tables.categorical import resolve_categorical
from skuhop.tables.coding import Coding, decode_column, encode, learn_coding
from skuhop.tables.containers import (
    Fill,
    Table,
    as_table,
    find_library,
    hold_objects,
)
from skuhop.tables.coordinates import (
    Coordinates,
    learn_coordinates,
    to_coordinates,
)
from skuhop.tables.indicators import Layout, indicate, lay_out, read_off
from skuhop.tables.missing import mark_missing

__all__ = [
    "Coding",
    "Coordinates",
    "Fill",
    "Layout",
    "Table",
    "as_table",
    "decode_column",
    "encode",
    "find_library",
    "hold_objects",
    "indicate",
    "lay_out",
    "learn_coding",
    "learn_coordinates",
    "mark_missing",
    "read_off",
    "resolve_categorical",
    "to_coordinates",
]
