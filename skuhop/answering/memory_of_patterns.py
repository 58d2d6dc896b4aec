"""Stage II of the memory: from fitted NumPy state to something that can be asked."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from skuhop.answering.damage_scorer import damage_scorer, linear_matrix
from skuhop.answering.incomplete_patterns import (
    check_incomplete,
    measure_variance,
    refuse_incomplete,
)
from skuhop.answering.neighbour_index import IndexChoice, open_fitted_index
from skuhop.answering.precision import choose_product
from skuhop.learning import choose_kind, restore
from skuhop.retrieval import (
    SIMILARITIES,
    FeatureMap,
    Memory,
    Scorer,
    best_from_index,
    best_partial,
    build_incomplete_scorer,
    build_observed_scorer,
    build_scorer,
    exact,
    lay_out_known,
    missing_weight,
    separation_rule,
)
from skuhop.support import cast, fill_means, has_nan, to_tensor, unit_of

DISTANCES = {"auto": "euclidean", "dot": "euclidean"}
"""Similarities that have no distance of their own, and whose they take: the distance
that a product induces, and for models of damage that of the features."""


class RecallParameters(NamedTuple):
    """Parameters of `UHopMemory` that Stage II is prepared with; names as there.

    Those of the separation are the ones in use, and `index` comes with its numbers.
    """

    feature_map: object
    similarity: str
    beta: str | float
    separation: str
    separation_params: Mapping
    precision: str
    index_choice: IndexChoice


class FittedPatterns(NamedTuple):
    """All that Stage II reads of a fitted `UHopMemory`.

    Attributes
    ----------
    parameters : RecallParameters
    patterns, weights, mean
        What is stored, in the user's units; patterns may have holes, as NaN.
    unit : float
        Power of two of its size.
    feature_map_state, alignment, selection, damage_model
        What Stage I has learned.
    built_index : mapping
        Empty, or an index that `fit` has built: the attribute `index_`.
    """

    parameters: RecallParameters
    patterns: np.ndarray
    weights: np.ndarray | None
    mean: np.ndarray
    unit: float
    feature_map_state: Mapping
    alignment: Mapping
    selection: Mapping
    damage_model: Mapping
    built_index: Mapping

    def prepare(
        self, complete: bool, dtype, device: torch.device, by_distance: bool = False
    ) -> Memory:
        """Tensors on the device, the feature map restored, the keys encoded.

        Parameters
        ----------
        complete : bool
            Whether queries have all entries.
        dtype : numpy dtype
            What to compute in.
        device : torch.device
            Where to compute.
        by_distance : bool, default=False
            Whether distances are asked for, not scores.
        """
        if by_distance:
            if has_nan(self.patterns):
                refuse_incomplete("The distance of neighbors")
            return self._compare_by_distance().prepare(complete, dtype, device)
        _check_range(self.unit, dtype)
        parameters, unit = self.parameters, self.unit
        tensor = partial(_tensor, dtype=dtype, device=device)
        patterns, mean = tensor(self.patterns), tensor(self.mean / unit)
        scaled = patterns if unit == 1 else tensor(self.patterns / unit)
        weights = None if self.weights is None else tensor(self.weights)
        product = choose_product(parameters.precision, dtype, device)
        scorer = self._build_scorer(complete, scaled, mean, weights, product, patterns)
        holes = None
        if has_nan(self.patterns):
            patterns, holes = lay_out_known(patterns, tensor(self.mean))
            # A quotient of rounded sums would not be a mean.
            product = exact
        separation, params = separation_rule(
            parameters.separation, parameters.separation_params
        )
        return Memory(
            scorer,
            separation,
            params,
            patterns,
            weights,
            complete,
            _open_index(self, weights, patterns) if complete else None,
            product,
            holes,
        )

    @property
    def is_taught(self) -> bool:
        """Whether something is known of damage, from a corruption or from queries."""
        return "trust" in self.damage_model or bool(self.damage_model.get("learned"))

    def _build_scorer(
        self, complete: bool, patterns, mean, weights, product, source
    ) -> Scorer:
        """Make what gives scores, of patterns and their mean in the unit."""
        rule, beta, unit = self.parameters.similarity, self.parameters.beta, self.unit
        if has_nan(self.patterns):
            check_incomplete(self.parameters, self.is_taught)
            variance = measure_variance(patterns, mean, weights)
            return build_incomplete_scorer(rule, beta, patterns, mean, variance, unit)
        parts = patterns, mean, weights
        if not complete:
            return build_observed_scorer(rule, beta, *parts, unit)
        feature_map = _restore_feature_map(self, patterns, unit)
        if rule not in SIMILARITIES:
            return _build_damage_scorer(self, patterns, mean, feature_map)
        return build_scorer(rule, beta, *parts, feature_map, product, unit, source)

    def _compare_by_distance(self) -> FittedPatterns:
        """Make a record of a memory whose scores are minus distances, or angles."""
        similarity = self.parameters.similarity
        return self._replace(
            parameters=self.parameters._replace(
                similarity=DISTANCES.get(similarity, similarity),
                beta=1.0,
                separation="softmax",
                separation_params={},
                index_choice=IndexChoice(),
            ),
            built_index={},
        )

    def encode(self, patterns: np.ndarray, device: torch.device) -> Tensor:
        """Features of rows, stored or not, as the similarity compares them.

        "auto", which compares in several ways, stands for the distance of the features.
        """
        unit = unit_of(patterns)
        rows = to_tensor(fill_means(patterns, self.mean) / unit, device)
        feature_map = _restore_feature_map(self, rows, unit)
        features = rows if feature_map is None else feature_map.patterns(rows)
        name = self.parameters.similarity
        rule = SIMILARITIES[name if name in SIMILARITIES else "euclidean"]
        return rule.encode(features)[0]


def _tensor(array: np.ndarray, dtype, device) -> Tensor:
    """Make stored numbers a tensor of a dtype."""
    return to_tensor(cast(array, dtype, "What is stored"), device)


def find_nearest(memory: Memory, rows: Tensor, budget: int) -> Tensor:
    """Question for the most associated patterns, by the index where there is one."""
    if memory.nearest is None:
        return best_partial(memory, rows, budget).position
    return best_from_index(memory, rows, budget)


def weigh_missing(memory: Memory, rows: Tensor, budget: int) -> Tensor:
    """Question for the weight that the index keeps out of answers, estimated."""
    if memory.nearest is None:
        return rows.new_zeros(len(rows))
    return missing_weight(memory, rows, budget)


def _check_range(unit: float, dtype) -> None:
    """Refuse to compute in a dtype in which rows of such a size are no numbers.

    Raises
    ------
    ValueError
        Names the size.
    """
    info = np.finfo(dtype)
    if not float(info.tiny) <= unit <= float(info.max):
        raise ValueError(
            f"The stored patterns are of the size {unit:.0e}, which {np.dtype(dtype)} "
            "cannot hold: pass queries in float64, or scale the data."
        )


def _restore_feature_map(
    fitted: FittedPatterns, like: Tensor, unit: float
) -> FeatureMap | None:
    """Restore the learned feature map for rows in a unit, None for the identity."""
    return restore(
        choose_kind(fitted.parameters.feature_map, fitted.selection),
        fitted.feature_map_state,
        fitted.alignment,
        like,
        unit,
    )


def _build_damage_scorer(fitted: FittedPatterns, patterns, mean, feature_map) -> Scorer:
    """Scorer for the similarities that know what damage looks like."""
    similarity, beta = fitted.parameters.similarity, fitted.parameters.beta
    if not fitted.damage_model:
        raise ValueError(
            f"similarity={similarity!r} needs what only fit can learn; call "
            "fit again after setting it."
        )
    matrix = feature_map and linear_matrix(
        fitted.feature_map_state, fitted.alignment, patterns
    )
    return damage_scorer(
        fitted.damage_model,
        fitted.patterns,
        fitted.weights,
        patterns,
        mean,
        feature_map,
        matrix,
        fitted.unit,
        1.0 if beta == "auto" else float(beta),
    )


def _open_index(fitted: FittedPatterns, weights: Tensor | None, like: Tensor):
    """Open the index for queries, None where it is not to be used."""
    choice, similarity = fitted.parameters.index_choice, fitted.parameters.similarity
    return open_fitted_index(choice, similarity, fitted.built_index, weights, like)
