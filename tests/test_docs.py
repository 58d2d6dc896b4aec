"""What the pages print runs: Python blocks as printed, commands as CI runs them."""

import os
import re
import subprocess
import sys
import tomllib
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
GENERATED = {"benchmarks.md"}
PAGES = [
    ROOT / "README.md",
    *(
        page
        for page in sorted((ROOT / "doc").glob("*.md"))
        if page.name not in GENERATED
    ),
]
NEEDS = {
    "tutorial.md": ["matplotlib"],
    "saving.md": ["skops"],
    "sharding.md": ["distributed"],
}
"""Optional packages that the blocks of a page need."""
LONG = ("tutorial.md", "user_guide.md")
"""Pages that fit digits several times."""


def python_blocks(page):
    return re.findall(r"^```python\n(.*?)^```", page.read_text(), re.M | re.S)


@pytest.mark.parametrize(
    "page",
    [
        pytest.param(page, marks=[pytest.mark.slow] if page.name in LONG else [])
        for page in PAGES
    ],
    ids=lambda page: page.name,
)
def test_blocks_run_in_order(page):
    for module in NEEDS.get(page.name, []):
        pytest.importorskip(module)
    namespace = {}
    for block in python_blocks(page):
        exec(compile(block, page.name, "exec"), namespace)


def test_pages_have_blocks():
    assert python_blocks(ROOT / "README.md")
    assert len(python_blocks(ROOT / "doc" / "user_guide.md")) > 5
    for name in ("index", "tutorial", "missing_values", "searching", "saving"):
        assert python_blocks(ROOT / "doc" / f"{name}.md"), name


def commands(page):
    """Lines of the code blocks of a page that are meant for a shell."""
    blocks = re.findall(r"^```(\w*)\n(.*?)^```", page.read_text(), re.M | re.S)
    blocks = [block for language, block in blocks if not language]
    return [line for block in blocks for line in block.splitlines()]


CI = (ROOT / ".ci" / "run").read_text().replace('"$work/main/bin/python" -m ', "")
BY_README = re.findall(r"""^eval "\$\(readme '(.+)'\)"$""", CI, re.M)
"""Starts of the README's lines that CI runs, read from CI itself."""


@pytest.mark.parametrize("start", BY_README)
def test_ci_finds_its_commands_in_the_readme(start):
    readme = ROOT / "README.md"
    first = next(x for x in readme.read_text().splitlines() if x.startswith(start))
    assert first in commands(readme)


@pytest.mark.parametrize("command", commands(ROOT / "README.md"))
def test_readme_commands_are_the_ones_ci_runs(command):
    if "pip install" in command or ".venv" in command:  # which CI's `fresh` does
        for part in re.findall(r"-m venv|pip install|-e '.+'", command):
            assert part.replace("pip install", "pip") in CI, part
    else:
        assert [start for start in BY_README if command.startswith(start)], command


def test_contributing_says_what_ci_runs():
    """Its block of checks is CI, line for line; the README has the two others."""
    text = (ROOT / "CONTRIBUTING.md").read_text().partition("## What CI runs")[2]
    checks = re.search(r"^```\n(.*?)^```", text, re.M | re.S)[1].splitlines()
    by_readme = [
        x for x in commands(ROOT / "README.md") if x.startswith(tuple(BY_README))
    ]
    for line in checks:
        assert line in by_readme or f"{line}\n" in CI or f"&& {line}\n" in CI, line
    assert set(by_readme) <= set(checks)


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md"])
def test_files_that_commands_name_are_there(page):
    for command in commands(ROOT / page):
        for path in re.findall(r"(?:examples|tests|doc|\.ci)/[\w./]+", command):
            assert path == "doc/_build" or (ROOT / path).exists(), command


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md", "doc/install.md"])
def test_extras_that_commands_name_are_there(page):
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    for extras in re.findall(
        r"(?:skuhop|-e '\.)\[([\w,]+)\]", (ROOT / page).read_text()
    ):
        assert set(extras.split(",")) <= set(project["optional-dependencies"]), extras


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_local_links_lead_somewhere(page):
    # What the build generates, the build checks.
    generated = r"auto_examples/|benchmarks\.md"
    for target in re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text()):
        if not re.match(generated, target):
            assert (page.parent / target).exists(), target


def benchmarks_page(results):
    spec = spec_from_file_location("_benchmarks", ROOT / "doc" / "_benchmarks.py")
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.page(results)


def test_the_benchmarks_page_takes_what_benchmarks_write(tmp_path):
    (tmp_path / "scaling.csv").write_text("# here, today\na,b\n1,2\n\nc\n3\n")
    head = "table,seed,fold,model,accuracy,log_loss,fit_seconds,predict_seconds\n"
    folds = [f"iris,0,{k},logistic,0.{9 - k},0.5,1.0,0.1\n" for k in (0, 1)]
    (tmp_path / "classification.csv").write_text("".join([head, *folds]))
    text = benchmarks_page(tmp_path)
    assert "| a | b |\n| --- | --- |\n| 1 | 2 |\n\n| c |\n| --- |\n| 3 |" in text
    assert text.endswith("here, today\n")
    assert "| logistic | 0.8500 | 0.5000 |" in text
    # Classification stands first, and what it is goes with it.
    assert text.index("tuned peers") < text.index("peak memory of both stages")
    (tmp_path / "nobody.csv").write_text("a\n1\n")
    with pytest.raises(ValueError, match=r"no row for \['nobody'\]"):
        benchmarks_page(tmp_path)


def test_every_public_name_is_in_the_reference():
    import skuhop
    from skuhop import distributed, metrics, plotting

    reference = (ROOT / "doc" / "api.md").read_text()
    modules = skuhop, distributed, metrics, plotting
    public = {name for module in modules for name in module.__all__} - {"__version__"}
    assert [name for name in sorted(public) if name not in reference] == []


def test_every_page_is_in_the_contents():
    index = (ROOT / "doc" / "index.md").read_text()
    for page in PAGES[1:]:
        assert re.search(rf"^{page.stem}$", index, re.M) or page.stem == "index"


EXAMPLES = sorted((ROOT / "examples").glob("plot_*.py"))


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_examples_use_what_scikit_learn_bundles(example):
    text = example.read_text()
    assert "fetch_" not in text
    assert "np.load(" not in text
    assert re.match(r'"""\n.+\n=+\n', text), "sphinx-gallery wants a title"


@pytest.mark.slow
@pytest.mark.skipif(find_spec("sphinx_gallery") is None, reason="needs the extra doc")
def test_the_site_builds_without_a_warning(tmp_path):
    """The gallery is run as well. No network: proxies lead nowhere."""
    dead_end = "http://127.0.0.1:9"
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        **{f"{name}_proxy": dead_end for name in ("http", "https", "HTTP", "HTTPS")},
    }
    command = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q"]
    built = subprocess.run(
        [*command, "-d", tmp_path / "trees", ROOT / "doc", tmp_path / "html"],
        env=environment,
        capture_output=True,
        text=True,
    )
    assert built.returncode == 0, built.stderr[-3000:]
    html = tmp_path / "html"
    for page in html.rglob("*.html"):
        for link in re.findall(r'href="([^":#?]+\.html)', page.read_text()):
            assert (page.parent / link).exists(), f"{page.name}: {link}"
    pictures = list((html / "_images").glob("sphx_glr_plot_*_001.png"))
    assert len(pictures) >= len(EXAMPLES)
