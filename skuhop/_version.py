"""The version, where both the build and the persistence stamp read it."""

from __future__ import annotations

__version__ = "0.1.0.dev0"
