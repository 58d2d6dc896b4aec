"""Gradients of separations: of the optimum, in float64, whatever leads there."""

import pytest
import torch

from skuhop.retrieval import SEPARATIONS

PARAMS = {
    "entmax": [{"alpha": a} for a in (1.2, 1.5, 1.9, 2.0)],
    "normmax": [{"gamma": g} for g in (1.3, 2.0, 3.0)],
    "ksubsets": [{"k": k} for k in (1, 2, 3, 50)],
    "polynomial": [{"degree": n} for n in (2, 3)],
}
CASES = [
    pytest.param(name, params, id=f"{name}-{params}" if params else name)
    for name in SEPARATIONS
    if name != "max"
    for params in PARAMS.get(name, [{}])
]
SHAPES = [(7,), (5, 7), (2, 3, 7), (2, 1, 3, 7)]


def scores(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    z = 1.2 * torch.randn(shape, generator=generator, dtype=torch.float64)
    return z.requires_grad_()


def multiplicities(*shape, seed=1):
    generator = torch.Generator().manual_seed(seed)
    return 0.5 + 2 * torch.rand(shape, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("name, params", CASES)
def test_rows_are_along_the_last_dimension(name, params, shape):
    z = scores(*shape).detach()
    found = SEPARATIONS[name].weights(z, None, **params)
    rows = SEPARATIONS[name].weights(z.reshape(-1, 7), None, **params)
    torch.testing.assert_close(found, rows.reshape(shape), rtol=0, atol=1e-14)


@pytest.mark.parametrize("shape", [(4, 7), (2, 2, 2, 7)], ids=str)
@pytest.mark.parametrize("name, params", CASES)
def test_gradient_of_scores(name, params, shape):
    weights = SEPARATIONS[name].weights
    assert torch.autograd.gradcheck(
        lambda z: weights(z, None, **params), scores(*shape)
    )


@pytest.mark.parametrize("w_shape", [(5,), (2, 2, 5)], ids=str)
@pytest.mark.parametrize("name, params", CASES)
def test_gradient_of_multiplicities(name, params, w_shape):
    weights, w = SEPARATIONS[name].weights, multiplicities(*w_shape).requires_grad_()
    assert torch.autograd.gradcheck(
        lambda z, w: weights(z, w, **params), (scores(2, 2, 5), w)
    )


@pytest.mark.parametrize("w", [None, multiplicities(7)], ids=["", "multiplicities"])
@pytest.mark.parametrize("name, params", CASES)
def test_gradient_under_masks(name, params, w):
    masked = torch.zeros(4, 7, dtype=torch.bool)
    masked[:, 2] = masked[1, :3] = masked[2, 1:] = True

    def weights(z):
        z = z.masked_fill(masked, -torch.inf)
        return SEPARATIONS[name].weights(z, w, **params)

    assert torch.autograd.gradcheck(weights, scores(4, 7))


@pytest.mark.parametrize("w", [None, multiplicities(7)], ids=["", "multiplicities"])
@pytest.mark.parametrize(
    "name, parameter, values",
    [
        ("entmax", "alpha", (1.3, 1.5, 1.8)),
        ("normmax", "gamma", (1.4, 2.0, 3.5)),
        ("polynomial", "degree", (2.0, 3.0, 4.5)),
    ],
)
def test_gradient_of_a_parameter_of_every_head(name, parameter, values, w):
    value = torch.tensor(values, dtype=torch.float64)[:, None, None]

    def weights(z, value):
        return SEPARATIONS[name].weights(z, w, **{parameter: value})

    z = scores(2, 3, 1, 7)
    for head in range(3):
        alone = SEPARATIONS[name].weights(z[:, head], w, **{parameter: values[head]})
        torch.testing.assert_close(weights(z, value)[:, head], alone)
    assert torch.autograd.gradcheck(weights, (z, value.requires_grad_()))


def test_a_parameter_common_to_all_rows_may_be_a_tensor():
    alpha = torch.tensor(1.5, dtype=torch.float64, requires_grad=True)
    entmax = SEPARATIONS["entmax"].weights
    assert torch.autograd.gradcheck(
        lambda z, alpha: entmax(z, None, alpha=alpha), (scores(3, 7), alpha)
    )


@pytest.mark.parametrize("name", ["sparsemax", "entmax", "normmax", "ksubsets"])
def test_many_rows_are_solved_in_parts(name):
    rule = SEPARATIONS[name]
    params, z = dict(rule.defaults), scores(300, 500)
    g = torch.randn(z.shape, generator=torch.Generator().manual_seed(0)).double()
    found = rule.weights(z, None, **params)
    (gradient,) = torch.autograd.grad(found, z, g)
    for rows in (slice(3), slice(130, 135), slice(297, None)):
        part = z[rows].detach().requires_grad_()
        alone = rule.weights(part, None, **params)
        torch.testing.assert_close(found[rows], alone, rtol=0, atol=1e-13)
        (expected,) = torch.autograd.grad(alone, part, g[rows])
        torch.testing.assert_close(gradient[rows], expected, rtol=0, atol=1e-10)


@pytest.mark.parametrize("name", ["sparsemax", "entmax", "normmax", "ksubsets"])
def test_nothing_but_the_weights_is_kept(name):
    sizes = []

    def pack(tensor):
        sizes.append(tensor.numel())
        return tensor

    z = scores(6, 50)
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        SEPARATIONS[name].weights(z, None, **SEPARATIONS[name].defaults)
    assert sum(sizes) == z.numel()


@pytest.mark.parametrize("name", ["sparsemax", "entmax", "normmax", "ksubsets"])
def test_multiplicities_of_other_patterns_are_refused(name):
    rule = SEPARATIONS[name]
    with pytest.raises(ValueError, match=r"\(4, 7\) and \(6,\)"):
        rule.weights(scores(4, 7), multiplicities(6), **rule.defaults)


@pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning")
@pytest.mark.parametrize("name", ["entmax", "ksubsets"])
def test_a_compiler_sees_one_operation(name):
    rule = SEPARATIONS[name]

    def loss(z):
        weights = rule.weights(z, None, **rule.defaults)
        return (weights * torch.arange(7, dtype=z.dtype, device=z.device)).sum()

    z, again = scores(2, 3, 7), scores(2, 3, 7)
    loss(z).backward()
    torch.compile(loss, fullgraph=True, backend="aot_eager")(again).backward()
    torch.testing.assert_close(again.grad, z.grad)
