"""
A stream that brings one class after the other
==============================================

``partial_fit`` stores rows as they come, and with ``Retention(rule, max_patterns=...)``
the memory stays small. Here the digits come class by class,
all zeros first, and fifty patterns are all that is kept of more than a thousand rows.
Pairs that are alike are merged, and little is forgotten.
"""

# %%
# Feed it
# -------
#
# After every digit the classifier is asked about unseen images of the digits so far.
# Pixels are compared by their cosine with one β for all rules, so that what is kept is
# all that differs. A fair sample depends on the draw: it is the mean of five. Naive
# Bayes, of the classifiers of scikit-learn the one that classes may come to one by one,
# keeps a mean and a variance for each and gets the smoothing that is best at the end.

import matplotlib.pyplot as plt
import numpy as np
from sklearn.cluster import KMeans
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier

from skuhop import Retention, UHopClassifier

BUDGET = 50
digits = np.arange(10)
X, y = load_digits(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split(
    X / 16, y, random_state=0, stratify=y
)


def stream(model, **options):
    """Accuracy on the digits seen, after each of them."""
    accuracy = []
    for digit in digits:
        rows, seen = y_train == digit, y_test <= digit
        model.partial_fit(X_train[rows], y_train[rows], **options)
        with np.errstate(divide="ignore"):  # GaussianNB: log 0 for digits to come.
            accuracy.append(model.score(X_test[seen], y_test[seen]))
    return accuracy


def memory(rule, seed=0):
    """Classifier that keeps what a rule says."""
    return UHopClassifier(
        "identity",
        similarity="cosine",
        beta=40.0,
        retention=Retention(rule, max_patterns=BUDGET),
        random_state=seed,
    )


memories = {
    rule: [memory(rule, seed) for seed in range(5 if rule == "reservoir" else 1)]
    for rule in ("merge", "coverage", "reservoir", "innovation", "fifo")
}
curves = {
    rule: np.mean([stream(model) for model in models], axis=0)
    for rule, models in memories.items()
}
curves["GaussianNB"] = max(
    (
        stream(GaussianNB(var_smoothing=v), classes=digits)
        for v in (0.003, 0.01, 0.03, 0.1)
    ),
    key=lambda accuracy: accuracy[-1],
)

# %%
# What could be had: k-means with five centres for each digit, which is told beforehand
# how many digits will come and sees all rows of one at once, and all rows.

centres = [
    KMeans(BUDGET // 10, n_init=5, random_state=0)
    .fit(X_train[y_train == digit])
    .cluster_centers_
    for digit in digits
]
nearest = KNeighborsClassifier(1)
nearest.fit(np.concatenate(centres), np.repeat(digits, BUDGET // 10))
bounds = {
    "k-means, 5 centres a digit": nearest.score(X_test, y_test),
    "all rows, best k of k-NN": max(
        KNeighborsClassifier(k).fit(X_train, y_train).score(X_test, y_test)
        for k in (1, 3, 5, 10)
    ),
}
for name, value in {**{n: c[-1] for n, c in curves.items()}, **bounds}.items():
    print(f"{name:28}{value:8.1%}")

# %%
# Look
# ----
#
# Below is all that "merge" keeps, digit by digit. Each image is a mean of rows of one
# digit; its weight is the number of rows it stands for.

styles = {
    "merge": ("#0072B2", "-", "o"),
    "coverage": ("#009E73", "--", "s"),
    "reservoir": ("#CC79A7", "-.", "D"),
    "innovation": ("#D55E00", "--", "^"),
    "fifo": ("#000000", ":", "v"),
    "GaussianNB": ("#E69F00", ":", "P"),
}
kept = memories["merge"][0]
label = kept.classes_[kept.pattern_classes_]
most = max(np.bincount(label))
mosaic = np.zeros((10 * most, 100))
for digit in digits:
    rows = np.flatnonzero(label == digit)
    rows = rows[np.argsort(-kept.sample_weight_[rows])]
    for place, row in enumerate(rows):
        across, down = (
            slice(10 * digit, 10 * digit + 10),
            slice(10 * place, 10 * place + 10),
        )
        mosaic[down, across] = np.pad(kept.patterns_[row].reshape(8, 8), 1)

figure, (left, right) = plt.subplots(
    1, 2, figsize=(11, 4.8), layout="constrained", width_ratios=[5, 4]
)
for name, (colour, dashes, marker) in styles.items():
    text = f"{name}: {curves[name][-1]:.0%}"
    left.plot(
        digits + 1,
        100 * np.array(curves[name]),
        color=colour,
        ls=dashes,
        marker=marker,
        label=text,
    )
left.set(
    xlabel="digits seen", ylabel="accuracy on the digits seen (%)", xticks=digits + 1
)
left.set(title=f"{BUDGET} patterns kept of {len(X_train)}", ylim=(0, 103))
left.legend(frameon=False, loc="center right", bbox_to_anchor=(1, 0.43))
right.imshow(mosaic, cmap="gray_r", vmin=0, vmax=1)
right.set(
    xticks=10 * digits + 4.5, yticks=[], xlabel="digit", title='All that "merge" keeps'
)
right.set_xticklabels(digits)
plt.show()

# %%
# Fifty centres of k-means are as good or a little better, but have to be told how many
# digits there will be; all 1,347 rows are two points better. "innovation" keeps what is
# odd and "fifo" what is new, which is the wrong thing here; both have other uses.
