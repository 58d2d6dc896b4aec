"""A memory and its layer answer alike."""

import numpy as np
import pytest
import torch

from skuhop import Entmax, Training, UHopMemory, Updates
from skuhop.nn import HopfieldLayer
from skuhop.retrieval import READ_OUTS, SEPARATIONS, SIMILARITIES


def rows(n=25, d=6, seed=0):
    return np.random.RandomState(seed).normal(size=(n, d))


def answers(layer, X):
    with torch.no_grad():
        return layer(torch.from_numpy(X)[None])[0].numpy()


def fitted(**options):
    options = {"similarity": "euclidean", "beta": 1.5, "max_iter": 5} | options
    training = Training(early_stopping=False, learning_rate=0.1)
    options = {"training": training, "random_state": 0} | options
    weights = np.random.RandomState(1).randint(1, 4, size=25)
    return UHopMemory(**options).fit(rows(), sample_weight=weights)


def network(n_features):
    return torch.nn.Linear(n_features, 3)


def name_options(options):
    return "-".join(
        getattr(value, "__name__", str(value)) for value in options.values()
    )


CENTRED = ("euclidean", "manhattan")


@pytest.mark.parametrize(
    "options",
    [
        *({"separation": name, "similarity": "cosine"} for name in SEPARATIONS),
        *({"similarity": name, "beta": 0.7} for name in SIMILARITIES),
        *({"update_steps": Updates(answer=name)} for name in READ_OUTS),
        *({"feature_map": name} for name in ("linear", "mlp")),
        {"feature_map": network},
        {"feature_map": "linear", "n_components": 3},
        {"update_steps": Updates(3, tol=0.0), "separation": "entmax"},
        {"separation": Entmax(1.2)},
    ],
    ids=lambda options: "-".join(
        getattr(v, "__name__", str(v)) for v in options.values()
    ),
)
def test_the_layer_answers_as_the_memory(options):
    memory = fitted(**options)
    layer = HopfieldLayer.from_memory(memory)
    X = rows(seed=2)
    np.testing.assert_allclose(answers(layer, X), memory.transform(X), atol=1e-6)
    back = layer.to_memory(memory)
    np.testing.assert_allclose(back.transform(X), memory.transform(X), atol=1e-9)


@pytest.mark.parametrize("feature_map", ["identity", "linear", "mlp"])
def test_a_trained_layer_becomes_a_memory(feature_map):
    memory = fitted(feature_map=feature_map, n_components=None)
    layer, X = HopfieldLayer.from_memory(memory), rows(seed=2)
    optimiser = torch.optim.SGD(layer.parameters(), 0.5)
    layer(torch.from_numpy(X)[None]).square().sum().backward()
    optimiser.step()
    trained = layer.to_memory(memory)
    assert np.abs(answers(layer, X) - memory.transform(X)).max() > 1e-2
    np.testing.assert_allclose(answers(layer, X), trained.transform(X), atol=1e-6)
    assert np.array_equal(memory.patterns_, rows())


@pytest.mark.parametrize(
    "options, message",
    [
        ({"similarity": "auto"}, "'similarity'.*'auto'"),
        ({"beta": "auto"}, "'beta'.*'auto'"),
        ({"separation": "softmax1"}, "'separation'.*'softmax1'"),
    ],
)
def test_memories_without_a_layer(options, message):
    with pytest.raises(ValueError, match=message):
        HopfieldLayer.from_memory(fitted(**options))


def test_layers_without_a_memory():
    with pytest.raises(ValueError, match=r"'memory'.*with projections"):
        HopfieldLayer(6, quantity=25).to_memory(fitted())
