"""Lines, donors and blends against references of a few lines."""

import numpy as np
import pytest
import torch

from skuhop.retrieval import (
    Donors,
    Gaussian,
    blend,
    candidate_columns,
    complete,
    complete_without,
    conditional_variances,
    donor_weights,
    lines_of_hidden,
    multiply_solved,
    solve_masks,
    weigh_distances,
)

RNG = np.random.RandomState(0)
D = 5
MEAN = RNG.randn(D)
FACTOR = RNG.randn(D, D)
COVARIANCE = FACTOR @ FACTOR.T + np.eye(D)
ROWS = RNG.randn(40, D)
ROWS[RNG.uniform(size=ROWS.shape) < 0.4] = np.nan
ROWS[0], ROWS[1] = np.nan, 1.0
GAUSSIAN = Gaussian(torch.from_numpy(MEAN), torch.from_numpy(COVARIANCE))


def conditional(row):
    """Mean and variances of all entries given those that are there."""
    o = ~np.isnan(row)
    B = COVARIANCE[:, o] @ np.linalg.pinv(COVARIANCE[np.ix_(o, o)])
    mean = MEAN + B @ (row[o] - MEAN[o])
    return mean, np.diag(COVARIANCE - B @ COVARIANCE[o])


def solved(rows=ROWS):
    return solve_masks(torch.from_numpy(rows), GAUSSIAN)


def test_conditional_means_and_variances():
    means = complete(solved(), GAUSSIAN).numpy()
    variances = conditional_variances(solved(), GAUSSIAN).numpy()
    for row, mean, variance in zip(ROWS, means, variances, strict=True):
        expected, spread = conditional(row)
        np.testing.assert_allclose(mean, expected)
        np.testing.assert_allclose(variance, np.where(np.isnan(row), spread, 0))
    observed = ~np.isnan(ROWS)
    np.testing.assert_allclose(means[observed], ROWS[observed])


@pytest.mark.parametrize("group", [slice(0, 1), slice(1, 3), slice(2, 5)])
def test_entries_hidden_from_a_row_that_is_solved(group):
    hidden = ROWS.copy()
    hidden[:, group] = np.nan
    expected = [conditional(row)[0] for row in hidden]
    found = complete_without(solved(), GAUSSIAN, group).numpy()
    np.testing.assert_allclose(found, expected)
    lines = lines_of_hidden(torch.from_numpy(ROWS), solved(), group).numpy()
    there = ~np.isnan(ROWS[:, group]).any(axis=1)
    np.testing.assert_allclose(lines[there], found[there][:, group])


def test_normal_errors_less_what_is_observed():
    """Matheron's rule: what is left has the conditional variance."""
    rng = np.random.RandomState(0)
    row = np.array([[np.nan, 1.0, np.nan, 0.0, np.nan]])
    many = np.repeat(row, 40_000, axis=0)
    S = GAUSSIAN.covariance
    errors = torch.from_numpy(
        rng.multivariate_normal(np.zeros(D), COVARIANCE, len(many))
    )
    left = errors - multiply_solved(solved(many), errors) @ S
    _, variances = conditional(row[0])
    np.testing.assert_allclose(left.var(0), variances, rtol=0.05, atol=1e-9)


def donors(n=30):
    rng = np.random.RandomState(1)
    rows, variances = rng.randn(n, D), rng.uniform(size=(n, D)) * (rng.rand(n, D) < 0.3)
    weights = rng.randint(1, 4, size=n).astype(float)
    return Donors(*map(torch.from_numpy, (rows, variances, weights)))


def reference_weights(queries, stored, precision, power=4):
    distances = (queries[:, None] - stored.rows.numpy()) ** 2 + stored.variances.numpy()
    weights = (1 + distances @ precision) ** -power * stored.multiplicity.numpy()
    return weights / weights.sum(1, keepdims=True)


def test_donors_are_weighed_by_expected_distances():
    queries = np.random.RandomState(2).randn(7, D)
    precision = np.array([0.5, 0.0, 3.0, 1.0, 10.0])
    found = donor_weights(
        torch.from_numpy(queries), donors(), torch.from_numpy(precision)
    )
    np.testing.assert_allclose(found, reference_weights(queries, donors(), precision))


def test_donors_with_holes_are_neither_near_nor_far():
    """One with a hole is behind one that agrees and before one that does not."""
    rows = torch.tensor([[0.0, 0.0], [0.0, 0.0], [0.0, 5.0]], dtype=torch.float64)
    variances = torch.tensor([[0.0, 0.0], [0.0, 1.0], [0.0, 0.0]], dtype=torch.float64)
    ones = torch.ones(3, dtype=torch.float64)
    weights = donor_weights(rows[:1], Donors(rows, variances, ones), ones[:2])[0]
    assert weights[0] > weights[1] > weights[2]


def test_multiplicity_is_copies():
    stored, precision = donors(), torch.ones(D, dtype=torch.float64)
    copies = stored.multiplicity.long()
    repeated = Donors(*(part.repeat_interleave(copies, 0) for part in stored[:2]), None)
    repeated = repeated._replace(multiplicity=torch.ones_like(repeated.rows[:, 0]))
    queries = torch.from_numpy(ROWS[1:2])
    one, many = (donor_weights(queries, d, precision) for d in (stored, repeated))
    sums = torch.zeros_like(one).index_add(
        1, torch.arange(len(copies)).repeat_interleave(copies), many
    )
    torch.testing.assert_close(one, sums)


def test_what_is_infinitely_far_has_no_weight():
    distances = torch.tensor([[1.0, torch.inf, 3.0]], dtype=torch.float64)
    weights = weigh_distances(distances, torch.ones(3, dtype=torch.float64))
    expected = torch.tensor([[16 / 17, 0, 1 / 17]], dtype=torch.float64)
    torch.testing.assert_close(weights, expected)


def test_far_queries_have_donors():
    far = torch.full((1, D), 1e120, dtype=torch.float64)
    weights = donor_weights(far, donors(), torch.ones(D, dtype=torch.float64))
    assert weights.isfinite().all()
    assert abs(weights.sum() - 1) < 1e-9


def test_candidates_are_centre_line_donors_and_both():
    weights = torch.tensor([[0.25, 0.75]], dtype=torch.float64)
    values, lines = torch.tensor([[1.0], [3.0]]).double(), torch.tensor([[0.0], [2.0]])
    line, centre = torch.tensor([[5.0]]).double(), torch.tensor([2.0]).double()
    found = candidate_columns(weights, values, lines.double(), line, centre)
    # Donors: 2.5; their lines: 1.5; moved along the line: 5 + 2.5 - 1.5.
    assert found[:, 0, 0].tolist() == [2.0, 5.0, 2.5, 6.0]
    shares = torch.tensor([0.1, 0.2, 0.3, 0.4]).double()
    assert blend(found, shares).item() == pytest.approx(0.2 + 1 + 0.75 + 2.4)
