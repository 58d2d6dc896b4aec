"""Rules that look at pairs of rows: of the cheapest pair one row goes, till all fit in.

What a pair costs, which row goes and what becomes of its weight is a row of a table
(`Linkage`); the rest is one loop, which takes many pairs at once and yet gives what
the cheapest pair, one at a time, would give. For that the linkages are *reducible*: no
row's cost falls when others are contracted. So rows that are each other's cheapest
partner stay so until they are contracted, whatever happens elsewhere; and with e rows
too many, contractions that cost no more than the e-th smallest cost of a row involve
fewer than e rows besides those that stay, so all of them will be needed.

References
----------
Müllner, "Modern hierarchical, agglomerative clustering algorithms", 2011 (arXiv
1109.2378), for reducible linkages and mutual partners. Ward, "Hierarchical grouping to
optimize an objective function", JASA 1963.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from skuhop.retention.stream_rows import Plan, Rows, number_rows

_CELLS = 2**22
"""Costs held at once."""


class Linkage(NamedTuple):
    """What contracting a pair of rows costs and does.

    Attributes
    ----------
    factor : callable or None
        ``(weights_a, weights_b) -> factors`` of the squared distance; None is one.
    pooled : bool
        Whether the weight of the row that goes is added to that of its partner.
    averaged : bool
        Whether both become their weighted mean.
    """

    factor: Callable[[Tensor, Tensor], Tensor] | None
    pooled: bool
    averaged: bool


def _harmonic(a, b):
    """Compute ``a b / (a + b)``, without a product that could vanish."""
    return torch.minimum(a, b) * (torch.maximum(a, b) / (a + b))


INNOVATION = Linkage(None, False, False)
"""The later row of the nearest pair goes: what the memory retrieves best without it."""
COVERAGE = Linkage(torch.minimum, True, False)
"""The lighter row goes, and the other covers what it covered: the least rise of the
weighted squared distance from what was seen to what is kept."""
MERGE = Linkage(_harmonic, True, True)
"""Both become their mean: Ward's least rise of the squared error within slots."""


def rule_of_linkage(linkage: Linkage) -> Callable[[Rows, int, int], Plan]:
    """Make the rule of a linkage."""

    def rule(rows: Rows, budget: int, seed: int) -> Plan:
        state = _State(rows, linkage)
        while state.excess(budget) > 0 and state.contract(state.excess(budget)):
            pass
        return state.plan(budget)

    return rule


class _State:
    """Rows while they are contracted."""

    def __init__(self, rows: Rows, linkage: Linkage):
        self.linkage = linkage
        self.arrivals, self.groups = rows.arrivals, rows.groups
        self.keys = rows.keys - rows.keys.mean(0)
        self.weights = rows.weights.clone()
        n = len(self.keys)
        device = self.keys.device
        self.alive = torch.ones(n, dtype=torch.bool, device=device)
        self.owner = torch.arange(n, device=device)
        self.partner = self.owner.clone()
        self.cost = self.keys.new_full((n,), torch.inf)
        self._look(self.alive)

    def excess(self, budget: int) -> int:
        """Rows that are too many."""
        return int(self.alive.sum()) - budget

    def contract(self, excess: int) -> bool:
        """One round for so many rows too many; whether there was any pair."""
        stays, goes = self._pairs(excess)
        if len(stays) == 0:
            return False
        if self.linkage.averaged:
            a, b = (self.weights[i][:, None] for i in (stays, goes))
            self.keys[stays] = torch.lerp(
                self.keys[stays], self.keys[goes], b / (a + b)
            )
        if self.linkage.pooled:
            self.weights[stays] += self.weights[goes]
        self.alive[goes] = False
        self.owner[goes] = stays
        self.cost[goes] = torch.inf
        touched = ~self.alive
        touched[stays] = True
        self._look(self.alive & (touched | touched[self.partner]))
        return True

    def _pairs(self, excess: int) -> tuple[Tensor, Tensor]:
        """Pairs that one at a time would come to as well: what stays, what goes."""
        first = self.cost.isfinite().nonzero()[:, 0]
        if len(first) == 0:
            return first, first
        cost, second = self.cost[first], self.partner[first]
        dearest = cost.kthvalue(min(excess, len(cost))).values
        mutual = (self.partner[second] == first) & (first < second) & (cost <= dearest)
        if not mutual.any():  # by rounding, where a pair's costs from both sides differ
            mutual = torch.zeros_like(mutual)
            mutual[cost.argmin()] = True
        first, second = first[mutual], second[mutual]
        cheapest = cost[mutual].argsort(stable=True)[:excess]
        first, second = first[cheapest], second[cheapest]
        later = self.arrivals[first] > self.arrivals[second]
        if self.linkage.pooled:
            a, b = self.weights[first], self.weights[second]
            later = (a < b) | ((a == b) & later)
        return torch.where(later, second, first), torch.where(later, first, second)

    def _look(self, stale: Tensor) -> None:
        """Find the cheapest partners of some rows, each within its group."""
        for group in self.groups[stale].unique():
            own = self.groups == group
            others = (self.alive & own).nonzero()[:, 0]
            asked = (stale & own).nonzero()[:, 0]
            for some in asked.split(max(1, _CELLS // len(others))):
                self.cost[some], at = self._costs(some, others).min(1)
                self.partner[some] = others[at]

    def _costs(self, some: Tensor, others: Tensor) -> Tensor:
        """Compute what every pair costs; a row has no pair with itself."""
        keys, partners = self.keys[some], self.keys[others]
        cost = torch.addmm(partners.square().sum(1), keys, partners.T, alpha=-2)
        cost.add_(keys.square().sum(1, keepdim=True)).clamp_min_(0)
        if self.linkage.factor is not None:
            a, b = self.weights[some, None], self.weights[None, others]
            cost *= self.linkage.factor(a, b)
        return cost.masked_fill_(some[:, None] == others, torch.inf)

    def plan(self, budget: int) -> Plan:
        """Read out what has become of every row."""
        if self.excess(budget) > 0:  # one row of every group is left: the lightest go
            order = self.arrivals.argsort(descending=True)
            weights = self.weights.masked_fill(~self.alive, -1)[order]
            order = order[weights.argsort(descending=True, stable=True)]
            self.alive[order[budget:]] = False
        slots, heads = number_rows(self.alive), self.alive.nonzero()[:, 0]
        if not self.linkage.pooled:
            return Plan(slots, heads)
        owner = self.owner
        while not torch.equal(owner, owner[owner]):
            owner = owner[owner]
        return Plan(slots[owner], heads, self.linkage.averaged)
