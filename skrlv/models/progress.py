"""Passes over the data as scikit-learn's callbacks see them."""

from skrlv._compat import has_callbacks


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
