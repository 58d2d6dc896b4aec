"""Choices that a question reads: separations, updates of a query, an index."""

from __future__ import annotations

from typing import Self

from skuhop.choices.choice import Choice, NamedChoice
from skuhop.exceptions import InvalidParameterError


class NamedSeparation(NamedChoice):
    """A separation with a number; its defaults are those of its name."""


class Entmax(NamedSeparation):
    """Weights ``[(alpha - 1) z - tau]_+^(1 / (alpha - 1))``, sparser with alpha.

    Shorthand: ``separation="entmax"``.

    Parameters
    ----------
    alpha : float in (1, 2] or "auto", default=1.5
        2 is "sparsemax", and towards 1 it becomes "softmax". "auto", for `UHopMemory`
        alone, is the one of 1 (softmax), 1.25, 1.5, 1.75 and 2 that gives corrupted
        copies of the patterns back best.

    References
    ----------
    Peters, Niculae, Martins, "Sparse sequence-to-sequence models", ACL 2019 (arXiv
    1905.05702).

    Examples
    --------
    >>> from skuhop import Entmax, UHopMemory
    >>> UHopMemory(separation=Entmax(alpha=1.2)).set_params(separation__alpha=1.8)
    UHopMemory(separation=Entmax(alpha=1.8))
    """

    name = "entmax"

    def __init__(self, alpha: float | str = 1.5) -> None:
        self.alpha = alpha


class Normmax(NamedSeparation):
    """Weights ``argmax <z, p> - |p|_gamma`` over distributions p, which may be sparse.

    Shorthand: ``separation="normmax"``.

    Parameters
    ----------
    gamma : float > 1, default=2.0
        Norm of the weights.

    References
    ----------
    Blondel, Martins, Niculae, "Learning with Fenchel-Young losses", JMLR 2020 (arXiv
    1901.02324).

    Examples
    --------
    >>> from skuhop import Normmax, UHopMemory
    >>> UHopMemory(separation=Normmax(gamma=3.0)).get_params()["separation__gamma"]
    3.0
    """

    name = "normmax"

    def __init__(self, gamma: float = 2.0) -> None:
        self.gamma = gamma


class KSubsets(NamedSeparation):
    """Scores projected onto ``{0 <= p <= 1, sum(p) = k}``, divided by k.

    Shorthand: ``separation="ksubsets"``.

    Parameters
    ----------
    k : int >= 1, default=2
        Number of patterns that share an answer, at least.

    Examples
    --------
    >>> from skuhop import KSubsets, UHopMemory
    >>> UHopMemory(separation=KSubsets(3)).get_params()["separation__k"]
    3
    """

    name = "ksubsets"

    def __init__(self, k: int = 2) -> None:
        self.k = k


class Polynomial(NamedSeparation):
    """Weights in proportion to ``max(z, 0) ** degree``, which have no energy.

    Shorthand: ``separation="polynomial"``.

    Parameters
    ----------
    degree : float > 0, default=4
        Power of the scores.

    Examples
    --------
    >>> from skuhop import Polynomial, UHopMemory
    >>> UHopMemory(separation=Polynomial(degree=2)).get_params()["separation__degree"]
    2
    """

    name = "polynomial"

    def __init__(self, degree: float = 4) -> None:
        self.degree = degree


class Updates(Choice):
    """How `UHopMemory.transform` moves a query to its answer.

    Shorthand: ``update_steps=3`` is ``Updates(3)``.

    Parameters
    ----------
    steps : int, default=1
        Largest number of updates.

    tol : float, default=1e-4
        A row stops once an update moves it by less than `tol` times its length.

    answer : {"plain", "l2", "layernorm"}, default="plain"
        What is made of every answer, after each update: nothing, a row of length 1, or
        a row of mean 0 and variance 1. For patterns that are normalised alike. Rows
        with NaN get the plain answer.

    Examples
    --------
    >>> import numpy as np
    >>> from skuhop import UHopMemory, Updates
    >>> X = np.array([[3.0, 4.0], [5.0, 0.0]])
    >>> memory = UHopMemory(update_steps=Updates(10, tol=1e-6, answer="l2")).fit(X)
    >>> np.linalg.norm(memory.transform([[2.9, 4.1]])).round(6)
    np.float64(1.0)
    """

    def __init__(
        self, steps: int = 1, *, tol: float = 1e-4, answer: str = "plain"
    ) -> None:
        self.steps = steps
        self.tol = tol
        self.answer = answer


class Index(Choice):
    """How an index finds the patterns that matter, instead of looking at all.

    Shorthand: ``index="ivf"`` is ``Index("ivf")``. It needs faiss (``pip install
    'skuhop[index]'``), and one of the similarities "euclidean", "dot", "cosine" and
    "correlation".

    Parameters
    ----------
    kind : {"auto", "ivf", "hnsw"}, default="auto"
        Inverted lists of quantised keys ("ivf", mostly half a byte for every feature of
        a key) or a graph ("hnsw", slower and larger). "auto" is "ivf" from 200,000
        patterns on, where it can be.

    tol : float, default=1e-3
        Weight that an answer from the index may lack, by the estimate that
        `UHopMemory.missing_weight` gives; queries above it are answered from the whole
        memory, or as `tail` says.

    tail : {"drop", "sample"}, default="drop"
        "sample" lets `UHopMemory.transform` estimate what a query above `tol` lacks,
        from 4,096 patterns drawn in `fit`, instead of looking at all: unbiased
        numerator and normaliser, with the standard deviation that
        `UHopMemory.tail_std` gives. For the separations "softmax", "softmax1",
        "polynomial" and "max".

    Examples
    --------
    >>> from skuhop import Index, UHopMemory
    >>> memory = UHopMemory(similarity="cosine", index=Index("ivf", tail="sample"))
    >>> memory.set_params(index__tol=1e-2).index
    Index(kind='ivf', tail='sample', tol=0.01)
    """

    def __init__(
        self, kind: str = "auto", *, tol: float = 1e-3, tail: str = "drop"
    ) -> None:
        self.kind = kind
        self.tol = tol
        self.tail = tail

    @classmethod
    def of(cls, value) -> Self:
        """Make the object that a kind stands for.

        Raises
        ------
        InvalidParameterError
            If it is None, which is no index.
        """
        if value is None:
            raise InvalidParameterError(
                "index=None has no numbers to set; 'auto', 'ivf' and 'hnsw' have."
            )
        return super().of(value)
