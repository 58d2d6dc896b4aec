"""Supervised Stage I: the separation loss in which patterns of one class may meet.

``-log sum_{j: y_j = y_i} p_j(i)``, with ``p_j(i)`` the retrieval weights of pattern j
for pattern i left out of the memory, is minus the leave-one-out log-likelihood of the
labels: the loss of neighbourhood components analysis and of ModernNCA (arXiv
2407.03257), and U-Hop's separation loss once every pattern is a class of its own. With
numbers for labels the loss is their squared leave-one-out error; what else differs
between the two is a row in `targets`.

Rejected: one feature map learned on all patterns. Its weights are over-confident (the
patterns it retrieves are the ones it was learned on), and nothing tells when to stop.
So one member is learned for each fold, stops on the rows it has not seen, and the
members' scores are averaged. The rows left out also calibrate the inverse temperature
and the weight of the prior, and decide whether learning was worth anything.

Rejected, after trials on fifty tables: a sum with the scores of the untrained kernel or
of members of another kind, weighed on the rows left out (twice the cost, no gain that
stands out of the noise); one stopping step for all members (worse); entries dropped for
all members (loses the tables that follow rules) or in measurements too. A share for a
linear model is worth its place, see `line_beside`.
"""

from skuhop.learning.supervised.crossfit import choose_inputs, cross_fit, take_trend
from skuhop.learning.supervised.folds import Division, divide
from skuhop.learning.supervised.line_beside import Line, LineKind, fit_line
from skuhop.learning.supervised.problem import CrossFitted, Problem, Settings
from skuhop.learning.supervised.targets import LABELS, NUMBERS, Target

__all__ = [
    "LABELS",
    "NUMBERS",
    "CrossFitted",
    "Division",
    "Line",
    "LineKind",
    "Problem",
    "Settings",
    "Target",
    "choose_inputs",
    "cross_fit",
    "divide",
    "fit_line",
    "take_trend",
]
