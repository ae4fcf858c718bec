"""Between base and the roof: models that learn in turns, first the codes of a batch, then the parameters."""

from abc import abstractmethod
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.utils import check_random_state

from skrlv._arrays import to_numpy
from skrlv._compat import _fit_context
from skrlv._threads import dense
from skrlv.inference import joined
from skrlv.learning import minibatches
from skrlv.models.base import (
    LatentVariableModel,
    of_those_not_converged,
    one_more_batch,
    warn_unless_converged,
    warn_user,
)

MOST_CODES_KEPT = 2**25  # entries


class AlternatingModel(LatentVariableModel):
    """A model that finds the codes of a batch (`_infer`), and moves its parameters with these held (`_update`)."""

    @abstractmethod
    def _infer(self, energy, y, z0, rng):
        """In `fit`: the `Solution` of the rows y, an array on the device, from z0 or the landscape's own start."""

    @abstractmethod
    def _update(self, state, energy, y, z, whole):
        """Move the parameters: -> (state, energy); ``whole``: the batch is all of the data."""

    @_fit_context(prefer_skip_nested_validation=True)
    def partial_fit(self, X, y=None):
        """Learn from one more batch of a stream.

        The first call sets up the model from its batch, as `fit` would from all data: the initial parameters, and lmbda
        where it is "auto". Every call is one step, and counts as one pass in ``n_iter_`` and ``energy_history_``. One
        pass of `fit` takes the same steps on its batches; but `fit` knows when rows come back, begins there from their
        last codes, and forgets all else where one batch holds all rows.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            The batch.
        y : None
            Ignored.

        Returns
        -------
        self : object
            The estimator. A call that fails or is interrupted leaves it as it was.

        Raises
        ------
        ValueError
            If X is not a finite matrix, has another width than before, or a parameter is out of its range.
        """
        with one_more_batch(self) as first:
            X = self._validated_batch(X, reset=first)
            rng = check_random_state(self.random_state)
            energy = self._begin(X, rng) if first else self.energy_
            if self._learns:
                batch = self._placed(dense(X))
                state, energy, solution, spent = self._step(self._state, energy, batch, None, rng)
                history = np.append(self.energy_history_, spent / X.shape[0])
                self._keep(state, energy, X.dtype, history)
                warn_unless_converged(solution, self._remedy)
            if first:
                self._review(X)
                if isinstance(self.lmbda, str) and not abs(X).max():
                    warn_user(
                        f"The first batch is all zeros, which gives lmbda={self.lmbda!r} no unit: it stays "
                        f"{self.lmbda_:.3g} for the whole stream."
                    )
        return self

    def _validated_batch(self, X, reset):
        """A batch of a stream."""
        return self._validated(X, reset=reset)

    def _learner(self, X, energy, rng, **given):
        """What `_pass` writes down."""
        return Learned(self._state, energy, self._remedy)

    def _pass(self, X, learned, rng):
        """One step per batch, written down in ``learned``: -> energy spent on all rows."""
        spent, searches, n_samples = 0.0, [], X.shape[0]
        starts = learned.codes
        for rows in minibatches(n_samples, self._batch_size(n_samples), rng):
            whole = rows.size == n_samples
            batch = self._placed(dense(X if whole else X[rows]))
            start = None if starts is None else self._placed(starts[rows])
            learned.state, learned.energy, solution, more = self._step(
                learned.state, learned.energy, batch, start, rng, whole
            )
            spent += more
            searches.append(without_codes(solution))
            learned.codes = _kept(learned.codes, rows, to_numpy(self._carried(learned.state, solution.z)), n_samples)
        learned.search = joined(searches)
        return spent

    def _step(self, state, energy, batch, start, rng, whole=False):
        """Infer and update on one batch: -> (state, energy, the solution, the energy spent before the update)."""
        solution = self._infer(energy, batch, start, rng)
        spent = self._spent(energy, batch, solution.z)
        state, energy = self._update(state, energy, batch, solution.z, whole)
        return state, energy, solution, spent

    def _spent(self, energy, y, z):
        """The energy of all rows together."""
        return float(energy(y, z).sum())

    def _carried(self, state, z):
        """Codes of a batch in terms of the updated parameters."""
        return z


@dataclass
class Learned:
    """What a fit has so far."""

    state: dict
    energy: Any
    remedy: str
    codes: Any = None  # of the last visit to each row
    search: Any = None  # the record of the last pass

    def settled(self, history, tol):
        """Whether the last pass lowered the mean energy by no more than a share tol of it; never for tol = 0."""
        return tol > 0.0 and len(history) > 1 and history[-2] - history[-1] <= tol * abs(history[-2])

    @property
    def complaint(self):
        """What the last pass left undone."""
        return of_those_not_converged(self.search, self.remedy)


def without_codes(solution):
    """The record of a search alone."""
    return solution._replace(z=np.empty(0), energies=None)


def _kept(codes, rows, z, n_samples):
    """The codes with those of a batch put in: the next start of its rows, so that a full batch never rises.

    None where codes of mini-batches would take too much memory.
    """
    if rows.size == n_samples:
        return z
    if n_samples * z[0].size > MOST_CODES_KEPT:
        return None
    if codes is None:
        codes = np.zeros((n_samples, *z.shape[1:]), dtype=z.dtype)
    codes[rows] = z
    return codes
