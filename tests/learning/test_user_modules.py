"""Draws of users' modules: every operation that draws takes a generator of its own."""

import numpy as np
import pytest
import torch
from torch.nn import functional

from skuhop import Training, UHopMemory
from skuhop.exceptions import InvalidParameterError
from skuhop.learning.trainer import WATCH_EVERY
from skuhop.learning.user_modules import Draws, build_module, call_apart

x = torch.linspace(0.1, 0.9, 12).reshape(3, 4)
OPERATIONS = {
    "rand": lambda: torch.rand(3),
    "randn": lambda: torch.randn(2, 2),
    "randint": lambda: torch.randint(1000, (3,)),
    "randint of a range": lambda: torch.randint(1, 1000, (3,)),
    "randperm": lambda: torch.randperm(100),
    "rand_like": lambda: torch.rand_like(x),
    "randn_like": lambda: torch.randn_like(x, dtype=torch.float64),
    "randint_like": lambda: torch.randint_like(x, 1000),
    "randint_like of a range": lambda: torch.randint_like(x, 1, 1000),
    "normal": lambda: torch.normal(0.0, 1.0, (3,)),
    "normal of means": lambda: torch.normal(x, 1.0),
    "bernoulli": lambda: torch.bernoulli(x.repeat(9, 1)),
    "multinomial": lambda: torch.multinomial(x.repeat(9, 1), 2),
    "exponential": lambda: torch.empty(3).exponential_(),
    "dropout": lambda: functional.dropout(x.repeat(9, 1), 0.5),
    "native_dropout": lambda: torch.native_dropout(x.repeat(9, 1), 0.5, True)[0],
    "alpha_dropout": lambda: functional.alpha_dropout(x.repeat(9, 1), 0.5, True),
    "rrelu": lambda: functional.rrelu(-x, training=True),
    "attention": lambda: functional.scaled_dot_product_attention(
        x[None], x[None], x[None], dropout_p=0.5
    ),
    "trunc_normal": lambda: torch.nn.init.trunc_normal_(torch.empty(3, 3)),
    "linear": lambda: torch.nn.Linear(4, 4).weight.detach(),
}


@pytest.mark.parametrize("name", OPERATIONS)
def test_what_is_drawn_depends_on_the_seed_alone(name):
    before, draw = torch.get_rng_state(), OPERATIONS[name]
    draws = Draws(0)
    first, second = draws.run(draw), draws.run(draw)
    again, other = Draws(0).run(draw), Draws(1).run(draw)
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(first, again)
    assert not torch.equal(first, second)
    assert not torch.equal(first, other)


def test_a_generator_of_the_users_is_respected():
    first, second = (torch.Generator().manual_seed(5) for _ in range(2))
    found = Draws(0).run(lambda: torch.rand(3, generator=first))
    assert torch.equal(found, torch.rand(3, generator=second))


def test_dropped_entries_are_made_up_for():
    ones = torch.ones(100, 100)
    found, kept = Draws(0).run(torch.native_dropout, ones, 0.25, True)
    assert kept.dtype == torch.bool
    assert torch.equal(found > 0, kept)
    assert abs(found.mean() - 1) < 0.02
    assert found.max() == pytest.approx(4 / 3)


def test_states_are_swapped_in_a_copy():
    module = build_module(lambda n: torch.nn.Linear(n, 2), x, Draws(0))
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    states = [{name: k * t for name, t in before.items()} for k in (1, 2)]
    one, two = call_apart(module, states, [x, x], False, Draws(0))
    assert torch.equal(one, module(x))
    assert torch.equal(two, 2 * one)
    for name, tensor in module.state_dict().items():
        assert torch.equal(tensor, before[name])
    assert module.training


def test_a_factory_must_give_a_module():
    with pytest.raises(
        InvalidParameterError, match=r"torch\.nn\.Module.*returned None"
    ):
        build_module(lambda n: None, x, Draws(0))


def test_modules_are_in_their_modes():
    """Learned while training, also after a look; looked at and asked while not."""
    modes = set()

    class Watched(torch.nn.Linear):
        def forward(self, X):
            modes.add((torch.is_grad_enabled(), self.training))
            return super().forward(X)

    X = np.random.default_rng(0).normal(size=(30, 4))
    training = Training(early_stopping=True)
    memory = UHopMemory(lambda d: Watched(d, 3), training=training, max_iter=12)
    memory.fit(X).transform(X)
    assert memory.n_iter_ > WATCH_EVERY
    assert modes == {(True, True), (False, False)}
