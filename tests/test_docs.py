"""Every Python block of the README and the guide runs as printed."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "doc").glob("*.md"))]


def python_blocks(page):
    return re.findall(r"^```python\n(.*?)^```", page.read_text(), re.M | re.S)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_blocks_run_in_order(page):
    namespace = {}
    for block in python_blocks(page):
        exec(compile(block, page.name, "exec"), namespace)


def test_pages_have_blocks():
    assert python_blocks(ROOT / "README.md")
    assert len(python_blocks(ROOT / "doc" / "user_guide.md")) > 5


def test_readme_commands_are_the_ones_ci_runs():
    readme = (ROOT / "README.md").read_text()
    for start in ("python examples/", "pytest"):
        assert re.search(rf"^{start}", readme, re.M)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_local_links_lead_somewhere(page):
    for target in re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text()):
        assert (page.parent / target).exists(), target
