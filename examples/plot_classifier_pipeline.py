"""
A classifier that shows its reasons
===================================

``UHopClassifier`` stores the training rows and lets them vote. What it learns is how
rows are compared: leave-one-out, every row is to retrieve its own class from the
others. Here it closes a pipeline that scales and encodes columns, is searched over,
and says for one prediction which stored rows decided it.
"""

# %%
# A pipeline on a table
# ---------------------
#
# The breast cancer data of scikit-learn, with one column cut into three levels so
# that there is something to encode. The classifier itself sees numbers only.

import matplotlib.pyplot as plt
import numpy as np
from sklearn.calibration import CalibrationDisplay
from sklearn.compose import make_column_transformer
from sklearn.datasets import load_breast_cancer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.model_selection import (
    GridSearchCV,
    cross_val_predict,
    train_test_split,
)
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from skuhop import CrossFitting, UHopClassifier

data = load_breast_cancer()
names, classes = data.feature_names, data.target_names
smoothness = list(names).index("mean smoothness")
X = data.data.copy()
X[:, smoothness] = np.digitize(
    X[:, smoothness], np.quantile(X[:, smoothness], [1 / 3, 2 / 3])
)
y = classes[data.target]
X_train, X_test, y_train, y_test = train_test_split(X, y, random_state=0, stratify=y)

numeric = np.delete(np.arange(X.shape[1]), smoothness)
columns = make_column_transformer(
    (StandardScaler(), numeric),
    (OneHotEncoder(sparse_output=False), [smoothness]),
)

# %%
# Search, or not
# --------------
#
# ``beta="auto"`` is learned and calibrated inside ``fit``, so that a search has little
# to add to the defaults. It works all the same.

defaults = make_pipeline(columns, UHopClassifier(random_state=0)).fit(X_train, y_train)
search = GridSearchCV(
    make_pipeline(
        columns,
        UHopClassifier(max_iter=50, training=CrossFitting(n_folds=4), random_state=0),
    ),
    {
        "uhopclassifier__n_components": [8, 32],
        "uhopclassifier__beta": ["auto", 10.0],
    },
    scoring="neg_log_loss",
    cv=3,
).fit(X_train, y_train)
print("The search chooses", search.best_params_)

models = {
    "UHopClassifier": defaults,
    "UHopClassifier, searched": search,
    "k nearest neighbours": make_pipeline(columns, KNeighborsClassifier(5)),
    "logistic regression": make_pipeline(columns, LogisticRegression()),
}
print(f"{'model':28}{'accuracy':>10}{'log-loss':>10}")
for name, model in models.items():
    if name not in ("UHopClassifier", "UHopClassifier, searched"):
        model.fit(X_train, y_train)
    right = (model.predict(X_test) == y_test).mean()
    loss = log_loss(y_test, model.predict_proba(X_test), labels=model.classes_)
    print(f"{name:28}{right:10.3f}{loss:10.3f}")

# %%
# Are the probabilities right?
# ----------------------------
#
# Every row of the table is predicted by a classifier that has not seen it. Where a
# model says 0.8, four of five rows should be benign: the nearer to the diagonal, the
# better. Few rows are uncertain, so the middle of the curve rests on a handful.

figure, axis = plt.subplots(figsize=(5.6, 5.2), layout="constrained")
for name, marker in (("UHopClassifier", "o"), ("k nearest neighbours", "s")):
    proba = cross_val_predict(models[name], X, y, cv=3, method="predict_proba")
    CalibrationDisplay.from_predictions(
        y,
        proba[:, 0],
        n_bins=5,
        pos_label="benign",
        ax=axis,
        name=f"{name}, log-loss {log_loss(y, proba):.3f}",
        marker=marker,
    )
axis.set(
    xlabel="predicted probability of benign",
    ylabel="share of rows that are benign",
    aspect="equal",
)
axis.legend(frameon=False, loc="lower center", bbox_to_anchor=(0.5, 1))
plt.show()

# %%
# The rows that decided
# ---------------------
#
# The least certain of the test rows, and the stored rows with the largest weights.
# They are rows of the training set, so one can go and look at them.

proba = defaults.predict_proba(X_test)
row = [proba.max(axis=1).argmin()]
classifier = defaults[-1]
indices, weights = classifier.association(defaults[:-1].transform(X_test[row]), top=5)
print(f"\np(benign) = {proba[row[0], 0]:.2f}; it is {y_test[row[0]]}. Decided by")
for index, weight in zip(indices[0], weights[0], strict=True):
    label = classifier.classes_[classifier.pattern_classes_[index]]
    print(f"  training row {index:3d}, {label:10} weight {weight:.3f}")

shown = [
    "mean radius",
    "mean texture",
    "mean concavity",
    "worst area",
    "worst symmetry",
]
places = [list(names).index(name) for name in shown]
spread = X_train[:, places].std(axis=0)
centre = X_train[:, places].mean(axis=0)
styles = {
    "benign": {"color": "#0072B2", "marker": "o"},
    "malignant": {"color": "#D55E00", "marker": "^"},
}
figure, axis = plt.subplots(figsize=(7.5, 4.4), layout="constrained")
for index, weight in zip(indices[0], weights[0], strict=True):
    values = (X_train[index, places] - centre) / spread
    label = f"row {index}, {y_train[index]}, weight {weight:.2f}"
    axis.plot(shown, values, **styles[y_train[index]], alpha=0.8, label=label)
query = (X_test[row[0], places] - centre) / spread
axis.plot(shown, query, "k--", marker="s", linewidth=2.5, label="query")
axis.set(
    title="The query and the rows that decided",
    ylabel="value (standard deviations from the mean)",
)
axis.legend(frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))
axis.tick_params(axis="x", rotation=20)
figure.savefig("classifier_pipeline.png", dpi=110)
print("The picture is in classifier_pipeline.png")
plt.show()
