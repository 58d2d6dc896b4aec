"""What all tests share: torch threads, and files that need optional packages."""

import os
from importlib.util import find_spec

import torch
from hypothesis import settings

# The same examples in every run, so that a commit passes or fails for good. New ones
# are tried with --hypothesis-profile=default.
settings.register_profile("repeatable", derandomize=True, deadline=None)
settings.load_profile("repeatable")

if "PYTEST_XDIST_WORKER" in os.environ:
    # Workers of a parallel test run get one torch thread each, as loky's do.
    torch.set_num_threads(1)

_NEEDS = {
    "matplotlib": ["*/test_plotting.py"],
    "skops": [
        f"*test_{name}.py"
        for name in (
            "persistence",
            "progress",
            "classifier",
            "regressor",
            "kanerva_memory",
        )
    ],
}
collect_ignore_glob = [
    file
    for package, files in _NEEDS.items()
    if not find_spec(package)
    for file in files
]
