"""
Draws from a memory, and how sure it is
=======================================

Two memories of the same digits. ``UHopMemory`` keeps every row: its draws are stored
images with a little noise. ``KanervaMemory`` keeps a hundred slots, whatever the number
of rows: its draws have what the rows have in common, and its answers to damaged queries
come with a standard deviation.
"""

# %%
# Draws
# -----
#
# ``UHopMemory.sample`` draws from exp(-β E), E the energy. With the Euclidean
# similarity and softmax that is the density of scikit-learn's ``KernelDensity`` of
# bandwidth 1 / √β: for draws alone there is nothing between them. Bandwidth and mixture
# are the best of some for images that are not stored.

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.mixture import GaussianMixture
from sklearn.model_selection import train_test_split
from sklearn.neighbors import KernelDensity, KNeighborsRegressor, NearestNeighbors

from skuhop import KanervaMemory, UHopMemory

stored, unseen = train_test_split(
    load_digits().data / 16, test_size=300, random_state=0
)


def fits_best(models):
    """Model under which the unseen images are likeliest."""
    return max((model.fit(stored) for model in models), key=lambda m: m.score(unseen))


density = fits_best(KernelDensity(bandwidth=h) for h in (0.06, 0.08, 0.1, 0.12, 0.15))
beta = density.bandwidth**-2
models = {
    f"UHopMemory, β = {beta:.0f}": UHopMemory(
        "identity", similarity="euclidean", beta=beta
    ).fit(stored),
    "KanervaMemory": KanervaMemory(random_state=0).fit(stored),
    "GaussianMixture": fits_best(
        GaussianMixture(k, reg_covar=r, random_state=0)
        for k in (5, 10, 20)
        for r in (0.003, 0.01)
    ),
}
drawn = {"unseen digits": unseen}
for name, model in models.items():
    if name == "GaussianMixture":
        drawn[name] = model.sample(300)[0]
        np.random.RandomState(0).shuffle(drawn[name])
    else:
        drawn[name] = model.sample(300, random_state=0)

to_stored = NearestNeighbors(n_neighbors=1).fit(stored)
figure, axis = plt.subplots(figsize=(10, 3.1), layout="constrained")
rows, labels = [], []
for name, images in drawn.items():
    away = to_stored.kneighbors(images)[0].mean()
    rows.append(np.hstack([np.pad(x.reshape(8, 8), 1) for x in images[:14]]))
    labels.append(f"{name}\n{away:.2f} from the nearest stored")
axis.imshow(np.vstack(rows), cmap="gray_r", vmin=0, vmax=1)
axis.set(xticks=[], yticks=10 * np.arange(len(rows)) + 4.5)
axis.set_yticklabels(labels)
axis.set_title("Draws: near copies of what is stored, or what all have in common")
plt.show()

# %%
# The distances, in grey levels (0 to 1) over the whole image, are means over 300
# images. Draws of a memory that keeps its rows are nearer to these than new digits are.
# Those of the compact memory have the right mean and nearly the right covariance but
# one hump, so that many are no digits; for good new images take the mixture.

# %%
# Answers and their deviation
# ---------------------------
#
# Unseen digits with noise of one standard deviation. The compact memory is told what
# damage is like; its rivals get their parameters from these very queries.

scale = np.sqrt(stored.var(axis=0).mean())


def noisy(X, random_state):
    """Add noise of one standard deviation of the pixels."""
    return X + scale * random_state.standard_normal(X.shape)


def error(answers):
    """Squared pixel errors, summed, in the mean over the images."""
    return ((answers - unseen) ** 2).sum(axis=1).mean()


queries = noisy(unseen, np.random.RandomState(1))
compact = KanervaMemory(corruption=noisy, random_state=0).fit(stored)
answers, std = compact.retrieve(queries, return_std=True)
every = UHopMemory("identity", similarity="euclidean").fit(stored)
neighbours = (KNeighborsRegressor(k).fit(stored, stored) for k in (1, 3, 5, 10, 20))
projections = (PCA(k).fit(stored) for k in (2, 5, 10, 15, 20, 30))
rivals = {
    "KanervaMemory, 100 slots": error(answers),
    "UHopMemory, 1,497 rows": min(
        error(every.set_params(beta=part / scale**2).transform(queries))
        for part in (0.3, 0.5, 0.7, 1.0)
    ),
    "mean of k neighbours, 1,497 rows": min(
        error(model.predict(queries)) for model in neighbours
    ),
    "PCA": min(
        error(model.inverse_transform(model.transform(queries)))
        for model in projections
    ),
}
for name, value in rivals.items():
    print(f"{name:34} error {value:.2f}")

# %%
# Look
# ----

figure, (left, right) = plt.subplots(
    1, 2, figsize=(11, 4.4), layout="constrained", width_ratios=[5, 3]
)
rows = {
    "unseen digit": unseen,
    "query": queries,
    "answer": answers,
    "deviation said ×2": 2 * std,
    "error made ×2": 2 * np.abs(answers - unseen),
}
left.imshow(
    np.vstack(
        [np.hstack([np.pad(x.reshape(8, 8), 1) for x in X[:10]]) for X in rows.values()]
    ),
    cmap="gray_r",
    vmin=0,
    vmax=1,
)
left.set(xticks=[], yticks=10 * np.arange(len(rows)) + 4.5)
left.set_yticklabels(rows)
left.set_title(f"KanervaMemory, 100 slots: error {error(answers):.2f}")

made = np.abs(answers - unseen)
for axis, colour, marker, name in (
    (0, "#0072B2", "o", "64 pixels"),
    (1, "#E69F00", "^", "300 queries"),
):
    said, found = (np.sqrt((v**2).mean(axis=axis)) for v in (std, made))
    right.plot(said, found, marker, color=colour, alpha=0.7, ms=5, lw=0, label=name)
right.axline((0, 0), slope=1, color="black", linewidth=1, linestyle="--")
right.set(
    xlabel="standard deviation said (grey levels)",
    ylabel="root mean square error made (grey levels)",
    title="Sure of pixels, not of queries",
)
right.legend(frameon=False)
plt.show()

# %%
# The compact memory is well ahead of PCA; the memory of all rows and a mean of
# neighbours are better with their best parameter, and keep fifteen times as much. The
# deviation tells sure pixels from unsure ones but is much the same for all queries, and
# a sixth too small here, because the noise of a query is not in it.
