"""What `fit` runs: the protocol of a learner, and the record of all that learning keeps."""

from typing import Any, NamedTuple, Protocol

import numpy as np

from skrlv._arrays import to_device_of, to_numpy

DIVERGED = 0.1  # factor on the learning rate after a divergence


class AdamState(NamedTuple):
    """Where Adam stands: nothing yet, or the moments of its last step."""

    moments: dict = {}  # what `adam_step` returned
    rate_factor: float = 1.0  # share of the first learning rate

    def slowed(self, factor=DIVERGED):
        """Start afresh at a lower rate, as after a divergence."""
        return AdamState({}, factor * self.rate_factor)

    def reordered(self, encoder, order):
        """The same for codes in another order: a moment has the shape of the parameter it is named after."""
        moved = {
            name: value if isinstance(value, int) else encoder.in_order(name.split("_", 1)[1], value, order)
            for name, value in self.moments.items()
        }
        return self._replace(moments=moved)

    def on_host(self):
        """The same with NumPy arrays, as fitted models keep it."""
        return self._replace(moments={k: v if isinstance(v, int) else to_numpy(v) for k, v in self.moments.items()})

    def on_device_of(self, like):
        """The same in the library and on the device of an array."""
        moved = {k: v if isinstance(v, int) else to_device_of(v, like) for k, v in self.moments.items()}
        return self._replace(moments=moved)


class LearningState(NamedTuple):
    """All that learning keeps from step to step and after a fit: NumPy arrays, numbers and dicts of these."""

    n_steps: int = 0  # complete steps; nothing was learned while it is 0
    atoms: dict = {}  # statistics and use of the atoms, see `learn_dictionary`
    adam: AdamState = AdamState()  # of the encoder, or of the networks
    histories: dict = {}  # by name, one entry per pass or step: see the estimators' ..._history_
    summary: dict = {}  # of the posteriors of all rows: kl_per_unit, variance_of_means

    def recorded(self, **values):
        """The state with one more entry in some of its histories."""
        longer = {name: np.append(self.histories.get(name, []), value) for name, value in values.items()}
        return self._replace(histories=self.histories | longer)


class Learner(Protocol):
    """Moves the parameters of an energy, one pass over the data at a time."""

    energy: Any
    """The equation with the best parameters so far: an `Energy`, or a `VariationalBound`."""

    state: LearningState
    """What is kept with it."""

    n_steps: int
    """Complete steps so far: what an interrupted fit keeps."""

    def run_pass(self, rng, report):
        """Make one pass over the data.

        Parameters
        ----------
        rng : numpy.random.RandomState
            Draws the order of the rows, and noise.
        report : callable
            ``report(energy, n_rows)`` is called after each batch, with the summed energy of its rows.

        Returns
        -------
        float
            Mean energy per row, each batch measured before its own update.
        """

    def settled(self, history):
        """Whether further passes would gain nothing, given the mean energies of the passes so far."""

    @property
    def complaint(self) -> str | None:
        """What went wrong and how to mend it, in words for the user; None if nothing did."""


class Streamer(Protocol):
    """A learner that takes one batch of a stream at a time; `partial_fit` runs it."""

    energy: Any
    state: LearningState

    def step(self, y):
        """Learn from the batch y, an array on the device; return the mean energy per row before the step."""

    @property
    def complaint(self) -> str | None:
        """As for `Learner`."""
