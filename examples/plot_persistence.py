"""
Save a memory, load it, go on
=============================

A fitted memory is NumPy arrays and plain values, whatever it was fitted on. So it can
be written with pickle, joblib or skops, loaded on another machine, with or without a
GPU, and asked at once.
"""

# %%
# Fit once
# --------

import pickle
import tempfile
from pathlib import Path

import joblib
import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits

from skuhop import UHopMemory
from skuhop.plotting import RetrievalDisplay

patterns = load_digits().data[:200] / 16
memory = UHopMemory(random_state=0).fit(patterns)
rng = np.random.RandomState(0)
queries = np.where(rng.uniform(size=patterns.shape) < 0.5, 2 * patterns, 0)
expected = memory.transform(queries)

# %%
# Three ways to write it
# ----------------------
#
# Loading a pickle or a joblib file can run any code, so only load what you trust.
# skops does not run code: it lists the types that a file wants, and you decide. A
# memory needs one type beside those that skops knows.

folder = Path(tempfile.mkdtemp())
(folder / "memory.pkl").write_bytes(pickle.dumps(memory))
joblib.dump(memory, folder / "memory.joblib", compress=3)
again = {
    "pickle": pickle.loads((folder / "memory.pkl").read_bytes()),
    "joblib": joblib.load(folder / "memory.joblib"),
}
try:
    import skops.io
except ImportError:
    print("skops is not installed: pip install skops")
else:
    skops.io.dump(memory, folder / "memory.skops")
    types = skops.io.get_untrusted_types(file=folder / "memory.skops")
    print("types to trust:", types)
    again["skops"] = skops.io.load(folder / "memory.skops", trusted=types)

for file in sorted(folder.iterdir()):
    print(f"{file.name:16} {file.stat().st_size / 1024:7.0f} KiB")
for way, loaded in again.items():
    same = np.array_equal(loaded.transform(queries), expected)
    print(f"{way:8} gives the same answers: {same}")

# %%
# Go on
# -----
#
# What was loaded is a memory like any other. Parameters of Stage II may be changed
# without a new fit, for instance the separation: here the answer is the one best
# pattern instead of a weighted mean.

loaded = again["joblib"].set_params(separation="max")
RetrievalDisplay.from_estimator(loaded, queries, patterns)
plt.show()
