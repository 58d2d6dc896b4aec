"""The models of the forecasting benchmark: what each tries, and how it is fitted."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from typing import NamedTuple

import numpy as np
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.linear_model import Ridge
from sklearn.neighbors import KNeighborsRegressor

from skuhop import CrossFitting, UHopRegressor

NORMALISATIONS = {
    "nothing": lambda X: np.zeros(len(X)),
    "last value": lambda X: X[:, -1],
    "mean": lambda X: X.mean(axis=1),
}
"""What is subtracted from a window and from its answer."""
NEIGHBOURS = (5, 10, 20, 50, 100, 200, 400, 800, 1600)
ALPHAS = (1, 10, 100, 1000, 10_000, 100_000)
LEARN_EVERY = 4
"""Of so many windows UHopRegressor learns from one."""
MONTH = 30 * 24
PAIRS = 60_000
"""Pairs of window and lead that boosting learns from."""
_PREDICTED = 200_000
"""Pairs that it predicts at a time."""


class Model(NamedTuple):
    """What the benchmark asks of a model.

    Attributes
    ----------
    tries : callable
        ``(train, validation) -> iterator of (settings, prediction)``.
    fit : callable
        ``(settings, train) -> fitted``.
    predict : callable
        ``(fitted, queries) -> (n, horizon)``.
    add : callable
        ``(settings, fitted, train, more) -> fitted`` with more windows known.
    seeds : tuple of dict
        Settings of every repetition, beside those that are tuned.
    """

    tries: Callable
    fit: Callable
    predict: Callable
    add: Callable
    seeds: tuple = ({},)


def _model(fit, predict, grid, add=None, seeds=({},)):
    """Model that is fitted anew for each of its settings."""

    def tries(train, validation):
        for settings in grid:
            yield settings, predict(fit(settings, train), validation)

    def again(settings, fitted, train, more):
        return fit(settings, train.joined(more))

    return Model(tries, fit, predict, add or again, seeds)


def _predict(fitted, queries):
    return fitted.predict(queries.X)


def _last_day(fitted, queries):
    days = -(-queries.y.shape[1] // 24)
    return np.tile(queries.X[:, -24:], days)[:, : queries.y.shape[1]]


# --- k nearest neighbours ------------------------------------------------------------


def _fit_neighbours(settings, train):
    return KNeighborsRegressor(**settings).fit(train.X, train.y)


def _try_neighbours(train, validation):
    """Every k of a metric from one search: the first k of the most neighbours."""
    for metric in ("euclidean", "manhattan", "cosine"):
        search = _fit_neighbours({"metric": metric}, train)
        distances, rows = search.kneighbors(validation.X, max(NEIGHBOURS))
        for weights in ("uniform", "distance"):
            shares = (
                np.ones_like(distances)
                if weights == "uniform"
                else 1 / np.maximum(distances, 1e-12)
            )
            sums, done = np.zeros(validation.y.shape), 0
            for k in NEIGHBOURS:
                for j in range(done, k):
                    sums += shares[:, j, None] * train.y[rows[:, j]]
                done = k
                settings = {"n_neighbors": k, "metric": metric, "weights": weights}
                yield settings, sums / shares[:, :k].sum(axis=1, keepdims=True)


# --- one boosted model for all leads -------------------------------------------------


def _pairs(part, rows, leads):
    """Last day, daily means, lead and hour of the day, for pairs of window and lead."""
    daily = part.X.reshape(len(part.X), -1, 24).mean(axis=2)
    hour = (part.start[rows] + leads) % 24
    return np.column_stack([part.X[rows, -24:], daily[rows], leads, hour])


def _fit_boosting(settings, train):
    rng = np.random.RandomState(0)
    rows = rng.randint(len(train.X), size=PAIRS)
    leads = rng.randint(train.y.shape[1], size=PAIRS)
    model = HistGradientBoostingRegressor(random_state=0, early_stopping=False)
    model.set_params(**settings)
    return model.fit(_pairs(train, rows, leads), train.y[rows, leads])


def _predict_boosting(fitted, queries):
    rows, leads = (part.ravel() for part in np.indices(queries.y.shape))
    pieces = [
        fitted.predict(
            _pairs(queries, rows[i : i + _PREDICTED], leads[i : i + _PREDICTED])
        )
        for i in range(0, len(rows), _PREDICTED)
    ]
    return np.concatenate(pieces).reshape(queries.y.shape)


# --- UHopRegressor -------------------------------------------------------------------


def _fit_uhop(settings, train):
    some = train.every(LEARN_EVERY)
    fixed = {"max_iter": 100, "random_state": 0}
    fixed["training"] = CrossFitting(n_folds=6, learning_rate=2e-3)
    model = UHopRegressor("periodic", **{**fixed, **settings})
    model.fit(some.X, some.y, groups=some.start // MONTH)
    rest = np.arange(len(train.X)) % LEARN_EVERY > 0
    return model.partial_fit(train.X[rest], train.y[rest])


def _add_uhop(settings, fitted, train, more):
    return fitted.partial_fit(more.X, more.y)


def _grid(**values):
    return [
        dict(zip(values, chosen, strict=True)) for chosen in product(*values.values())
    ]


MODELS = {
    "repeat the last day": _model(lambda *_: None, _last_day, [{}]),
    "k nearest neighbours": Model(
        _try_neighbours,
        _fit_neighbours,
        _predict,
        lambda settings, _, train, more: _fit_neighbours(settings, train.joined(more)),
    ),
    "ridge": _model(
        lambda settings, train: Ridge(**settings).fit(train.X, train.y),
        _predict,
        _grid(alpha=ALPHAS),
    ),
    "boosting": _model(
        _fit_boosting,
        _predict_boosting,
        _grid(max_iter=[50, 150], max_leaf_nodes=[8, 31]),
    ),
    "UHopRegressor": _model(
        _fit_uhop,
        _predict,
        _grid(similarity=["euclidean", "cosine"]),
        _add_uhop,
        tuple({"random_state": seed} for seed in range(3)),
    ),
}
