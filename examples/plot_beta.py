"""
Inverse temperature and metastable states
=========================================

β says how sharply a memory chooses. With a small one every query ends at the mean of
all patterns; with a large one at a single pattern. In between there are *metastable
states*: means of a few patterns that are alike. With ``beta="auto"`` the noise level is
profiled out query by query, and there is nothing to choose.
"""

# %%
# From the mean to the patterns
# -----------------------------
#
# 100 digits are stored. Queries are noisy copies, and retrieval goes on until nothing
# moves any more.

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits

from skuhop import UHopMemory, Updates
from skuhop.metrics import retrieval_error

rng = np.random.RandomState(0)
patterns = load_digits().data[:100] / 16
queries = patterns + rng.normal(scale=0.3, size=patterns.shape)
shown = np.arange(10)

betas = np.geomspace(0.1, 30, 20)
memory = UHopMemory(
    "identity", similarity="euclidean", update_steps=Updates(1000, tol=1e-8)
).fit(patterns)

# %%
# The weights of an answer say how many patterns take part in it: the exponential of
# their entropy. States are counted up to rounding.

errors, taking_part, states, answers = [], [], [], {}
for beta in [*betas, "auto"]:
    answers[beta] = memory.set_params(beta=beta).transform(queries)
    errors.append(retrieval_error(patterns, answers[beta]))
    weights = memory.association(answers[beta]).clip(1e-300)
    entropy = -(weights * np.log(weights)).sum(axis=1)
    taking_part.append(np.exp(entropy).mean())
    states.append(len(np.unique(answers[beta].round(2), axis=0)))

print(f"{'beta':>8}{'error':>10}{'patterns in an answer':>24}{'states':>8}")
for row in zip([*betas, "auto"], errors, taking_part, states, strict=True):
    beta = row[0] if row[0] == "auto" else f"{row[0]:.2f}"
    print(f"{beta:>8}{row[1]:10.3f}{row[2]:24.1f}{row[3]:8d}")

# %%
# Look
# ----

figure, (images, curves) = plt.subplots(
    2, 1, figsize=(8.5, 8), layout="constrained", height_ratios=[3, 2]
)
rows = {"stored": patterns, "query": queries}
rows |= {f"β = {b:.1f}": answers[b] for b in betas[[0, 8, 10, 12, 19]]}
rows["β = auto"] = answers["auto"]
mosaic = np.vstack(
    [np.hstack([np.pad(x.reshape(8, 8), 1) for x in X[shown]]) for X in rows.values()]
)
images.imshow(mosaic, cmap="gray_r", vmin=0, vmax=1)
images.set(xticks=[], yticks=np.arange(len(rows)) * 10 + 4.5)
images.set_yticklabels(rows)

curves.plot(betas, taking_part[:-1], "-o", color="#0072B2", label="patterns per answer")
curves.plot(betas, states[:-1], "--s", color="#D55E00", label="distinct states")
curves.set(
    xscale="log",
    yscale="log",
    xlabel="inverse temperature β (1 / squared grey level)",
    ylabel="number (100 queries)",
)
curves.legend(frameon=False)
plt.show()

# %%
# With β = 0.1 all queries end in one state, the mean of the 100 patterns. As β grows
# there are more states and fewer patterns in each; the ones in between look like a
# typical 0 or 4. In the end every pattern is a state of its own.
