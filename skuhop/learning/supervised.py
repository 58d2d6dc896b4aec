"""Supervised Stage I: the separation loss in which patterns of one class may meet.

``-log sum_{j: y_j = y_i} p_j(i)``, with ``p_j(i)`` the retrieval weights of pattern j
for pattern i left out of the memory, is minus the leave-one-out log-likelihood of the
labels: the loss of neighbourhood components analysis and of ModernNCA (arXiv
2407.03257), and U-Hop's separation loss once every pattern is a class of its own.

Rejected: one feature map learned on all patterns. Its weights are over-confident (the
patterns it retrieves are the ones it was learned on), and nothing tells when to stop.
So one member is learned for each fold, stops on the rows it has not seen, and the
members' scores are averaged. The rows left out also calibrate the inverse temperature
and the weight of the prior, and decide whether learning was worth anything.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from skuhop.learning.embeddings import MemberMap, is_learned
from skuhop.learning.export import numpy_state
from skuhop.learning.losses import LOSSES
from skuhop.learning.optimiser import Adam
from skuhop.retrieval.separations import Separation
from skuhop.retrieval.similarities import Similarity

FULL_BATCH = 512
"""Up to so many patterns every one is a query and a memory in every step."""
CANDIDATE_SHARE = 0.2
"""Share of the other patterns that a batch of a larger set is compared with."""
MAX_CANDIDATES = 2048
"""Most patterns that a batch is compared with beside itself."""
LOOK_EVERY = 10
"""Steps between two looks at the rows left out."""
MAX_WATCHED = 1024
"""Most rows left out by a member that are looked at."""
MAX_MEMORY = 8192
"""Most patterns that they are compared with."""
FIRST_BETA = 5.0
"""Where the learning of beta starts, in standard deviations of the scores."""
SHARP_BETA = 40.0
"""Beta where there is too little to calibrate it: nearly the nearest pattern alone."""
SMALLEST = 8
"""Fewer patterns than this teach nothing."""
_FLOOR = 1e-8
"""Least probability whose logarithm enters the loss."""
_PRIOR_WEIGHTS = (0.001, 0.003, 0.01, 0.02, 0.04, 0.08, 0.15, 0.3, 0.5, 0.75, 0.95)
_COARSE = tuple(2.0**k for k in range(-3, 10))
_FINE = tuple(2.0 ** (k / 3) for k in range(-6, 7))


class Problem(NamedTuple):
    """Distinct labelled patterns.

    Attributes
    ----------
    Z : Tensor of shape (n, d)
        Standardised patterns.
    labels : Tensor of shape (n,)
        Class indices.
    weights : Tensor of shape (n,)
        Multiplicities, class weights included.
    n_classes : int
    """

    Z: Tensor
    labels: Tensor
    weights: Tensor
    n_classes: int

    @property
    def one_hot(self) -> Tensor:
        """Labels as rows of zeros and a one."""
        return torch.nn.functional.one_hot(self.labels, self.n_classes).to(self.Z)

    @property
    def prior(self) -> Tensor:
        """Share of every class in the weights."""
        return self.weights @ self.one_hot / self.weights.sum()


class Settings(NamedTuple):
    """How to learn; the names are those of the estimator."""

    loss: str
    similarity: Similarity
    separation: Separation
    separation_params: Mapping
    beta: float | None
    n_components: int
    n_folds: int
    max_iter: int
    learning_rate: float
    weight_decay: float
    batch_size: int
    label_smoothing: float
    early_stopping: bool
    start: Mapping | None
    seed: int
    report: Callable[[int, float, Callable], bool] | None


class Calibration(NamedTuple):
    """What the rows left out have decided.

    Attributes
    ----------
    beta : float
        Factor on the scores.
    prior_weight : float
        Share of the prior in the probabilities.
    losses : Tensor of shape (n_rows,)
        ``-log p(right class)`` of every row left out.
    weights : Tensor of shape (n_rows,)
        Their weights.
    """

    beta: float
    prior_weight: float
    losses: Tensor
    weights: Tensor

    @property
    def loss(self) -> float:
        """Weighted mean of the losses."""
        return ((self.weights @ self.losses) / self.weights.sum()).item()


class CrossFitted(NamedTuple):
    """What supervised Stage I leaves behind.

    Attributes
    ----------
    state : dict of str to ndarray
        Parameters of the members, empty where the untrained kernel was kept.
    betas : ndarray of shape (n_members,)
        Inverse temperatures, calibrated; one for the untrained kernel.
    prior_weight : float
        Share of the prior in the probabilities.
    loss_curve : list of float
        Mean loss of the members before every step.
    selection : dict
        What was kept, and why, in plain values.
    """

    state: dict
    betas: np.ndarray
    prior_weight: float
    loss_curve: list
    selection: dict


# ---- folds


def stratified_folds(labels: Tensor, n_classes: int, n_folds: int, generator) -> Tensor:
    """Fold of every row; classes are spread evenly and so are the sizes."""
    order = torch.randperm(len(labels), generator=generator)
    by_class = order[labels.cpu()[order].argsort(stable=True)]
    folds = torch.empty(len(labels), dtype=torch.int64)
    folds[by_class] = torch.arange(len(labels)) % n_folds
    return folds.to(labels.device)


def _parts(folds: Tensor, n_folds: int, generator) -> list[tuple[Tensor, Tensor]]:
    """Rows left out by, and rows of, every member, in random order.

    Distinct rows come sorted, and of a large set only the first of these are looked at.
    """
    order = torch.randperm(len(folds), generator=generator).to(folds)
    shuffled = folds[order]
    return [(order[shuffled == k], order[shuffled != k]) for k in range(n_folds)]


# ---- scores and losses


def member_scores(rule: Similarity, queries: Tensor, memory: Tensor) -> Tensor:
    """Scores (K, a, b) of features (K, a, r) and (K, b, r), member by member."""
    if rule.compare is not None:
        return -torch.cdist(queries, memory, p=1)
    (a, bias_a), (b, bias_b) = _encode(rule, queries), _encode(rule, memory)
    scores = a @ b.mT
    return scores if bias_a is None else scores + bias_a[..., None] + bias_b[:, None]


def _encode(rule, features):
    vectors, bias = rule.encode(features.flatten(0, 1))
    shape = features.shape[:2]
    return vectors.unflatten(0, shape), None if bias is None else bias.unflatten(
        0, shape
    )


def label_log_loss(
    scores: Tensor,
    labels: Tensor,
    weights: Tensor,
    valid: Tensor,
    n_classes: int,
    smoothing: float,
) -> Tensor:
    """Cross-entropy of leave-one-out retrieval, shape (K,), summed over no member.

    Parameters
    ----------
    scores : Tensor of shape (K, q, m)
        Times beta. The q queries are the first q of the m candidates.
    labels, weights, valid : Tensor of shape (K, m)
        Of the candidates; those that are not valid are not there.
    n_classes : int
    smoothing : float
        Share of the target that is spread over all classes.
    """
    n_queries = scores.shape[1]
    absent = ~valid[:, None] | torch.eye(
        n_queries, scores.shape[2], dtype=torch.bool, device=scores.device
    )
    scores = scores + weights.log()[:, None]
    one_hot = torch.nn.functional.one_hot(labels, n_classes).to(scores)
    p = torch.softmax(scores.masked_fill(absent, -torch.inf), 2) @ one_hot
    target = (1 - smoothing) * one_hot[:, :n_queries] + smoothing / n_classes
    losses = -(target * p.clamp_min(_FLOOR).log()).sum(2)
    # A query without another pattern of its class cannot be right: it teaches nothing.
    partners = (one_hot * valid[..., None]).sum(1).gather(1, labels[:, :n_queries])
    counted = weights[:, :n_queries] * (valid[:, :n_queries] & (partners > 1))
    total = counted.sum(1)
    return (counted * losses).sum(1) / total.where(total > 0, 1)


def separation_loss(name: str, features: Tensor, weights: Tensor, valid: Tensor):
    """U-Hop's losses, which know no labels, member by member."""
    return torch.stack(
        [
            LOSSES[name](phi[there], w[there])
            for phi, w, there in zip(features, weights, valid, strict=True)
        ]
    )


# ---- batches


def _padded(parts: list[Tensor]) -> tuple[Tensor, Tensor]:
    """Row indices of the members as (K, m), and which are no padding."""
    longest = max(map(len, parts))
    index = torch.stack([torch.cat([p, p[:1].repeat(longest - len(p))]) for p in parts])
    lengths = torch.tensor([len(p) for p in parts], device=index.device)
    return index, torch.arange(longest, device=index.device) < lengths[:, None]


def batches(parts: list[Tensor], batch_size: int, generator: torch.Generator):
    """Endless ``(indices, valid, n_queries)``; queries come first.

    Small sets are taken whole. Of larger ones a batch is compared with itself and
    with a random share of the rest, as in ModernNCA.
    """
    shortest = min(map(len, parts))
    if shortest <= max(FULL_BATCH, batch_size):
        index, valid = _padded(parts)
        while True:
            yield index, valid, index.shape[1]
    extra = min(int(CANDIDATE_SHARE * (shortest - batch_size)), MAX_CANDIDATES)
    valid = torch.ones(
        (len(parts), batch_size + extra), dtype=torch.bool, device=parts[0].device
    )
    while True:
        drawn = [
            part[torch.randperm(len(part), generator=generator)[: batch_size + extra]]
            for part in parts
        ]
        yield torch.stack(drawn), valid, batch_size


# ---- calibration


def _right_mass(settings, scores, beta, problem, asked, memory):
    """Weight that retrieval puts on the right class, and on nothing at all."""
    weights = settings.separation.weights(
        beta * scores, problem.weights[memory], **settings.separation_params
    )
    one_hot = problem.one_hot[memory]
    mass = weights @ one_hot
    right = mass.gather(1, problem.labels[asked, None])[:, 0]
    return right, (1 - mass.sum(1)).clamp_min(0)


def calibrate(settings, problem: Problem, blocks, betas) -> Calibration:
    """Find the beta and the prior weight under which the rows left out are likeliest.

    Parameters
    ----------
    settings : Settings
    problem : Problem
    blocks : list of (scores, asked, memory)
        Scores of the rows `asked` against the rows `memory`, for every member.
    betas : sequence of float
        What to try.
    """
    prior = problem.prior
    asked = torch.cat([rows for _, rows, _ in blocks])
    weights, own_prior = problem.weights[asked], prior[problem.labels[asked]]
    best = None
    for beta in betas:
        found = [_right_mass(settings, s, beta, problem, a, m) for s, a, m in blocks]
        right, nothing = (torch.cat(part) for part in zip(*found, strict=True))
        right = right + nothing * own_prior
        for share in _PRIOR_WEIGHTS:
            losses = -torch.log((1 - share) * right + share * own_prior)
            tried = Calibration(beta, share, losses, weights)
            if best is None or tried.loss < best.loss:
                best = tried
    return best


def score_unit(scores: Tensor) -> float:
    """One over the standard deviation of scores: the unit of beta."""
    deviation = scores.std().item() if scores.numel() > 1 else 0.0
    return 1 / deviation if 0 < deviation < math.inf else 1.0


def _blocks(rule, features, parts):
    """Scores of the rows left out, for features (K, n, r) or (1, n, r)."""
    blocks = []
    for k, (out, kept) in enumerate(parts):
        out, kept = out[:MAX_WATCHED], kept[:MAX_MEMORY]
        phi = features[min(k, len(features) - 1)][None]
        blocks.append((member_scores(rule, phi[:, out], phi[:, kept])[0], out, kept))
    return blocks


def calibrate_untrained(settings: Settings, problem: Problem, parts):
    """Calibration of the similarity on the patterns as they are, and a first beta.

    The first beta is a soft one: learning from the beta that is best for the untrained
    kernel, often ten times as sharp, sees a few neighbours only and gets nowhere.
    """
    blocks = _blocks(settings.similarity, problem.Z[None], parts)
    if settings.beta is not None:
        return calibrate(settings, problem, blocks, [settings.beta]), settings.beta
    unit = score_unit(torch.cat([scores.flatten() for scores, _, _ in blocks]))
    coarse = calibrate(settings, problem, blocks, [unit * f for f in _COARSE])
    fine = [coarse.beta * f for f in _FINE[4:9]]
    return calibrate(settings, problem, blocks, fine), FIRST_BETA * unit


# ---- the loop


def _begin(kind: MemberMap, settings: Settings, Z: Tensor) -> dict[str, Tensor]:
    """Start of the members: that of the kind, or an earlier state of the same shape."""
    tensors = kind.begin(Z, settings.n_folds, settings.n_components, settings.seed)
    start = settings.start or {}
    fits = set(start) == set(tensors) and all(
        np.shape(start[name]) == tuple(t.shape) for name, t in tensors.items()
    )
    if fits:
        tensors = {k: torch.tensor(start[k]).to(t) for k, t in tensors.items()}
    return tensors


def _train(kind, settings, problem: Problem, parts, beta, generator):
    """Learn all members at once; keep each as it was at its best look."""
    tensors = _begin(kind, settings, problem.Z)
    learned = [t.requires_grad_() for n, t in tensors.items() if is_learned(n, t)]
    log_betas = torch.full(
        (len(parts),), math.log(beta), dtype=problem.Z.dtype, device=problem.Z.device
    )
    supervised = settings.loss not in LOSSES
    free = supervised and settings.beta is None
    moving = [*learned, log_betas.requires_grad_()] if free else learned
    optimiser = Adam(moving, settings.learning_rate)
    watch = _Watch(kind, settings, problem, parts, tensors, log_betas)
    curve = []
    draw = batches([kept for _, kept in parts], settings.batch_size, generator)
    for step in range(settings.max_iter if moving else 0):
        if settings.early_stopping and step % LOOK_EVERY == 0:
            watch.look(step)
        index, valid, n_queries = next(draw)
        features = kind.features(tensors, problem.Z[index], True)
        labels, weights = problem.labels[index], problem.weights[index]
        if supervised:
            scores = member_scores(
                settings.similarity, features[:, :n_queries], features
            )
            losses = label_log_loss(
                log_betas.exp()[:, None, None] * scores,
                labels,
                weights,
                valid,
                problem.n_classes,
                settings.label_smoothing,
            )
        else:
            losses = separation_loss(settings.loss, features, weights, valid)
        gradients = torch.autograd.grad(losses.sum(), moving, allow_unused=True)
        optimiser.learning_rate = _annealed(settings, step)
        with torch.no_grad():
            for tensor in learned:
                tensor.mul_(1 - optimiser.learning_rate * settings.weight_decay)
        optimiser.step(gradients)
        curve.append(losses.mean().item())
        if settings.report and settings.report(step + 1, curve[-1], watch.so_far):
            break
    watch.look(len(curve), last=not settings.early_stopping)
    return watch, curve


def _annealed(settings: Settings, step: int) -> float:
    """Learning rate that falls to zero along a cosine."""
    return (
        settings.learning_rate * (1 + math.cos(math.pi * step / settings.max_iter)) / 2
    )


class _Watch:
    """Looks at the rows left out, and what each member was at its best look."""

    def __init__(self, kind, settings, problem, parts, tensors, log_betas):
        self.kind, self.settings, self.problem, self.parts = (
            kind,
            settings,
            problem,
            parts,
        )
        self.current = {**tensors, "log_betas": log_betas}
        self.best = {k: t.detach().clone() for k, t in self.current.items()}
        self.losses = torch.full((len(parts),), math.inf)
        self.steps = [0] * len(parts)

    def features(self, tensors):
        """Features (K, n, r) of all patterns."""
        Z = self.problem.Z
        with torch.no_grad():
            pieces = [
                self.kind.features(tensors, rows.expand(len(self.parts), -1, -1), False)
                for rows in Z.split(MAX_WATCHED)
            ]
        return torch.cat(pieces, 1)

    def so_far(self):
        """Give the members as they are now, not calibrated."""
        state = numpy_state(self.current)
        betas = np.exp(state.pop("log_betas"))
        selection = {"kept": "learned", "reason": "Stage I is not over"}
        return CrossFitted(state, betas, _PRIOR_WEIGHTS[0], [], selection)

    def look(self, step, last=False):
        """Keep the members that have become better, or at the `last` look all."""
        tensors = {k: t for k, t in self.current.items() if k != "log_betas"}
        betas = self.current["log_betas"].detach().exp().tolist()
        blocks = _blocks(self.settings.similarity, self.features(tensors), self.parts)
        for k, (scores, out, kept) in enumerate(blocks):
            right, _ = _right_mass(
                self.settings, scores, betas[k], self.problem, out, kept
            )
            share = 0.02 / self.problem.n_classes
            w = self.problem.weights[out]
            loss = -(w @ torch.log(0.98 * right + share)) / w.sum()
            if last or loss < self.losses[k]:
                self.losses[k], self.steps[k] = loss, step
                for name, tensor in self.current.items():
                    if tensor.is_floating_point():
                        self.best[name][k] = tensor.detach()[k]


def _clearly_better(one: Calibration, other: Calibration) -> bool:
    """Whether the rows left out are likelier by more than one standard error."""
    w = one.weights / one.weights.sum()
    gap = other.losses - one.losses
    mean = w @ gap
    error = (w.square() @ (gap - mean).square()).sqrt()
    return bool(mean > error)


def _folds(problem: Problem, settings: Settings):
    """Rows left out by, and rows of, every member, and the generator that drew them."""
    generator = torch.Generator().manual_seed(settings.seed)
    n_folds = min(settings.n_folds, len(problem.Z) // 2)
    folds = stratified_folds(problem.labels, problem.n_classes, n_folds, generator)
    return _parts(folds, n_folds, generator), generator


def choose_inputs(candidates: list[Tensor], problem: Problem, settings: Settings):
    """Position of the inputs on which the untrained kernel does clearly best.

    Where features have the same unit, as pixels do, their spread is information that
    dividing by it destroys. The first of the candidates has the benefit of doubt.
    """
    best = 0
    if len(candidates) < 2 or not is_learnable(problem):
        return best
    parts, _ = _folds(problem, settings)
    tried = [
        calibrate_untrained(settings, problem._replace(Z=Z), parts)[0]
        for Z in candidates
    ]
    for place, calibration in enumerate(tried):
        if _clearly_better(calibration, tried[best]):
            best = place
    return best


def is_learnable(problem: Problem) -> bool:
    """Whether there are rows and classes enough to learn from."""
    return len(problem.Z) >= SMALLEST and int((problem.prior > 0).sum()) >= 2


def cross_fit(kind: MemberMap | None, problem: Problem, settings: Settings):
    """Supervised Stage I, from labelled patterns to calibrated members.

    Parameters
    ----------
    kind : MemberMap or None
        Row of the table of members' maps; None is the identity.
    problem : Problem
    settings : Settings

    Returns
    -------
    fitted : CrossFitted
    """
    if not is_learnable(problem):
        return _too_little(problem, settings)
    parts, generator = _folds(problem, settings)
    settings = settings._replace(n_folds=len(parts))
    untrained, first = calibrate_untrained(settings, problem, parts)
    if kind is None:
        return _untrained(untrained, [], "as asked", {})
    watch, curve = _train(kind, settings, problem, parts, first, generator)
    betas = watch.best.pop("log_betas").exp()
    blocks = [
        (beta * scores, out, kept)
        for beta, (scores, out, kept) in zip(
            betas,
            _blocks(settings.similarity, watch.features(watch.best), parts),
            strict=True,
        )
    ]
    factors = _FINE if settings.beta is None else (1.0,)
    learned = calibrate(settings, problem, blocks, factors)
    seen = {
        "learned_loss": learned.loss,
        "untrained_loss": untrained.loss,
        "steps": watch.steps,
    }
    if settings.early_stopping and _clearly_better(untrained, learned):
        reason = "learning made the rows left out less likely"
        return _untrained(untrained, curve, reason, seen)
    state = numpy_state(watch.best)
    betas = (learned.beta * betas).cpu().numpy()
    selection = {"kept": "learned", "reason": "best on the rows left out", **seen}
    return CrossFitted(state, betas, learned.prior_weight, curve, selection)


def _too_little(problem, settings):
    beta = settings.beta
    if beta is None:
        scores = member_scores(settings.similarity, problem.Z[None], problem.Z[None])
        beta = SHARP_BETA * score_unit(scores)
    reason = "fewer than two classes or too few patterns to learn from"
    selection = {"kept": "untrained", "reason": reason}
    return CrossFitted({}, np.array([beta]), _PRIOR_WEIGHTS[0], [], selection)


def _untrained(calibration, curve, reason, seen):
    selection = {"kept": "untrained", "reason": reason, **seen}
    selection.setdefault("untrained_loss", calibration.loss)
    betas = np.array([calibration.beta])
    return CrossFitted({}, betas, calibration.prior_weight, curve, selection)
