"""
Completing damaged digits
=========================

A memory stores 300 digits of scikit-learn's data set. Then half of every image goes:
either a random half of the pixels, the others doubled (the damage of the U-Hop
paper), or the whole lower half. The plain modern Hopfield memory compares queries
with raw dot products, so the brightest pattern tends to win whatever the query;
skuhop is told nothing about the damage and is at its defaults.
"""

# %%
# Store and damage
# ----------------

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits

from skuhop import UHopMemory

rng = np.random.RandomState(0)
stored = load_digits().data[:300] / 16
keep = rng.rand(*stored.shape) < 0.5
lower_half = np.arange(64) >= 32
queries = {
    "random half of the pixels gone": np.where(keep, 2 * stored, 0),
    "lower half gone": np.where(lower_half, 0, stored),
}

# %%
# Retrieve
# --------
#
# One call to ``fit`` stores the patterns, one call to ``transform`` gives them back.
# The error is the sum of squared pixel errors, after clipping to [0, 1], in the mean
# over the queries.

memories = {
    "plain Hopfield": UHopMemory(feature_map="identity", similarity="dot", beta=1.0),
    "skuhop": UHopMemory(random_state=0),
}


def error(retrieved):
    """Sum of squared pixel errors in the mean over the queries."""
    return ((retrieved.clip(0, 1) - stored) ** 2).sum(axis=1).mean()


print(f"{'damage':32}{'memory':16}{'error':>8}{'right':>8}")
rows = {}
for damage, damaged in queries.items():
    rows[f"{damage}\nquery"] = damaged, error(damaged)
    for name, memory in memories.items():
        retrieved = memory.fit(stored).transform(damaged)
        right = (memory.predict(damaged) == np.arange(300)).mean()
        rows[f"{damage}\n{name}"] = retrieved, error(retrieved)
        print(f"{damage:32}{name:16}{error(retrieved):8.3f}{right:8.1%}")

# %%
# Look
# ----

shown = np.arange(0, 300, 30)
rows = {"stored": (stored, None), **rows}
figure, axes = plt.subplots(
    len(rows), len(shown), figsize=(10, 7.5), gridspec_kw={"wspace": 0.05}
)
for line, (label, (images, mistake)) in zip(axes, rows.items(), strict=True):
    text = label if mistake is None else f"{label}, error {mistake:.2f}"
    line[0].set_ylabel(text, rotation=0, ha="right", va="center", fontsize=9)
    for axis, image in zip(line, images[shown], strict=True):
        axis.imshow(image.reshape(8, 8), cmap="gray_r", vmin=0, vmax=1)
        axis.set(xticks=[], yticks=[])
figure.suptitle(
    "300 stored digits, ten shown; error: squared pixel differences, summed"
)
figure.subplots_adjust(left=0.3, right=0.99, top=0.93, bottom=0.02)
figure.savefig("complete_digits.png", dpi=110)
print("The picture is in complete_digits.png")
plt.show()
