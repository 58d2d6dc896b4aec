"""
What Stage I does to the energy
===============================

A memory retrieves by going down an energy. Where patterns are alike their wells merge,
and a query ends between them. Stage I learns a linear map Φ that moves the patterns
apart on the unit sphere, and every one of them gets a well of its own. With two
features this can be seen.
"""

# %%
# Six patterns in a narrow cone
# -----------------------------
#
# Seen from the origin, the six lie within 66 degrees. Queries are noisy copies.

import matplotlib.pyplot as plt
import numpy as np

from skuhop import Training, UHopMemory
from skuhop.plotting import EnergyDisplay

angles = np.deg2rad([12, 25, 38, 52, 65, 78])
lengths = np.array([1.0, 1.12, 0.95, 1.1, 0.93, 1.05])
patterns = lengths[:, None] * np.column_stack([np.cos(angles), np.sin(angles)])
queries = patterns + np.random.RandomState(1).normal(scale=0.05, size=patterns.shape)

# %%
# Before and after
# ----------------
#
# The losses of Stage I compare features of unit length, so the size of Φ means nothing;
# β is chosen such that β times the mean squared length of the features is the same
# before and after. ``early_stopping=False`` learns to the end, as in the paper.

options = {"similarity": "euclidean", "random_state": 0}
memories = {
    "before, Φ = identity": UHopMemory("identity", **options),
    "after, Φ linear": UHopMemory(
        loss="average",
        max_iter=300,
        training=Training(
            learning_rate=1e-2, early_stopping=False, n_iter_no_change=300
        ),
        **options,
    ),
}


def wells(memory):
    """Count the places at which the stored patterns themselves come to rest."""
    ends = patterns
    for _ in range(200):
        ends = memory.transform(ends)
    return len(np.unique(ends.round(2), axis=0))


figure, axes = plt.subplots(1, 2, figsize=(11, 4.6), layout="constrained")
for axis, (name, memory) in zip(axes, memories.items(), strict=True):
    memory.fit(patterns)
    features = patterns @ getattr(memory, "components_", np.eye(2)).T
    memory.set_params(beta=30 / np.square(features).sum(axis=1).mean())
    EnergyDisplay.from_estimator(
        memory, queries=queries, n_steps=150, grid_resolution=80, ax=axis
    )
    axis.set_title(f"{name}: {wells(memory)} wells")
    ends = queries
    for _ in range(200):
        ends = memory.transform(ends)
    right = (memory.predict(ends) == np.arange(6)).sum()
    print(f"{name:24} {wells(memory)} wells, {right} of 6 queries end at their pattern")
plt.show()

# %%
# Dark is low. Stars are the patterns, black lines part the basins of attraction, and
# orange lines are the ways of queries, from the dot on. Before, queries end in two
# mixtures; after, each ends at its own pattern.
#
# Moving patterns apart is not the whole story: it can also amplify noise. So by
# default ``fit`` watches the retrieval of held-out corrupted copies and keeps a learned
# map only where it helps; ``memory.selection_`` says what it did.
