"""Write the benchmarks page from the files that benchmarks wrote.

To renew a table, run its benchmark and copy what it wrote in ``benchmark_results`` to
``doc/benchmark_results``. A line that starts with # says where and when it was made;
tables in a file are parted by empty lines.
"""

import csv
import importlib.util
from pathlib import Path

HEAD = """# Benchmarks

Every table was printed and written by the script that is named above it, from
`examples/benchmarks`, and is shown as it was written. More tables, with what they mean,
are in the [user guide](user_guide.md).
"""


def _docstring(script: Path) -> str:
    """First lines of a benchmark's docstring, up to how to run it."""
    spec = importlib.util.spec_from_file_location(script.stem, script)
    source = spec.loader.get_source(script.stem)
    text = source.split('"""')[1].strip()
    paragraphs = text.split("\n\n")
    return "\n\n".join(p for p in paragraphs if not p.startswith("Run it with"))


def _markdown(lines: list[str]) -> str:
    """Format the rows of a CSV table as a Markdown table."""
    header, *rows = csv.reader(lines)
    table = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(row) + " |" for row in table)


def _section(file: Path, scripts: Path) -> str:
    lines = file.read_text().splitlines()
    notes = [line.lstrip("# ") for line in lines if line.startswith("#")]
    body = "\n".join(line for line in lines if not line.startswith("#"))
    tables = [part.splitlines() for part in body.split("\n\n") if part.strip()]
    script = scripts / f"{file.stem}.py"
    title, *text = _docstring(script).split("\n\n")
    return "\n\n".join(
        [
            f"## {title}",
            f"`python examples/benchmarks/{script.name}`",
            *text,
            *map(_markdown, tables),
            *notes,
        ]
    )


def write_page(doc: Path) -> None:
    """Write ``benchmarks.md`` into the folder of the documentation."""
    scripts = doc.parent / "examples" / "benchmarks"
    files = sorted((doc / "benchmark_results").glob("*.csv"))
    page = "\n\n".join([HEAD, *(_section(file, scripts) for file in files)]) + "\n"
    target = doc / "benchmarks.md"
    if not target.exists() or target.read_text() != page:
        target.write_text(page)
