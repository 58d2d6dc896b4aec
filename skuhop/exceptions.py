"""Exceptions and warnings of skuhop."""

from __future__ import annotations


class InvalidParameterError(ValueError, TypeError):
    """A parameter has a value or a type that is not allowed."""


class VersionMismatchWarning(UserWarning):
    """A memory was saved by another version of skuhop than the one that loads it."""


class InsufficientMemoryError(MemoryError):
    """There is not enough memory, not even for the smallest chunks."""
