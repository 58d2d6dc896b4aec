"""What the parameters of the estimators may be: one table of rules for each kind.

Numbers inside a choice (see `skuhop.choices`) have rows too, as ``parameter__number``.
"""

from __future__ import annotations

from collections.abc import Mapping
from numbers import Integral, Number

import numpy as np

from skuhop.answering import KINDS, PRODUCTS
from skuhop.choices import (
    CrossFitting,
    Index,
    LogLoss,
    NamedSeparation,
    Retention,
    Training,
    Updates,
)
from skuhop.kanerva import ADDRESSES
from skuhop.learning import CORRUPTIONS, FEATURE_MAPS, LOSSES, MEMBER_MAPS
from skuhop.retention import RETENTION
from skuhop.retrieval import READ_OUTS, SEPARATIONS, SIMILARITIES
from skuhop.support import parameter_rules as rules

_AUTO = rules.Choice(("auto",))
_CORRUPTION = (rules.NONE, rules.Choice(tuple(CORRUPTIONS)), rules.CALLABLE)
_CLASS_WEIGHT = rules.Number(low=0, high=float(np.finfo(np.float32).max))
_WEIGHTS = rules.Kind(
    lambda value: (
        isinstance(value, dict) and all(map(_CLASS_WEIGHT.accepts, value.values()))
    ),
    f"a dict whose every value is {_CLASS_WEIGHT}",
)
_ALPHA = rules.Number(low=1, open_low=True, high=2)
_COLUMNS = rules.Kind(
    lambda value: (
        not isinstance(value, (str, Number))
        and np.ndim(value) == 1
        and (not np.size(value) or np.asarray(value).dtype.kind in "biuUO")
    ),
    "an array-like of bool, int or str, of one dimension",
)
_CATEGORICAL = (rules.Choice(("from_dtype",)), rules.NONE, _COLUMNS)
_INDEX = rules.Choice(("auto", *KINDS))
_RETENTION = rules.Choice(tuple(RETENTION))
_SHARED = {
    "separation": (rules.Choice(tuple(SEPARATIONS)), rules.ObjectOf(NamedSeparation)),
    "separation__alpha": (_ALPHA,),
    "separation__gamma": (rules.Number(low=1, open_low=True),),
    "separation__k": (rules.COUNT,),
    "separation__degree": (rules.POSITIVE,),
    "beta": (_AUTO, rules.POSITIVE),
    "training__learning_rate": (rules.POSITIVE,),
    "training__early_stopping": (rules.FLAG,),
    "warm_start": (rules.FLAG,),
    "verbose": (rules.FLAG, rules.Number(Integral, 0)),
    "retention": (_RETENTION, rules.ObjectOf(Retention)),
    "retention__rule": (_RETENTION,),
    "retention__max_patterns": (rules.COUNT, rules.NONE),
    "retention__decay": (rules.Number(low=0, open_low=True, high=1),),
    "precision": (rules.Choice(tuple(PRODUCTS)),),
    "device": (rules.DEVICE,),
}
"""Of all estimators that keep their patterns."""
MEMORY_RULES: rules.Rules = {
    **_SHARED,
    "feature_map": (rules.Choice(("identity", *FEATURE_MAPS)), rules.CALLABLE),
    "n_components": (rules.COUNT, rules.NONE),
    "loss": (rules.Choice((*LOSSES, "posterior")),),
    "corruption": _CORRUPTION,
    "similarity": (rules.Choice(("auto", *SIMILARITIES)),),
    "separation__alpha": (_AUTO, _ALPHA),
    "categorical_features": _CATEGORICAL,
    "update_steps": (rules.COUNT, rules.ObjectOf(Updates)),
    "update_steps__steps": (rules.COUNT,),
    "update_steps__tol": (rules.NON_NEGATIVE,),
    "update_steps__answer": (rules.Choice(tuple(READ_OUTS)),),
    "max_iter": (rules.COUNT,),
    "training": (rules.ObjectOf(Training), rules.NONE),
    "training__tol": (rules.NON_NEGATIVE,),
    "training__n_iter_no_change": (rules.COUNT,),
    "index": (_INDEX, rules.ObjectOf(Index), rules.NONE),
    "index__kind": (_INDEX,),
    "index__tol": (rules.NON_NEGATIVE,),
    "index__tail": (rules.Choice(("drop", "sample")),),
}
_HETERO_RULES = {
    **_SHARED,
    "feature_map": (
        rules.Choice(("auto", *MEMBER_MAPS, "identity")),
        rules.CALLABLE,
    ),
    "n_components": (rules.COUNT,),
    "categorical_features": _CATEGORICAL,
    "similarity": (rules.Choice(("auto", *SIMILARITIES)),),
    "max_iter": (_AUTO, rules.COUNT),
    "training": (rules.ObjectOf(CrossFitting), rules.NONE),
    "training__n_folds": (_AUTO, rules.Number(Integral, 2)),
    "training__weight_decay": (rules.NON_NEGATIVE,),
    "training__batch_size": (_AUTO, rules.Number(Integral, 2)),
    "training__linear_share": (_AUTO, rules.Number(low=0, high=1)),
}
CLASSIFIER_RULES: rules.Rules = {
    **_HETERO_RULES,
    "loss": (rules.Choice(("log_loss", *LOSSES)), rules.ObjectOf(LogLoss)),
    "loss__label_smoothing": (rules.Number(low=0, high=1),),
    "class_weight": (rules.Choice(("balanced",)), _WEIGHTS, rules.NONE),
}
REGRESSOR_RULES: rules.Rules = {
    **_HETERO_RULES,
    "loss": (rules.Choice(("squared_error", *LOSSES)),),
}
KANERVA_RULES: rules.Rules = {
    "n_slots": (rules.COUNT,),
    "addressing": (rules.Choice(tuple(ADDRESSES)),),
    "beta": (_AUTO, rules.POSITIVE),
    "alpha": (_AUTO, rules.POSITIVE),
    "corruption": _CORRUPTION,
    "device": (rules.DEVICE,),
}
IMPUTER_RULES: rules.Rules = {
    "add_indicator": (rules.FLAG,),
    "keep_empty_features": (rules.FLAG,),
    "device": (rules.DEVICE,),
}

NEXT_FIT = "next fit"
"""Matters to Stage I alone: a new value waits for the next `fit`, or for the next
`partial_fit` where that reads it, and questions do not mind."""
NEXT_CALL = "next call"
"""Read whenever a question is put: a new value takes effect, or is refused where it
needs what only `fit` can learn."""
FIT_AGAIN = "fit again"
"""Settled by `fit` for all answers to come: with a new value the next question, or
`partial_fit`, is an error that says so."""
_SHARED_EFFECTS = {
    **dict.fromkeys(
        (
            "n_components",
            "loss",
            "beta",
            "max_iter",
            "training",
            "warm_start",
            "verbose",
            "retention",
            "random_state",
        ),
        NEXT_FIT,
    ),
    **dict.fromkeys(("separation", "precision", "device"), NEXT_CALL),
}
MEMORY_EFFECTS = {
    **_SHARED_EFFECTS,
    "feature_map": FIT_AGAIN,
    "corruption": NEXT_FIT,
    "categorical_features": NEXT_FIT,
    **dict.fromkeys(("similarity", "beta", "update_steps", "index"), NEXT_CALL),
}
"""When a parameter that is changed after `fit` takes effect: a row for every one. What
is inside a choice counts when the choice does."""
HETERO_EFFECTS = {
    **_SHARED_EFFECTS,
    "class_weight": NEXT_FIT,
    "categorical_features": NEXT_FIT,
    # Stage II has them from `kernels_`.
    "feature_map": NEXT_FIT,
    "similarity": NEXT_FIT,
}
KANERVA_EFFECTS = {
    "n_slots": NEXT_FIT,
    "addressing": FIT_AGAIN,
    "beta": NEXT_FIT,
    "alpha": NEXT_FIT,
    "corruption": NEXT_FIT,
    "device": NEXT_CALL,
    "random_state": NEXT_FIT,
}
SHARDED_EFFECTS = {
    "estimator": NEXT_FIT,  # and what is inside: `estimator_` is a copy
    "client": NEXT_CALL,
    "shard_size": NEXT_FIT,
    "subsample": NEXT_FIT,
    "random_state": NEXT_FIT,
}


def parameters_of_fit(effects: Mapping) -> tuple[str, ...]:
    """Names of the parameters that `fit` settles."""
    return tuple(name for name, effect in effects.items() if effect == FIT_AGAIN)


def choices_of(rules_of_all: rules.Rules) -> dict:
    """Give what makes an object of shorthand, for the parameters that take objects."""
    return {
        name: rule.kind.of
        for name, allowed in rules_of_all.items()
        for rule in allowed
        if isinstance(rule, rules.ObjectOf)
    }
