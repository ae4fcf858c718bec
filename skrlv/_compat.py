"""Floor 0: the private scikit-learn names used here, and callbacks where scikit-learn has them (1.9 on)."""

from sklearn.base import _fit_context
from sklearn.utils import _param_validation
from sklearn.utils._param_validation import HasMethods, StrOptions, validate_params

try:
    from sklearn.callback import CallbackSupportMixin
except ImportError:

    class _SilentContext:
        """A task tree that nobody watches."""

        def subcontext(self, **_):
            return self

        def call_on_fit_task_begin(self, **_):
            return False

        def call_on_fit_task_end(self, **_):
            return False

    class CallbackSupportMixin:  # type: ignore[no-redef]
        """Stands in before scikit-learn 1.9: nothing to set, nobody called."""

        def _init_callback_context(self, **_):
            return _SilentContext()


def has_callbacks(context):
    """Whether anybody follows the fit."""
    return bool(getattr(context, "_callbacks", ()))


class Interval(_param_validation.Interval):
    """A range of numbers; True is not one."""

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
