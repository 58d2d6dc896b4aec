"""Quality held to numbers: real digits, the benchmark's own cells and oracles."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from sklearn.datasets import load_digits

from skuhop import UHopMemory

SCRIPT = Path(__file__).parents[1] / "examples" / "benchmarks" / "retrieval.py"
X = load_digits().data[:300] / 16


def error(memory, queries):
    return ((memory.transform(queries).clip(0, 1) - X) ** 2).sum(1).mean()


def test_half_masked_digits_come_back():
    keep = np.random.RandomState(0).uniform(size=X.shape) < 0.5
    plain = UHopMemory("identity", similarity="dot", beta=1.0).fit(X)
    assert error(plain, 2 * keep * X) > 2
    assert error(UHopMemory(random_state=0).fit(X), 2 * keep * X) < 1e-3


@pytest.mark.slow
@pytest.mark.parametrize("sigma", [0.1, 0.5, 1.0, 2.0, 4.0])
def test_gaussian_noise_near_the_bayes_limit(sigma):
    memory = UHopMemory(random_state=0).fit(X)
    bayes = UHopMemory("identity", similarity="euclidean", beta=sigma**-2).fit(X)
    rng = np.random.RandomState(1)
    queries = [X + sigma * rng.standard_normal(X.shape) for _ in range(10)]
    ours = np.mean([error(memory, Q) for Q in queries])
    best = np.mean([error(bayes, Q) for Q in queries])
    assert ours <= 1.03 * best + 1e-3


@pytest.mark.slow
def test_benchmark_ratios(tmp_path):
    found = subprocess.run(
        [
            sys.executable,
            str(SCRIPT),
            "--sets",
            "digits",
            "--sizes",
            "300",
            "--baselines",
            "fixed",
            "--out",
            str(tmp_path / "out.csv"),
        ],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    rows = [line.split("|") for line in found.splitlines() if line.startswith("| ")]
    table = {cells[1].strip(): cells for cells in rows if len(cells) == 8}
    for mode, mean, worst in (
        ("default", 0.35, 3.0),
        ("queries", 0.26, 2.0),
        ("told", 0.22, 1.5),
    ):
        assert float(table[mode][2]) <= mean
        assert float(table[mode][3]) <= worst


@pytest.mark.slow
def test_classification_benchmark_keeps_what_it_has_and_reports_all(tmp_path):
    script = SCRIPT.with_name("classification.py")
    out = tmp_path / "results.csv"
    models = ["logistic", "untrained", "UHopClassifier"]
    command = [sys.executable, str(script), "--tables", "iris", "--folds", "2"]
    command += ["--seeds", "0", "1", "--out", str(out), "--models"]
    subprocess.run([*command, *models[:2]], check=True, capture_output=True)
    before = out.read_text().splitlines()
    subprocess.run([*command, *models], check=True, capture_output=True)
    after = out.read_text().splitlines()
    assert len(before) == 1 + 2 * 2 * 2
    assert len(after) == 1 + 2 * 2 * 3
    assert after[: len(before)] == before
    page = out.with_suffix(".md").read_text()
    assert all(model in page for model in models)
