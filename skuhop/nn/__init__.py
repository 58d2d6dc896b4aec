"""The two stages as layers of torch: Hopfield layers with a learned kernel."""

from skuhop.nn.hflayers_weights import load_hflayers
from skuhop.nn.hopfield import Hopfield
from skuhop.nn.lookups import HopfieldLayer, HopfieldPooling
from skuhop.nn.separating import separate
from skuhop.nn.transformer_layers import HopfieldDecoderLayer, HopfieldEncoderLayer

__all__ = [
    "Hopfield",
    "HopfieldDecoderLayer",
    "HopfieldEncoderLayer",
    "HopfieldLayer",
    "HopfieldPooling",
    "load_hflayers",
    "separate",
]
