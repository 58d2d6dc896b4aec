"""What the fast suite takes of a product: a part, with some of every value."""

from collections import defaultdict
from itertools import product
from pathlib import Path

import pytest


@pytest.mark.parametrize("n", [2, 3, 4])
@pytest.mark.parametrize("sizes", [(8, 4, 4, 2), (6, 8), (2, 2, 6, 8)])
def test_a_thin_product_has_some_of_every_value(request, sizes, n):
    file = str(Path(__file__).parent / "conftest.py")
    conftest = request.config.pluginmanager.get_plugin(file)
    values = [[object() for _ in range(size)] for size in sizes]
    met, chosen = defaultdict(dict), []
    for row in product(*values):
        if conftest._diagonal(met, "test", dict(enumerate(row))) % n == 0:
            chosen.append(row)
    n_all = len(list(product(*values)))
    assert n_all / n * 0.9 < len(chosen) < n_all / n * 1.1 + 1
    assert [set(column) for column in zip(*chosen, strict=True)] == [
        set(column) for column in values
    ]
