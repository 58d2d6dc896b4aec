"""Supervised Stage I: the separation loss in which patterns of one class may meet.

``-log sum_{j: y_j = y_i} p_j(i)``, with ``p_j(i)`` the retrieval weights of pattern j
for pattern i left out of the memory, is minus the leave-one-out log-likelihood of the
labels: the loss of neighbourhood components analysis and of ModernNCA (arXiv
2407.03257), and U-Hop's separation loss once every pattern is a class of its own.

Rejected: one feature map learned on all patterns. Its weights are over-confident (the
patterns it retrieves are the ones it was learned on), and nothing tells when to stop.
So one member is learned for each fold, stops on the rows it has not seen, and the
members' scores are averaged. The rows left out also calibrate the inverse temperature
and the weight of the prior, and decide whether learning was worth anything.
"""

from skuhop.learning.supervised.cross_fit import CrossFitted, choose_inputs, cross_fit
from skuhop.learning.supervised.problem import Problem, Settings

__all__ = ["CrossFitted", "Problem", "Settings", "choose_inputs", "cross_fit"]
