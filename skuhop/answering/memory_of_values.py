"""Stage II of classifier and regressor: a memory that reads out values, not keys."""

from __future__ import annotations

import numpy as np
from torch import Tensor

from skuhop.answering.precision import choose_product
from skuhop.choices import name_of
from skuhop.learning import Inputs, Kernel, joint_features
from skuhop.retrieval import (
    SEPARATIONS,
    SIMILARITIES,
    CompletingScorer,
    Completion,
    FeatureMap,
    Memory,
    build_observed_scorer,
    build_scorer,
    enter,
)
from skuhop.support import cast, to_tensor, unit_of


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

    _check_range(estimator.patterns_, dtype)
    patterns, (mean, scale) = tensor(estimator.patterns_), inputs_of(estimator, tensor)
    weights = (
        None if estimator.sample_weight_ is None else tensor(estimator.sample_weight_)
    )
    features, similarity = _features(estimator, dtype, device)
    feature_map = FeatureMap(features, features)
    product = choose_product(estimator.precision, dtype, device)
    stored = patterns, mean, weights, feature_map
    scorer = build_scorer(similarity, 1.0, *stored, product, unit=None)
    if not complete:
        scaled = (patterns * scale, mean * scale)
        observed = build_observed_scorer("euclidean", "auto", *scaled, weights)
        softmax = Memory(observed, SEPARATIONS["softmax"], {}, scaled[0], weights)
        scorer = CompletingScorer(scorer, Completion(softmax, scale, mean))
    separation = SEPARATIONS[name_of(estimator.separation)]
    params = estimator._separation_params()
    memory = Memory(scorer, separation, params, tensor(values), weights, complete)
    return memory._replace(product=product)


def _check_range(X, dtype):
    """Refuse to compute with columns in a dtype that has no numbers of their size.

    Raises
    ------
    ValueError
        Names the size.
    """
    info = np.finfo(dtype)
    if X.dtype == dtype:
        return
    size = np.abs(X).max(axis=0, initial=0)
    lost = size[(size > info.max) | ((size > 0) & (size < info.tiny))]
    if len(lost):
        raise ValueError(
            f"A column of the stored rows is of the size {lost[0]:.0e}, which "
            f"{np.dtype(dtype)} cannot hold: pass queries in float64, or scale it."
        )


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

    as_they_are = estimator.kernels_[0]["feature_map"] == "identity"
    unit = unit_of(estimator.patterns_) if as_they_are else 1.0
    most = np.finfo(dtype).max ** 0.5

    def betas(kernel):
        size = SIMILARITIES[kernel["similarity"]].in_user_units(unit)
        return tensor(np.minimum(np.asarray(kernel["betas"], float) * size, most))

    kernels = [
        Kernel(
            kernel["feature_map"],
            kernel["similarity"],
            betas(kernel),
            {name: tensor(array) for name, array in kernel["state"].items()},
        )
        for kernel in estimator.kernels_
    ]
    features, similarity = joint_features(kernels)
    if as_they_are:
        return lambda X: features(enter(X, unit)[0]), similarity
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
