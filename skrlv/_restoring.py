"""Fits that end early leave the estimator as it was, or with its last complete step."""

from contextlib import contextmanager


@contextmanager
def restored_on_error(estimator, keep=lambda estimator, before, error: False):
    """Restore the attributes of an estimator if the block raises, unless ``keep(estimator, before, error)``."""
    before = dict(vars(estimator))
    try:
        yield
    except BaseException as error:
        if not keep(estimator, before, error):
            # scikit-learn's own, which it still needs to take its callbacks down
            callbacks = {name: value for name, value in vars(estimator).items() if "callback" in name}
            vars(estimator).clear()
            vars(estimator).update(before | callbacks)
        raise


def unless_learned(estimator, before, error):
    """Keep what an interrupted fit has learned, if there is a complete step."""
    state = vars(estimator).get("_state")
    return not isinstance(error, Exception) and state is not before.get("_state") and state.n_steps > 0
