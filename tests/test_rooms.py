"""The rooms of the house: who may know whom, by which door, and how they are named."""

import ast
from collections import Counter
from functools import cache
from pathlib import Path

import pytest

import skuhop

ROOT = Path(skuhop.__file__).parent
FILES = sorted(ROOT.rglob("*.py"))
MAY_IMPORT = {
    "distributed": {
        "estimators",
        "answering",
        "choices",
        "retention",
        "retrieval",
        "support",
        "exceptions",
    },
    "plotting": {"metrics", "learning", "support"},
    "metrics": {"learning", "support"},
    "estimators": {
        "fitting",
        "answering",
        "choices",
        "kanerva",
        "learning",
        "retrieval",
        "retention",
        "support",
        "tables",
        "exceptions",
    },
    "fitting": {
        "answering",
        "choices",
        "learning",
        "retrieval",
        "retention",
        "support",
        "tables",
    },
    "answering": {"choices", "learning", "retrieval", "support", "tables"},
    "choices": {"exceptions"},
    "kanerva": {"learning", "retrieval", "support"},
    "nn": {"choices", "learning", "retrieval", "support", "exceptions"},
    "learning": {"retrieval", "exceptions"},
    "retrieval": set(),
    "retention": set(),
    "tables": set(),
    # Arithmetic on tensors alone, which knows nobody, serves the border too.
    "support": {"retrieval", "exceptions", "_version"},
    "exceptions": set(),
    "_version": set(),
    # Inside a room the inner rooms have floors of their own.
    "estimators.detection": set(),
    "estimators.questions": {"estimators.rows"},
    "estimators.rows": set(),
    "support.checks": set(),
    "answering.imputation": set(),
    "fitting.imputation": set(),
    "learning.damage": set(),
    "learning.imputation": set(),
    "learning.members": set(),
    "learning.supervised": {"learning.members"},
    "retrieval.scores": set(),
    "retrieval.engine": {"retrieval.scores"},
    "retrieval.damage": {"retrieval.scores"},
    "retrieval.imputation": set(),
    "retrieval.novelty": {"retrieval.engine", "retrieval.scores"},
    "retrieval.index": {"retrieval.engine", "retrieval.scores"},
}
"""Room to rooms. A new room gets a row; a new arrow is a decision, and is made here."""
MOST_FILES = 11
"""In a folder. Who needs a twelfth has found two rooms in one."""


def module_of(path):
    parts = path.relative_to(ROOT.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_of(path): path for path in FILES}
PACKAGES = {name for name, path in MODULES.items() if path.name == "__init__.py"}


@cache
def imports(module):
    """What a module imports of the house, as (source, name) pairs, wherever in it."""
    pairs = []
    for node in ast.walk(ast.parse(MODULES[module].read_text())):
        if isinstance(node, ast.ImportFrom) and node.module.split(".")[0] == "skuhop":
            pairs += [(node.module, alias.name) for alias in node.names]
    return pairs


def target(source, name):
    """The module that an import leads to: ``from package import module``, or source."""
    whole = f"{source}.{name}"
    return whole if whole in MODULES else source


def origin(source, name):
    """The module in which a name is at home, through the faces that hand it on."""
    seen = set()
    while source in PACKAGES and (source, name) not in seen:
        seen.add((source, name))
        whole = f"{source}.{name}"
        handed = [s for s, n in imports(source) if n == name]
        if whole in MODULES and not handed:
            return whole
        if not handed:
            return source
        source = handed[0]
    whole = f"{source}.{name}"
    return whole if whole in MODULES else source


def rooms_of(module):
    """The room of a module and the inner room: all packages above it, from skuhop."""
    parts = module.split(".")[1:]
    if module not in PACKAGES:
        parts = parts[:-1] or parts
    return [".".join(parts[: i + 1]) for i in range(len(parts))]


@pytest.mark.parametrize("module", sorted(set(MODULES) - {"skuhop"}))
def test_rooms_know_the_rooms_below_them(module):
    here = rooms_of(module)
    for source, name in imports(module):
        for room in rooms_of(origin(source, name)):
            if room in here:
                continue
            within = room.rpartition(".")[0]
            if within and within not in here:
                continue  # a door of the outer room hands it on, which is checked
            known = [r for r in here if r.rpartition(".")[0] == within]
            # What stands beside inner rooms is their common ground, or above them all.
            allowed = MAY_IMPORT[known[0]] if known else {room}
            assert room in allowed, f"{module} imports {source}.{name}"


def test_every_room_has_its_row():
    rooms = {room for module in MODULES for room in rooms_of(module)}
    inner = {room for room in MAY_IMPORT if "." in room}
    assert rooms | {"exceptions", "_version", "metrics"} == set(MAY_IMPORT)
    assert inner == {room for room in rooms if "." in room}


def circle(arrows):
    """Some circle of arrows, as a list of modules; None where there is none."""
    done, path = set(), []

    def walk(module):
        if module in path:
            return [*path[path.index(module) :], module]
        if module in done:
            return None
        path.append(module)
        found = next(filter(None, map(walk, sorted(arrows[module]))), None)
        path.pop()
        done.add(module)
        return found

    return next(filter(None, map(walk, sorted(arrows))), None)


def test_a_circle_is_seen():
    assert circle({"a": {"b"}, "b": {"c"}, "c": {"b"}}) == ["b", "c", "b"]
    assert circle({"a": {"b", "c"}, "b": {"c"}, "c": set()}) is None


def test_no_modules_import_each_other_in_a_circle():
    arrows = {
        module: {origin(*pair) for pair in imports(module)} - {module, "skuhop"}
        for module in MODULES
    }
    assert circle(arrows) is None


def test_no_room_reaches_past_the_door_of_another():
    """A room hands out what others need in its face; its files are its own business.

    From inside a room its own files, and those of the rooms around it, are at hand.
    """
    past = []
    for module in MODULES:
        package = module if module in PACKAGES else module.rpartition(".")[0]
        for source, name in imports(module):
            found = target(source, name)
            if found in PACKAGES:
                outer = found.rpartition(".")[0]
            else:
                outer = found.rpartition(".")[0]
                if source in PACKAGES:
                    outer = source.rpartition(".")[0]
            inside = f"{package}.".startswith(f"{outer}.")
            if not inside:
                past.append(f"{module}: from {source} import {name}")
    assert past == []


def test_folders_are_small():
    files = Counter(path.parent.relative_to(ROOT) for path in FILES)
    assert {folder: n for folder, n in files.items() if n > MOST_FILES} == {}


def test_no_name_is_used_for_two_files():
    names = Counter(path.stem.lstrip("_") for path in FILES if path.stem != "__init__")
    assert [name for name, n in names.items() if n > 1] == []


def test_the_root_holds_nothing_but_the_doors():
    names = {path.name for path in ROOT.iterdir() if path.is_file()}
    assert names == {
        "__init__.py",
        "_version.py",
        "exceptions.py",
        "metrics.py",
        "py.typed",
    }
