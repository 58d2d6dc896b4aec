"""What supervised Stage I is told by the parameters and the number of rows."""

import pytest

from skuhop import CrossFitting, UHopClassifier
from skuhop.fitting.members import kernels_to_learn, settings_of


@pytest.mark.parametrize(
    "n, n_folds, batch_size, max_iter",
    [
        (150, 8, 128, 100),
        (2000, 4, 128, 100),
        (5000, 4, 128, 100),
        (5001, 4, 256, 100),
        (20_000, 4, 256, 400),
        (10**6, 4, 256, 600),
    ],
)
def test_what_is_automatic_depends_on_the_number_of_rows(
    n, n_folds, batch_size, max_iter
):
    def read(estimator):
        settings = settings_of(estimator, kernels_to_learn(estimator)[0], n)
        return settings.n_folds, settings.batch_size, settings.max_iter

    assert read(UHopClassifier()) == (n_folds, batch_size, max_iter)
    asked = CrossFitting(n_folds=3, batch_size=7)
    assert read(UHopClassifier(max_iter=5, training=asked)) == (3, 7, 5)
