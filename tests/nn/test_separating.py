"""Stage I in a training loop."""

import numpy as np
import pytest
import torch

from skuhop.learning import LOSSES
from skuhop.nn import Hopfield, HopfieldEncoderLayer, HopfieldPooling, separate


def draw(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("hidden", [False, True])
def test_the_loss_is_the_mean_over_batch_and_heads(loss, hidden):
    layer = Hopfield(8, num_heads=2, feature_map="linear").double()
    with torch.no_grad():
        layer.feature_map.weight.add_(0.3 * draw(2, 4, 4))
    X = draw(3, 6, 8).double()
    padding = torch.zeros(3, 6, dtype=torch.bool)
    padding[1, 2:] = padding[2, 1:] = True
    layer(X, padding if hidden else None)
    keys = layer.project_stored(layer.norm_stored_pattern(X))
    expected = []
    for memory, out in zip(keys, padding, strict=True):
        for part, W in zip(memory.chunk(2, -1), layer.feature_map.weight, strict=True):
            features = (part @ W.T)[~out] if hidden else part @ W.T
            if len(features) > 1:
                expected.append(LOSSES[loss](features).item())
    found = layer.separation_loss(loss)
    assert found.item() == pytest.approx(np.mean(expected))
    found.backward()
    moved = {name for name, p in layer.named_parameters() if p.grad is not None}
    assert moved == {"feature_map.weight"}


def test_separate_moves_the_feature_maps_alone():
    layer = Hopfield(8, num_heads=2, feature_map="mlp")
    model = torch.nn.Sequential(HopfieldEncoderLayer(layer), torch.nn.Linear(8, 3))
    model = model.append(HopfieldPooling(3, feature_map="linear")).eval()
    for module in model.modules():
        if isinstance(module, Hopfield):
            # Keys of the size of one, as they are where something has been learned.
            torch.nn.init.normal_(module.project_stored.weight)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    losses = separate(model, draw(4, 10, 8), 15, learning_rate=1e-2)
    assert len(losses) == 15
    assert losses[-1] < losses[0]
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name]) == ("feature_map" not in name), name
    assert not any(m.training for m in model.modules())
    rows = torch.linalg.vector_norm(model[2].feature_map.weight, dim=2)
    torch.testing.assert_close(rows, torch.ones_like(rows))
    assert all(p.grad is None for p in model.parameters())


def test_batches_are_gone_through_in_turns():
    layer = Hopfield(4, feature_map="linear")
    batches = [((draw(2, 5, 4, seed=i),) * 3,) for i in range(2)]
    losses = separate(layer, batches, 4, learning_rate=1e-9)
    assert losses[0] == pytest.approx(losses[2], abs=1e-5)
    assert losses[0] != pytest.approx(losses[1], abs=1e-5)


def test_bad_input():
    layer = Hopfield(4, feature_map="linear")
    with pytest.raises(RuntimeError, match="call the layer first"):
        layer.separation_loss()
    layer.eval()(draw(2, 5, 4))
    with pytest.raises(RuntimeError, match="call the layer first"):
        layer.separation_loss()
    with pytest.raises(ValueError, match=r"'loss'.*'mean'"):
        layer.separation_loss("mean")
    with pytest.raises(ValueError, match="'feature_map'"):
        Hopfield(4).separation_loss()
    with pytest.raises(ValueError, match=r"'model'.*Hopfield without any"):
        separate(Hopfield(4), draw(2, 5, 4), 3)
