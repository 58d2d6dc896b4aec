"""
Completing missing values
=========================

A memory that is asked with NaN fills the unknown entries. What it should fill in
depends on what the query is: a stored pattern that has lost entries, or a new row that
was never stored. Both are shown here, next to scikit-learn's imputers.
"""

# %%
# Digits that are stored
# ----------------------
#
# 300 digits are stored, and 70 % of the pixels of each are unknown. The memory finds
# the pattern; an imputer, which is made for new rows, takes means and regressions.

import warnings

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_breast_cancer, load_digits, load_wine
from sklearn.exceptions import ConvergenceWarning
from sklearn.experimental import enable_iterative_imputer  # noqa: F401
from sklearn.impute import IterativeImputer, KNNImputer, SimpleImputer
from sklearn.preprocessing import StandardScaler

from skuhop import UHopImputer, UHopMemory
from skuhop.plotting import RetrievalDisplay

rng = np.random.RandomState(0)
stored = load_digits().data[:300] / 16
queries = np.where(rng.uniform(size=stored.shape) < 0.7, np.nan, stored)

memory = UHopMemory("identity", similarity="euclidean").fit(stored)
knn = KNNImputer(n_neighbors=5, keep_empty_features=True).fit(stored)
figure, axes = plt.subplots(2, 1, figsize=(8, 5.4), layout="constrained")
for ax, (name, model) in zip(
    axes, {"UHopMemory": memory, "KNNImputer, k = 5": knn}.items(), strict=True
):
    answers = model.transform(queries)
    error = np.square(answers - stored).sum(axis=1).mean()
    RetrievalDisplay.from_predictions(queries, answers, stored, ax=ax)
    ax.set_title(f"{name}: error {error:.2f} (squared, summed over pixels)")
plt.show()

# %%
# Orange is unknown.
#
# Rows that are new
# -----------------
#
# Half of the rows of two tables are stored, and a growing share of the entries of the
# other half is hidden. These rows were never stored: `UHopImputer` moves the values of
# neighbours along a line, and how far each has a say is learned in ``fit``.

tables = {"wine": load_wine().data, "breast cancer": load_breast_cancer().data}
imputers = {
    "UHopImputer": UHopImputer(random_state=0),
    "UHopMemory": UHopMemory("identity", similarity="euclidean"),
    "KNNImputer, best k of 5, 10, 20": None,
    "IterativeImputer": IterativeImputer(max_iter=5, tol=0.1, random_state=0),
    "SimpleImputer": SimpleImputer(),
}
styles = [
    ("#0072B2", "-", "o"),
    ("#56B4E9", ":", "v"),
    ("#D55E00", "--", "s"),
    ("#009E73", "-.", "^"),
    ("#000000", ":", "D"),
]
warnings.simplefilter("ignore", ConvergenceWarning)
shares = [0.05, 0.1, 0.2, 0.3, 0.5]
figure, axes = plt.subplots(1, 2, figsize=(10, 4.4), layout="constrained")
for ax, (table, X) in zip(axes, tables.items(), strict=True):
    X = StandardScaler().fit_transform(X)
    stored, rows = X[::2], X[1::2]
    errors = {name: [] for name in imputers}
    for share in shares:
        gone = rng.uniform(size=rows.shape) < share
        queries = np.where(gone, np.nan, rows)
        for name, imputer in imputers.items():
            models = (
                [imputer]
                if imputer
                else [KNNImputer(n_neighbors=k) for k in (5, 10, 20)]
            )
            answers = [model.fit(stored).transform(queries) for model in models]
            errors[name].append(
                min(np.sqrt(np.mean((a - rows)[gone] ** 2)) for a in answers)
            )
    for (name, values), (colour, dashes, marker) in zip(
        errors.items(), styles, strict=True
    ):
        ax.plot(shares, values, color=colour, ls=dashes, marker=marker, label=name)
    ax.set(xlabel="share of entries hidden", title=f"{table}, {X.shape[1]} columns")
axes[0].set_ylabel("error (standard deviations of the column)")
figure.legend(
    *ax.get_legend_handles_labels(), loc="outside lower center", ncols=3, frameon=False
)
plt.show()

# %%
# KNNImputer's k is the one that is best on the hidden entries themselves, which nobody
# knows in practice; UHopImputer is not tuned. A memory answers with the one row that is
# nearest, and is for rows that are stored.
