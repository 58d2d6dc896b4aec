"""Supervised Stage I: losses against plain loops, folds, batches, calibration."""

from itertools import pairwise

import numpy as np
import pytest
import torch

from skuhop.learning.members.input_scaling import Inputs, standardisation
from skuhop.learning.members.kernels import PAIR, Kernel, joint_features, kernels_of
from skuhop.learning.members.member_maps import (
    MAX_EMBEDDED,
    MEMBER_MAPS,
    _Waves,
    member_map,
)
from skuhop.learning.optimiser import Pace
from skuhop.learning.supervised import LABELS, NUMBERS, Problem, Settings, cross_fit
from skuhop.learning.supervised.batches import (
    FEW,
    FULL_BATCH,
    batches,
    drop_entries,
    few_valued,
)
from skuhop.learning.supervised.calibration import (
    Calibration,
    calibrate,
    clearly_better,
)
from skuhop.learning.supervised.folds import deal, divide
from skuhop.learning.supervised.member_scores import (
    leave_one_out,
    log_weights,
    member_scores,
)
from skuhop.learning.supervised.spans import find_span
from skuhop.learning.supervised.targets import log_loss, squared_error
from skuhop.retrieval import SEPARATIONS, SIMILARITIES
from skuhop.support import run_side_by_side

DOUBLE = torch.float64
TARGETS = pytest.mark.parametrize(
    "target", [LABELS, NUMBERS], ids=["labels", "numbers"]
)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def generators():
    return [generator(0), generator(1)]


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=generator(seed), dtype=DOUBLE)


def settings(**changes):
    plain = Settings(
        loss="log_loss",
        similarity=SIMILARITIES["cosine"],
        separation=SEPARATIONS["softmax"],
        separation_params={},
        beta=None,
        n_components=4,
        n_folds=3,
        max_iter=20,
        learning_rate=1e-2,
        weight_decay=1e-2,
        batch_size=256,
        label_smoothing=0.05,
        early_stopping=True,
        linear_share=0.0,
        seed=0,
        run=run_side_by_side,
    )
    return plain._replace(**changes)


def one_hot(labels, n_classes):
    return torch.nn.functional.one_hot(labels, n_classes).to(DOUBLE)


def label_log_loss(scores, labels, weights, copies, n_classes, smoothing):
    batch = (one_hot(labels, n_classes), weights, copies)
    return log_loss(left_out(scores, *batch), *batch, smoothing)


def left_out(scores, values, weights, copies, groups=None):
    scores = scores + log_weights(weights, copies > 0)[:, None]
    return leave_one_out(scores, values, copies, groups)


def divided(task, **changes):
    wanted = settings(**changes)
    parts = task.target, task.values, task.copies, task.groups
    return divide(*parts, wanted.n_folds, wanted.seed)


def cross_fit_all(kernels, task, wanted):
    return cross_fit(kernels, task, divided(task, n_folds=wanted.n_folds), wanted)


def problem(n=60, d=5, n_classes=3):
    labels = torch.arange(n) % n_classes
    Z = normal(n, d)
    Z[:, 0] += 2 * labels
    ones = torch.ones(n, dtype=DOUBLE)
    return Problem(Z, one_hot(labels, n_classes), ones, ones, LABELS)


def numbers(n=60, d=5):
    Z = normal(n, d)
    values = torch.stack([Z[:, 0], Z[:, 1] - Z[:, 0]], 1)
    values = (values - values.mean(0)) / values.std(0, correction=0)
    ones = torch.ones(n, dtype=DOUBLE)
    return Problem(Z, values, ones, ones, NUMBERS)


# --- the loss ------------------------------------------------------------------------


def plain_loss(scores, labels, weights, valid, n_classes, smoothing):
    """The definition, one number at a time."""
    total = mass = 0.0
    n_queries, n = scores.shape
    for i in range(n_queries):
        others = [j for j in range(n) if j != i and valid[j]]
        if not valid[i] or not any(labels[j] == labels[i] for j in others):
            continue
        heavy = {j: weights[j] * np.exp(scores[i, j]) for j in others}
        own = 0.0
        for c in range(n_classes):
            p = sum(v for j, v in heavy.items() if labels[j] == c)
            p = max(p / sum(heavy.values()), 1e-8)
            target = (1 - smoothing) * (labels[i] == c) + smoothing / n_classes
            own -= target * np.log(p)
        total, mass = total + weights[i] * own, mass + weights[i]
    return total / mass if mass else 0.0


@pytest.mark.parametrize("smoothing", [0.0, 0.05, 1.0])
@pytest.mark.parametrize("n_queries", [7, 4])
def test_label_log_loss_is_its_definition(smoothing, n_queries):
    scores = normal(2, n_queries, 7)
    labels = torch.tensor([[0, 1, 0, 2, 1, 0, 1], [2, 2, 1, 1, 1, 0, 2]])
    weights = normal(2, 7, seed=1).abs() + 0.1
    copies = torch.ones(2, 7, dtype=DOUBLE)
    copies[1, -1] = 0
    found = label_log_loss(scores, labels, weights, copies, 3, smoothing)
    expected = [
        plain_loss(
            *(A[k].numpy() for A in (scores, labels, weights, copies)), 3, smoothing
        )
        for k in range(2)
    ]
    np.testing.assert_allclose(found, expected)


def test_queries_without_a_partner_teach_nothing():
    labels = torch.arange(4)[None]
    scores = normal(1, 4, 4).requires_grad_()
    ones = torch.ones(1, 4, dtype=DOUBLE)
    loss = label_log_loss(scores, labels, ones, ones, 4, 0.05)
    loss.sum().backward()
    assert loss.item() == 0
    assert not scores.grad.any()


def plain_squared_error(scores, values, weights, valid, groups):
    """The definition, one number at a time."""
    total = mass = 0.0
    n_queries, n = scores.shape
    for i in range(n_queries):
        others = [j for j in range(n) if j != i and valid[j] and groups[j] != groups[i]]
        heavy = {j: weights[j] * np.exp(scores[i, j]) for j in others}
        if not valid[i]:
            continue
        errors = [
            values[i, c] - sum(v * values[j, c] for j, v in heavy.items()) / norm
            for norm in [sum(heavy.values())]
            for c in range(values.shape[1])
        ]
        total, mass = total + weights[i] * np.square(errors).mean(), mass + weights[i]
    return total / mass


@pytest.mark.parametrize("grouped", [False, True])
@pytest.mark.parametrize("n_queries", [7, 4])
def test_squared_error_is_its_definition(n_queries, grouped):
    scores, values = normal(2, n_queries, 7), normal(2, 7, 3, seed=2)
    weights = normal(2, 7, seed=1).abs() + 0.1
    copies = torch.ones(2, 7, dtype=DOUBLE)
    copies[1, -1] = 0
    groups = torch.tensor([[0, 1, 0, 2, 1, 0, 1], [3, 3, 1, 1, 2, 0, 3]])
    own = torch.arange(7).expand(2, 7)
    batch = (values, weights, copies)
    answers = left_out(scores, *batch, groups if grouped else None)
    found = squared_error(answers, *batch, 0.0)
    parts = (scores, *batch, groups if grouped else own)
    expected = [plain_squared_error(*(A[k].numpy() for A in parts)) for k in range(2)]
    np.testing.assert_allclose(found, expected)


@pytest.mark.parametrize("loss", [log_loss, squared_error])
def test_copies_teach_what_they_teach_spelt_out(loss):
    copies = torch.tensor([[3, 1, 2, 1, 1]])
    weights = copies * torch.tensor([[0.5, 2, 1, 0.1, 1]], dtype=DOUBLE)
    scores, values = normal(1, 5, 5), one_hot(torch.tensor([[0, 0, 1, 2, 1]]), 3)
    found = loss(left_out(scores, values, weights, copies), values, weights, copies, 0)
    row = torch.arange(5).repeat_interleave(copies[0])
    each = (weights / copies)[:, row], torch.ones(1, len(row), dtype=DOUBLE)
    batch = values[:, row], *each
    expected = loss(left_out(scores[:, row][..., row], *batch), *batch, 0)
    torch.testing.assert_close(found, expected)


def test_a_query_alone_with_its_group_answers_the_mean_and_teaches_nothing():
    scores = normal(1, 4, 4).requires_grad_()
    values, ones = normal(1, 4, 2, seed=1), torch.ones(1, 4, dtype=DOUBLE)
    groups = torch.zeros(1, 4, dtype=torch.int64)
    answers = left_out(scores, values, ones, ones, groups)
    torch.testing.assert_close(answers[0], values.mean(1).expand(4, 2))
    squared_error(answers, values, ones, ones, 0.0).sum().backward()
    assert not scores.grad.any()


def test_loss_falls_when_classes_part():
    labels = torch.tensor([[0, 0, 1, 1]])
    ones = torch.ones(1, 4, dtype=DOUBLE)
    same = (labels[:, :, None] == labels[:, None]).to(DOUBLE)
    losses = [
        label_log_loss(beta * same, labels, ones, ones, 2, 0.0).item()
        for beta in (0.0, 1.0, 10.0)
    ]
    assert losses == sorted(losses, reverse=True)
    # One partner among three others, all alike: probability a third.
    assert losses[0] == pytest.approx(np.log(3))


# --- scores --------------------------------------------------------------------------

PLAIN = {
    "dot": lambda u, v: u @ v,
    "cosine": lambda u, v: u @ v / np.linalg.norm(u) / np.linalg.norm(v),
    "euclidean": lambda u, v: -((u - v) ** 2).sum() / 2,
    "manhattan": lambda u, v: -np.abs(u - v).sum(),
    "correlation": lambda u, v: np.corrcoef(u, v)[0, 1],
}


@pytest.mark.parametrize("similarity", SIMILARITIES)
def test_member_scores(similarity):
    queries, memory = normal(2, 3, 4), normal(2, 5, 4, seed=1)
    found = member_scores(SIMILARITIES[similarity], queries, memory)
    expected = [
        [[PLAIN[similarity](u, v) for v in memory[k].numpy()] for u in a]
        for k, a in enumerate(queries.numpy())
    ]
    np.testing.assert_allclose(found, expected)


@pytest.mark.parametrize("similarity", SIMILARITIES)
def test_member_scores_times_beta_and_more(similarity):
    rule = SIMILARITIES[similarity]
    queries, memory = normal(2, 3, 4), normal(2, 5, 4, seed=1)
    betas, offsets = normal(2, seed=2).exp(), normal(2, 5, seed=3)
    found = member_scores(rule, queries, memory, betas, offsets)
    plain = member_scores(rule, queries, memory)
    expected = betas[:, None, None] * plain + offsets[:, None]
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("n_queries", [7, 4])
def test_answers_left_out_have_the_gradients_of_autograd(n_queries):
    scores, values = normal(2, n_queries, 7), normal(2, 7, 3, seed=2)
    weights = normal(2, 7, seed=1).abs() + 0.1
    copies = torch.ones(2, 7, dtype=DOUBLE)
    copies[1, -1] = 0

    def answers(scores):
        return left_out(scores, values, weights, copies)

    assert torch.autograd.gradcheck(answers, scores.requires_grad_())


def test_waves_have_the_gradients_of_autograd():
    angles = normal(2, 3, 4, 5).requires_grad_()
    assert torch.autograd.gradcheck(_Waves.apply, angles)


@pytest.mark.parametrize("similarity", SIMILARITIES)
def test_member_scores_have_gradients(similarity):
    features = normal(2, 6, 4).requires_grad_()
    member_scores(
        SIMILARITIES[similarity], features[:, :3], features
    ).square().sum().backward()
    assert features.grad.isfinite().all()
    assert features.grad.any()


@pytest.mark.parametrize("similarity", SIMILARITIES)
@pytest.mark.parametrize("feature_map", MEMBER_MAPS)
def test_joint_features_average_the_members(feature_map, similarity):
    kind, rule = member_map(feature_map), SIMILARITIES[similarity]
    Z = normal(6, 3)
    tensors = kind.begin(Z, 4, 5, 0)
    betas = torch.tensor([1.0, 2.0, 3.0, 0.5], dtype=DOUBLE)
    kernel = Kernel(feature_map, similarity, betas, tensors)
    features, name = joint_features([kernel])
    phi = kind.features(tensors, Z.expand(4, -1, -1), False)
    expected = (betas[:, None, None] * member_scores(rule, phi, phi)).mean(0)
    joint = features(Z)[None]
    found = member_scores(SIMILARITIES[name], joint, joint)[0]
    torch.testing.assert_close(found, expected)


def test_joint_features_add_the_scores_of_kernels_up_to_a_constant():
    Z = normal(6, 3)
    kernels, expected = [], 0
    for seed, (feature_map, similarity) in enumerate(PAIR):
        kind, rule = member_map(feature_map), SIMILARITIES[similarity]
        betas, tensors = normal(2, seed=seed).exp(), kind.begin(Z, 2, 5, seed)
        kernels.append(Kernel(feature_map, similarity, betas, tensors))
        phi = kind.features(tensors, Z.expand(2, -1, -1), False)
        scores = betas[:, None, None] * member_scores(rule, phi, phi)
        expected = expected + scores.mean(0)
    features, name = joint_features(kernels)
    joint = features(Z)[None]
    found = member_scores(SIMILARITIES[name], joint, joint)[0]
    shift = (found - expected)[:1, :1]
    torch.testing.assert_close(found, expected + shift)


@pytest.mark.parametrize(
    "feature_map, similarity, expected",
    [
        ("auto", "auto", [("periodic", "cosine"), ("linear", "euclidean")]),
        ("auto", "dot", [("periodic", "dot"), ("linear", "dot")]),
        ("mlp", "auto", [("mlp", "cosine")]),
        ("linear", "euclidean", [("linear", "euclidean")]),
    ],
)
def test_kernels_of_parameters(feature_map, similarity, expected):
    found = kernels_of(feature_map, similarity)
    assert [(k.feature_map, k.similarity) for k in found] == expected


# --- members -------------------------------------------------------------------------


@pytest.mark.parametrize("feature_map", MEMBER_MAPS)
@pytest.mark.parametrize("d", [1, 3, 9])
def test_members(feature_map, d):
    kind = member_map(feature_map)
    Z = normal(10, d)
    tensors = kind.begin(Z, 2, 6, 0)
    again = kind.begin(Z, 2, 6, 0)
    assert all(torch.equal(tensors[name], again[name]) for name in tensors)
    features = kind.features(tensors, Z.expand(2, -1, -1), False)
    assert features.shape == (2, 10, 6)
    assert features.dtype == DOUBLE
    assert not torch.allclose(features[0], features[1])


def test_linear_map_starts_with_the_angles_of_the_input():
    Z = normal(8, 3)
    features = MEMBER_MAPS["linear"].features(
        MEMBER_MAPS["linear"].begin(Z, 2, 6, 0), Z.expand(2, -1, -1), False
    )
    torch.testing.assert_close(features @ features.mT, (Z @ Z.T).expand(2, -1, -1))


def test_only_features_of_more_than_two_values_are_embedded():
    Z = normal(20, 4)
    Z[:, 1] = Z[:, 1] > 0
    Z[:, 3] = 0
    tensors = MEMBER_MAPS["periodic"].begin(Z, 2, 6, 0)
    assert tensors["embedded"].tolist() == [0, 2]
    wide = MEMBER_MAPS["periodic"].begin(normal(20, MAX_EMBEDDED + 1), 2, 6, 0)
    assert "embedded" not in wide


def test_standardisation():
    X = normal(30, 4) * 3 + 1
    X[:, 2] = 1e9
    w = torch.arange(30, dtype=DOUBLE)
    inputs = standardisation(X, w)
    copies = standardisation(X.repeat_interleave(w.long(), 0), None)
    torch.testing.assert_close(inputs.centre, copies.centre)
    torch.testing.assert_close(inputs.scale, copies.scale)
    Z = inputs(X)
    assert not Z[:, 2].any()
    assert Z.abs().max() < 3
    far = Inputs(torch.zeros(1), torch.ones(1))(torch.tensor([[1e-3], [1e6]]))
    torch.testing.assert_close(far, torch.tensor([[1e-3], [3.0]]), rtol=1e-4, atol=0)


# --- folds and batches ---------------------------------------------------------------


@pytest.mark.parametrize("n_folds", [2, 3, 8])
def test_folds_are_even(n_folds):
    labels = torch.tensor([0] * 13 + [1] * 5 + [2] * 22 + [3])
    folds = deal(labels, torch.ones(41), n_folds, generator()).argmax(1)
    for rows in (labels >= 0, *(labels == c for c in range(4))):
        sizes = torch.bincount(folds[rows], minlength=n_folds)
        assert sizes.max() - sizes.min() <= 1


@pytest.mark.parametrize("n_folds", [2, 5])
def test_numbers_are_spread_over_the_folds(n_folds):
    values = normal(50)
    folds = deal(values, torch.ones(50), n_folds, generator()).argmax(1)
    ranks = values.argsort().argsort().double()
    means = [ranks[folds == k].mean() for k in range(n_folds)]
    assert max(means) - min(means) < n_folds


def test_folds_keep_groups_together():
    task = numbers(60)._replace(groups=torch.arange(60) // 7)
    parts = divided(task, n_folds=4).parts
    left_out = [set(task.groups[out].tolist()) for out, _ in parts]
    for here, (_, kept) in zip(left_out, parts, strict=True):
        assert here
        assert not here & set(task.groups[kept].tolist())
    assert sorted(g for here in left_out for g in here) == list(range(9))


def test_large_sets_are_looked_at_in_random_order():
    # Rows come sorted: the first thousand of them would be no sample.
    task = problem(4000)
    parts = divided(task, n_folds=2).parts
    for out, kept in parts:
        assert sorted(torch.cat([out, kept]).tolist()) == list(range(4000))
        for rows in (out, kept):
            assert abs(rows[:500].double().mean() - 2000) < 300


def test_small_sets_are_taken_whole():
    parts = [torch.arange(5), torch.arange(3) + 10]
    index, valid, n_queries = next(batches(parts, 2, generators()))
    assert n_queries == 5
    for rows, there, part in zip(index, valid, parts, strict=True):
        assert rows[there].tolist() == part.tolist()


def test_large_sets_come_in_batches():
    n = FULL_BATCH + 100
    parts = [torch.arange(n), torch.arange(n) + n]
    draw = batches(parts, 100, generators())
    (index, valid, n_queries), (other, _, _) = next(draw), next(draw)
    assert n_queries == 100
    assert index.shape == (2, 100 + int(0.2 * (n - 100)))
    assert valid.all()
    assert not torch.equal(index, other)
    for rows, part in zip(index, parts, strict=True):
        assert len(set(rows.tolist())) == len(rows)
        assert set(rows.tolist()) <= set(part.tolist())


def test_columns_of_few_values():
    levels = torch.arange(40) % (FEW + 1)
    Z = torch.stack([levels.clamp_max(FEW - 1), levels, normal(40, 1)[:, 0]], 1)
    assert few_valued(Z).tolist() == [True, False, False]
    assert not few_valued(Z[:1]).any()


def test_entries_are_dropped_from_the_columns_named_for_every_other_member():
    Z, columns = 1 + normal(4, 500, 3).abs(), torch.tensor([True, False, True])
    draws = [None, generator(), None, generator()]
    seen = drop_entries(Z, columns, 0.3, draws)
    assert torch.equal(seen[::2], Z[::2])
    assert torch.equal(seen[..., 1], Z[..., 1])
    some, of = seen[1::2][..., columns], Z[1::2][..., columns]
    assert torch.equal(some[some != 0], of[some != 0])
    assert abs((some == 0).double().mean() - 0.3) < 0.06
    assert drop_entries(Z, ~columns & columns, 0.3, draws) is Z


# --- how long members learn ----------------------------------------------------------


def test_the_rate_stays_while_looks_find_gains_and_then_falls_to_zero():
    plan = Pace(0.1, 100, 20)
    for step, loss in ((0, 3.0), (10, 2.0), (20, 1.0)):
        plan.look(step, loss)
    assert plan.n_steps == 100
    plan.look(30, 1.0)
    assert plan.n_steps == 50
    rates = [plan.rate_at(step) for step in range(50)]
    assert rates[:31] == [0.1] * 31
    assert all(now < before for before, now in pairwise(rates[30:]))
    assert rates[40] == pytest.approx(0.05)
    assert 0 < rates[49] < 1e-3
    plan.look(40, 5.0)  # The end has begun.
    assert plan.n_steps == 50


@pytest.mark.parametrize("n_steps", [1, 7, 20])
def test_a_few_steps_are_all_last_ones(n_steps):
    plan = Pace(0.1, n_steps, 20)
    plan.look(0, 1.0)
    plan.look(10, 2.0)
    assert plan.n_steps == n_steps
    assert plan.rate_at(0) == 0.1
    assert all(plan.rate_at(step) < 0.1 for step in range(1, n_steps))


def test_noise_is_learned_in_few_steps_and_a_rule_in_more():
    n_steps = {}
    Z, noise = normal(300, 4), normal(300, 1, seed=1)[:, 0]
    for name, signs in (("noise", noise), ("rule", Z[:, 0] * Z[:, 1])):
        task = problem(300, 4)
        task = task._replace(Z=Z, values=one_hot((signs > 0).long(), 2))
        long = settings(max_iter=200, n_components=8)
        fitted = cross_fit_all([Kernel("mlp", "cosine")], task, long)
        n_steps[name] = len(fitted.loss_curve)
    assert n_steps["noise"] < n_steps["rule"] <= 200
    stubborn = settings(max_iter=60, early_stopping=False)
    fitted = cross_fit_all([Kernel("mlp", "cosine")], task, stubborn)
    assert len(fitted.loss_curve) == 60


def test_members_learn_alike_in_step_and_in_threads():
    def learn(**how):
        wanted = settings(max_iter=30, n_folds=5, **how)
        return cross_fit_all(kernels_of("auto", "auto"), problem(260, 5, 2), wanted)

    def run_backwards(tasks):
        for task in reversed(tasks):
            task(lambda: True)

    told = []
    alone = learn()
    for other in (
        learn(run=run_backwards),
        learn(report=lambda step, *_: told.append(step)),
    ):
        # Products may differ in their last bit by where a tensor begins.
        np.testing.assert_allclose(other.loss_curve, alone.loss_curve, rtol=1e-7)
        for one, two in zip(other.kernels, alone.kernels, strict=True):
            np.testing.assert_allclose(one.betas, two.betas, rtol=1e-7)
            for name, learned in one.state.items():
                np.testing.assert_allclose(learned, two.state[name], 1e-6, 1e-9)
    assert told == list(range(1, len(alone.loss_curve) + 1))


# --- calibration and the whole -------------------------------------------------------


def test_calibration_finds_the_likeliest():
    task = problem()
    rows, others = torch.arange(20), torch.arange(20, 60)
    scores = normal(20, 40)
    betas = [0.1, 1.0, 5.0]
    found = calibrate(settings(), task, [(scores, rows, others)], betas)
    tried = {
        beta: calibrate(settings(), task, [(scores, rows, others)], [beta]).loss
        for beta in betas
    }
    assert found.beta == min(tried, key=tried.get)
    assert found.loss == min(tried.values())


def test_rounding_is_no_reason_to_prefer():
    ones = torch.ones(50)
    one, other = (Calibration(1.0, 0.0, loss * ones, ones) for loss in (1e-7, 3e-7))
    assert not clearly_better(one, other)
    assert clearly_better(one, other._replace(losses=ones))


def test_what_retrieval_cannot_know_is_left_to_the_prior():
    task = problem()
    rows, others = torch.arange(20), torch.arange(20, 60)
    noise = calibrate(settings(), task, [(normal(20, 40), rows, others)], [50.0])
    right = 5 * task.values[rows] @ task.values[others].T
    sure = calibrate(settings(), task, [(right, rows, others)], [50.0])
    assert noise.prior_weight > 0.5 > 0.01 > sure.prior_weight


@pytest.mark.parametrize("n_rows", [10, 100, 1000])
def test_a_few_rows_without_a_surprise_do_not_make_the_next_one_impossible(n_rows):
    task = problem(2 * n_rows)._replace(n_surprises=1.0)
    rows, others = torch.arange(n_rows), torch.arange(n_rows, 2 * n_rows)
    right = 5 * task.values[rows] @ task.values[others].T
    sure = calibrate(settings(), task, [(right, rows, others)], [50.0])
    # Within the grid of shares.
    assert 0.3 / n_rows < sure.prior_weight < 3 / n_rows


def test_noise_is_shrunk_to_the_mean():
    task = numbers()
    rows, others = torch.arange(20), torch.arange(20, 60)
    noise = calibrate(settings(), task, [(normal(20, 40), rows, others)], [50.0])
    near = -(task.values[rows][:, None] - task.values[others]).square().sum(2)
    sure = calibrate(settings(), task, [(near, rows, others)], [50.0])
    assert noise.prior_weight > 0.5 > 0.1 > sure.prior_weight
    # What is answered with the mean alone is wrong by the variance.
    assert noise.loss == pytest.approx(1, abs=0.4)
    assert sure.loss < 0.2


@pytest.mark.parametrize("make", [problem, numbers])
@pytest.mark.parametrize("feature_map", MEMBER_MAPS)
def test_cross_fit_learns(feature_map, make):
    fitted = cross_fit_all(
        [Kernel(feature_map, "cosine")],
        make(300, 20),
        settings(max_iter=60, n_components=16),
    )
    assert fitted.loss_curve[-1] < fitted.loss_curve[0]
    assert fitted.selection["learned_loss"] < fitted.selection["untrained_loss"]
    (kernel,) = fitted.kernels
    assert len(kernel.betas) == 3
    assert all(len(t) == 3 for name, t in kernel.state.items() if name != "embedded")


def test_the_rows_left_out_share_the_scores_between_kernels():
    """Some to the linear one where a plane cuts the classes, none where waves do."""
    plain = problem(150, 6, 1)
    line = plain.Z.sum(1) > 0
    wave = (3 * plain.Z[:, 0]).sin() > 0
    tasks = {"line": (plain, line), "wave": (plain._replace(Z=plain.Z[:, :2]), wave)}
    taken = {}
    for name, (task, labels) in tasks.items():
        task = task._replace(values=one_hot(labels.long(), 2))
        fitted = cross_fit_all(
            kernels_of("auto", "auto"), task, settings(max_iter=100, n_components=8)
        )
        taken[name] = [kernel.feature_map for kernel in fitted.kernels]
        assert 40 <= len(fitted.loss_curve) <= 200
        factors = fitted.selection["factors"]
        assert [factor > 0 for factor in factors] == [
            kind in taken[name] for kind, _ in PAIR
        ]
    assert "linear" in taken["line"]
    assert taken["wave"] == ["periodic"]


def test_cross_fit_keeps_the_untrained_kernel_of_noise():
    task = problem()
    labels = torch.randint(3, (60,), generator=generator(3))
    noise = task._replace(values=one_hot(labels, 3))
    fast = settings(early_stopping=True, max_iter=200, learning_rate=0.3)
    fitted = cross_fit_all([Kernel("mlp", "cosine")], noise, fast)
    assert fitted.selection["learned_loss"] > np.log(3) - 0.2
    assert fitted.prior_weight > 0.1


@pytest.mark.parametrize("make", [problem, numbers])
@pytest.mark.parametrize("n", [1, 2, 3])
def test_too_little_to_learn_from(n, make):
    fitted = cross_fit_all(kernels_of("auto", "auto"), make(n), settings())
    (kernel,) = fitted.kernels
    assert kernel.state == {}
    assert fitted.loss_curve == []
    assert np.isfinite(kernel.betas).all()
    assert (kernel.betas > 0).all()


def test_fixed_beta_stays():
    fitted = cross_fit_all([Kernel("linear", "cosine")], problem(), settings(beta=3.0))
    np.testing.assert_allclose(fitted.kernels[0].betas, 3.0, rtol=1e-6)


@pytest.mark.parametrize("n_classes", [3, 40])
@TARGETS
def test_judgements_are_those_of_the_answers(target, n_classes):
    task = problem(60, 5, n_classes)
    stored, values = task.values[:40], task.values[40:]
    weights = torch.rand(len(values), 40, generator=generator(), dtype=DOUBLE) / 30
    judge = target.judge(stored, values)
    parts = [judge(weights[rows], rows) for rows in (slice(0, 3), slice(3, None))]
    residue, unspent = (torch.cat(part) for part in zip(*parts, strict=True))
    answers = weights @ stored
    torch.testing.assert_close(residue, target.residue(answers, values))
    left = 1 - answers.sum(1, keepdim=True) if target is LABELS else 0 * answers[:, :1]
    torch.testing.assert_close(unspent, left)


def wide_rows(n=12, d=80):
    return normal(n, d).float()


@pytest.mark.parametrize("name", MEMBER_MAPS)
def test_members_are_the_same_in_the_span(name):
    Z, queries = wide_rows(), normal(5, 80, seed=1).float()
    kind = member_map(name)
    tensors = kind.begin(Z, 3, 4, 0)
    span = find_span(Z, kind.multiply, False, few_valued(Z))
    inside = span.begin(tensors)
    there = kind.features(inside, span.enter(Z).expand(3, -1, -1), False)
    back = span.leave(inside)
    assert {k: t.shape for k, t in back.items()} == {
        k: t.shape for k, t in tensors.items()
    }
    for features in (tensors, back):
        expected = kind.features(features, Z.expand(3, -1, -1), False)
        torch.testing.assert_close(there, expected, rtol=1e-4, atol=1e-4)
    # Nothing is known of what is not in the span.
    beside = queries - (queries @ span.basis) @ span.basis.T * (12 / 80)
    torch.testing.assert_close(
        kind.features(back, beside.expand(3, -1, -1), False),
        kind.features(back, torch.zeros_like(beside).expand(3, -1, -1), False),
        rtol=1e-4,
        atol=1e-4,
    )


def test_the_span_is_left_alone_where_it_is_not_all():
    Z, names = wide_rows(), MEMBER_MAPS["mlp"].multiply
    levels = few_valued(Z)
    assert find_span(Z, names, False, levels) is not None
    assert find_span(Z[:, :20], names, False, levels[:20]) is None  # not wide
    assert find_span(Z, names, True, levels) is None  # columns are embedded
    assert find_span(Z, (), False, levels) is None  # a user's module
    levels[3] = True
    assert find_span(Z, names, False, levels) is None  # entries are dropped


def test_members_of_wide_rows_come_back_for_rows_as_they_are():
    task = problem(24)
    values, ones = task.values.float(), task.weights.float()
    rows = values @ normal(3, 120).float() + normal(24, 120, seed=1).float()
    task = task._replace(Z=rows, values=values, weights=ones, copies=ones)
    wanted = settings(max_iter=30, early_stopping=False)
    fitted = cross_fit_all([Kernel("linear", "cosine")], task, wanted)
    assert fitted.selection["kept"] == "learned"
    (kernel,) = fitted.kernels
    assert kernel.state["linear"].shape == (3, 120, 4)
    features = rows @ torch.from_numpy(kernel.state["linear"])
    scores = member_scores(SIMILARITIES["cosine"], features, features).mean(0)
    same = values @ values.T > 0
    alone = ~torch.eye(len(rows), dtype=torch.bool)
    assert scores[same & alone].mean() > scores[~same].mean() + 0.3
