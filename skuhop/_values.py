"""Stage II of classifier and regressor: a memory that reads out values, not keys."""

from __future__ import annotations

import numpy as np
from torch import Tensor

from skuhop._device import choose_product, to_tensor
from skuhop._entries import cast
from skuhop.learning.feature_maps import FeatureMap
from skuhop.learning.inputs import Inputs
from skuhop.learning.kernels import Kernel, joint_features
from skuhop.retrieval import (
    SEPARATIONS,
    SIMILARITIES,
    Memory,
    build_observed_scorer,
    build_scorer,
)
from skuhop.retrieval.completion import CompletingScorer, Completion


def value_memory(estimator, values, complete, dtype, device) -> Memory:
    """Tensors on the device, the members restored, the keys encoded.

    Parameters
    ----------
    estimator : HeteroMemory
        Fitted.
    values : ndarray of shape (n_patterns, v)
        What is read out.
    complete : bool
        Whether queries have all entries.
    dtype : numpy dtype
        What to compute in.
    device : torch.device
        Where to compute.
    """

    def tensor(array):
        return _tensor(array, dtype, device)

    patterns, (mean, scale) = tensor(estimator.patterns_), inputs_of(estimator, tensor)
    weights = (
        None if estimator.sample_weight_ is None else tensor(estimator.sample_weight_)
    )
    features, similarity = _features(estimator, dtype, device)
    feature_map = FeatureMap(features, features)
    product = choose_product(estimator.precision, dtype, device)
    stored = patterns, mean, weights, feature_map
    scorer = build_scorer(similarity, 1.0, *stored, product)
    if not complete:
        scaled = (patterns * scale, mean * scale)
        observed = build_observed_scorer("euclidean", "auto", *scaled, weights)
        softmax = Memory(observed, SEPARATIONS["softmax"], {}, scaled[0], weights)
        scorer = CompletingScorer(scorer, Completion(softmax, scale, mean))
    separation = SEPARATIONS[estimator.separation]
    params = estimator._separation_params()
    memory = Memory(scorer, separation, params, tensor(values), weights, complete)
    return memory._replace(product=product)


def inputs_of(estimator, tensor) -> Inputs:
    """How a fitted estimator standardises rows, as ``tensor(array)`` makes tensors."""
    return Inputs(tensor(estimator.mean_), 1 / tensor(estimator.scale_))


def value_keys(estimator, patterns, device):
    """Features of rows, stored or not, as the similarity compares them."""
    features, similarity = _features(estimator, patterns.dtype, device)
    return SIMILARITIES[similarity].encode(features(to_tensor(patterns, device)))[0]


def _features(estimator, dtype, device):
    """Features of all members side by side, and what to compare them with."""

    def tensor(array):
        return _tensor(array, dtype, device)

    kernels = [
        Kernel(
            kernel["feature_map"],
            kernel["similarity"],
            tensor(kernel["betas"]),
            {name: tensor(array) for name, array in kernel["state"].items()},
        )
        for kernel in estimator.kernels_
    ]
    features, similarity = joint_features(kernels)
    if kernels[0].feature_map == "identity":
        return features, similarity
    inputs = inputs_of(estimator, tensor)
    return lambda X: features(inputs(X)), similarity


def _tensor(array, dtype, device):
    array = np.asarray(array)
    return to_tensor(
        cast(array, dtype, "What is stored") if array.dtype.kind == "f" else array,
        device,
    )


def with_prior(votes: Tensor, prior: np.ndarray, share: float) -> Tensor:
    """Probabilities (n, classes) from votes: what is left, and a share, is prior."""
    # Rows are to sum to one in float64, which one device does not have.
    proba = votes if votes.device.type == "mps" else votes.double()
    known = proba.new_tensor(prior)
    nothing = (1 - proba.sum(1, keepdim=True)).clamp_min(0)
    proba = proba + nothing * known
    proba = (1 - share) * proba + share * known
    return (proba / proba.sum(1, keepdim=True)).to(votes)
