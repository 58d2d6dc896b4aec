"""Exceptions and warnings of skuhop."""


class InvalidParameterError(ValueError, TypeError):
    """A parameter has a value or a type that is not allowed."""


class VersionMismatchWarning(UserWarning):
    """A memory was saved by another version of skuhop than the one that loads it."""
