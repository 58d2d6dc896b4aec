"""Write the benchmarks page from the files that benchmarks wrote.

To renew a table, run its benchmark and copy what it wrote in ``benchmark_results`` to
``doc/benchmark_results``. A line that starts with # says where and when it was made;
tables in a file are parted by empty lines. A new benchmark is a row of `SOURCES`.
"""

import csv
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import NamedTuple

HEAD = """# Benchmarks

Every table was printed and written by the script that is named above it, from
`examples/benchmarks`, and is shown as it was written. More tables, with what they mean,
are in the [user guide](user_guide.md).
"""
SCRIPTS = Path(__file__).parents[1] / "examples" / "benchmarks"


def _tables(lines: list[str]) -> list[str]:
    """Format CSV tables, parted by empty lines, as Markdown."""
    parts = "\n".join(lines).split("\n\n")
    return [_markdown(part.splitlines()) for part in parts if part.strip()]


def _markdown(lines: list[str]) -> str:
    """Format the rows of a CSV table as a Markdown table."""
    header, *rows = csv.reader(lines)
    table = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(row) + " |" for row in table)


def _folds(lines: list[str]) -> list[str]:
    """Report on a line for every fold, as the classification benchmark does itself."""
    sys.path.insert(0, str(SCRIPTS))
    from _classification_report import NUMBERS, sections

    results = [
        SimpleNamespace(**line, **{n: float(numbers[n]) for n in NUMBERS})
        for numbers in csv.DictReader(lines)
        for line in [{n: t for n, t in numbers.items() if n not in NUMBERS}]
    ]
    # A level below the title that the benchmark has here.
    return [part.replace("## ", "### ") for part in sections(results)]


class Source(NamedTuple):
    """A benchmark, and how the lines of its file become Markdown.

    Where a script was run more than once, `variant` is the end of the file's name and
    `heading` says what was different.
    """

    script: str
    options: str = ""
    tables: Callable[[list[str]], list[str]] = _tables
    variant: str = ""
    heading: str = ""

    @property
    def stem(self) -> str:
        """Name of the file of results."""
        return "_".join(part for part in (self.script, self.variant) if part)


SOURCES = (
    Source("retrieval", "--data FOLDER"),
    Source("classification", "--data FOLDER", _folds),
    Source("regression", "--data FOLDER"),
    Source("frames", "--data FOLDER --hidden 0"),
    Source("repeated_rows", "--tables 10"),
    Source("forecasting", "--data FOLDER"),
    Source("detection", "--data FOLDER --seed 1"),
    Source("streams", "--data FOLDER"),
    Source("retrieval_speed"),
    Source("retrieval_speed", "--device cuda", _tables, "cuda", "On a GPU"),
    Source(
        "retrieval_speed",
        "--device cuda --precision bf16",
        _tables,
        "cuda_bf16",
        "On a GPU, in bfloat16",
    ),
    Source("fit_speed", "--data FOLDER"),
    Source("fit_speed", "--data FOLDER --device cuda", _tables, "cuda", "On a GPU"),
    Source("scaling", "--data FOLDER"),
    Source("index_recall", "--data FOLDER"),
    Source("sharding"),
    Source("layers", "mil --data FOLDER", _tables, "mil", "Bags of rows"),
    Source("layers", "speed --batch 8", _tables, "speed", "A step of a layer"),
)
"""The page in its order; a benchmark whose file is not there is left out."""


def _docstring(script: Path) -> list[str]:
    """Paragraphs of a benchmark's docstring, without how to run it."""
    text = script.read_text().split('"""')[1].strip()
    return [part for part in text.split("\n\n") if not part.startswith("Run ")]


def _section(source: Source, file: Path) -> str:
    lines = file.read_text().splitlines()
    notes = [line.lstrip("# ") for line in lines if line.startswith("#")]
    body = [line for line in lines if not line.startswith("#")]
    script = SCRIPTS / f"{source.script}.py"
    title, *text = _docstring(script)
    heading = f"## {title}"
    if source.variant:  # What it is stands above, with the first run.
        heading, text = f"### {source.heading}", []
    command = f"`python examples/benchmarks/{script.name} {source.options}".rstrip()
    return "\n\n".join([heading, f"{command}`", *text, *source.tables(body), *notes])


def page(results: Path) -> str:
    """Make the page from the files in a folder.

    Raises
    ------
    ValueError
        If a file belongs to no benchmark of `SOURCES`.
    """
    files = {file.stem: file for file in results.glob("*.csv")}
    unknown = sorted(set(files) - {source.stem for source in SOURCES})
    if unknown:
        raise ValueError(f"SOURCES in {__file__} has no row for {unknown}.")
    found = [source for source in SOURCES if source.stem in files]
    return "\n\n".join([HEAD, *(_section(s, files[s.stem]) for s in found)]) + "\n"


def write_page(doc: Path) -> None:
    """Write ``benchmarks.md`` into the folder of the documentation."""
    text, target = page(doc / "benchmark_results"), doc / "benchmarks.md"
    if not target.exists() or target.read_text() != text:
        target.write_text(text)
