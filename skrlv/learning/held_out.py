"""Rows that no step sees, on which learners evaluate the parameters."""

from abc import ABC, abstractmethod

from skrlv._threads import row_blocks

ROWS_AT_ONCE = 1024


class HeldOutLearner(ABC):
    """A `Learner` that keeps the parameters that are best on rows held out.

    Parameters
    ----------
    n_samples : int
        Number of rows.
    state : LearningState
        Of earlier passes.
    validation_fraction : float
        Share of the rows to hold out; if it amounts to none, all rows are learned from and evaluated on.
    rng : numpy.random.RandomState
        Draws them.
    """

    def __init__(self, n_samples, state, *, validation_fraction, rng):
        order = rng.permutation(n_samples)
        n_held_out = min(round(validation_fraction * n_samples), n_samples - 1)
        self._learned_from, self._held_out = order[n_held_out:], order[:n_held_out] if n_held_out else order
        self._kept = state

    @property
    def state(self):
        return self._kept

    @property
    def n_steps(self):
        return self._kept.n_steps

    @property
    @abstractmethod
    def energy(self):
        """The equation with the best parameters so far."""

    def _mean_over_held_out(self, summed_loss):
        """The mean loss of the rows held out, from summed_loss(part) of blocks of them."""
        blocks = row_blocks(len(self._held_out), ROWS_AT_ONCE)
        return sum(summed_loss(block) for block in blocks) / len(self._held_out)

    def _record(self, **values):
        """Note what a complete pass gave."""
        recorded = self._kept.recorded(**values)
        self._kept = recorded._replace(n_steps=recorded.n_steps + 1, summary={})
