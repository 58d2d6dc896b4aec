"""What every benchmark prints: where and when it ran, and Markdown tables."""

from __future__ import annotations

import csv
import os
import platform
from datetime import date
from pathlib import Path

import numpy as np
import sklearn
import torch


def machine():
    """Describe machine, versions and day in one line."""
    cpu = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        names = [x for x in info.read_text().splitlines() if x.startswith("model name")]
        cpu = names[0].split(":", 1)[1].strip() if names else cpu
    gpu = f"{torch.cuda.get_device_name()}; " if torch.cuda.is_available() else ""
    return (
        f"{cpu}, {os.cpu_count()} cores, {torch.get_num_threads()} torch threads; {gpu}"
        f"Python {platform.python_version()}, NumPy {np.__version__}, "
        f"torch {torch.__version__}, scikit-learn {sklearn.__version__}; {date.today()}"
    )


def markdown(header, rows):
    """Format a Markdown table."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def markdown_rows(rows):
    """Format rows that are dicts of equal keys as a Markdown table."""
    return markdown(list(rows[0]), [row.values() for row in rows])


def write_tables(file, tables):
    """Write where it ran, and tables of dicts parted by empty lines, as CSV."""
    file = Path(file)
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("w", newline="") as stream:
        stream.write(f"# {machine()}\n")
        for position, table in enumerate(tables):
            stream.write("\n" if position else "")
            writer = csv.DictWriter(stream, fieldnames=table[0], lineterminator="\n")
            writer.writeheader()
            writer.writerows(table)
