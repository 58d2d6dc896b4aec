"""
A memory knows what it does not know
====================================

``score_samples`` says how well a query fits what is stored: minus the energy, which is
a log-likelihood. Low scores are novel. Here a memory stores zeros and ones only and is
asked about all ten digits; nothing is fitted on the others.
"""

# %%
# Store two classes, ask about ten
# --------------------------------

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.ensemble import IsolationForest
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import train_test_split
from sklearn.neighbors import LocalOutlierFactor

from skuhop import UHopMemory

X, y = load_digits(return_X_y=True)
X = X / 16
known = y <= 1
stored, asked_known = train_test_split(X[known], random_state=0)
asked_novel, digit = X[~known], y[~known]

# %%
# With a number for β and the Euclidean similarity the score is the logarithm of a
# kernel density of bandwidth 1 / √β. The noise level between two images of the same
# digit is the only thing to choose; the median distance to the nearest neighbour among
# the stored ones gives it.

distances = np.sqrt(((stored[:, None] - stored) ** 2).sum(axis=2))
np.fill_diagonal(distances, np.inf)
spread = np.median(distances.min(axis=1)) / np.sqrt(2)
models = {
    "UHopMemory": UHopMemory("identity", similarity="euclidean", beta=spread**-2),
    "LocalOutlierFactor": LocalOutlierFactor(novelty=True),
    "IsolationForest": IsolationForest(random_state=0),
}
truth = np.repeat([1, 0], [len(asked_known), len(asked_novel)])
for name, model in models.items():
    model.fit(stored)
    scores = model.score_samples(np.concatenate([asked_known, asked_novel]))
    print(f"{name:20} area under the ROC curve {roc_auc_score(truth, scores):.4f}")

# %%
# Look
# ----

memory = models["UHopMemory"]
figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4.2), layout="constrained")
groups = {"0 and 1 (unseen images)": asked_known, "2 to 9": asked_novel}
scores = {name: memory.score_samples(rows) for name, rows in groups.items()}
bins = np.linspace(min(map(np.min, scores.values())), 0, 30)
for (name, values), colour, hatch in zip(
    scores.items(), ("#0072B2", "#E69F00"), ("", "//"), strict=True
):
    left.hist(
        values, bins, density=True, alpha=0.7, color=colour, hatch=hatch, label=name
    )
left.set(xlabel="score (minus the energy)", ylabel="density", title="Known and novel")
left.legend(frameon=False, loc="upper left")

order = np.argsort(scores["2 to 9"])
picked = [*order[:5], *order[-5:]]
mosaic = np.hstack([np.pad(asked_novel[i].reshape(8, 8), 1) for i in picked[:5]])
nearest = np.hstack([np.pad(asked_novel[i].reshape(8, 8), 1) for i in picked[5:]])
right.imshow(np.vstack([mosaic, nearest]), cmap="gray_r")
right.set(xticks=[], yticks=[4.5, 14.5], title="Digits 2 to 9 that fit worst and best")
right.set_yticklabels(["lowest scores", "highest scores"])
plt.show()
