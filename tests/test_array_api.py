"""Arrays of other libraries: NumPy answers, as long as dispatch is off."""

import numpy as np
import pytest
import torch

from skuhop import UHopClassifier, UHopMemory, UHopRegressor

X = np.random.RandomState(0).normal(size=(20, 9))
y = (X[:, 0] > 0).astype(int)


def converters():
    yield "torch", torch.as_tensor
    try:
        import array_api_strict
    except ImportError:
        return
    yield "array_api_strict", array_api_strict.asarray


@pytest.mark.parametrize(
    "convert", [pytest.param(f, id=name) for name, f in converters()]
)
@pytest.mark.parametrize("model", [UHopMemory, UHopClassifier, UHopRegressor])
def test_foreign_arrays(model, convert):
    ours = model(max_iter=3, random_state=0).fit(X, y)
    theirs = model(max_iter=3, random_state=0).fit(convert(X), convert(y))
    found = theirs.predict(convert(X))
    assert type(found) is np.ndarray
    np.testing.assert_array_equal(found, ours.predict(X))
