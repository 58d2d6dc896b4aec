"""Adam, in the few lines that Stage I needs of it, and how fast it goes.

Rejected: ``torch.optim.Adam``. The first optimiser that a process makes imports
torch's compiler, which takes seconds: longer than nearly every fit.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

_DECAY = 0.9
_DECAY_SQUARED = 0.999
_EPSILON = 1e-8


class Adam:
    """Adam (Kingma and Ba, ICLR 2015, algorithm 1) with its usual constants."""

    def __init__(self, parameters: Sequence[Tensor], learning_rate: float):
        self.parameters, self.learning_rate = parameters, learning_rate
        self.means = [torch.zeros_like(p) for p in parameters]
        self.squares = [torch.zeros_like(p) for p in parameters]
        self.n_steps = 0

    @torch.no_grad()
    def step(self, gradients: tuple[Tensor | None, ...]) -> None:
        """Move the parameters against their gradients; None moves nothing."""
        self.n_steps += 1
        rate = self.learning_rate / (1 - _DECAY**self.n_steps)
        correction = (1 - _DECAY_SQUARED**self.n_steps) ** 0.5
        state = zip(self.parameters, gradients, self.means, self.squares, strict=True)
        for parameter, gradient, mean, square in state:
            if gradient is None:
                continue
            mean.lerp_(gradient, 1 - _DECAY)
            square.mul_(_DECAY_SQUARED)
            square.addcmul_(gradient, gradient, value=1 - _DECAY_SQUARED)
            scale = square.sqrt().div_(correction).add_(_EPSILON)
            parameter.addcdiv_(mean, scale, value=-rate)


class Pace:
    """Learning rate that stays while looks find gains, and then falls to zero.

    It falls along half a cosine. Where a few steps are all that there is to gain, few
    are taken; where a rule is to be found, all of them.

    Parameters
    ----------
    rate : float
    n_steps : int
        Most steps.
    n_last : int
        Steps in which the rate falls.
    """

    def __init__(self, rate: float, n_steps: int, n_last: int):
        self.rate = rate
        self.n_steps, self.n_last = n_steps, n_last
        self.turn = max(0, n_steps - n_last)
        self.lowest = math.inf

    def look(self, step: int, loss: float) -> None:
        """Let the rate fall from here on if this look has found no gain."""
        if loss < self.lowest:
            self.lowest = loss
        elif step < self.turn:
            self.turn, self.n_steps = step, step + self.n_last

    def rate_at(self, step: int) -> float:
        """Learning rate of a step."""
        fallen = max(0.0, (step - self.turn) / (self.n_steps - self.turn))
        return self.rate * (1 + math.cos(math.pi * fallen)) / 2
