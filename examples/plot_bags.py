"""
Bags, and the instances that decided
====================================

Some data have one label for many rows: a molecule has many shapes, an image many
patches. Here a bag holds images of digits, and its label says whether a nine is among
them. :class:`skuhop.UHopMILClassifier` learns from the labels of bags alone, and
``association`` says which image decided.
"""

# %%
# Bags of digits
# --------------

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.metrics import roc_auc_score

from skuhop import UHopMILClassifier

X, digit = load_digits(return_X_y=True)
X = X / 16
rng = np.random.RandomState(0)


def draw_bags(images, n_bags):
    """Draw bags of five to nine images, half of which have exactly one nine."""
    nines, others = images[digit[images] == 9], images[digit[images] != 9]
    bags, labels = [], np.arange(n_bags) % 2
    for label in labels:
        n = rng.randint(5, 10)
        bag = np.append(rng.choice(others, n - label), rng.choice(nines, label))
        bags.append(rng.permutation(bag))
    return bags, labels


order = rng.permutation(len(X))
train, y_train = draw_bags(order[:900], 150)
test, y_test = draw_bags(order[900:], 60)

# %%
# Learn from the labels of bags
# -----------------------------

classifier = UHopMILClassifier().fit([X[bag] for bag in train], y_train)
asked = [X[bag] for bag in test]
proba = classifier.predict_proba(asked)[:, 1]
print(f"area under the ROC curve {roc_auc_score(y_test, proba):.3f}")

# %%
# Which image decided? A bag that is taken to have a nine is so because of its nine.

weights = classifier.association(asked)
hits = [
    digit[bag[w.argmax()]] == 9
    for bag, w, label, p in zip(test, weights, y_test, proba, strict=True)
    if label and p > 0.5
]
print(f"heaviest image is the nine in {np.mean(hits):.0%} of {len(hits)} bags")

# %%
# Look
# ----
# Bars are the weights of the images above them.

shown = [i for i in range(len(test)) if y_test[i] and proba[i] > 0.5][:4]
figure, axes = plt.subplots(
    2 * len(shown),
    9,
    figsize=(9, 8),
    layout="constrained",
    height_ratios=[2, 1] * len(shown),
)
for ax in axes.flat:
    ax.set_axis_off()
for row, i in enumerate(shown):
    for column, (image, weight) in enumerate(zip(asked[i], weights[i], strict=True)):
        axes[2 * row, column].imshow(image.reshape(8, 8), cmap="gray_r")
        bar = axes[2 * row + 1, column]
        bar.bar([0], [weight], width=0.5, color="#0072B2")
        bar.set(xlim=(-1, 1), ylim=(0, 1))
plt.show()
