"""Passes over the data, as scikit-learn's callbacks see them, and steps of a stream."""

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_random_state

from skrlv._compat import has_callbacks
from skrlv._threads import dense
from skrlv.models.validation import refuse_overflow
from skrlv.models.warning import warn_user


def make_passes(model, learner, rng, given):
    """Make passes over the data until there is nothing to gain, or max_iter is reached; given is what `fit` got."""
    dtype, history = model._dtype, list(model.energy_history_)
    progress, settled = Progress(model, given, learner), False
    try:
        for _ in range(model.max_iter):
            progress.run_pass(history, rng)
            if progress.watched:
                model._keep(learner.energy, learner.state, dtype, history)
            settled = progress.end_pass() or learner.settled(history)
            if settled:
                break
    finally:  # also on KeyboardInterrupt: what the last complete step gave is kept
        model._keep(learner.energy, learner.state, dtype, history)
    progress.end()
    settled = settled or not model._warns
    complaint = learner.complaint or _still_falling(history, 0.0 if settled else model.tol)
    if complaint:
        warn_user(complaint, ConvergenceWarning)


def _still_falling(history, tol):
    """What to say if max_iter ended a fit whose mean energy still fell by more than the share tol; None else."""
    if tol == 0.0 or len(history) < 2 or not history[-2] - history[-1] > tol * abs(history[-2]):
        return None
    share = (history[-2] - history[-1]) / abs(history[-2])
    return (
        f"Learning stopped after max_iter passes, though the last of {len(history)} still lowered the mean energy by "
        f"{share:.1%}, more than tol={tol:g}. Raise max_iter, or set tol=0 if so many passes are meant."
    )


def learn_batch(model, X):
    """One step of a stream; the first sets up the model."""
    first, rng = not hasattr(model, "n_iter_"), check_random_state(model.random_state)
    learner = model._learner(model._begin(X, rng) if first else model.energy_, rng)
    if learner is not None:
        with np.errstate(over="ignore", invalid="ignore"):  # refused below
            spent = learner.step(model._placed(dense(X[:])))
            model._keep(learner.energy, learner.state, model._dtype, [*model.energy_history_, spent])
        refuse_overflow(model)
        if learner.complaint:
            warn_user(learner.complaint, ConvergenceWarning)
    if first:
        model._warn_about_fit(X)
        model._warn_about_first_batch(X)
    else:
        model._warn_about_next_batch(X)


class Progress:
    """Runs the passes of a learner, reports each pass and batch to callbacks, and keeps the energy of a pass begun."""

    def __init__(self, estimator, given, learner):
        self._estimator, self._learner = estimator, learner
        self._given = {"estimator": estimator, **given}
        self._context = estimator._init_callback_context(max_subtasks=estimator.max_iter)
        self._context.call_on_fit_task_begin(**self._given)
        self.watched = has_callbacks(self._context)

    def run_pass(self, history, rng):
        """Make a pass and append its mean energy; if it is interrupted after steps that count, that of its rows."""
        self._task = self._context.subcontext(task_name="pass over the data", max_subtasks=None)
        self._task.call_on_fit_task_begin(**self._given)
        self._spent, self._n_rows, n_steps = 0.0, 0, self._learner.n_steps
        try:
            history.append(self._learner.run_pass(rng, self._report))
        except BaseException:
            if self._n_rows and self._learner.n_steps > n_steps:
                history.append(self._spent / self._n_rows)
            raise

    def _report(self, energy, n_rows):
        self._spent, self._n_rows = self._spent + energy, self._n_rows + n_rows
        if self.watched:
            batch = self._task.subcontext(task_name="batch")
            batch.call_on_fit_task_begin(**self._given)
            batch.call_on_fit_task_end(**self._given)

    def end_pass(self):
        """Whether a callback asks to stop."""
        return self._task.call_on_fit_task_end(**self._given, reconstruction_attributes=self._fitted)

    def end(self):
        self._context.call_on_fit_task_end(**self._given, reconstruction_attributes=self._fitted)

    def _fitted(self):
        """The fitted attributes so far."""
        parameters = self._estimator.get_params(deep=False)
        kept = vars(self._estimator).items()
        return {name: value for name, value in kept if name not in parameters and "callback" not in name}
