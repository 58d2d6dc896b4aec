"""Hopfield: the layer in which state patterns retrieve from stored ones."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import torch
from torch import Tensor, nn

from skuhop.exceptions import InvalidParameterError
from skuhop.learning import LOSSES
from skuhop.nn.associations import (
    Association,
    add_zero,
    associate,
    attend,
    measure_energy,
    post_transform,
)
from skuhop.nn.head_parameters import (
    build_head_map,
    build_scaling,
    build_separation,
    check_choice,
    per_head,
)
from skuhop.nn.hflayers_weights import load_hflayers
from skuhop.nn.masks import Masks, join_masks
from skuhop.nn.projections import (
    append_pattern,
    draw_parameters,
    head_size,
    join_heads,
    project,
)
from skuhop.nn.separating import separation_of_heads
from skuhop.retrieval import READ_OUTS, SEPARATIONS, SIMILARITIES

_ATTENTION = {"softmax", "softmax1"}
_ANGLES = {"dot", "cosine", "correlation"}
"""What torch's fused attention computes: softmax of products."""


class _Heads(NamedTuple):
    """What one forward pass works on."""

    states: Tensor
    stored: Tensor
    values: Tensor
    masks: Masks


class Hopfield(nn.Module):
    """State patterns retrieve from stored patterns and read out pattern projections.

    The two stages as a layer: scores ``beta s(Phi(k), Phi(q))`` of projected stored
    patterns k and state patterns q, weights from a separation, and the weighted mean of
    projected values, in every head. Names, shapes, masks and defaults are those of the
    package hflayers; what begins at `separation` is new.

    Parameters
    ----------
    input_size : int, default=None
        Features of state patterns; None only where nothing is projected.

    hidden_size : int, default=None
        Features of the space of every head; None is ``input_size // num_heads``.

    output_size : int, default=None
        Features of the answers; None is `input_size`.

    pattern_size : int, default=None
        Features of the values in every head; None is `hidden_size`.

    num_heads : int, default=1
        Number of heads.

    scaling : float, Tensor of shape (num_heads,) or "learn", default=None
        Inverse temperature beta, inside the separation; None is
        ``1 / sqrt(hidden_size)``.

    update_steps_max : int, Tensor of shape (num_heads,) or None, default=0
        Updates of the state patterns before the answer is read out; None is until they
        rest.

    update_steps_eps : float or Tensor of shape (num_heads,), default=1e-4
        A state pattern rests once an update changes its weights by no more, in
        Euclidean length. Each rests on its own.

    normalize_stored_pattern, normalize_state_pattern, normalize_pattern_projection : \
            bool, default=True
        Whether inputs go through layer normalisation. For each there are also
        ``..._affine`` (default True) and ``..._eps`` (default 1e-5).

    normalize_hopfield_space : bool, default=False
        Whether projected state and stored patterns do; also with ``_affine`` (default
        False) and ``_eps``.

    stored_pattern_as_static, state_pattern_as_static, pattern_projection_as_static : \
            bool, default=False
        Whether these inputs are not projected.

    pattern_projection_as_connected : bool, default=False
        Whether values are projected as stored patterns first.

    stored_pattern_size, pattern_projection_size : int, default=None
        Features of these inputs; None is `input_size`.

    batch_first : bool, default=True
        Whether inputs are (batch, patterns, features), not (patterns, batch, features).

    association_activation : str, default=None
        Name of a function of torch for the answers.

    dropout : float, default=0.0
        Share of weights that are dropped in training.

    input_bias : bool, default=True
        Whether projections have a bias.

    concat_bias_pattern : bool, default=False
        Whether a learned pattern is stored with those that come.

    add_zero_association : bool, default=False
        Whether a pattern of zeros is stored with those that come.

    disable_out_projection : bool, default=False
        Whether answers are what heads read out, one after the other.

    separation : str, default="softmax"
        Weights from scores, a name as in :class:`skuhop.UHopMemory`.

    alpha, gamma : float, Tensor of shape (num_heads,) or "learn", default=None
        Parameter of "entmax" and of "normmax"; None is 1.5 and 2. Learned alphas are
        between 1.02 and 2, gammas above 1.1.

    k, degree : int, default=None
        Parameter of "ksubsets" and of "polynomial"; None is 2 and 4.

    beta : float, Tensor of shape (num_heads,) or "learn", default=None
        Another name of `scaling`.

    similarity : {"dot", "cosine", "euclidean", "correlation", "manhattan"}, \
            default="dot"
        The score s.

    feature_map : {"linear", "mlp"}, Module or callable, default=None
        Phi, on projected state and stored patterns. "linear" and "mlp" are one map for
        each head that starts as the identity; a module, or what a callable
        ``hidden_size -> module`` gives, is common to all. Stage I moves it alone, see
        `separation_loss`.

    null : bool, default=False
        Whether "nothing", of score 0 and value 0, takes part: softmax becomes softmax1.

    answer : {"plain", "l2", "layernorm"}, default="plain"
        Post-transformation of updates, and of what heads read out.

    Raises
    ------
    InvalidParameterError
        If a parameter is not allowed.

    See Also
    --------
    HopfieldPooling : Learned state patterns.
    HopfieldLayer : Learned stored patterns.
    torch.nn.MultiheadAttention : The case of softmax, one step, no Phi.

    References
    ----------
    Ramsauer et al., "Hopfield networks is all you need", ICLR 2021 (arXiv 2008.02217).
    Wu, Hu, Hsiao, Liu, "Uniform memory retrieval with larger capacity for modern
    Hopfield models", ICML 2024 (arXiv 2404.03827): Phi and its separation loss. Santos,
    Niculae, McNamee, Martins, "Hopfield-Fenchel-Young networks", 2024 (arXiv
    2411.08590): separations and post-transformations.

    Examples
    --------
    >>> import torch
    >>> from skuhop.nn import Hopfield
    >>> layer = Hopfield(input_size=8, num_heads=2, separation="entmax", alpha="learn")
    >>> stored, state = torch.randn(4, 10, 8), torch.randn(4, 3, 8)
    >>> layer((stored, state, stored)).shape
    torch.Size([4, 3, 8])
    >>> layer.association((stored, state, stored)).shape
    torch.Size([4, 2, 3, 10])
    """

    norm_stored_pattern: nn.Module | None
    norm_state_pattern: nn.Module | None
    norm_pattern_projection: nn.Module | None
    norm_hopfield_space: nn.Module | None
    bias_stored: nn.Parameter | None
    bias_values: nn.Parameter | None
    multiplicity: Tensor | None

    def __init__(
        self,
        input_size: int | None = None,
        hidden_size: int | None = None,
        output_size: int | None = None,
        pattern_size: int | None = None,
        num_heads: int = 1,
        scaling: float | Tensor | str | None = None,
        update_steps_max: int | Tensor | None = 0,
        update_steps_eps: float | Tensor = 1e-4,
        normalize_stored_pattern: bool = True,
        normalize_stored_pattern_affine: bool = True,
        normalize_stored_pattern_eps: float = 1e-5,
        normalize_state_pattern: bool = True,
        normalize_state_pattern_affine: bool = True,
        normalize_state_pattern_eps: float = 1e-5,
        normalize_pattern_projection: bool = True,
        normalize_pattern_projection_affine: bool = True,
        normalize_pattern_projection_eps: float = 1e-5,
        normalize_hopfield_space: bool = False,
        normalize_hopfield_space_affine: bool = False,
        normalize_hopfield_space_eps: float = 1e-5,
        stored_pattern_as_static: bool = False,
        state_pattern_as_static: bool = False,
        pattern_projection_as_static: bool = False,
        pattern_projection_as_connected: bool = False,
        stored_pattern_size: int | None = None,
        pattern_projection_size: int | None = None,
        batch_first: bool = True,
        association_activation: str | None = None,
        dropout: float = 0.0,
        input_bias: bool = True,
        concat_bias_pattern: bool = False,
        add_zero_association: bool = False,
        disable_out_projection: bool = False,
        *,
        separation: str = "softmax",
        alpha: float | Tensor | str | None = None,
        gamma: float | Tensor | str | None = None,
        k: int | None = None,
        degree: float | None = None,
        beta: float | Tensor | str | None = None,
        similarity: str = "dot",
        feature_map: str | nn.Module | Callable | None = None,
        null: bool = False,
        answer: str = "plain",
    ) -> None:
        super().__init__()
        static = (
            state_pattern_as_static,
            stored_pattern_as_static,
            pattern_projection_as_static,
        )
        self.input_size, self.num_heads = input_size, num_heads
        self.stored_pattern_size = stored_pattern_size or input_size
        self.pattern_projection_size = pattern_projection_size or input_size
        self.hidden_size = head_size(input_size, hidden_size, num_heads, static)
        self.pattern_size = pattern_size or self.hidden_size
        self.output_size = output_size or input_size
        self.state_pattern_as_static, self.stored_pattern_as_static = static[:2]
        self.pattern_projection_as_static = static[2]
        self.pattern_projection_as_connected = pattern_projection_as_connected
        self.batch_first, self.dropout = batch_first, dropout
        self.add_zero_association = add_zero_association
        self.update_steps_max = update_steps_max
        self.update_steps_eps = update_steps_eps
        self.association_activation = check_choice(
            "association_activation", association_activation, None, vars(torch)
        )

        self._build_norms(
            stored_pattern=(
                normalize_stored_pattern,
                normalize_stored_pattern_affine,
                normalize_stored_pattern_eps,
            ),
            state_pattern=(
                normalize_state_pattern,
                normalize_state_pattern_affine,
                normalize_state_pattern_eps,
            ),
            pattern_projection=(
                normalize_pattern_projection,
                normalize_pattern_projection_affine,
                normalize_pattern_projection_eps,
            ),
            hopfield_space=(
                normalize_hopfield_space,
                normalize_hopfield_space_affine,
                normalize_hopfield_space_eps,
            ),
        )
        self._build_projections(input_bias, concat_bias_pattern, disable_out_projection)

        self.separation = check_choice("separation", separation, SEPARATIONS)
        self.similarity = check_choice("similarity", similarity, SIMILARITIES)
        self.answer = check_choice("answer", answer, READ_OUTS)
        self.null = null
        self.feature_map = build_head_map(feature_map, num_heads, self.hidden_size)
        given = {"alpha": alpha, "gamma": gamma, "k": k, "degree": degree}
        self.separation_params = build_separation(separation, given, num_heads)
        # As hflayers: patterns that come as they are and leave so are not scaled.
        bare = all(static) and disable_out_projection and not normalize_hopfield_space
        bare = bare and not pattern_projection_as_connected
        size = None if bare else self.hidden_size
        self.scaling = build_scaling(scaling, beta, size, num_heads)
        self.register_buffer("multiplicity", None)
        self._keys: tuple[Tensor, Tensor | None] | None = None
        self.reset_parameters()

    def _build_norms(self, **options: tuple[bool, bool, float]) -> None:
        """Make the normalisations, None where they are not wanted."""
        sizes = {
            "stored_pattern": self.stored_pattern_size,
            "state_pattern": self.input_size,
            "pattern_projection": self.pattern_projection_size,
            "hopfield_space": self.hidden_size,
        }
        for name, (wanted, affine, eps) in options.items():
            norm = nn.LayerNorm(sizes[name], eps, affine) if wanted else None
            self.register_module(f"norm_{name}", norm)

    def _build_projections(self, bias, bias_pattern, no_out) -> None:
        """Make the linear maps into heads and out of them."""
        hidden = self.num_heads * (self.hidden_size or 0)
        width = self.num_heads * (self.pattern_size or 0)

        def linear(static, n_in, n_out):
            return None if static else nn.Linear(n_in, n_out, bias)

        self.project_state = linear(
            self.state_pattern_as_static, self.input_size, hidden
        )
        self.project_stored = linear(
            self.stored_pattern_as_static, self.stored_pattern_size, hidden
        )
        connected = (
            self.pattern_projection_as_connected and self.project_stored is not None
        )
        n_in = hidden if connected else self.pattern_projection_size
        self.project_values = linear(self.pattern_projection_as_static, n_in, width)
        self.project_answer = linear(no_out, width, self.output_size)
        for name, wanted, size in (
            ("bias_stored", self.project_stored is not None, hidden),
            ("bias_values", self.project_values is not None, width),
        ):
            pattern = torch.empty(1, 1, size, device=None)
            wanted = wanted and bias_pattern
            self.register_parameter(name, nn.Parameter(pattern) if wanted else None)
        if bias_pattern and (self.bias_stored is None or self.bias_values is None):
            raise InvalidParameterError(
                "concat_bias_pattern=True needs stored patterns and pattern "
                "projections that are projected; got stored_pattern_as_static="
                f"{self.stored_pattern_as_static} and pattern_projection_as_static="
                f"{self.pattern_projection_as_static}."
            )

    def __getstate__(self):
        """State without the keys of the last forward pass."""
        return {**super().__getstate__(), "_keys": None}

    def reset_parameters(self) -> None:
        """Draw all parameters anew: weights from N(0, 0.02), Phi as it starts."""
        draw_parameters(self)

    def load_hflayers(self, state_dict: Mapping[str, Tensor]) -> None:
        """Load the weights of the same layer of the package hflayers.

        Parameters
        ----------
        state_dict : mapping of str to Tensor
            What its ``state_dict()`` gave.

        Raises
        ------
        RuntimeError
            If it is that of a layer with other arguments.
        """
        load_hflayers(self, state_dict)

    def forward(
        self,
        input: Tensor | tuple[Tensor, ...],
        stored_pattern_padding_mask: Tensor | None = None,
        association_mask: Tensor | None = None,
    ) -> Tensor:
        """Retrieve.

        Parameters
        ----------
        input : Tensor or tuple of 3 Tensors
            Stored patterns (B, S, stored_pattern_size), state patterns (B, L,
            input_size) and pattern projections (B, S, pattern_projection_size); one
            tensor is all three.

        stored_pattern_padding_mask : bool Tensor of shape (B, S), default=None
            Whether a stored pattern is padding, which does not answer.

        association_mask : bool or float Tensor, default=None
            Of shape (L, S), (B * num_heads, L, S) or (B, num_heads, L, S): whether a
            stored pattern may not answer a state pattern, or what is added to its
            score.

        Returns
        -------
        answers : Tensor of shape (B, L, output_size)
            Zeros, before the projection, where no stored pattern may answer.
        """
        heads = self._prepare(input, stored_pattern_padding_mask, association_mask)
        how = self._how()
        dropout = self.dropout if self.training else 0.0
        if self._is_attention():
            answers = attend(how, *heads, dropout)
        else:
            weights = self._associate(how, heads)
            weights = nn.functional.dropout(weights, dropout, self.training)
            answers = weights.to(heads.values.dtype) @ heads.values
        answers = join_heads(post_transform(how, answers))
        if self.project_answer is not None:
            answers = self.project_answer(answers)
        if self.association_activation is not None:
            answers = getattr(torch, self.association_activation)(answers)
        return answers if self.batch_first else answers.transpose(0, 1)

    def association(
        self,
        input: Tensor | tuple[Tensor, ...],
        stored_pattern_padding_mask: Tensor | None = None,
        association_mask: Tensor | None = None,
    ) -> Tensor:
        """Weights of the answers, from parameters as in `forward`.

        Returns
        -------
        weights : Tensor of shape (B, num_heads, L, S)
            How much every stored pattern has to say. One column more each for
            `concat_bias_pattern` and `add_zero_association`.
        """
        heads = self._prepare(input, stored_pattern_padding_mask, association_mask)
        return self._associate(self._how(), heads)

    @torch.no_grad()
    def get_association_matrix(self, *args, **kwargs) -> Tensor:
        """`association` without gradients, under the name of hflayers."""
        return self.association(*args, **kwargs)

    @torch.no_grad()
    def get_projected_pattern_matrix(self, *args, **kwargs) -> Tensor:
        """Values (B, num_heads, S, pattern_size) that answers are read out of."""
        return self._prepare(*args, **kwargs).values

    def energy(
        self,
        input: Tensor | tuple[Tensor, ...],
        stored_pattern_padding_mask: Tensor | None = None,
        association_mask: Tensor | None = None,
    ) -> Tensor:
        """Energy of the state patterns, from parameters as in `forward`.

        Returns
        -------
        energy : Tensor of shape (B, num_heads, L)
            ``s(q, q) / 2 - Psi*(beta s(K, q)) / beta``, as in
            :meth:`skuhop.UHopMemory.energy`.

        Raises
        ------
        ValueError
            For ``separation="polynomial"``, which has no energy.
        """
        if SEPARATIONS[self.separation].conjugate is None:
            raise ValueError(f"separation={self.separation!r} has no energy.")
        heads = self._prepare(input, stored_pattern_padding_mask, association_mask)
        return measure_energy(self._how(), heads.states, heads.stored, heads.masks)

    def separation_loss(self, loss: str = "average") -> Tensor:
        """Stage I: how little Phi separates the stored patterns of the last forward.

        Its gradient moves Phi alone: stored patterns count as they came.

        Parameters
        ----------
        loss : {"average", "max", "logsumexp"}, default="average"
            As in :class:`skuhop.UHopMemory`.

        Returns
        -------
        loss : Tensor of shape ()
            Mean over batch and heads.

        Raises
        ------
        InvalidParameterError
            If there is no such loss, or no feature map to separate with.
        RuntimeError
            If no forward pass in training came before.
        """
        check_choice("loss", loss, LOSSES)
        if self.feature_map is None:
            raise InvalidParameterError(
                "separation_loss needs a 'feature_map' that it can move. Got None."
            )
        if self._keys is None:
            raise RuntimeError(
                "separation_loss needs the stored patterns of a forward pass in "
                "training mode: call the layer first."
            )
        return separation_of_heads(self.feature_map, *self._keys, LOSSES[loss])

    def _how(self) -> Association:
        """Give the parameters of this forward pass."""
        params = {name: value() for name, value in self.separation_params.items()}
        return Association(
            self.similarity,
            SEPARATIONS[self.separation],
            params,
            self.scaling(),
            self.feature_map,
            self.null,
            self.answer,
            self.multiplicity,
        )

    def _is_attention(self) -> bool:
        """Whether torch's fused attention computes the same."""
        steps = self.update_steps_max
        still = isinstance(steps, int) and steps == 0
        product = self.separation in _ATTENTION and self.similarity in _ANGLES
        return still and product and self.multiplicity is None

    def _associate(self, how: Association, heads: _Heads) -> Tensor:
        return associate(
            how,
            heads.states,
            heads.stored,
            heads.masks,
            self.update_steps_max,
            per_head(self.update_steps_eps),
        )

    def _inputs(self, input) -> tuple[Tensor, Tensor, Tensor]:
        """Say which are stored patterns, state patterns and pattern projections."""
        if isinstance(input, Tensor):
            return input, input, input
        if not isinstance(input, tuple | list) or len(input) != 3:
            raise InvalidParameterError(
                "input must be a tensor, or a tuple of stored patterns, state patterns "
                f"and pattern projections. Got {type(input).__name__}."
            )
        return tuple(input)

    def _prepare(
        self, input, stored_pattern_padding_mask=None, association_mask=None
    ) -> _Heads:
        """Normalise, project into heads, and join the masks."""
        stored, state, values = self._inputs(input)
        if not self.batch_first:
            stored, state, values = (x.transpose(0, 1) for x in (stored, state, values))
        if self.norm_stored_pattern is not None:
            stored = self.norm_stored_pattern(stored)
        if self.norm_state_pattern is not None:
            state = self.norm_state_pattern(state)
        if self.norm_pattern_projection is not None:
            values = self.norm_pattern_projection(values)
        if self.pattern_projection_as_connected and self.project_stored is not None:
            values = self.project_stored(values)
            if self.project_values is None:
                values = values.unflatten(-1, (self.num_heads, -1)).transpose(1, 2)
        queries = project(state, self.project_state, self.num_heads)
        keys = project(stored, self.project_stored, self.num_heads)
        if values.ndim == 3:
            values = project(values, self.project_values, self.num_heads)
        if self.norm_hopfield_space is not None:
            queries = self.norm_hopfield_space(queries)
            keys = self.norm_hopfield_space(keys)
        shape = (len(queries), self.num_heads, queries.shape[2], keys.shape[2])
        masks = join_masks(stored_pattern_padding_mask, association_mask, shape)
        if self.training and self.feature_map is not None:
            self._keys = (keys.detach(), stored_pattern_padding_mask)
        return self._add_patterns(queries, keys, values, masks)

    def _add_patterns(self, queries, keys, values, masks) -> _Heads:
        """Store the learned pattern and the zeros, where they are wanted."""
        if self.bias_stored is not None and self.bias_values is not None:
            keys = append_pattern(keys, self.bias_stored)
            values = append_pattern(values, self.bias_values)
            masks = masks.extend()
        if self.add_zero_association:
            keys, values, masks = add_zero(keys), add_zero(values), masks.extend()
        return _Heads(queries, keys, values, masks)
