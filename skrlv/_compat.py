"""The private names of scikit-learn that are used here, and its callbacks (scikit-learn 1.9 and later)."""

from sklearn.base import _fit_context
from sklearn.utils import _param_validation
from sklearn.utils._param_validation import HasMethods, StrOptions, validate_params

try:
    from sklearn.callback import CallbackSupportMixin
except ImportError:

    class _SilentContext:
        """A task tree without callbacks."""

        def subcontext(self, **_):
            return self

        def call_on_fit_task_begin(self, **_):
            return False

        def call_on_fit_task_end(self, **_):
            return False

    class CallbackSupportMixin:  # type: ignore[no-redef]
        """Stands in for scikit-learn's class before 1.9: there are no callbacks."""

        def _init_callback_context(self, **_):
            return _SilentContext()


def has_callbacks(context):
    """Whether anybody follows the fit."""
    return bool(getattr(context, "_callbacks", ()))


class Interval(_param_validation.Interval):
    """A range of numbers; unlike scikit-learn's it does not contain True and False."""

    def is_satisfied_by(self, val):
        return not isinstance(val, bool) and super().is_satisfied_by(val)


__all__ = [
    "CallbackSupportMixin",
    "HasMethods",
    "Interval",
    "StrOptions",
    "_fit_context",
    "has_callbacks",
    "validate_params",
]
