"""Displays hold the right numbers, draw them, and need matplotlib only to draw."""

import subprocess
import sys

import matplotlib
import numpy as np
import pandas as pd
import pytest
from sklearn.exceptions import NotFittedError

matplotlib.use("agg")
from matplotlib import pyplot as plt

from skuhop import UHopClassifier, UHopMemory
from skuhop.metrics import hit_rate, retrieval_error
from skuhop.plotting import (
    CapacityDisplay,
    EnergyDisplay,
    RetrievalDisplay,
    StageOneDisplay,
)

RNG = np.random.RandomState(0)
IMAGES = RNG.uniform(size=(20, 16))
PLANE = np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
PLAIN = UHopMemory("identity", similarity="euclidean")


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


def displays():
    """One of each, drawn."""
    memory = UHopMemory(max_iter=7, random_state=0).fit(IMAGES)
    plane = UHopMemory("identity", similarity="euclidean", beta=9.0).fit(PLANE)
    return {
        "retrieval": RetrievalDisplay.from_estimator(memory, IMAGES / 2, IMAGES),
        "energy": EnergyDisplay.from_estimator(plane, grid_resolution=9, n_steps=2),
        "capacity": CapacityDisplay.from_estimator(
            PLAIN, IMAGES, n_patterns=[5, 10], corruption="noise"
        ),
        "stage one": StageOneDisplay.from_estimator(memory),
    }


# --- conventions ---------------------------------------------------------------------


@pytest.mark.parametrize("name", ["retrieval", "energy", "capacity", "stage one"])
def test_conventions(name):
    display = displays()[name]
    assert display.figure_ is display.ax_.figure
    assert "matplotlib" not in "".join(
        type(v).__module__ for k, v in vars(display).items() if not k.endswith("_")
    )
    _, ax = plt.subplots()
    assert display.plot(ax) is display
    assert display.ax_ is ax
    assert ax.has_data()
    display.figure_.canvas.draw()


def test_matplotlib_is_imported_in_plot_only():
    code = (
        "import sys, skuhop.plotting as p; assert 'matplotlib' not in sys.modules;"
        "d = p.CapacityDisplay(n_patterns=[1], values={});"
        "assert 'matplotlib' not in sys.modules;"
        "sys.modules['matplotlib'] = None\n"
        "try: d.plot()\n"
        "except ImportError as e: assert \"pip install 'skuhop[plot]'\" in str(e)\n"
        "else: raise SystemExit('no error')"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


# --- RetrievalDisplay ----------------------------------------------------------------


def pixels(display, row, column, shape):
    height, width = shape[0] + 1, shape[1] + 1
    block = np.ma.getdata(display.image_.get_array())
    rows = slice(row * height, row * height + shape[0])
    return block[rows, column * width : column * width + shape[1]]


@pytest.mark.parametrize("image_shape", [None, (4, 4), (2, 8), (1, 16)])
def test_retrieval_shows_every_row_of_pixels(image_shape):
    memory = PLAIN.fit(IMAGES)
    queries = IMAGES + 0.01
    display = RetrievalDisplay.from_estimator(
        memory, queries, IMAGES, image_shape=image_shape
    )
    shape = image_shape or (4, 4)
    labels = [text.get_text() for text in display.ax_.get_yticklabels()]
    assert labels == ["stored", "query", "answer"]
    for row, X in enumerate((IMAGES, queries, memory.transform(queries))):
        np.testing.assert_allclose(pixels(display, row, 0, shape), X[0].reshape(shape))
        np.testing.assert_allclose(pixels(display, row, 9, shape), X[19].reshape(shape))


def test_retrieval_without_the_truth_and_with_missing_entries():
    queries = np.where(RNG.uniform(size=(5, 16)) < 0.3, np.nan, IMAGES[:5])
    display = RetrievalDisplay.from_estimator(PLAIN.fit(IMAGES), queries)
    labels = [text.get_text() for text in display.ax_.get_yticklabels()]
    assert labels == ["query", "answer"]
    shown = pixels(display, 0, 3, (4, 4))
    np.testing.assert_array_equal(np.isnan(shown).ravel(), np.isnan(queries[3]))
    bad = display.image_.get_cmap()(np.ma.masked)
    np.testing.assert_allclose(bad, matplotlib.colors.to_rgba("#E69F00"))


def test_retrieval_in_colour():
    colours = RNG.uniform(size=(3, 12))
    queries = colours.copy()
    queries[0, 0] = np.nan
    display = RetrievalDisplay.from_predictions(queries, colours, image_shape=(2, 2, 3))
    assert display.image_.get_array().shape == (5, 8, 3)
    expected = matplotlib.colors.to_rgb("#E69F00")
    np.testing.assert_allclose(display.image_.get_array()[0, 0], expected)


def test_retrieval_bad_input():
    with pytest.raises(ValueError, match=r"same shape.*\(20, 16\).*\(19, 16\)"):
        RetrievalDisplay.from_predictions(IMAGES, IMAGES[1:])
    with pytest.raises(ValueError, match=r"16 features; got \(3, 3\)"):
        RetrievalDisplay.from_predictions(IMAGES, IMAGES, image_shape=(3, 3))


# --- EnergyDisplay -------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_energy_is_the_memory_on_the_grid(dtype):
    memory = UHopMemory("identity", similarity="euclidean", beta=9.0)
    memory.fit(PLANE.astype(dtype))
    display = EnergyDisplay.from_estimator(
        memory, queries=[[0.9, 0.2], [0.2, 0.2]], grid_resolution=12, n_steps=40
    )
    points = np.column_stack([display.xx0.ravel(), display.xx1.ravel()]).astype(dtype)
    np.testing.assert_array_equal(display.energy.ravel(), memory.energy(points))
    assert display.xx0.min() == pytest.approx(-0.3)
    assert display.xx1.max() == pytest.approx(1.3)
    way = display.trajectories
    assert way.shape == (41, 2, 2)
    np.testing.assert_allclose(way[1], memory.transform(way[0]), rtol=1e-6)
    assert (np.diff([memory.energy(w) for w in way], axis=0) <= 1e-6).all()
    # At this beta every pattern keeps a basin, and it lies in the basin itself.
    assert set(np.unique(display.basins)) == {0, 1, 2}
    nearest = ((points[:, None] - PLANE[1]) ** 2).sum(2)[:, 0].argmin()
    assert display.basins.ravel()[nearest] == 1


def test_energy_takes_the_names_of_the_features():
    memory = PLAIN.fit(pd.DataFrame(PLANE, columns=["length (cm)", "width (cm)"]))
    display = EnergyDisplay.from_estimator(memory, grid_resolution=5, n_steps=1)
    assert display.ax_.get_xlabel() == "length (cm)"
    assert display.ax_.get_ylabel() == "width (cm)"


def test_energy_bad_input():
    with pytest.raises(ValueError, match="2 features; got one with 16"):
        EnergyDisplay.from_estimator(PLAIN.fit(IMAGES))
    with pytest.raises(ValueError, match=r"'grid_resolution'.*integer >= 2.*Got 1"):
        EnergyDisplay.from_estimator(PLAIN.fit(PLANE), grid_resolution=1)
    with pytest.raises(NotFittedError):
        EnergyDisplay.from_estimator(UHopMemory())


# --- CapacityDisplay -----------------------------------------------------------------


def double(X, random_state):
    return 2 * X


def test_capacity_is_the_error_of_every_draw():
    display = CapacityDisplay.from_estimators(
        {"a": PLAIN, "b": UHopMemory("identity", similarity="cosine")},
        IMAGES,
        n_patterns=[10, 4],
        corruption=double,
        n_draws=2,
        random_state=5,
    )
    assert display.n_patterns.tolist() == [4, 10]
    assert list(display.values) == ["a", "b"]
    draw = IMAGES[np.random.RandomState(5).permutation(20)][:10]
    answer = PLAIN.fit(draw).transform(2 * draw)
    expected = retrieval_error(draw, answer)
    assert display.values["a"][1, 0] == pytest.approx(expected)
    assert display.values["b"] == pytest.approx(np.zeros((2, 2)), abs=1e-9)
    line = display.lines_[0]
    np.testing.assert_allclose(line.get_ydata(), display.values["a"].mean(1))
    assert line.get_label() == "a"
    styles = {(line.get_color(), line.get_marker()) for line in display.lines_}
    assert len(styles) == 2


def test_capacity_of_hit_rates_with_workers():
    options = {"n_patterns": [4, 8], "corruption": "mask", "metric": "hit_rate"}
    alone, together = (
        CapacityDisplay.from_estimator(PLAIN, IMAGES, n_jobs=n_jobs, **options)
        for n_jobs in (1, 2)
    )
    rates = alone.values["UHopMemory"]
    assert ((rates >= 0) & (rates <= 1)).all()
    np.testing.assert_array_equal(rates, together.values["UHopMemory"])
    assert "hit rate" in alone.ax_.get_ylabel()


@pytest.mark.parametrize("metric", ["error", "hit_rate"])
def test_capacity_of_answers_that_are_known(metric):
    rng = np.random.RandomState(5)
    draws = [IMAGES[rng.permutation(20)][:size] for size in (10, 4, 10, 4)]
    answers = [PLAIN.fit(draw).transform(draw + 0.4) for draw in draws]
    known = CapacityDisplay.from_predictions(
        draws, {"plain": answers, "right": draws}, metric=metric
    )
    assert known.n_patterns.tolist() == [4, 10]
    score = {"error": retrieval_error, "hit_rate": hit_rate}[metric]
    expected = [[score(draws[i], answers[i]) for i in row] for row in ((1, 3), (0, 2))]
    np.testing.assert_array_equal(known.values["plain"], expected)
    assert (known.values["right"] == (metric == "hit_rate")).all()
    assert [line.get_label() for line in known.lines_] == ["plain", "right"]


def test_capacity_of_answers_bad_input():
    make = CapacityDisplay.from_predictions
    with pytest.raises(ValueError, match=r"draws of each number.*\{3: 1, 5: 2\}"):
        make([IMAGES[:5], IMAGES[:3], IMAGES[5:10]], {})
    with pytest.raises(ValueError, match=r"'a'\] must have an answer.* 2 draws.*got 1"):
        make([IMAGES[:5], IMAGES[:3]], {"a": [IMAGES[:5]]})
    with pytest.raises(ValueError, match=r"'metric'.*'hit_rate'"):
        make([IMAGES[:5]], {"a": [IMAGES[:5]]}, metric="hits")


@pytest.mark.parametrize("n_patterns", [[0, 4], [21], [2.5]])
def test_capacity_bad_sizes(n_patterns):
    with pytest.raises(ValueError, match="n_patterns must be integers from 1 to 20"):
        CapacityDisplay.from_estimator(
            PLAIN, IMAGES, n_patterns=n_patterns, corruption="mask"
        )


def test_capacity_wants_names():
    with pytest.raises(ValueError, match="dict of names"):
        CapacityDisplay.from_estimators(
            [PLAIN], IMAGES, n_patterns=[2], corruption="mask"
        )


# --- StageOneDisplay -----------------------------------------------------------------


def test_stage_one_shows_what_was_watched():
    memory = UHopMemory(max_iter=7, random_state=0).fit(IMAGES)
    display = StageOneDisplay.from_estimator(memory)
    assert display.loss_curve.tolist() == memory.loss_curve_
    assert display.validation_scores.tolist() == memory.validation_scores_
    assert display.validation_steps.tolist() == [0, 5, 7]
    assert display.kept_step == memory.selection_["step"]
    assert display.validation_ax_ is not None


def test_stage_one_of_a_classifier():
    y = np.arange(20) % 2
    classifier = UHopClassifier(max_iter=3, random_state=0).fit(IMAGES, y)
    display = StageOneDisplay.from_estimator(classifier)
    assert display.loss_curve.tolist() == classifier.loss_curve_
    assert display.validation_ax_ is None
    assert display.ax_.get_ylabel() == "loss (log_loss)"


def test_stage_one_with_nothing_learned():
    with pytest.raises(ValueError, match=r"nothing to learn \(as asked\)"):
        StageOneDisplay.from_estimator(PLAIN.fit(IMAGES))
