"""Measures of the house.

    python doc/measure_house.py [checkout]

One table of what can be counted about the package's files, rooms, names and depths.
The source is read, not run, but for the frames of a call, for which `skuhop` is
imported from the checkout. Only the standard library is needed beside it.

A room is a folder in the package's root, or a file there; a face (an ``__init__`` that
only hands names on) is none. A floor is the longest way down by imports.
"""

import ast
import io
import re
import sys
import tokenize
from collections import Counter, defaultdict
from functools import cache
from pathlib import Path

CHECKOUT = Path(sys.argv[1] if sys.argv[1:] else Path(__file__).parents[1]).resolve()
PACKAGE = CHECKOUT / "skuhop"
FUNCTION = (ast.FunctionDef, ast.AsyncFunctionDef)
SCOPE = (ast.Module, ast.ClassDef, *FUNCTION)
IRREGULAR = set("drawn found given held kept known left made seen sent spread".split())
IRREGULAR |= set("taken told written".split())
NO_PARTICIPLE = set("bring embed feed need ring seed speed string thing".split())


def read_modules():
    """Dotted names of all modules, their texts and trees."""
    modules = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(CHECKOUT).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        text = path.read_text()
        modules[name] = path, text, ast.parse(text)
    return modules


MODULES = read_modules()
FACES = {n for n, (path, _, _) in MODULES.items() if path.name == "__init__.py"}


def walk(kinds):
    """All nodes of some kinds."""
    for _, _, tree in MODULES.values():
        yield from (node for node in ast.walk(tree) if isinstance(node, kinds))


def docstring_of(node):
    """Get the statement that is a node's docstring, if it has one."""
    first = node.body[0] if node.body else None
    is_text = isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant)
    return first if is_text and isinstance(first.value.value, str) else None


def n_lines(first, last):
    """Lines from the start of one node to the end of another."""
    return last.end_lineno - first.lineno + 1


def quantile(values, share):
    """Get a value that about this share of them does not exceed."""
    return sorted(values)[min(len(values) - 1, int(share * len(values)))]


# --- lines ---------------------------------------------------------------------------


def measure_lines():
    """Files and lines, and what the lines are."""
    docs = [d for node in walk(SCOPE) if (d := docstring_of(node))]
    lines = sum(len(text.splitlines()) for _, text, _ in MODULES.values())
    in_docs = sum(n_lines(d, d) for d in docs)
    blank = comments = 0
    for _, text, _ in MODULES.values():
        blank += sum(not line.strip() for line in text.splitlines())
        tokens = tokenize.generate_tokens(io.StringIO(text).readline)
        rows = text.splitlines()
        comments += sum(
            token.type == tokenize.COMMENT
            and rows[token.start[0] - 1].lstrip().startswith("#")
            for token in tokens
        )
    blank -= sum(
        not line.strip() for d in docs for line in d.value.value.splitlines()[1:-1]
    )
    code = lines - in_docs - blank - comments
    yield "files", len(MODULES)
    yield "lines", lines
    yield "lines of docstrings", f"{in_docs} ({in_docs / lines:.0%})"
    yield "comments per 100 lines of code", f"{100 * comments / code:.1f}"


def measure_bodies():
    """How long functions are, without their docstrings."""
    sizes = []
    for node in walk(FUNCTION):
        body = node.body[1:] if docstring_of(node) else node.body
        sizes.append(n_lines(body[0], node) if body else 0)
    yield (
        "lines of a function's body: median / p90 / max",
        f"{quantile(sizes, 0.5)} / {quantile(sizes, 0.9)} / {max(sizes)}",
    )


# --- rooms ---------------------------------------------------------------------------


def imports_of(module):
    """List what a module imports of the house, as (source, name)."""
    for node in ast.walk(MODULES[module][2]):
        if isinstance(node, ast.ImportFrom) and node.module.split(".")[0] == "skuhop":
            yield from ((node.module, alias.name) for alias in node.names)


@cache
def home_of(source, name):
    """Find the module in which an imported name is at home, through faces."""
    for s, n in imports_of(source) if source in FACES else ():
        if n == name and (s, n) != (source, name):
            return home_of(s, n)
    whole = f"{source}.{name}"
    return whole if whole in MODULES else source


def room_of(module):
    """Name the room of a module, None for the face of the house."""
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else None


def arrows_between(place):
    """Who imports whom, by `place` of a module."""
    arrows = defaultdict(set)
    for module in MODULES:
        here = place(module)
        for source, name in imports_of(module):
            there = place(home_of(source, name))
            if None not in (here, there) and here != there:
                arrows[here].add(there)
    return arrows


def circles(arrows):
    """Find groups of places that can all be reached from one another."""

    def reach(start):
        seen, todo = set(), list(arrows[start])
        while todo:
            place = todo.pop()
            if place not in seen:
                seen.add(place)
                todo += arrows[place]
        return seen

    reached = {place: reach(place) for place in list(arrows)}
    groups = {
        frozenset(q for q in reached if q in reached[p] and p in reached[q])
        for p in reached
    }
    return [group for group in groups if len(group) > 1]


def n_floors(arrows):
    """Count the longest way down, where there is no circle."""

    @cache
    def floor(place):
        return 1 + max(map(floor, arrows.get(place, ())), default=0)

    return max(map(floor, list(arrows)))


def is_past_the_door(module, source):
    """Whether an import names a file of a room that the module does not stand in."""
    package = module if module in FACES else module.rpartition(".")[0]
    door = source.rpartition(".")[0]  # of a file its room, of a face what is around it
    return not f".{package}.".startswith(f".{door}." if door else ".")


def measure_rooms():
    """Rooms, floors, arrows, circles, doors, folders, names."""
    rooms = {room_of(module) for module in MODULES} - {None}
    arrows = arrows_between(room_of)
    modules = circles(arrows_between(lambda module: module))
    around = circles(arrows)
    yield "rooms", len(rooms)
    yield "floors", "no floors: a circle" if around else n_floors(arrows)
    yield "arrows between rooms", sum(map(len, arrows.values()))
    yield "circles of rooms / of modules", f"{len(around)} / {len(modules)}"
    pairs = [(m, *pair) for m in MODULES for pair in imports_of(m)]
    crossing = [
        p for p in pairs if room_of(p[0]) != room_of(home_of(*p[1:])) and room_of(p[0])
    ]
    past = sum(is_past_the_door(m, source) for m, source, _ in crossing)
    yield "names past a room's door / all between rooms", f"{past} / {len(crossing)}"
    files = Counter(path.parent for path, _, _ in MODULES.values())
    folder, most = files.most_common(1)[0]
    yield "files in the fullest folder", f"{most} ({folder.relative_to(CHECKOUT)})"
    stems = Counter(
        path.stem.lstrip("_") for n, (path, _, _) in MODULES.items() if n not in FACES
    )
    twice = sorted(stem for stem, n in stems.items() if n > 1)
    yield "file names used twice", f"{len(twice)} {' '.join(twice)}".strip()


# --- names ---------------------------------------------------------------------------


def is_participle(name):
    """Whether a function's name begins with a participle."""
    word = name.lstrip("_").split("_")[0]
    ending = re.search(r"(ed|ing)$", word) and word not in NO_PARTICIPLE
    return bool(ending) or word in IRREGULAR


def measure_names():
    """Names of functions, and how often private ones are used."""
    names = [node.name for node in walk(FUNCTION)]
    n = sum(map(is_participle, names))
    yield (
        "functions named by a participle",
        f"{n} of {len(names)} ({n / len(names):.1%})",
    )
    used = Counter(node.id for node in walk(ast.Name))
    used.update(node.attr for node in walk(ast.Attribute))
    private = {n for n in names if n.startswith("_") and not n.startswith("__")}
    once = sum(used[name] == 1 for name in private)
    yield "private functions used once", f"{once} of {len(private)}"


def measure_parameters():
    """Parameters of the constructors of public estimators."""
    for node in sorted(walk(ast.ClassDef), key=lambda node: node.name):
        is_public = re.fullmatch(r"UHop\w+|KanervaMemory|ShardedMemory", node.name)
        for inner in node.body if is_public else ():
            if isinstance(inner, FUNCTION) and inner.name == "__init__":
                arguments = inner.args
                n = len(arguments.args) - 1 + len(arguments.kwonlyargs)
                yield f"constructor parameters, {node.name}", n


# --- frames --------------------------------------------------------------------------


def count_frames(call):
    """Own frames, the deepest stack of them, and changes of file during a call."""
    root, depth, deepest, calls, switches, last = str(PACKAGE), 0, 0, 0, 0, None

    def watch(frame, event, _):
        nonlocal depth, deepest, calls, switches, last
        file = frame.f_code.co_filename
        if event not in ("call", "return") or not file.startswith(root):
            return
        depth += 1 if event == "call" else -1
        if event == "call":
            calls, deepest = calls + 1, max(deepest, depth)
            switches += file != last
            last = file

    sys.setprofile(watch)
    try:
        call()
    finally:
        sys.setprofile(None)
    return deepest, calls, switches


def measure_frames():
    """How deep a question goes, asked for the second time: everything is prepared."""
    sys.path.insert(0, str(CHECKOUT))
    import numpy as np

    import skuhop

    X = np.random.RandomState(0).normal(size=(40, 9))
    y = X[:, 0] > 0
    params = {"random_state": 0}
    questions = {
        "UHopMemory().transform": (
            skuhop.UHopMemory(max_iter=5, **params),
            "transform",
        ),
        "UHopMemory('identity', similarity='dot').transform": (
            skuhop.UHopMemory("identity", similarity="dot", **params),
            "transform",
        ),
        "UHopMemory().predict": (skuhop.UHopMemory(max_iter=5, **params), "predict"),
        "UHopMemory().energy": (
            skuhop.UHopMemory(max_iter=5, **params),
            "energy",
        ),
        "UHopClassifier().predict_proba": (
            skuhop.UHopClassifier(max_iter=5, **params),
            "predict_proba",
        ),
        "UHopRegressor().predict": (
            skuhop.UHopRegressor(max_iter=5, **params),
            "predict",
        ),
        "KanervaMemory().transform": (skuhop.KanervaMemory(**params), "transform"),
    }
    for title, (estimator, method) in questions.items():
        estimator.fit(X, y)
        question = getattr(estimator, method)
        question(X)
        deepest, calls, switches = count_frames(lambda ask=question: ask(X))
        text = f"{deepest} / {calls} / {switches}"
        yield f"own frames deep / calls / changes of file, {title}", text


def main():
    """Print the table."""
    measures = (
        measure_lines,
        measure_bodies,
        measure_rooms,
        measure_names,
        measure_parameters,
        measure_frames,
    )
    print("| measure | value |\n| --- | --- |")
    for measure in measures:
        for title, value in measure():
            print(f"| {title} | {value} |")


if __name__ == "__main__":
    main()
