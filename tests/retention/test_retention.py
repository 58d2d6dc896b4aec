"""Rules of retention: each against its definition, row by row, in float64."""

import numpy as np
import pytest
import torch

from skuhop.retention import RETENTION, Rows
from skuhop.retention.stream_order import hash_positions

RNG = np.random.default_rng(0)
RULES = list(RETENTION)
BY_ORDER = [name for name, rule in RETENTION.items() if not rule.compares]
BY_PAIRS = [name for name, rule in RETENTION.items() if rule.compares]


def rows(n=40, d=3, n_groups=1, arrivals=None, weighted=True):
    return Rows(
        torch.from_numpy(RNG.normal(size=(n, d))),
        torch.from_numpy(RNG.uniform(0.5, 4, n) if weighted else np.ones(n)),
        torch.arange(n) if arrivals is None else torch.as_tensor(arrivals),
        torch.from_numpy(RNG.integers(0, n_groups, n)),
    )


def plan(name, some, budget, seed=0):
    return RETENTION[name].plan(some, budget, seed)


COSTS = {
    "innovation": lambda a, b: 1.0,
    "coverage": min,
    "merge": lambda a, b: a * b / (a + b),
}


def one_by_one(name, some, budget):
    """The cheapest pair goes, one at a time: members, weight of every slot."""
    keys, weights, arrivals, groups = (c.numpy().copy() for c in some)
    members = {i: [i] for i in range(len(keys))}
    while len(members) > budget:
        pairs = [
            (
                ((keys[i] - keys[j]) ** 2).sum() * COSTS[name](weights[i], weights[j]),
                i,
                j,
            )
            for i in members
            for j in members
            if i < j and groups[i] == groups[j]
        ]
        _, i, j = min(pairs)
        first_goes = arrivals[i] > arrivals[j]
        if name != "innovation":
            first_goes = weights[i] < weights[j]
        stays, goes = (j, i) if first_goes else (i, j)
        gone = members.pop(goes)
        if name == "innovation":
            continue
        members[stays] += gone
        total = weights[i] + weights[j]
        if name == "merge":
            keys[stays] = (weights[i] * keys[i] + weights[j] * keys[j]) / total
        weights[stays] = total
    return {head: sorted(rows) for head, rows in members.items()}


@pytest.mark.parametrize("name", BY_PAIRS)
@pytest.mark.parametrize("n_groups", [1, 3])
@pytest.mark.parametrize("budget", [39, 30, 12, 5])
def test_many_pairs_at_once_are_one_pair_at_a_time(name, n_groups, budget):
    some = rows(n_groups=n_groups, arrivals=RNG.permutation(40))
    found = plan(name, some, budget)
    expected = one_by_one(name, some, budget)
    slots = found.slots.numpy()
    groups = [np.flatnonzero(slots == k).tolist() for k in range(budget)]
    if name != "innovation":
        assert sorted(groups) == sorted(expected.values())
    assert found.heads.tolist() == sorted(expected)
    assert slots[found.heads].tolist() == list(range(budget))
    assert found.averaged == (name == "merge")


@pytest.mark.parametrize("name", RULES)
@pytest.mark.parametrize("n_groups, budget", [(1, 7), (4, 7), (30, 7), (1, 1), (1, 39)])
def test_the_budget_is_held(name, n_groups, budget):
    some = rows(n_groups=n_groups)
    slots, heads, _ = plan(name, some, budget)
    assert len(slots) == 40
    assert slots[slots >= 0].unique().tolist() == list(range(budget))
    assert len(heads) == budget
    for slot in range(budget):
        assert len(some.groups[slots == slot].unique()) == 1
    if RETENTION[name].compares and name != "innovation" and n_groups < budget:
        assert (slots >= 0).all(), "weight was lost"


@pytest.mark.parametrize("name", BY_PAIRS)
def test_copies_are_no_news(name):
    keys = torch.from_numpy(RNG.integers(0, 5, (12, 4)).astype("f8"))
    keys = torch.cat([keys, keys[RNG.integers(0, 12, 30)]])
    ones = torch.ones(42, dtype=torch.float64)
    some = Rows(keys, ones, torch.arange(42), torch.zeros(42, dtype=torch.int64))
    found = plan(name, some, len(keys.unique(dim=0)))
    for row, slot in enumerate(found.slots.tolist()):
        if slot >= 0:
            own = keys[found.slots == slot]
            assert (own == keys[row]).all()
    if name == "innovation":
        assert (found.heads < 12).all()


@pytest.mark.parametrize("trial", range(20))
def test_innovation_admits_what_is_retrieved_worse_than_what_goes(trial):
    rng = np.random.default_rng(trial)
    some = rows(9, 2)._replace(keys=torch.from_numpy(rng.normal(size=(9, 2))))
    distances = torch.cdist(some.keys, some.keys).fill_diagonal_(torch.inf)
    stored = distances[:8, :8].min(1).values
    admitted = bool(distances[8].min() > stored.min())
    heads = plan("innovation", some, 8).heads.tolist()
    assert (8 in heads) == admitted
    if admitted:
        gone = (set(range(8)) - set(heads)).pop()
        assert stored[gone] == stored.min()


@pytest.mark.parametrize("name", BY_ORDER)
def test_order_rules_see_one_stream_however_it_is_cut(name):
    whole = plan(name, rows(60), 10, seed=3).heads
    kept = torch.arange(0)
    for piece in torch.arange(60).split(7):
        seen = torch.cat([kept, piece])
        kept = seen[plan(name, rows(len(seen), arrivals=seen), 10, seed=3).heads]
        if len(seen) <= 10:
            kept = seen
    assert kept.tolist() == whole.tolist()


def test_fifo_keeps_the_newest():
    arrivals = RNG.permutation(40)
    heads = plan("fifo", rows(arrivals=arrivals), 6).heads
    assert sorted(arrivals[heads]) == list(range(34, 40))


def test_reservoir_is_a_fair_sample():
    n, budget, trials = 20, 5, 4000
    taken = np.zeros((trials, n))
    for seed in range(trials):
        taken[seed, plan("reservoir", rows(n), budget, seed).heads] = 1
    share = budget / n
    error = np.sqrt(share * (1 - share) / trials)
    assert (np.abs(taken.mean(0) - share) < 4 * error).all()
    # Pairs as well: rows are not drawn together.
    pairs = (taken.T @ taken / trials)[np.triu_indices(n, 1)]
    expected = share * (budget - 1) / (n - 1)
    assert (np.abs(pairs - expected) < 4.5 * np.sqrt(expected / trials)).all()


def test_the_draw_is_splitmix():
    # First numbers of the published generator, seeded with 0.
    expected = [0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4, 0x06C45D188009454F]
    assert hash_positions(np.arange(3), 0).tolist() == expected
    assert hash_positions(np.array([2]), 0)[0] == expected[2]
    assert (hash_positions(np.arange(3), 1) != hash_positions(np.arange(3), 0)).all()


def test_merging_beats_random_slots_in_squared_error():
    some = rows(300, 2, weighted=False)

    def error(centres):
        return torch.cdist(some.keys, centres).min(1).values.square().mean()

    slots = plan("merge", some, 20).slots
    means = torch.stack([some.keys[slots == k].mean(0) for k in range(20)])
    heads = {name: plan(name, some, 20).heads for name in ("coverage", "reservoir")}
    covered, drawn = (error(some.keys[h]) for h in heads.values())
    assert error(means) < covered < drawn
