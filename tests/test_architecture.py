"""The rules of the house, read from the imports."""

import ast
import os
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

import skuhop

ROOT = Path(skuhop.__file__).parent
FILES = sorted(ROOT.rglob("*.py"))
STAGES_KNOW = ("learning", "retrieval", "exceptions")
KNOWS = {
    "learning": STAGES_KNOW,
    "retrieval": STAGES_KNOW,
    "retention": ("retention",),
}
"""What the rooms that know torch and no estimator may import of skuhop."""
STAGES = [f for f in FILES if f.relative_to(ROOT).parts[0] in KNOWS]


def name(path):
    return str(path.relative_to(ROOT))


@cache
def nodes(path):
    """All nodes of a file's syntax tree."""
    return list(ast.walk(ast.parse(path.read_text())))


def imports(path):
    """Full names of all that a file imports, wherever in the file."""
    for node in nodes(path):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name(path)}: relative import"
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def within(module, *packages):
    return any(module == p or module.startswith(p + ".") for p in packages)


def test_there_is_something_to_read():
    assert len(STAGES) >= 8
    assert "torch" in set(imports(ROOT / "retrieval" / "engine" / "memory_record.py"))


@pytest.mark.parametrize("path", STAGES, ids=name)
def test_stages_know_no_estimator_and_no_scikit_learn(path):
    for module in imports(path):
        assert not within(module, "sklearn", "pandas", "matplotlib"), module
        if within(module, "skuhop"):
            parts = module.split(".")
            known = parts[1] in KNOWS[path.relative_to(ROOT).parts[0]]
            assert known, f"{name(path)} imports {module}"


@pytest.mark.parametrize(
    "path", [f for f in STAGES if "retrieval" in f.parts], ids=name
)
def test_retrieval_does_not_know_learning(path):
    assert not [m for m in imports(path) if within(m, "skuhop.learning")]


@pytest.mark.parametrize("path", STAGES, ids=name)
def test_stages_do_not_choose_devices(path):
    for node in nodes(path):
        if isinstance(node, ast.Attribute):
            assert ast.unparse(node) not in (
                "torch.device",
                "torch.cuda",
                "torch.backends",
            ), f"{name(path)}:{node.lineno}"


FACTORIES = {"arange", "empty", "eye", "full", "linspace", "ones", "zeros"}
FACTORIES |= {"rand", "randint", "randn", "randperm"}


@pytest.mark.parametrize("path", FILES, ids=name)
def test_new_tensors_say_where_they_live(path):
    """Else they are on the CPU, and nobody without a GPU sees it."""
    for node in nodes(path):
        if isinstance(node, ast.Call) and ast.unparse(node.func) in {
            f"torch.{factory}" for factory in FACTORIES
        }:
            given = {keyword.arg for keyword in node.keywords}
            # What a generator draws is where the generator is.
            assert given & {"device", "generator", "out"}, f"{name(path)}:{node.lineno}"


def moves(path):
    """Calls that move a tensor to a device that the caller names."""
    for node in nodes(path):
        if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)):
            continue
        if node.func.attr in ("cuda", "mps"):
            yield node
        if node.func.attr == "to":
            texts = [ast.unparse(arg) for arg in node.args]
            texts += [k.arg for k in node.keywords] or []
            strings = any(
                isinstance(arg, ast.Constant) and isinstance(arg.value, str)
                for arg in node.args
            )
            # .to(queries.device) follows a tensor; .to(device) follows an order.
            if strings or {"device", "self.device", "device_"} & set(texts):
                yield node


def test_only_one_file_moves_tensors():
    culprits = {name(path) for path in FILES if list(moves(path))}
    assert culprits == {"support/device.py"}


def test_threads_and_global_seeds_are_left_alone():
    forbidden = ("torch.manual_seed", "torch.set_num_threads", "np.random.seed")
    for path in FILES:
        for node in nodes(path):
            if isinstance(node, ast.Call):
                assert ast.unparse(node.func) not in forbidden, f"{name(path)}"


def test_stable_estimators_are_free_of_private_scikit_learn_names():
    for path in FILES:
        private = {
            m
            for m in imports(path)
            if within(m, "sklearn") and any(p.startswith("_") for p in m.split("."))
        }
        # _check_sample_weight is what scikit-learn tells developers to use.
        assert private <= {"sklearn.utils.validation._check_sample_weight"}, name(path)


IMPORT_SCRIPT = """
import sys
import torch
import sklearn.utils.validation  # which imports pandas itself, where there is one
before = set(sys.modules)
threads, state = torch.get_num_threads(), torch.random.get_rng_state()
import skuhop
skuhop.UHopMemory(device="cuda:5")
assert not torch.cuda.is_initialized(), "CUDA was initialised"
assert torch.get_num_threads() == threads
assert torch.equal(torch.random.get_rng_state(), state)
print(sorted({name.split(".")[0] for name in set(sys.modules) - before}))
"""


def test_import_is_quiet_and_light():
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", IMPORT_SCRIPT],
        env={**os.environ, "PYTHONPATH": str(ROOT.parent)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    loaded = set(ast.literal_eval(done.stdout))
    assert "skuhop" in loaded
    assert not loaded & {"matplotlib", "pandas", "skops", "hypothesis"}
