"""
Saying no, however damaged the query
====================================

With ``separation="softmax1"`` a part of the weight may go to nothing that is stored,
and ``predict(X, return_null=True)`` returns it. A score of novelty, such as
``score_samples``, tells how far a query is from what is known; damage takes it far as
well. The weight of nothing asks whether a stored pattern explains the query better than
the mean pattern does, and that does not depend on how much noise there is.
"""

# %%
# Damage of unknown strength
# --------------------------
#
# Digits 0 to 4 are stored. The queries are these same images, to be found, and images
# of 5 to 9, to be rejected. Each query has noise of its own strength, from none to one
# and a half standard deviations of the pixels, and nobody says how much.

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.metrics import roc_auc_score
from sklearn.neighbors import KernelDensity, LocalOutlierFactor, NearestNeighbors
from sklearn.svm import OneClassSVM

from skuhop import UHopMemory

X, y = load_digits(return_X_y=True)
X = X / 16
stored, foreign = X[y < 5], X[y >= 5]
scale = np.sqrt(X.var(axis=0).mean())
rng = np.random.RandomState(0)


def damaged(X):
    """Images with noise, and its strength in standard deviations of the pixels."""
    strength = rng.uniform(0, 1.5, len(X))
    noise = rng.standard_normal(X.shape)
    return X + strength[:, None] * scale * noise, strength


(known, known_noise), (strange, strange_noise) = damaged(stored), damaged(foreign)
queries = np.concatenate([known, strange])
noise = np.concatenate([known_noise, strange_noise])
truth = np.repeat([1, 0], [len(known), len(strange)])

memory = UHopMemory("identity", similarity="euclidean", separation="softmax1")
found, null = memory.fit(stored).predict(queries, return_null=True)

# %%
# Against scores of novelty
# -------------------------
#
# scikit-learn's have parameters; each gets the value that is best on these very
# queries, which nobody knows in practice. The last line divides the distance to the
# nearest stored image by that to their mean: the idea of the weight of nothing, in two
# lines.

distance, _ = NearestNeighbors(n_neighbors=1).fit(stored).kneighbors(queries)
to_mean = np.linalg.norm(queries - stored.mean(axis=0), axis=1)


def best_of(models):
    """Scores of the model that tells known from strange best."""
    scores = [model.fit(stored).score_samples(queries) for model in models]
    return max(scores, key=lambda values: roc_auc_score(truth, values))


widths = (0.1, 0.2, 0.3, 0.5, 1.0)
scores = {
    "weight of nothing": -null,
    "score_samples": memory.score_samples(queries),
    "nearest distance": -distance[:, 0],
    "KernelDensity": best_of(KernelDensity(bandwidth=h) for h in widths),
    "LocalOutlierFactor": best_of(
        LocalOutlierFactor(k, novelty=True) for k in (2, 5, 20, 50)
    ),
    "OneClassSVM": best_of(OneClassSVM(nu=0.05, gamma=g) for g in (0.1, 0.3, 1, 3)),
    "nearest / mean distance": -distance[:, 0] / to_mean,
}
areas = {name: roc_auc_score(truth, values) for name, values in scores.items()}
weak = noise < 0.75
print(f"{'area under the ROC curve':26}{'all':>8}{'weak noise':>12}{'strong':>8}")
for name, values in scores.items():
    parts = [roc_auc_score(truth[s], values[s]) for s in (weak, ~weak)]
    print(f"{name:26}{areas[name]:8.3f}{parts[0]:12.3f}{parts[1]:8.3f}")

# %%
# Look
# ----
#
# A stored image with much noise scores as low as a foreign one with little. At one
# strength of noise the score tells them apart, but no one line does so at all. The
# weight of nothing is below 1/2 for most foreign images too, so take the threshold from
# queries that are known: stored images can be damaged at home. The lines leave 95 % of
# such copies on the side of the known.

copies, _ = damaged(stored)
_, copies_null = memory.predict(copies, return_null=True)
panels = {
    "score_samples": (
        scores["score_samples"],
        np.quantile(memory.score_samples(copies), 0.05),
        "score_samples (log-density, up to a constant)",
    ),
    "weight of nothing": (
        null,
        np.quantile(copies_null, 0.95),
        'weight of "nothing stored"',
    ),
}
styles = {
    1: ("0 to 4 (stored)", "#0072B2", "o"),
    0: ("5 to 9 (foreign)", "#E69F00", "^"),
}
figure, axes = plt.subplots(1, 2, figsize=(11, 4.6), layout="constrained")
for axis, (name, (values, line, text)) in zip(axes, panels.items(), strict=True):
    for kind, (label, colour, marker) in styles.items():
        some = truth == kind
        points = {"s": 14, "alpha": 0.6, "linewidths": 0, "label": label}
        axis.scatter(noise[some], values[some], color=colour, marker=marker, **points)
    axis.axhline(line, color="black", linestyle="--")
    out = values > line if name == "weight of nothing" else values < line
    shares = [out[truth == kind].mean() for kind in (0, 1)]
    axis.set_title(
        f"{name}: ROC AUC {areas[name]:.2f}\n"
        f"line rejects {shares[0]:.0%} of the foreign, {shares[1]:.0%} of the stored"
    )
    axis.set(xlabel="noise of the query (standard deviations)", ylabel=text)
axes[1].set(yscale="log", ylim=(1e-16, 2))
axes[0].legend(frameon=False, markerscale=2)
plt.show()

# %%
# Weights below 1e-16 are not shown. That a query is rejected says nothing about which
# pattern is found: with strong noise the right one often is not.

right = found[: len(stored)] == np.arange(len(stored))
for name, some in (("weak", known_noise < 0.75), ("strong", known_noise >= 0.75)):
    print(f"{name:7} noise: {right[some].mean():.0%} of the stored are found")
