"""Learning in turns: infer the codes of a batch, then move the parameters with these codes held."""

from typing import Any

import numpy as np

from skrlv._arrays import to_device_of, to_numpy
from skrlv.inference import check_solution, joined, unconverged
from skrlv.learning.minibatches import minibatches

MAX_CODES_KEPT = 2**25  # entries


class Alternation:
    """A `Learner` that alternates between codes and parameters, a batch at a time; also a `Streamer`.

    In a pass, the codes of a row are the start of the search at its next visit, so that with all rows in one batch no
    pass raises the energy; codes of mini-batches are kept only where memory allows. A stream has no such memory.

    Parameters
    ----------
    energy : Energy
        To begin with.
    state : LearningState
        Of earlier steps.
    infer : callable
        (energy, y, z0) -> `Solution` of a batch; z0 is None or where to begin.
    update : callable
        (state, energy, y, z, whole) -> (state, energy); whole says that the batch holds all rows.
    spend : callable
        (energy, y, z) -> summed energy of the rows.
    remedy : str
        What to change if codes do not converge.
    load : callable or None, default=None
        rows -> y on the device. Passes need it, streams do not.
    n_samples, batch_size : int
        Number of rows, and of rows per batch, of passes.
    tol : float, default=0.0
        Passes end when the mean energy falls by no more than this share; 0 never ends them.
    """

    def __init__(self, energy, state, *, infer, update, spend, remedy, load=None, n_samples=0, batch_size=1, tol=0.0):
        self.energy, self.state = energy, state
        self._infer, self._update, self._spend, self._remedy = infer, update, spend, remedy
        self._load, self._n_samples, self._batch_size, self._tol = load, n_samples, batch_size, tol
        self._codes: Any = None  # of the last visit to each row
        self._searches: list = []  # of the last pass, without codes

    @property
    def n_steps(self):
        return self.state.n_steps

    def run_pass(self, rng, report):
        total, self._searches, codes = 0.0, [], self._codes
        for rows in minibatches(self._n_samples, self._batch_size, rng):
            y = self._load(rows)
            start = None if codes is None else to_device_of(codes[rows], y)
            spent, z = self._step(y, start, whole=rows.size == self._n_samples)
            self._codes = _with_batch(self._codes, rows, to_numpy(z), self._n_samples)
            total += spent
            report(spent, rows.size)
        return total / self._n_samples

    def step(self, y):
        self._searches = []
        return self._step(y, None, whole=False)[0] / y.shape[0]

    def _step(self, y, start, *, whole):
        """-> (summed energy before the update, codes in terms of the updated parameters)."""
        solution = check_solution(self._infer(self.energy, y, start), y)
        spent = self._spend(self.energy, y, solution.z)
        state, energy = self._update(self.state, self.energy, y, solution.z, whole)
        self.state, self.energy = state._replace(n_steps=state.n_steps + 1), energy
        self._searches.append(solution._replace(z=np.empty(0), energies=None))
        return spent, rescaled_codes(state, solution.z)

    def settled(self, history):
        return self._tol > 0.0 and len(history) > 1 and history[-2] - history[-1] <= self._tol * abs(history[-2])

    @property
    def complaint(self):
        return unconverged(joined(self._searches), self._remedy) if self._searches else None


def rescaled_codes(state, z):
    """Codes in terms of atoms that were given unit norm; given atoms have no scale."""
    return z * to_device_of(state.atoms["scale"], z) if "scale" in state.atoms else z


def _with_batch(codes, rows, z, n_samples):
    """The codes of all rows with those of a batch put in; None if they would take too much memory."""
    if rows.size == n_samples:
        return z
    if n_samples * z[0].size > MAX_CODES_KEPT:
        return None
    if codes is None:
        codes = np.zeros((n_samples, *z.shape[1:]), dtype=z.dtype)
    codes[rows] = z
    return codes
