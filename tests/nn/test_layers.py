"""Hopfield layers against a plain float64 reference, and what has to hold of them."""

import copy
import pickle

import numpy as np
import pytest
import torch

from skuhop.nn import (
    Hopfield,
    HopfieldDecoderLayer,
    HopfieldEncoderLayer,
    HopfieldLayer,
    HopfieldPooling,
    load_hflayers,
)
from skuhop.retrieval import READ_OUTS, SEPARATIONS, SIMILARITIES

BATCH, STORED, STATES, SIZE = 3, 6, 4, 8


def draw(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)).double()


def perturb(layer, seed=1):
    """Float64, and far enough from the start for everything to matter."""
    layer, generator = layer.double().eval(), torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter += 0.5 * torch.randn(parameter.shape, generator=generator)
    return layer


def inputs(seed=2):
    return tuple(draw(BATCH, n, SIZE, seed=seed + i) for i, n in enumerate((6, 4, 6)))


# --- the reference: loops over batch, head and state, in NumPy ----------------------


def normalise(rows, norm):
    if norm is None:
        return rows
    centred = rows - rows.mean(-1, keepdims=True)
    rows = centred / np.sqrt((centred**2).mean(-1, keepdims=True) + norm.eps)
    if norm.elementwise_affine:
        rows = rows * norm.weight.detach().numpy() + norm.bias.detach().numpy()
    return rows


def heads_of(rows, linear, n_heads):
    rows = rows @ linear.weight.detach().numpy().T
    if linear.bias is not None:
        rows = rows + linear.bias.detach().numpy()
    return np.split(rows, n_heads, axis=-1)


SCORES = {
    "dot": lambda x, p: x @ p,
    "euclidean": lambda x, p: -((x - p) ** 2).sum() / 2,
    "cosine": lambda x, p: x @ p / np.linalg.norm(x) / np.linalg.norm(p),
    "correlation": lambda x, p: np.corrcoef(x, p)[0, 1],
    "manhattan": lambda x, p: -np.abs(x - p).sum(),
}
TRANSFORMS = {
    "plain": lambda x: x,
    "l2": lambda x: x / np.linalg.norm(x),
    "layernorm": lambda x: (x - x.mean()) / x.std(),
}


def reference(
    layer, stored, state, values, beta=None, steps=0, blocked=None, bias=None
):
    """Answers and weights; `blocked` and `bias` are (B, H, L, S)."""
    n_heads, rule = layer.num_heads, SEPARATIONS[layer.separation]
    beta = np.broadcast_to(layer.hidden_size**-0.5 if beta is None else beta, n_heads)
    params = {name: value() for name, value in layer.separation_params.items()}
    stored = normalise(stored.numpy(), layer.norm_stored_pattern)
    state = normalise(state.numpy(), layer.norm_state_pattern)
    values = normalise(values.numpy(), layer.norm_pattern_projection)
    keys = heads_of(stored, layer.project_stored, n_heads)
    queries = heads_of(state, layer.project_state, n_heads)
    values = heads_of(values, layer.project_values, n_heads)
    phi = [np.eye(keys[0].shape[-1])] * n_heads
    if layer.feature_map is not None:
        phi = layer.feature_map.weight.detach().numpy()
    compare, transform = SCORES[layer.similarity], TRANSFORMS[layer.answer]
    answers, weights = (
        [],
        np.zeros((len(state), n_heads, state.shape[1], len(stored[0]))),
    )
    for b, h, i in np.ndindex(weights.shape[:3]):
        query = queries[h][b, i]
        for step in range(steps + 1):
            z = [compare(phi[h] @ query, phi[h] @ key) for key in keys[h][b]]
            z = beta[h] * np.array(z) + (0 if bias is None else bias[b, h, i].numpy())
            if blocked is not None:
                z = np.where(blocked[b, h, i], -np.inf, z)
            if layer.null:
                z = np.append(z, 0)
            p = rule.weights(torch.as_tensor(z)[None], None, **params)[0].numpy()
            p = p[: len(keys[h][b])]
            if step < steps:
                query = transform(p @ keys[h][b])
        weights[b, h, i] = p
    for b, i in np.ndindex(state.shape[:2]):
        parts = [transform(weights[b, h, i] @ values[h][b]) for h in range(n_heads)]
        answers.append(np.concatenate(parts))
    answers = np.reshape(answers, (*state.shape[:2], -1))
    answers = answers @ layer.project_answer.weight.detach().numpy().T
    return answers + layer.project_answer.bias.detach().numpy(), weights


def assert_equals_reference(layer, masks=None, **told):
    stored, state, values = inputs()
    answers, weights = reference(layer, stored, state, values, **told)
    with torch.no_grad():
        found = layer((stored, state, values), **(masks or {})).numpy()
        association = layer.association(
            (stored, state, values), **(masks or {})
        ).numpy()
    np.testing.assert_allclose(association, weights, atol=1e-9)
    np.testing.assert_allclose(found, answers, atol=1e-9)


OPTIONS = {
    "default": {},
    "heads": {"num_heads": 2},
    "sizes": {"num_heads": 2, "hidden_size": 3, "pattern_size": 5, "output_size": 4},
    "no norms": {
        f"normalize_{name}{affine}": False
        for name in ("stored_pattern", "state_pattern", "pattern_projection")
        for affine in ("", "_affine")
    },
    "null": {"null": True},
    "linear": {"feature_map": "linear", "num_heads": 2},
    **{f"separation {name}": {"separation": name} for name in SEPARATIONS},
    **{f"null {name}": {"separation": name, "null": True} for name in ("sparsemax",)},
    **{f"similarity {name}": {"similarity": name} for name in SIMILARITIES},
    **{f"answer {name}": {"answer": name} for name in READ_OUTS},
}


@pytest.mark.parametrize("name", OPTIONS)
def test_answers_equal_the_reference(name):
    layer = perturb(Hopfield(SIZE, beta=1.3, **OPTIONS[name]))
    assert_equals_reference(layer, beta=1.3)


@pytest.mark.parametrize("similarity", ["dot", "euclidean"])
@pytest.mark.parametrize("separation", ["softmax", "entmax"])
def test_updates_equal_the_reference(separation, similarity):
    options = {"separation": separation, "similarity": similarity, "answer": "l2"}
    layer = Hopfield(SIZE, num_heads=2, update_steps_max=3, **options)
    layer.update_steps_eps = 1e-12
    assert_equals_reference(perturb(layer), steps=3)


def test_default_beta():
    assert_equals_reference(perturb(Hopfield(SIZE, num_heads=2)))


@pytest.mark.parametrize("separation", ["softmax", "entmax"])
def test_heads_have_betas_of_their_own(separation):
    beta = torch.tensor([0.3, 2.0], dtype=torch.float64)
    layer = perturb(Hopfield(SIZE, num_heads=2, separation=separation, beta=beta))
    assert_equals_reference(layer, beta=beta.numpy())


def test_heads_have_alphas_of_their_own():
    alpha = torch.tensor([1.2, 2.0])
    layer = perturb(Hopfield(SIZE, num_heads=2, separation="entmax", alpha=alpha))
    found = layer.association(inputs())
    for h, value in enumerate((1.2, 2.0)):
        alone = Hopfield(SIZE, num_heads=2, separation="entmax", alpha=value).double()
        alone.load_state_dict(layer.state_dict(), strict=False)
        expected = alone.association(inputs())
        torch.testing.assert_close(found[:, h], expected[:, h], rtol=0, atol=1e-6)


# --- masks ---------------------------------------------------------------------------


def padding():
    hidden = torch.zeros(BATCH, STORED, dtype=torch.bool)
    hidden[0, 4:] = hidden[1, :2] = True
    return hidden


@pytest.mark.parametrize("separation", ["softmax", "softmax1", "sparsemax", "ksubsets"])
def test_masks_equal_the_reference(separation):
    layer = perturb(Hopfield(SIZE, num_heads=2, separation=separation))
    blocked = draw(BATCH, 2, STATES, STORED) > 0.5
    blocked[..., 3] = False
    both = blocked | padding()[:, None, None]
    masks = {"stored_pattern_padding_mask": padding()}
    masks["association_mask"] = blocked.flatten(0, 1)
    assert_equals_reference(layer, masks, blocked=both)
    masks["association_mask"] = blocked
    assert_equals_reference(layer, masks, blocked=both)
    bias = draw(BATCH, 2, STATES, STORED, seed=5)
    masks["association_mask"] = bias
    hidden = padding()[:, None, None].expand(bias.shape)
    assert_equals_reference(layer, masks, blocked=hidden, bias=bias)


@pytest.mark.parametrize("null", [False, True])
@pytest.mark.parametrize("separation", SEPARATIONS)
@pytest.mark.parametrize("steps", [0, 2])
def test_where_nothing_may_answer_there_are_zeros(separation, steps, null):
    options = {"separation": separation, "update_steps_max": steps, "null": null}
    layer = perturb(Hopfield(SIZE, disable_out_projection=True, **options))
    hidden = padding()
    hidden[2] = True
    stored, state, values = (x.requires_grad_() for x in inputs())
    answers = layer((stored, state, values), stored_pattern_padding_mask=hidden)
    assert (answers[2] == 0).all()
    assert (answers[:2] != 0).any()
    answers.square().sum().backward()
    # Only the values have a gradient where the best pattern has all weight.
    grads = [x.grad for x in (stored, state, values) if x.grad is not None]
    assert grads
    assert all(grad.isfinite().all() for grad in grads)
    others = layer((stored[:2], state[:2], values[:2]), hidden[:2])
    torch.testing.assert_close(answers[:2], others)
    blocked = torch.zeros(STATES, STORED, dtype=torch.float64)
    blocked[1] = -torch.inf
    answers = layer((stored, state, values), association_mask=blocked)
    assert (answers[:, 1] == 0).all()
    assert (answers[:, 0] != 0).any()


def test_hidden_patterns_do_not_matter():
    layer = perturb(HopfieldPooling(SIZE, quantity=2, separation="entmax"))
    bags = inputs()[0]
    other = torch.where(padding()[..., None], draw(*bags.shape, seed=9), bags)
    torch.testing.assert_close(layer(bags, padding()), layer(other, padding()))


# --- hflayers' arguments ------------------------------------------------------------


def test_batch_first():
    for kind, shape in (
        (Hopfield, (STORED, BATCH, SIZE)),
        (HopfieldLayer, (4, 3, SIZE)),
    ):
        first = perturb(kind(SIZE, num_heads=2))
        later = kind(SIZE, num_heads=2, batch_first=False).double()
        state = {
            name: value.transpose(0, 1) if "lookup" in name else value
            for name, value in first.state_dict().items()
        }
        later.load_state_dict(state)
        X = draw(*shape)
        torch.testing.assert_close(later(X), first(X.transpose(0, 1)).transpose(0, 1))


def test_a_feature_map_of_the_user_starts_as_it_is():
    module = torch.nn.Linear(4, 3)
    before = module.weight.clone()
    layer = Hopfield(SIZE, num_heads=2, feature_map=module)
    layer.reset_parameters()
    assert layer.feature_map is module
    assert torch.equal(module.weight, before)
    layer = Hopfield(
        SIZE, num_heads=2, feature_map=lambda size: torch.nn.Linear(size, 3)
    )
    assert layer(draw(BATCH, STORED, SIZE).float()).shape == (BATCH, STORED, SIZE)


def test_a_pattern_of_zeros_is_the_null_of_softmax():
    zeros = perturb(Hopfield(SIZE, num_heads=2, add_zero_association=True))
    null = Hopfield(SIZE, num_heads=2, null=True).double()
    null.load_state_dict(zeros.state_dict())
    torch.testing.assert_close(zeros(inputs()), null(inputs()))
    assert zeros.association(inputs()).shape[-1] == STORED + 1
    softmax1 = Hopfield(SIZE, num_heads=2, separation="softmax1").double()
    softmax1.load_state_dict(zeros.state_dict())
    torch.testing.assert_close(softmax1(inputs()), null(inputs()))


def test_a_learned_pattern_is_stored():
    layer = perturb(Hopfield(SIZE, num_heads=2, concat_bias_pattern=True))
    with torch.no_grad():
        layer.bias_stored.mul_(100)
    assert layer.association(inputs(), padding()).shape[-1] == STORED + 1
    layer(inputs()).sum().backward()
    assert layer.bias_values.grad.abs().sum() > 0


def test_shapes():
    X = draw(BATCH, STORED, SIZE)
    assert HopfieldPooling(SIZE, quantity=3, output_size=5).double()(X).shape == (3, 15)
    assert HopfieldLayer(SIZE, quantity=9).double().association(X).shape == (3, 1, 6, 9)
    layer = HopfieldLayer(
        SIZE, quantity=9, lookup_weights_as_separated=True, pattern_projection_size=5
    )
    assert layer.double()(X).shape == X.shape
    encoder = HopfieldEncoderLayer(Hopfield(SIZE, num_heads=2), dim_feedforward=12)
    decoder = HopfieldDecoderLayer(Hopfield(SIZE), Hopfield(SIZE), dim_feedforward=12)
    memory = encoder.double()(X, src_key_padding_mask=padding())
    assert memory.shape == X.shape
    state = draw(BATCH, STATES, SIZE)
    assert decoder.double()(state, memory).shape == state.shape


def hflayers_state(layer):
    """The state that hflayers would have, with one tensor for three projections."""
    state = {}
    renamed = {"project_answer": "out_proj"}
    for name, value in layer.state_dict().items():
        head, _, rest = name.partition(".")
        if head in ("project_state", "project_stored", "project_values"):
            key = f"hopfield.association_core.in_proj_{rest}"
            state[key] = torch.cat([state[key], value]) if key in state else value
        elif head in renamed:
            state[f"hopfield.association_core.{renamed[head]}.{rest}"] = value
        else:
            state[f"hopfield.{name}" if rest else name] = value
    return state


def test_weights_of_hflayers_are_loaded():
    layer = perturb(HopfieldPooling(SIZE, num_heads=2, quantity=2))
    other = HopfieldPooling(SIZE, num_heads=2, quantity=2).double()
    other.load_hflayers(hflayers_state(layer))
    torch.testing.assert_close(other(inputs()[0]), layer(inputs()[0]))
    model = torch.nn.ModuleDict(
        {"pool": HopfieldPooling(SIZE, num_heads=2, quantity=2)}
    )
    model.double()
    load_hflayers(model, {f"pool.{k}": v for k, v in hflayers_state(layer).items()})
    torch.testing.assert_close(model["pool"](inputs()[0]), layer(inputs()[0]))
    with pytest.raises(RuntimeError, match="Error"):
        HopfieldPooling(SIZE, quantity=3).load_hflayers(hflayers_state(layer))


# --- gradients, precision, compiler, copies ------------------------------------------


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"separation": "entmax", "alpha": "learn", "beta": "learn"},
        {"separation": "normmax", "gamma": "learn", "feature_map": "mlp"},
        {"similarity": "euclidean", "update_steps_max": 2, "null": True},
        {"similarity": "cosine", "feature_map": "linear", "answer": "layernorm"},
    ],
    ids=str,
)
def test_gradients(options):
    layer = perturb(Hopfield(4, num_heads=2, update_steps_eps=1e-12, **options))
    parameters = dict(layer.named_parameters())
    X = draw(1, 3, 4).requires_grad_()

    def answers(X, *values):
        state = dict(zip(parameters, values, strict=True))
        return torch.func.functional_call(layer, state, (X,)).square().sum()

    given = (X, *(p.detach().requires_grad_() for p in parameters.values()))
    assert torch.autograd.gradcheck(answers, given, fast_mode=True)
    layer(X).square().sum().backward()
    for name in ("scaling.raw", "separation_params.alpha.raw", "feature_map.weight"):
        if name in parameters:
            assert parameters[name].grad.abs().sum() > 0


@pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning")
@pytest.mark.parametrize(
    "options",
    [
        {"null": True},
        {"separation": "entmax", "update_steps_max": 1, "feature_map": "linear"},
    ],
    ids=str,
)
def test_compiles_to_one_graph(options):
    layer = Hopfield(SIZE, num_heads=2, **options)
    X, hidden = draw(BATCH, STORED, SIZE).float(), padding()
    compiled = torch.compile(layer, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(X, hidden), layer(X, hidden))
    compiled(X, hidden).sum().backward()
    assert all(p.grad is not None for p in layer.parameters())


@pytest.mark.parametrize("options", [{}, {"separation": "entmax"}], ids=str)
def test_autocast(options):
    layer = Hopfield(SIZE, num_heads=2, **options)
    X = draw(BATCH, STORED, SIZE).float()
    with torch.autocast("cpu", torch.bfloat16):
        found = layer(X, padding())
    assert found.dtype == torch.bfloat16
    torch.testing.assert_close(found.float(), layer(X, padding()), rtol=0.05, atol=0.01)


@pytest.mark.parametrize(
    "copied", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))]
)
def test_copies_answer_alike(copied):
    layer = HopfieldPooling(
        SIZE, num_heads=2, separation="entmax", alpha="learn", feature_map="mlp"
    )
    X = draw(BATCH, STORED, SIZE).float()
    layer.train()(X).sum().backward()
    torch.testing.assert_close(copied(layer)(X), layer(X))
    other = HopfieldPooling(
        SIZE, num_heads=2, separation="entmax", alpha="learn", feature_map="mlp"
    )
    other.load_state_dict(layer.state_dict())
    torch.testing.assert_close(other(X), layer(X))


def test_rows_do_not_mix():
    layer = perturb(Hopfield(SIZE, update_steps_max=None, scaling=0.2))
    X = draw(BATCH, STORED, SIZE)
    alone = torch.cat([layer(x[None]) for x in X])
    torch.testing.assert_close(layer(X), alone, rtol=0, atol=1e-12)


def test_dropout_is_of_training_only():
    layer = Hopfield(SIZE, dropout=0.5, separation="sparsemax")
    X = draw(BATCH, STORED, SIZE).float()
    assert not torch.equal(layer(X), layer(X))
    layer.eval()
    assert torch.equal(layer(X), layer(X))


# The exporter warns of what torch itself is about to change.
@pytest.mark.filterwarnings("ignore")
def test_export_to_onnx(tmp_path):
    pytest.importorskip("onnxscript")
    runtime = pytest.importorskip("onnxruntime")
    layer, X = HopfieldPooling(SIZE, num_heads=2).eval(), draw(2, 5, SIZE).float()
    path = tmp_path / "pooling.onnx"
    torch.onnx.export(layer, (X,), path, dynamo=True)
    session = runtime.InferenceSession(str(path))
    (found,) = session.run(None, {session.get_inputs()[0].name: X.numpy()})
    np.testing.assert_allclose(found, layer(X).detach().numpy(), atol=1e-6)


# --- energy --------------------------------------------------------------------------


@pytest.mark.parametrize("separation", ["softmax", "sparsemax", "entmax", "normmax"])
@pytest.mark.parametrize("feature_map", [None, "linear"])
def test_updates_do_not_raise_the_energy(separation, feature_map):
    options = {"separation": separation, "feature_map": feature_map}
    layer = perturb(
        Hopfield(
            SIZE,
            hidden_size=SIZE,
            stored_pattern_as_static=True,
            state_pattern_as_static=True,
            normalize_stored_pattern=False,
            normalize_stored_pattern_affine=False,
            normalize_state_pattern=False,
            normalize_state_pattern_affine=False,
            **options,
        )
    )
    stored, state, _ = inputs()
    before = layer.energy((stored, state, stored))
    weights = layer.association((stored, state, stored))
    moved = (weights @ stored[:, None])[:, 0]
    after = layer.energy((stored, moved, stored))
    assert (after <= before + 1e-9).all()
    assert (after < before - 1e-3).any()


# --- bad input -----------------------------------------------------------------------


@pytest.mark.parametrize(
    "options, message",
    [
        ({"input_size": 7, "num_heads": 2}, "input_size=7 and num_heads=2"),
        ({"separation": "hardmax"}, "'separation'.*softmax.*'hardmax'"),
        ({"similarity": "auto"}, "'similarity'.*'auto'"),
        ({"answer": "l1"}, "'answer'.*'l1'"),
        ({"alpha": 1.5}, "'alpha' is not one of separation='softmax'"),
        ({"separation": "entmax", "alpha": "auto"}, "'alpha'.*'learn'.*'auto'"),
        ({"separation": "ksubsets", "k": "learn"}, "'k'.*'learn'"),
        ({"beta": 0.0}, "'beta'.*0.0"),
        ({"beta": torch.ones(3)}, r"'beta'.*\(1,\)"),
        ({"beta": 1.0, "scaling": 1.0}, "give one of them"),
        ({"feature_map": "conv"}, "'feature_map'.*'conv'"),
        ({"association_activation": "softplus9"}, "association_activation"),
    ],
)
def test_bad_parameters(options, message):
    with pytest.raises(ValueError, match=f"(?s){message}"):
        Hopfield(**({"input_size": SIZE} | options))


@pytest.mark.parametrize(
    "masks, message",
    [
        ({"stored_pattern_padding_mask": padding().float()}, "boolean tensor"),
        ({"stored_pattern_padding_mask": padding()[:, :3]}, r"got .*\(3, 3\)"),
        ({"association_mask": torch.zeros(2, 2)}, r"association_mask .*\(2, 2\)"),
        (
            {"association_mask": torch.zeros(4, 6, dtype=torch.int32)},
            "boolean or float",
        ),
    ],
)
def test_bad_masks(masks, message):
    with pytest.raises(ValueError, match=message):
        Hopfield(SIZE).double()(inputs(), **masks)


def test_bad_inputs():
    X = draw(BATCH, STORED, SIZE)
    with pytest.raises(ValueError, match="tuple of stored patterns, state patterns"):
        Hopfield(SIZE).double()((X, X))
    with pytest.raises(ValueError, match="tensor of state patterns"):
        HopfieldLayer(SIZE).double()((X, X))
    with pytest.raises(ValueError, match="has no energy"):
        Hopfield(SIZE, separation="polynomial").double().energy(X)
