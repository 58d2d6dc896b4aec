"""What all estimators share: parameters by rules, tags, a version in pickles."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from skuhop.choices import numbers_inside
from skuhop.support import VersionedStateMixin, check_parameters, check_settled


class EstimatorMixin(VersionedStateMixin):
    """Checks and tags of an estimator; it stands before `TransformerMixin`.

    An estimator gives `_rules`, the table of its parameters; `_parameters_of_fit`,
    those that `fit` settles for what comes after it; and `_takes`, the kinds of input
    beside finite numbers that the tags of scikit-learn are to name.
    """

    _rules: Mapping = MappingProxyType({})
    _parameters_of_fit: tuple = ()
    _takes: tuple = ()

    def __sklearn_tags__(self):
        """Tags of scikit-learn."""
        tags = super().__sklearn_tags__()
        for kind in self._takes:
            setattr(tags.input_tags, kind, True)
        # TransformerMixin makes them, and is asked first only where it stands behind.
        if tags.transformer_tags is not None:
            tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags

    def _check_parameters(self):
        """Check all parameters against their rules."""
        # Not get_params: it reads the signature anew, a third of a small call's time.
        values = {n: getattr(self, n) for n in self._rules if "__" not in n}
        check_parameters(type(self).__name__, values, self._rules)
        check_parameters(type(self).__name__, numbers_inside(values), self._rules)

    def _check_settled(self):
        """Check all parameters of a fitted estimator, which `fit` may have settled."""
        self._check_parameters()
        check_settled(self, self._parameters_of_fit)
