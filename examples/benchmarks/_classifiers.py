"""What UHopClassifier is compared with, each with its best setting."""

from collections.abc import Callable

from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.calibration import CalibratedClassifierCV
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, KFold
from sklearn.neighbors import KNeighborsClassifier, NeighborhoodComponentsAnalysis
from sklearn.pipeline import make_pipeline
from sklearn.svm import SVC

_INNER_FOLDS = 3


def _searched(estimator, grid, scoring="accuracy"):
    return GridSearchCV(estimator, grid, cv=_INNER_FOLDS, scoring=scoring)


def _knn(seed, metric="minkowski"):
    neighbours = [1, 3, 5, 7, 11, 15, 25]
    grid = {"n_neighbors": neighbours, "weights": ["uniform", "distance"]}
    if metric == "minkowski":
        grid["p"] = [1, 2]
    return _searched(KNeighborsClassifier(metric=metric), grid)


def _nca_knn(seed):
    nca = NeighborhoodComponentsAnalysis(max_iter=50, random_state=seed)
    return make_pipeline(nca, _knn(seed, "euclidean"))


class TunedSVC(ClassifierMixin, BaseEstimator):
    """SVC with C and gamma searched; its own labels, calibrated probabilities."""

    def __init__(self, seed=0):
        self.seed = seed

    def fit(self, X, y):
        """Search, then calibrate the best with five folds."""
        scale = 1 / (X.shape[1] * X.var())
        gammas = [scale * factor for factor in (0.1, 0.3, 1, 3)]
        grid = {"C": [0.3, 1, 3, 10, 30, 100], "gamma": gammas}
        self.search_ = _searched(SVC(random_state=self.seed), grid).fit(X, y)
        best = self.search_.best_estimator_
        # Plain folds, as a list: stratified ones refuse a class of a single row.
        splits = KFold(5, shuffle=True, random_state=self.seed).split(X)
        self.calibrated_ = CalibratedClassifierCV(
            SVC(C=best.C, gamma=best.gamma, random_state=self.seed),
            ensemble=False,
            cv=list(splits),
        ).fit(X, y)
        self.classes_ = self.calibrated_.classes_
        return self

    def predict(self, X):
        """Labels of the SVC itself, which calibration can only blur."""
        return self.search_.predict(X)

    def predict_proba(self, X):
        """Calibrated probabilities."""
        return self.calibrated_.predict_proba(X)


def _forest(seed):
    forest = RandomForestClassifier(n_estimators=300, random_state=seed)
    return _searched(forest, {"max_features": ["sqrt", 0.5]})


def _boosting(seed):
    boosting = HistGradientBoostingClassifier(max_iter=150, random_state=seed)
    grid = {"learning_rate": [0.05, 0.15], "max_leaf_nodes": [6, 31]}
    return _searched(boosting, grid, "neg_log_loss")


def _logistic(seed):
    logistic = LogisticRegression(max_iter=2000)
    return _searched(logistic, {"C": [0.01, 0.1, 1, 10, 100]}, "neg_log_loss")


def _uhop(**params):
    # Imported late: the peers run without the package.
    def make(seed):
        from skuhop import UHopClassifier

        return UHopClassifier(random_state=seed).set_params(**params)

    return make


#: name -> seed -> classifier
MODELS: dict[str, Callable] = {
    "knn": _knn,
    "nca_knn": _nca_knn,
    "svc": TunedSVC,
    "forest": _forest,
    "boosting": _boosting,
    "logistic": _logistic,
    "hopfield": _uhop(feature_map="identity", similarity="dot"),
    "uhop_unsupervised": _uhop(
        feature_map="linear", loss="average", training__linear_share=0
    ),
    "untrained": _uhop(feature_map="identity"),
    "UHopClassifier": _uhop(),
}
OWN = ("hopfield", "uhop_unsupervised", "untrained", "UHopClassifier")
PEERS = tuple(name for name in MODELS if name not in OWN)

#: The same for the large sets, where a search over everything would take hours.
LARGE_MODELS: dict[str, dict[str, Callable]] = {
    "adult": {
        "logistic": lambda seed: LogisticRegression(max_iter=1000),
        "forest": lambda seed: RandomForestClassifier(
            300, min_samples_leaf=3, random_state=seed
        ),
        "boosting": lambda seed: HistGradientBoostingClassifier(random_state=seed),
        "hopfield": MODELS["hopfield"],
        "UHopClassifier": _uhop(),
    },
    "banking77": {
        "knn": lambda seed: _knn(seed, "cosine"),
        "logistic": lambda seed: LogisticRegression(C=10, max_iter=1000),
        "svc": lambda seed: TunedSVC(seed),
        "hopfield": MODELS["hopfield"],
        "UHopClassifier": _uhop(),
    },
    "mnist": {
        "knn": lambda seed: KNeighborsClassifier(3),
        "UHopClassifier": _uhop(feature_map="mlp", max_iter=1500),
    },
}
