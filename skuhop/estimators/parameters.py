"""What the parameters of the estimators may be: one table of rules for each kind."""

from __future__ import annotations

from collections.abc import Mapping
from numbers import Integral

import numpy as np

from skuhop.answering import KINDS, PRODUCTS
from skuhop.kanerva import ADDRESSES
from skuhop.learning import CORRUPTIONS, FEATURE_MAPS, LOSSES, MEMBER_MAPS
from skuhop.retention import RETENTION
from skuhop.retrieval import READ_OUTS, SEPARATIONS, SIMILARITIES
from skuhop.support import parameter_rules as rules

SEPARATION_RULES = {
    "alpha": (rules.Number(low=1, open_low=True, high=2),),
    "gamma": (rules.Number(low=1, open_low=True),),
    "k": (rules.COUNT,),
    "degree": (rules.POSITIVE,),
}


_AUTO = rules.Choice(("auto",))
_CORRUPTION = (rules.NONE, rules.Choice(tuple(CORRUPTIONS)), rules.CALLABLE)
_CLASS_WEIGHT = rules.Number(low=0, high=float(np.finfo(np.float32).max))
_WEIGHTS = rules.Kind(
    lambda value: (
        isinstance(value, dict) and all(map(_CLASS_WEIGHT.accepts, value.values()))
    ),
    f"a dict whose every value is {_CLASS_WEIGHT}",
)
_A_DICT = rules.Kind(lambda value: isinstance(value, dict), "a dict")
_SHARED = {
    "separation": (rules.Choice(tuple(SEPARATIONS)),),
    "separation_params": (_A_DICT, rules.NONE),
    "beta": (_AUTO, rules.POSITIVE),
    "learning_rate": (rules.POSITIVE,),
    "early_stopping": (rules.FLAG,),
    "warm_start": (rules.FLAG,),
    "verbose": (rules.FLAG, rules.Number(Integral, 0)),
    "max_patterns": (rules.COUNT, rules.NONE),
    "retention": (rules.Choice(tuple(RETENTION)),),
    "decay": (rules.Number(low=0, open_low=True, high=1),),
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
    "similarity": (rules.Choice(("auto", *SIMILARITIES, "channel")),),
    "missing": (rules.Choice(("copy", "new")),),
    "answer": (rules.Choice(tuple(READ_OUTS)),),
    "update_steps": (rules.COUNT,),
    "max_iter": (rules.COUNT,),
    "tol": (rules.NON_NEGATIVE,),
    "n_iter_no_change": (rules.COUNT,),
    "index": (rules.Choice(("auto", *KINDS)), rules.NONE),
    "index_tol": (rules.NON_NEGATIVE,),
    "index_tail": (rules.Choice(("drop", "sample")),),
}
_HETERO_RULES = {
    **_SHARED,
    "feature_map": (
        rules.Choice(("auto", *MEMBER_MAPS, "identity")),
        rules.CALLABLE,
    ),
    "n_components": (rules.COUNT,),
    "similarity": (rules.Choice(("auto", *SIMILARITIES)),),
    "n_folds": (_AUTO, rules.Number(Integral, 2)),
    "max_iter": (_AUTO, rules.COUNT),
    "weight_decay": (rules.NON_NEGATIVE,),
    "batch_size": (rules.Number(Integral, 2),),
    "linear_share": (_AUTO, rules.Number(low=0, high=1)),
}
CLASSIFIER_RULES: rules.Rules = {
    **_HETERO_RULES,
    "loss": (rules.Choice(("log_loss", *LOSSES)),),
    "class_weight": (rules.Choice(("balanced",)), _WEIGHTS, rules.NONE),
    "label_smoothing": (rules.Number(low=0, high=1),),
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
    **dict.fromkeys(_SHARED, NEXT_FIT),
    **dict.fromkeys(
        ("separation", "separation_params", "precision", "device"), NEXT_CALL
    ),
    "n_components": NEXT_FIT,
    "loss": NEXT_FIT,
    "max_iter": NEXT_FIT,
    "random_state": NEXT_FIT,
    "feature_map": FIT_AGAIN,
}
MEMORY_EFFECTS = {
    **_SHARED_EFFECTS,
    "corruption": NEXT_FIT,
    "n_iter_no_change": NEXT_FIT,
    "similarity": NEXT_CALL,
    "beta": NEXT_CALL,
    "missing": NEXT_CALL,
    "answer": NEXT_CALL,
    "update_steps": NEXT_CALL,
    "tol": NEXT_CALL,
    "index": NEXT_CALL,
    "index_tol": NEXT_CALL,
    "index_tail": NEXT_CALL,
}
"""When a parameter that is changed after `fit` takes effect: a row for every one."""
HETERO_EFFECTS = {
    **_SHARED_EFFECTS,
    "class_weight": NEXT_FIT,
    "n_folds": NEXT_FIT,
    "weight_decay": NEXT_FIT,
    "batch_size": NEXT_FIT,
    "label_smoothing": NEXT_FIT,
    "feature_map": NEXT_FIT,  # Stage II has them from `kernels_`
    "similarity": NEXT_FIT,
    "beta": NEXT_FIT,
    "linear_share": NEXT_FIT,
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


def fixed_by_fit(effects: Mapping) -> tuple[str, ...]:
    """Names of the parameters that `fit` settles."""
    return tuple(name for name, effect in effects.items() if effect == FIT_AGAIN)


MEMORY_SEPARATION_RULES = {
    **SEPARATION_RULES,
    "alpha": (rules.Choice(("auto",)), *SEPARATION_RULES["alpha"]),
}
