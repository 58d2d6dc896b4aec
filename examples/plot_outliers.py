"""
Outliers, and what makes them so
================================

Wines of one cultivar, with a few of another that nobody has labelled. ``UHopDetector``
scores every wine by how unlike the others it is, and says what each measurement adds to
that.
"""

# %%
# Mix three wines in
# ------------------

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_wine
from sklearn.metrics import roc_auc_score

from skuhop import UHopDetector

X, cultivar = load_wine(as_frame=True, return_X_y=True)
rows = np.r_[np.flatnonzero(cultivar == 0), np.flatnonzero(cultivar == 2)[::16]]
wines, other = X.iloc[rows], cultivar.iloc[rows].to_numpy() == 2

# %%
# ``contamination="auto"`` draws the line where a box plot would: 1.5 interquartile
# ranges beyond the quartile. Each wine is judged by the others, without itself.

detector = UHopDetector().fit(wines)
surprise = -detector.scores_
found = detector.predict(wines) == -1
print(f"area under the ROC curve {roc_auc_score(other, surprise):.3f}")
print(f"{found.sum()} outliers, all three of the other cultivar: {found[other].all()}")

# %%
# Look
# ----
# What the measurements add is the surprise of a wine, no more and no less. Beside the
# strangest one stands a usual one. Nearly every measurement of the strangest disagrees
# with the nearest wines or with what the others let expect; none decides alone.

strangest, usual = surprise.argmax(), surprise.argsort()[len(surprise) // 2]
terms = detector.explain(wines.iloc[[strangest, usual]])
np.testing.assert_allclose(terms.sum(axis=1), surprise[[strangest, usual]])

figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4.2), layout="constrained")
order = surprise.argsort()
place = np.arange(len(order))
groups = {
    "cultivar 1": (~other[order], "o", "#0072B2"),
    "cultivar 3": (other[order], "s", "#D55E00"),
}
for name, (which, marker, colour) in groups.items():
    left.scatter(
        place[which], surprise[order][which], marker=marker, color=colour, label=name
    )
left.axhline(-detector.offset_, color="0.4", linestyle="--", label="outliers above")
left.set(xlabel="wines, the most usual first", ylabel="surprise", title="Scores")
left.legend(frameon=False, loc="upper left")

largest = terms[0].argsort()
height = np.arange(len(largest))
right.barh(height + 0.2, terms[0, largest], 0.4, color="#D55E00", label="strangest")
right.barh(
    height - 0.2, terms[1, largest], 0.4, color="#0072B2", hatch="//", label="usual"
)
right.set_yticks(height, wines.columns[largest])
right.set(xlabel="adds to the surprise", title="What makes it strange")
right.legend(frameon=False, loc="lower right")
plt.show()
