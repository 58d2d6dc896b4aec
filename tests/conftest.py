"""Workers of a parallel test run get one torch thread each, as loky's do."""

import os

import torch

if "PYTEST_XDIST_WORKER" in os.environ:
    torch.set_num_threads(1)
