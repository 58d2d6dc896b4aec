"""Configuration of the documentation; build with ``sphinx-build -W doc doc/_build``.

Nothing is fetched while building: there are no references into other projects' pages.
"""

import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

from _benchmarks import write_page  # noqa: E402

import skuhop  # noqa: E402

project = "skuhop"
author = copyright = "The skuhop developers"
version = release = skuhop.__version__

extensions = [
    "myst_parser",
    "numpydoc",
    "sphinx.ext.autodoc",
    "sphinx.ext.mathjax",
    "sphinx_copybutton",
    "sphinx_gallery.gen_gallery",
]
exclude_patterns = ["_build", "benchmark_results", "auto_examples/*.ipynb"]

myst_enable_extensions = ["dollarmath", "amsmath", "deflist"]
myst_heading_anchors = 3

# Members are listed in api.md: inherited ones refer to pages of scikit-learn's own.
numpydoc_show_class_members = False
autodoc_member_order = "bysource"

sphinx_gallery_conf = {
    "examples_dirs": "../examples",
    "gallery_dirs": "auto_examples",
    "filename_pattern": r"/plot_",
    "ignore_pattern": r"/benchmarks/|/_",
    "within_subsection_order": "FileNameSortKey",
    "download_all_examples": False,
    "show_memory": False,
    "min_reported_time": 1,
    "remove_config_comments": True,
}

html_theme = "pydata_sphinx_theme"
html_title = f"skuhop {release}"
html_theme_options = {
    "show_prev_next": False,
    "navigation_with_keys": False,
    "secondary_sidebar_items": ["page-toc"],
    "footer_start": ["copyright"],
    "footer_end": [],
}
html_sidebars = {"api": [], "benchmarks": [], "whats_new": []}

write_page(HERE)
