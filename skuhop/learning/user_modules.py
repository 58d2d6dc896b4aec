"""Modules that users write: built with draws of their own, called without being shared.

A module draws its start, and its dropout in every step, from a generator that is one
for the whole process. Here a dispatch mode, which is one for a thread, hands every
operation that draws a generator instead: threads are reproducible, and the user's
generator stays where it was.

Rejected: ``torch.random.fork_rng``. Threads put back what others have seeded, and with
a lock around it a user's thread that draws meanwhile would still change the result.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from functools import cache

import torch
from torch import Tensor, nn
from torch._C import _pop_torch_dispatch_stack, _push_on_torch_dispatch_stack
from torch.utils._python_dispatch import TorchDispatchMode

from skuhop.exceptions import InvalidParameterError

Factory = Callable[[int], nn.Module]


class Draws(TorchDispatchMode):
    """Functions run in it draw from generators of its own, in this thread alone.

    Kernels that are fused on a GPU, such as the dropout of attention, take no generator
    and are left alone.

    Parameters
    ----------
    seed : int
        Of the generators, of which every device has one.
    """

    def __init__(self, seed: int):
        super().__init__()
        self.generator = cache(lambda name: torch.Generator(name).manual_seed(seed))

    @classmethod
    def _should_skip_dynamo(cls):
        return False  # which would import torch's compiler, for seconds

    def run(self, function: Callable, *args):
        """Call a function that draws.

        Not as a context: torch's also sets flags of the whole process, and what is
        called here to leave it is nothing that can be interrupted.
        """
        _push_on_torch_dispatch_stack(self)
        try:
            return function(*args)
        finally:
            _pop_torch_dispatch_stack(None)

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        """Hand a generator to an operation that draws."""
        drawing, kwargs = _drawing_form(func), kwargs or {}
        if drawing is None or kwargs.get("generator") is not None:
            return func(*args, **kwargs)
        tensors = (arg.device for arg in args if isinstance(arg, Tensor))
        device = kwargs.get("device") or next(tensors, "cpu")
        return drawing(*args, **kwargs, generator=self.generator(str(device)))


@cache
def _drawing_form(func) -> Callable | None:
    """Form of an operation that takes a generator; None if it draws nothing."""
    packet = getattr(func, "overloadpacket", None)
    if packet is None or any(a.name == "generator" for a in func._schema.arguments):
        return packet and func
    wanted = {"generator", *func._overloadname.split("_")} - {"default"}
    for name in packet.overloads():
        if set(name.split("_")) == wanted:
            return getattr(packet, name)
    return _WITHOUT.get(str(packet))


def _dropout(rows, p, train, generator):
    kept = torch.empty_like(rows).bernoulli_(1 - p, generator=generator)
    return rows * kept / max(1 - p, torch.finfo(rows.dtype).tiny), kept.bool()


def _like(fill):
    def draw(tensor, generator, **kwargs):
        return fill(torch.empty_like(tensor, **kwargs), generator=generator)

    return draw


_WITHOUT = {
    "aten.native_dropout": _dropout,
    "aten.rand_like": _like(Tensor.uniform_),
    "aten.randn_like": _like(Tensor.normal_),
}
"""Operations that have no form with a generator, or have it only in newer torch."""


def build_module(factory: Factory, like: Tensor, draws: Draws) -> nn.Module:
    """Make a module for rows such as `like`, in their dtype and on their device.

    Raises
    ------
    InvalidParameterError
        If the factory gives something else.
    """
    module = draws.run(factory, like.shape[1])
    if not isinstance(module, nn.Module):
        raise InvalidParameterError(
            "The 'feature_map' parameter must be a name or a callable ``n_features -> "
            f"torch.nn.Module``. Called with {like.shape[1]} it returned {module!r}."
        )
    return module.to(like)


class Drawing(nn.Module):
    """A module whose draws are its own, for the one thread that learns it."""

    def __init__(self, module: nn.Module, draws: Draws):
        super().__init__()
        self.module, self.draws = module, draws

    def forward(self, X):
        """Call the module."""
        return self.draws.run(self.module, X)


def call_apart(
    module, states: list[Mapping[str, Tensor]], parts, training, draws
) -> list:
    """Call a module on every part of the rows with the state that belongs to it.

    States are swapped in a copy of the module's structure: threads may share it.
    """
    tensors = module.state_dict(keep_vars=True).values()
    apart = copy.deepcopy(module, {id(tensor): tensor for tensor in tensors})
    apart.train(training)
    call, answers = torch.func.functional_call, []
    _push_on_torch_dispatch_stack(draws)  # as in `Draws.run`
    try:
        for state, rows in zip(states, parts, strict=True):
            answers.append(call(apart, dict(state), (rows,)))
    finally:
        _pop_torch_dispatch_stack(None)
    return answers
