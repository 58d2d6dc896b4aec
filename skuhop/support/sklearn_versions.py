"""What differs between the supported versions of scikit-learn: here and nowhere else.

Callbacks came with scikit-learn 1.9. Before that there is nothing to call, and
`set_callbacks` does not exist.
"""

from __future__ import annotations

try:
    from sklearn.callback import CallbackSupportMixin, with_callbacks
except ImportError:  # scikit-learn < 1.9

    class CallbackSupportMixin:  # type: ignore[no-redef]
        """Contexts that call nobody."""

        def _init_callback_context(self, **_):
            return _NullContext()

    class _NullContext:
        def subcontext(self, **_):
            return self

        def call_on_fit_task_begin(self, **_):
            return self

        def call_on_fit_task_end(self, **_):
            return False

    def with_callbacks(method):  # type: ignore[no-redef]
        """Leave the method as it is."""
        return method


TRANSIENT = (
    "_skl_callbacks",
    "_skl_callbacks_to_teardown",
    "_callback_fit_ctx",
    "_parent_callback_ctx",
)
"""Attributes of scikit-learn's callbacks, which have no place in a saved estimator."""

__all__ = ["TRANSIENT", "CallbackSupportMixin", "with_callbacks"]
