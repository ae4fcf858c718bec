"""Parameters that shape the model of `fit`, and have no effect if they are set afterwards."""

from skrlv.models.warning import warn_user


def warn_of_frozen(model):
    """Warn, once, of parameters that are not what they were in `fit`, which the model keeps in ``_at_fit``."""
    before, now = model._at_fit, {name: getattr(model, name) for name in model._at_fit}
    changed = [name for name in now if now[name] is not before[name] and not _same(now[name], before[name])]
    if changed:
        model._at_fit = now
        warn_user(f"{', '.join(changed)} changed since fit, which has no effect on a fitted model: call fit again.")


def _same(value, other):
    try:
        return bool(value == other)
    except ValueError:  # arrays
        return False
