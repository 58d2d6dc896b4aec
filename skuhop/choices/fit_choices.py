"""Choices that `fit` and `partial_fit` read: how to learn, and what to keep."""

from __future__ import annotations

from skuhop.choices.choice import Choice, NamedChoice


class Training(Choice):
    """How Stage I of `UHopMemory` learns, for `max_iter` steps at most.

    Shorthand: ``training=None`` has these defaults.

    Parameters
    ----------
    learning_rate : float, default=1e-3
        Step size of Adam.

    tol : float, default=1e-4
        Least improvement of what Stage I watches that counts as one.

    early_stopping : bool, default=True
        Whether Stage I watches retrieval of held-out corrupted copies, keeps the best
        feature map it has seen and falls back to the identity where none is better.
        False watches the loss instead and keeps the last.

    n_iter_no_change : int, default=20
        Stage I stops when what it watches has not improved by `tol` for so many
        steps.

    Examples
    --------
    >>> from skuhop import Training, UHopMemory
    >>> UHopMemory().set_params(training__learning_rate=1e-2)
    UHopMemory(training=Training(learning_rate=0.01))
    """

    def __init__(
        self,
        *,
        learning_rate: float = 1e-3,
        tol: float = 1e-4,
        early_stopping: bool = True,
        n_iter_no_change: int = 20,
    ) -> None:
        self.learning_rate = learning_rate
        self.tol = tol
        self.early_stopping = early_stopping
        self.n_iter_no_change = n_iter_no_change


class CrossFitting(Choice):
    """How Stage I of `UHopClassifier` and `UHopRegressor` learns.

    Shorthand: ``training=None`` has these defaults.

    Parameters
    ----------
    n_folds : int or "auto", default="auto"
        Number of members. "auto" is 8, and 4 from 2,000 distinct patterns on.

    learning_rate : float, default=1e-2
        Step size of AdamW. It stays until a look at the rows left out, after every
        tenth of `max_iter`, finds no gain, and falls to zero along a cosine within a
        fifth of it; without `early_stopping` in all steps.

    weight_decay : float, default=1e-2
        Weight decay of AdamW.

    batch_size : int or "auto", default="auto"
        Patterns in a batch of a large set; up to 256 are taken whole. "auto" is 128,
        and 256 from more than 5,000 distinct patterns on.

    early_stopping : bool, default=True
        Whether learning ends when looks find no gain, and each member is kept as it was
        when it did best on the rows it has not seen, and dropped with the others for
        the untrained kernel if that does better. If False, all steps are taken, and the
        last is kept unseen.

    linear_share : "auto" or float in [0, 1], default="auto"
        Share of a linear model in the answers: a logistic or ridge regression on the
        standardised rows, beside the memory. "auto" is the share under which the rows
        left out lose least, and 0 for ``feature_map="identity"``; only with "auto"
        does a regressor move values along a line where that helps. With 0 the answers
        are those of the memory alone.

    Examples
    --------
    >>> from skuhop import CrossFitting, UHopClassifier
    >>> UHopClassifier(training=CrossFitting(n_folds=4), max_iter=50)
    UHopClassifier(max_iter=50, training=CrossFitting(n_folds=4))
    """

    def __init__(
        self,
        *,
        n_folds: int | str = "auto",
        learning_rate: float = 1e-2,
        weight_decay: float = 1e-2,
        batch_size: int | str = "auto",
        early_stopping: bool = True,
        linear_share: str | float = "auto",
    ) -> None:
        self.n_folds = n_folds
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.batch_size = batch_size
        self.early_stopping = early_stopping
        self.linear_share = linear_share


class LogLoss(NamedChoice):
    """Log-loss of leave-one-out retrieval, which `UHopClassifier` learns by.

    Shorthand: ``loss="log_loss"``.

    Parameters
    ----------
    label_smoothing : float in [0, 1], default=0.05
        Share of the target that is spread evenly over the classes.

    Examples
    --------
    >>> from skuhop import LogLoss, UHopClassifier
    >>> UHopClassifier(loss=LogLoss(label_smoothing=0.1))
    UHopClassifier(loss=LogLoss(label_smoothing=0.1))
    """

    name = "log_loss"

    def __init__(self, label_smoothing: float = 0.05) -> None:
        self.label_smoothing = label_smoothing


class Retention(Choice):
    """What `partial_fit` keeps of a stream; `fit` stores what it is given.

    Shorthand: ``retention="fifo"`` is ``Retention("fifo")``.

    Parameters
    ----------
    rule : {"merge", "coverage", "innovation", "fifo", "reservoir"}, default="merge"
        Which patterns. Of the cheapest pair by features, "merge" makes both their
        weighted mean (Ward's cost), "coverage" drops the lighter and gives the other
        its weight (cost: the lesser weight times the squared distance), "innovation"
        drops the later (cost: the distance). "fifo" keeps the newest rows, "reservoir"
        a fair sample. In a classifier pairs are of one class.

    max_patterns : int, default=None
        Most patterns that are kept; None is all, whatever the rule.

    decay : float in (0, 1], default=1.0
        Factor on the weights of all stored rows for every row that comes.

    Examples
    --------
    >>> import numpy as np
    >>> from skuhop import Retention, UHopMemory
    >>> memory = UHopMemory("identity", retention=Retention("fifo", max_patterns=2))
    >>> memory.partial_fit(np.eye(3)).patterns_
    array([[0., 1., 0.],
           [0., 0., 1.]])
    """

    def __init__(
        self,
        rule: str = "merge",
        *,
        max_patterns: int | None = None,
        decay: float = 1.0,
    ) -> None:
        self.rule = rule
        self.max_patterns = max_patterns
        self.decay = decay
