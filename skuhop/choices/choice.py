"""What a choice with numbers of its own is, and how an estimator takes one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, ClassVar, Self

from sklearn.base import BaseEstimator

from skuhop.exceptions import InvalidParameterError


class Choice(BaseEstimator):
    """A value of a parameter that has numbers of its own; equal ones are equal.

    An estimator of scikit-learn's kind in no more than its parameters: that is what
    lets `clone`, `set_params` and a search reach them, as ``separation__alpha``. The
    estimator that it is given to checks them, in `fit` and at every question.
    """

    def __eq__(self, other):
        """Whether kind and numbers are the same."""
        return type(self) is type(other) and vars(self) == vars(other)

    __hash__ = None  # type: ignore[assignment]  # they may be changed in place

    def __setstate__(self, state):
        """Restore the numbers; one that an older file has not gets its default."""
        super().__setstate__({**vars(type(self)()), **state})

    @classmethod
    def of(cls, value) -> Self:
        """Make the object that the value of a parameter stands for; None has defaults.

        Another choice stays what it is: the rules of the parameter refuse it.

        Raises
        ------
        InvalidParameterError
            If it stands for nothing that has numbers.
        """
        if value is None:
            return cls()
        return value if isinstance(value, Choice) else cls(value)


class NamedChoice(Choice):
    """A choice whose shorthand is a name."""

    name: ClassVar[str]

    @classmethod
    def of(cls, value) -> Self:
        """Make the object that a name stands for.

        Raises
        ------
        InvalidParameterError
            If what is called so has no numbers; says what has.
        """
        if isinstance(value, Choice):
            return value
        kinds = {kind.name: kind for kind in cls.__subclasses__() or (cls,)}
        if not isinstance(value, str) or value not in kinds:
            raise InvalidParameterError(
                f"{value!r} has no numbers to set; {', '.join(map(repr, kinds))} "
                f"{'have' if len(kinds) > 1 else 'has'}."
            )
        return kinds[value]()


class TakesChoices:
    """Lets numbers be set by `__` where shorthand stands for the object that has them.

    ``UHopMemory(separation="entmax")`` takes ``set_params(separation__alpha=1.2)``, and
    so a search over it. The estimator gives `_choices`: parameters, and what makes an
    object of their shorthand.
    """

    _choices: Mapping[str, Callable] = MappingProxyType({})

    def set_params(self, **params: Any) -> Self:
        """Set parameters.

        Parameters
        ----------
        **params : dict
            By name; those inside a choice as ``separation__alpha``, for which shorthand
            such as ``separation="entmax"`` becomes its object.

        Returns
        -------
        self : estimator
            The estimator.
        """
        numbers = {name: value for name, value in params.items() if "__" in name}
        whole = {name: value for name, value in params.items() if "__" not in name}
        super().set_params(**whole)  # type: ignore[misc]
        for name in {name.partition("__")[0] for name in numbers} & set(self._choices):
            setattr(self, name, self._choices[name](getattr(self, name)))
        return super().set_params(**numbers)  # type: ignore[misc]


def name_of(value):
    """Give the name of a choice, which may be its own shorthand."""
    return value.name if isinstance(value, NamedChoice) else value


def numbers_of(value) -> dict:
    """Give the numbers of a choice by name; shorthand has none."""
    return dict(vars(value)) if isinstance(value, Choice) else {}


def numbers_inside(parameters: Mapping) -> dict:
    """Give the numbers of all choices among parameters, as ``parameter__number``."""
    return {
        f"{name}__{number}": inside
        for name, value in parameters.items()
        for number, inside in numbers_of(value).items()
    }
