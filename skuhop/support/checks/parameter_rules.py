"""Parameters against a table of rules."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from functools import wraps
from numbers import Integral, Real
from typing import Any, NamedTuple

import numpy as np

from skuhop.exceptions import InsufficientMemoryError, InvalidParameterError
from skuhop.support.memory_budget import out_of_memory


class Choice(NamedTuple):
    """One of some names."""

    names: tuple[str, ...]

    def accepts(self, value) -> bool:
        """Whether `value` is one of the names."""
        return isinstance(value, str) and value in self.names

    def __str__(self):
        """List the names, as they are typed."""
        return ", ".join(map(repr, self.names))


class Number(NamedTuple):
    """A finite number from `low` on (`open_low`: above it) up to `high`."""

    kind: type[Any] = Real
    low: float = -np.inf
    open_low: bool = False
    high: float = np.inf

    def accepts(self, value) -> bool:
        """Whether `value` is such a number; NaN and booleans are not."""
        if not isinstance(value, self.kind) or isinstance(value, (bool, np.bool_)):
            return False
        above = value > self.low if self.open_low else value >= self.low
        # Not isfinite, which knows no integers of more than 64 bits.
        return bool(above and value <= self.high and abs(value) <= sys.float_info.max)

    def __str__(self):
        """Describe the kind and the bounds."""
        name = "an integer" if self.kind is Integral else "a finite number"
        text = f"{name} {'>' if self.open_low else '>='} {self.low:g}"
        return text if self.high == np.inf else f"{text} and <= {self.high:g}"


class ObjectOf(NamedTuple):
    """An object of a class, or of one of its direct subclasses where it has some."""

    kind: type[Any]

    def accepts(self, value) -> bool:
        """Whether it is one."""
        return isinstance(value, self.kinds)

    @property
    def kinds(self) -> tuple[type, ...]:
        """Classes that are allowed."""
        return tuple(self.kind.__subclasses__()) or (self.kind,)

    def __str__(self):
        """List the classes, as they are called."""
        return ", ".join(f"{kind.__name__}(...)" for kind in self.kinds)


class Kind(NamedTuple):
    """Anything that a predicate accepts."""

    predicate: Callable[[Any], Any]
    text: str

    def accepts(self, value) -> bool:
        """Whether the predicate holds."""
        return bool(self.predicate(value))

    def __str__(self):
        """Say what is allowed, in words."""
        return self.text


NONE = Kind(lambda value: value is None, "None")
FLAG = Kind(lambda value: isinstance(value, (bool, np.bool_)), "a bool")
CALLABLE = Kind(callable, "a callable")
POSITIVE = Number(Real, 0, open_low=True)
NON_NEGATIVE = Number(Real, 0)
COUNT = Number(Integral, 1)
DEVICE = Kind(lambda value: isinstance(value, str), "a string, such as 'auto' or 'cpu'")

Rules = Mapping[str, tuple]


def check_parameters(owner: str, values: Mapping, rules: Rules) -> None:
    """Check every value against its rules, of which one has to accept it.

    Raises
    ------
    InvalidParameterError
        Names the parameter, what is allowed and what was received.
    """
    unknown = set(values) - set(rules)
    if unknown:
        raise InvalidParameterError(
            f"{owner} does not take {sorted(unknown)}; allowed: {sorted(rules)}."
        )
    for name, value in values.items():
        if not any(rule.accepts(value) for rule in rules[name]):
            allowed = " or ".join(str(rule) for rule in rules[name])
            raise InvalidParameterError(
                f"The {name!r} parameter of {owner} must be {allowed}. Got {value!r}."
            )


def copy_parameters(estimator, names) -> dict:
    """Parameters as they were at `fit`, for the attribute `_settled`."""
    return {name: _spelt(getattr(estimator, name)) for name in names}


def _spelt(value):
    """Plain value, as fitted state is: of what a user wrote, the name."""
    if not callable(value):
        return value
    return f"{value.__module__}.{getattr(value, '__qualname__', type(value).__name__)}"


def check_settled(estimator, names) -> None:
    """Refuse to go on with parameters that were changed after `fit` had settled them.

    Raises
    ------
    InvalidParameterError
        Names the parameter, what it was and what it is.
    """
    # Files of an older version remember nothing.
    for name, before in vars(estimator).get("_settled", {}).items():
        now = _spelt(getattr(estimator, name))
        if name in names and now != before:
            raise InvalidParameterError(
                f"{name}={now!r} was set after fit, which was called with "
                f"{name}={before!r}; call fit again."
            )


def all_or_nothing(method):
    """Decorate a method that changes an estimator: where it fails, nothing changes.

    The attributes of before come back in one assignment, so that an interrupt finds
    either all of the old ones or all of the new. Memory that ran out is called by its
    name, whichever library missed it.
    """

    @wraps(method)
    def whole(self, *args, **kwargs):
        before = dict(vars(self))
        try:
            return method(self, *args, **kwargs)
        except BaseException as error:
            self.__dict__ = before
            if not out_of_memory(error) or isinstance(error, InsufficientMemoryError):
                raise
            name = f"{type(self).__name__}.{method.__name__}"
            raise InsufficientMemoryError(
                f"{name} ran out of memory, and nothing has changed. Pass fewer rows "
                "or columns, or float32 instead of float64; lower "
                "sklearn.config_context(working_memory=...) if other work shares the "
                f"memory; or use another device. The last error was: {error}"
            ) from error

    return whole
