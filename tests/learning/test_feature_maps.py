"""Feature maps: learning in the span is all there is to learn."""

import numpy as np
import pytest
import torch

from skuhop.learning import FEATURE_MAPS, LOSSES, feature_map_kind, restore

RNG = np.random.default_rng(0)


def patterns(n=5, d=9, dtype=torch.float64):
    return torch.tensor(RNG.normal(size=(n, d))).to(dtype)


def descend(module, loss, steps=25, rate=0.5):
    """Plain gradient steps, which unlike Adam's do not depend on the basis."""
    for _ in range(steps):
        module.zero_grad()
        loss(module).backward()
        with torch.no_grad():
            for parameter in module.parameters():
                parameter -= rate * parameter.grad


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("n, d", [(5, 9), (9, 9), (12, 4)])
def test_the_span_is_enough(name, n, d):
    """The r x r problem and the full d x d one learn the same kernel, step by step."""
    X = patterns(n, d)
    rate = 0.01 if name == "logsumexp" else 0.2
    module, project, export = feature_map_kind("linear").begin(X, None, None)
    descend(module, lambda m: LOSSES[name](m(project(X))), rate=rate)
    W = torch.nn.Linear(d, d, bias=False, dtype=torch.float64)
    torch.nn.init.eye_(W.weight)
    descend(W, lambda m: LOSSES[name](m(X)), rate=rate)
    full = W.weight.detach().numpy()
    found = export()["components"]
    basis = np.linalg.svd(X.numpy(), full_matrices=False)[2]
    outside = np.eye(d) - basis.T @ basis
    assert np.abs(full.T @ full - np.eye(d)).max() > 1e-3, "nothing was learned"
    np.testing.assert_allclose(found.T @ found + outside, full.T @ full, atol=1e-9)


@pytest.mark.parametrize("name", FEATURE_MAPS)
def test_starts_as_the_identity_on_the_span(name):
    X = patterns()
    kind = feature_map_kind(name)
    module, project, export = kind.begin(X, None, None)
    phi = restore(kind, export(), {}, X)
    for features in (module(project(X)).detach(), phi.patterns(X), phi.queries(X)):
        np.testing.assert_allclose(features @ features.T, X @ X.T, rtol=1e-10)


@pytest.mark.parametrize("name", FEATURE_MAPS)
@pytest.mark.parametrize("n, d", [(5, 9), (12, 4)])
def test_what_is_exported_is_what_was_learned(name, n, d):
    X, queries = patterns(n, d), patterns(7, d)
    kind = feature_map_kind(name)
    module, project, export = kind.begin(X, None, None)
    descend(module, lambda m: LOSSES["average"](m(project(X))), steps=5)
    phi = restore(kind, export(), {}, X)
    np.testing.assert_allclose(
        phi.queries(queries), module(project(queries)).detach(), rtol=1e-10, atol=1e-12
    )


@pytest.mark.parametrize("name", FEATURE_MAPS)
def test_components_lie_in_the_span(name):
    X = patterns()
    module, project, export = feature_map_kind(name).begin(X, None, None)
    descend(module, lambda m: LOSSES["average"](m(project(X))))
    basis = np.linalg.svd(X.numpy(), full_matrices=False)[2]
    components = export()["components"]
    np.testing.assert_allclose(components @ basis.T @ basis, components, atol=1e-10)
    # So what a query has beside the span does not reach its features.
    outside = torch.tensor(RNG.normal(size=(1, 9))) @ (
        torch.eye(9, dtype=torch.float64) - torch.tensor(basis.T @ basis)
    )
    np.testing.assert_allclose(components @ outside.numpy()[0], 0, atol=1e-10)


@pytest.mark.parametrize("name", FEATURE_MAPS)
def test_rank_deficient_patterns(name):
    X = patterns(6, 9)
    X[3:] = X[:3] @ torch.eye(9, dtype=X.dtype)  # rank 3
    module, project, export = feature_map_kind(name).begin(X, None, None)
    descend(module, lambda m: LOSSES["average"](m(project(X))), steps=3)
    assert all(np.isfinite(value).all() for value in export().values())
    zero = torch.zeros_like(X)
    _, project, export = feature_map_kind(name).begin(zero, None, None)
    assert torch.isfinite(project(zero)).all()
    assert all(np.isfinite(value).all() for value in export().values())


@pytest.mark.parametrize("k, expected", [(1, 1), (3, 3), (5, 5), (50, 5), (None, 5)])
def test_n_components(k, expected):
    X = patterns(5, 9)
    _, _, export = feature_map_kind("linear").begin(X, k, None)
    components = export()["components"]
    assert components.shape == (expected, 9)
    # The directions of the largest singular values, as in a truncated SVD.
    np.testing.assert_allclose(components @ components.T, np.eye(expected), atol=1e-10)
    u, s, vt = np.linalg.svd(X.numpy(), full_matrices=False)
    best = (u[:, :expected] * s[:expected]) @ vt[:expected]
    kernel = (X.numpy() @ components.T) @ (X.numpy() @ components.T).T
    np.testing.assert_allclose(kernel, best @ best.T, atol=1e-9)


def test_alignment_is_for_queries_alone():
    X = patterns()
    kind = feature_map_kind("linear")
    state = kind.begin(X, None, None).export()
    shift = RNG.normal(size=9)
    phi = restore(kind, state, {"scale": np.array(2.0), "shift": shift}, X)
    plain = restore(kind, state, {}, X)
    np.testing.assert_allclose(phi.patterns(X), plain.patterns(X))
    np.testing.assert_allclose(
        phi.queries(X), plain.queries(2 * X + torch.tensor(shift))
    )


def test_custom_modules_come_back_in_evaluation_mode():
    def factory(n):
        return torch.nn.Sequential(torch.nn.Linear(n, 3), torch.nn.Dropout(0.9))

    X, kind = patterns(), feature_map_kind(factory)
    module, _, export = kind.begin(X, None, None)
    phi = restore(kind, export(), {}, X)
    first = phi.queries(X)
    assert torch.equal(first, phi.queries(X))
    assert not first.requires_grad
    np.testing.assert_allclose(first, module.module[0](X).detach())
    assert first.dtype == torch.float64


def test_identity_is_no_map():
    assert feature_map_kind("identity") is None
    assert restore(None, {}, {}, patterns()) is None
