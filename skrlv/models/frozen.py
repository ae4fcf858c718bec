"""Parameters that shape the model of `fit`, and have no effect if they are set afterwards."""

from skrlv.models.warning import warn_user


def warn_of_frozen(model):
    """Warn of parameters that are not what they were in `fit` (``_at_fit``); once for each set of values."""
    changed = {
        name: getattr(model, name) for name, before in model._at_fit.items() if not _same(getattr(model, name), before)
    }
    told = getattr(model, "_told_of", {})
    if changed and (changed.keys() != told.keys() or not all(_same(changed[name], told[name]) for name in told)):
        model._told_of = changed
        warn_user(f"{', '.join(changed)} changed since fit, which has no effect on a fitted model: call fit again.")


def _same(value, other):
    try:
        return value is other or bool(value == other)
    except ValueError:  # arrays
        return False
