"""Progress of Stage I: silent by default, `verbose`, and scikit-learn's callbacks."""

import io
import pickle
import subprocess
import sys
from contextlib import redirect_stdout

import joblib
import numpy as np
import pytest
import skops.io
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skuhop import CrossFitting, Training, UHopClassifier, UHopMemory, UHopRegressor
from skuhop.metrics import StoredPatterns, retrieval_scorer

RNG = np.random.RandomState(0)
X = RNG.normal(size=(24, 9))
y = (X[:, 0] + 0.1 * RNG.normal(size=24) > 0).astype(int)
QUERIES = X[:4]
MODELS = {
    "memory": UHopMemory(similarity="euclidean", max_iter=8, random_state=0),
    "auto": UHopMemory(max_iter=3, random_state=0),
    "mlp": UHopMemory("mlp", similarity="euclidean", max_iter=8, random_state=0),
    "posterior": UHopMemory(
        similarity="euclidean", loss="posterior", max_iter=8, random_state=0
    ),
    "classifier": UHopClassifier(
        max_iter=6, training=CrossFitting(n_folds=2), random_state=0
    ),
    "regressor": UHopRegressor(
        max_iter=6, training=CrossFitting(n_folds=2), random_state=0
    ),
}

needs_callbacks = pytest.mark.skipif(
    not hasattr(UHopMemory, "set_callbacks"), reason="scikit-learn >= 1.9"
)


class Recorder:
    """Writes down what it is told."""

    def __init__(self, stop_after=None):
        self.stop_after = stop_after
        self.events, self.answers = [], []

    def setup(self, estimator, context):
        self.events.append("setup")

    def teardown(self, estimator, context):
        self.events.append("teardown")

    def on_fit_task_begin(self, estimator, context):
        self.events.append(f"begin {context.task_name} of {context.max_subtasks}")

    def on_fit_task_end(self, estimator, context, *, X, y, fitted_estimator):
        self.events.append(f"end {context.task_name}")
        self.answers.append(fitted_estimator.predict(QUERIES))
        return self.stop_after is not None and context.task_id + 1 == self.stop_after


def model(name):
    return clone(MODELS[name])


# --- what is said, and that nothing is by default ------------------------------------


@pytest.mark.parametrize("name", MODELS)
def test_silent_by_default_and_verbose_prints_every_step(name, capsys):
    fitted = model(name).fit(X, y)
    assert capsys.readouterr().out == ""
    loud = model(name).set_params(verbose=1).fit(X, y)
    lines = capsys.readouterr().out.splitlines()
    expected = [
        f"Iteration {i}, loss = {loss:.8f}"
        for i, loss in enumerate(loud.loss_curve_, start=1)
    ]
    assert lines == expected
    assert loud.loss_curve_ == fitted.loss_curve_


# --- callbacks -----------------------------------------------------------------------


@needs_callbacks
@pytest.mark.parametrize("name", MODELS)
def test_one_task_per_step(name):
    recorder = Recorder()
    fitted = model(name).set_callbacks(recorder).fit(X, y)
    steps = ["begin step of 0", "end step"] * len(fitted.loss_curve_)
    n_kernels = 1 if isinstance(fitted, UHopMemory) else 2
    begin = f"begin fit of {n_kernels * fitted.max_iter}"
    assert recorder.events == ["setup", begin, *steps, "end fit", "teardown"]
    np.testing.assert_array_equal(recorder.answers[-1], fitted.predict(QUERIES))
    quiet = model(name).fit(X, y)
    assert fitted.loss_curve_ == quiet.loss_curve_
    np.testing.assert_array_equal(fitted.predict(X), quiet.predict(X))


@needs_callbacks
@pytest.mark.parametrize("name", MODELS)
def test_a_callback_may_stop(name):
    fitted = model(name).set_callbacks(Recorder(stop_after=2)).fit(X, y)
    assert len(fitted.loss_curve_) == 2
    fitted.predict(X)


@needs_callbacks
def test_stopping_still_keeps_the_best_look():
    stopped = model("memory").set_callbacks(Recorder(stop_after=3)).fit(X)
    short = model("memory").set_params(max_iter=3).fit(X)
    np.testing.assert_array_equal(stopped.components_, short.components_)
    assert stopped.validation_scores_ == short.validation_scores_


@needs_callbacks
def test_the_estimator_of_a_step_is_as_if_stage_i_had_ended_there():
    class Keep(Recorder):
        def on_fit_task_end(self, estimator, context, *, fitted_estimator):
            self.answers.append(fitted_estimator)

    keep = Keep()
    settings = {"training": Training(early_stopping=False, n_iter_no_change=100)}
    model("memory").set_params(**settings).set_callbacks(keep).fit(X)
    for n_steps in (1, 5):
        short = model("memory").set_params(max_iter=n_steps, **settings).fit(X)
        np.testing.assert_array_equal(
            keep.answers[n_steps - 1].transform(X / 2), short.transform(X / 2)
        )


@needs_callbacks
@pytest.mark.parametrize("class_weight", [None, {"high": 0, "low": 2}])
@pytest.mark.parametrize("feature_map", ["periodic", "mlp", "linear"])
def test_a_classifier_is_scored_on_rows_that_it_does_not_store(
    feature_map, class_weight
):
    class Scored(Recorder):
        def on_fit_task_end(self, estimator, context, *, X, y, fitted_estimator):
            if context.task_name == "fit":
                assert X is None
                assert y is None
                return
            stored = {row.tobytes() for row in fitted_estimator.patterns_}
            assert not stored & {row.tobytes() for row in X}
            assert len(stored) + len(X) == len(np.unique(rows, axis=0))
            assert np.isin(y, fitted_estimator.classes_).all()
            self.answers.append(fitted_estimator.predict_proba(X))

    labels = np.where(np.arange(24) % 3, np.where(y, "high", "low"), "middle")
    class_weight = class_weight and {**class_weight, "middle": 1}
    kept = labels != "high" if class_weight else np.full(24, True)
    rows = X[kept]
    scored = Scored()
    fitted = model("classifier").set_params(
        feature_map=feature_map,
        class_weight=class_weight,
        training=CrossFitting(n_folds=4),
    )
    fitted.set_callbacks(scored).fit(X, labels)
    assert len(scored.answers) == fitted.n_iter_ > 1
    assert all(len(p) == -(-len(rows) // 4) for p in scored.answers)
    assert not np.array_equal(scored.answers[0], scored.answers[-1])


@needs_callbacks
def test_a_copy_is_either_stored_or_scored():
    class Scored(Recorder):
        def on_fit_task_end(self, estimator, context, *, X, fitted_estimator):
            if context.task_name == "step":
                stored = fitted_estimator.sample_weight_, fitted_estimator.patterns_
                self.answers.append((*stored, X))

    scored = Scored()
    classifier = (
        model("classifier")
        .set_params(training=CrossFitting(n_folds=4))
        .set_callbacks(scored)
    )
    classifier.fit(np.repeat(X, 2, axis=0), np.repeat(y, 2))
    for weights, stored, asked in scored.answers:
        for row in X:
            of_row = (stored == row).all(1), (asked == row).all(1)
            n_stored = of_row[0].sum() if weights is None else weights @ of_row[0]
            assert n_stored + of_row[1].sum() == 2


@needs_callbacks
def test_the_monitor_does_not_see_rows_find_themselves():
    from sklearn.callback import ScoringMonitor

    labels = RNG.randint(2, size=200)
    noise = RNG.normal(size=(200, 3))
    monitor = ScoringMonitor(scoring="accuracy")
    classifier = UHopClassifier(
        beta=1000.0, max_iter=20, training=CrossFitting(n_folds=2), random_state=0
    )
    classifier.set_callbacks(monitor).fit(noise, labels)
    assert classifier.score(noise, labels) > 0.8
    log = monitor.get_logs().data
    scores = [row["accuracy"] for row in log if row["task_name"] == "step"]
    assert len(scores) == classifier.n_iter_
    assert max(scores) < 0.7
    assert [row.get("accuracy") for row in log if row["task_name"] == "fit"] == [None]


@needs_callbacks
def test_the_monitor_sees_values_move_along_a_trend():
    from sklearn.callback import ScoringMonitor

    rows = np.random.default_rng(0).normal(size=(100, 6))
    values = rows @ [9.0, -9, 9, 9, -9, 9] + np.sin(3 * rows[:, 0])
    monitor = ScoringMonitor(scoring="r2")
    regressor = UHopRegressor(
        max_iter=20, training=CrossFitting(n_folds=2), random_state=0
    )
    regressor.set_callbacks(monitor).fit(rows, values)
    assert regressor.trend_coef_ is not None
    log = monitor.get_logs().data
    scores = [row["r2"] for row in log if row["task_name"] == "step"]
    assert scores[0] > 0.94  # 0.8 if values stayed as they are.


@needs_callbacks
def test_a_failed_fit_tears_down():
    recorder = Recorder()

    def broken(X, random_state):
        raise RuntimeError("broken")

    memory = model("memory").set_params(corruption=broken).set_callbacks(recorder)
    with pytest.raises(RuntimeError, match="broken"):
        memory.fit(X)
    assert recorder.events == ["setup", "begin fit of 8", "teardown"]
    assert not hasattr(memory, "patterns_")


@needs_callbacks
def test_partial_fit_reports_where_it_learns():
    recorder = Recorder()
    classifier = model("classifier").set_callbacks(recorder)
    classifier.partial_fit(X[:12], y[:12])
    n_events = len(recorder.events)
    assert n_events > 4
    classifier.partial_fit(X[12:], y[12:])
    assert len(recorder.events) == n_events


@needs_callbacks
@pytest.mark.parametrize("n_jobs", [1, 2])
@pytest.mark.parametrize("name", ["memory", "classifier"])
def test_scoring_monitor_in_a_search(name, n_jobs):
    from sklearn.callback import ScoringMonitor

    memory = name == "memory"
    scorer = retrieval_scorer("noise") if memory else "accuracy"
    scoring = {"retrieval": scorer} if memory else scorer
    monitor = ScoringMonitor(scoring=scoring)
    search = GridSearchCV(
        model(name).set_callbacks(monitor),
        {"training__learning_rate": [1e-3, 1e-2]},
        scoring=scorer,
        cv=StoredPatterns(),
        n_jobs=n_jobs,
    ).fit(X, y)
    log = monitor.get_logs().data
    column = "retrieval" if memory else "accuracy"
    scores = [row[column] for row in log if row["task_name"] == "step"]
    # Two candidates and the refit, every one with several steps.
    assert len(scores) >= 3 * 5
    assert np.isfinite(scores).all()
    if memory:
        last = monitor.get_logs().data_as_pandas.query("task_name != 'step'")
        assert search.best_score_ in last[column].to_numpy()


@needs_callbacks
@pytest.mark.parametrize("n_jobs", [1, 2])
@pytest.mark.parametrize("name", ["memory", "classifier"])
def test_progress_bar(name, n_jobs):
    from sklearn.callback import ProgressBar

    pytest.importorskip("rich")
    search = GridSearchCV(
        make_pipeline(StandardScaler(), model(name)),
        {
            f"{type(MODELS[name]).__name__.lower()}__training__learning_rate": [
                1e-3,
                1e-2,
            ]
        },
        scoring=retrieval_scorer("noise") if name == "memory" else None,
        cv=StoredPatterns(),
        n_jobs=n_jobs,
    )
    search.set_callbacks(ProgressBar(max_propagation_depth=None))
    with redirect_stdout(io.StringIO()) as out:
        search.fit(X, y)
    assert f"{type(MODELS[name]).__name__} - fit" in out.getvalue()
    assert "100%" in out.getvalue()


# --- persistence ---------------------------------------------------------------------


@needs_callbacks
@pytest.mark.parametrize("name", ["memory", "classifier"])
def test_callbacks_reach_workers_but_are_not_saved(name):
    unfitted = model(name).set_callbacks(Recorder())
    assert len(pickle.loads(pickle.dumps(unfitted))._skl_callbacks) == 1
    fitted = unfitted.fit(X, y)
    again = pickle.loads(pickle.dumps(fitted))
    assert not any("callback" in key for key in vars(again))
    assert len(fitted._skl_callbacks) == 1
    data = skops.io.dumps(fitted)
    foreign = skops.io.get_untrusted_types(data=data)
    assert all(kind.startswith("skuhop.") for kind in foreign), foreign


@needs_callbacks
def test_workers_give_fitted_memories_back():
    memory = model("memory").set_callbacks(Recorder())
    (fitted,) = joblib.Parallel(n_jobs=2)([joblib.delayed(memory.fit)(X)])
    np.testing.assert_array_equal(fitted.predict(X), np.arange(24))


# --- older versions of scikit-learn --------------------------------------------------


def test_without_callbacks_in_scikit_learn():
    code = """
import sys
import sklearn.linear_model  # needs callbacks where there are any
sys.modules["sklearn.callback"] = None
import numpy as np
from skuhop import UHopMemory, UHopClassifier
X = np.random.RandomState(0).normal(size=(12, 9))
assert not hasattr(UHopMemory, "set_callbacks")
memory = UHopMemory(max_iter=3, verbose=1).fit(X)
assert (memory.predict(X) == np.arange(12)).all()
UHopClassifier(max_iter=3).fit(X, X[:, 0] > 0).predict(X)
"""
    found = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True
    )
    assert found.stdout.count("Iteration") == 3
