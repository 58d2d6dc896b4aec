"""
Separation functions compared
=============================

The separation turns scores into weights. Softmax gives every pattern a little weight,
so its answer comes close to a pattern but does not equal it. Sparse separations give
most patterns none: once the right one leads by a margin, the answer *is* that pattern.
"""

# %%
# One query, many weights
# -----------------------
#
# 150 digits are stored, and the query is a noisy one. Distances give the scores.

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits

from skuhop import UHopMemory
from skuhop.metrics import retrieval_error

rng = np.random.RandomState(0)
patterns = load_digits().data[:150] / 16
queries = patterns + rng.normal(scale=0.25, size=patterns.shape)

styles = {
    "softmax": ("#0072B2", "-", "o"),
    "entmax": ("#D55E00", "--", "s"),
    "sparsemax": ("#009E73", "-.", "^"),
    "normmax": ("#CC79A7", ":", "D"),
    "ksubsets": ("#E69F00", "-", "v"),
    "max": ("#000000", "--", "P"),
}
memories = {
    name: UHopMemory("identity", similarity="euclidean", separation=name).fit(patterns)
    for name in styles
}

# %%
# Sweep β
# -------

betas = np.geomspace(0.1, 100, 16)
errors = {name: [] for name in styles}
exact = {name: [] for name in styles}
for name, memory in memories.items():
    for beta in betas:
        answers = memory.set_params(beta=beta).transform(queries)
        errors[name].append(retrieval_error(patterns, answers))
        exact[name].append(np.isclose(answers, patterns, atol=1e-12).all(axis=1).mean())

print(f"{'separation':12}{'least error':>12}{'at beta':>9}{'most exact':>12}")
for name in styles:
    best = np.argmin(errors[name])
    print(
        f"{name:12}{errors[name][best]:12.4f}{betas[best]:9.2f}{max(exact[name]):12.1%}"
    )

# %%
# Look
# ----

figure, (weights_ax, error_ax, exact_ax) = plt.subplots(
    1, 3, figsize=(13, 4), layout="constrained"
)
for name, (colour, dashes, marker) in styles.items():
    options = {"color": colour, "linestyle": dashes, "label": name}
    memory = memories[name].set_params(beta=1.0)
    weights = np.sort(memory.association(queries[7:8])[0])[::-1][:12]
    weights_ax.plot(np.arange(1, 13), weights, marker=marker, **options)
    error_ax.plot(betas, errors[name], marker=marker, markevery=3, **options)
    exact_ax.plot(betas, exact[name], marker=marker, markevery=3, **options)
weights_ax.set(xlabel="pattern, by rank", ylabel="weight", title="One query, β = 1")
error_ax.set(
    xscale="log",
    xlabel="inverse temperature β",
    ylabel="error (squared, summed over pixels)",
    title="Error",
)
exact_ax.set(
    xscale="log",
    xlabel="inverse temperature β",
    ylabel="share of queries",
    title="Answers that equal the pattern exactly",
)
error_ax.legend(frameon=False)
plt.show()

# %%
# Left: softmax spreads its weight, the sparse ones cut it off. Middle: with enough β
# all find the right pattern; before that they average. Right: exact to twelve digits;
# softmax needs a β some thirty times as large as sparsemax until the rest of its
# weights is rounded away. "sparsemax" and "normmax" have the same margin and coincide;
# "ksubsets" with k = 2 always mixes two patterns, which is what it is for.
