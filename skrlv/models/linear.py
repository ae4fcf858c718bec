"""Between base and the roof: what all models with a linear decoder, dense or convolutional, share."""

from abc import abstractmethod

import numpy as np
from sklearn.utils.validation import check_is_fitted

from skrlv._arrays import to_device, to_device_of
from skrlv._rows import Rows, surveyed
from skrlv.models.base import LatentVariableModel


class LinearModel(LatentVariableModel):
    """A model whose decoder is a sum of atoms, learned or given."""

    @abstractmethod
    def _energy(self, atoms, lmbda):
        """The Energy with these atoms (an array on the device), from the constructor's parameters."""

    @abstractmethod
    def _given_atoms(self, name, X):
        """The atoms of that parameter, None where it is, after a check against X and the other parameters."""

    @abstractmethod
    def _first_atoms(self, X, survey, rng):
        """Atoms to start from, of unit norm."""

    @property
    @abstractmethod
    def _stored_decoder(self):
        """The decoder of the fitted atoms, on the device."""

    def _validate_params(self):
        if np.ndim(self.n_components) > 0:
            raise ValueError("n_components is a number of atoms; to give the atoms themselves use dictionary=.")
        super()._validate_params()

    def _initial_energy(self, X, rng):
        survey = self._rows(X).survey()
        refuse_overflow(survey, self._squares_are_of(X))
        if self.dictionary is not None and self.dictionary_init is not None:
            raise ValueError(
                "dictionary= are atoms that stay, dictionary_init= where learning begins; give one of them."
            )
        atoms = self._given_atoms("dictionary", X)
        lmbda = _unit_of_lmbda(survey, atoms) if self.lmbda == "auto" else float(self.lmbda)
        if atoms is None:
            atoms = self._first_atoms(X, survey, rng)
        return self._energy(to_device(atoms, self.device), lmbda)

    def _rows(self, X):
        return Rows(X)

    def _squares_are_of(self, X):
        """The dtype that sums of squares of X must not overflow."""
        return np.float64

    @property
    def _learns(self):
        return self.dictionary is None

    def _carried(self, state, z):
        return z * to_device_of(state["scale"], z) if "scale" in state else z  # given atoms have none

    @property
    def atom_usage_(self):
        """Share of the samples that use each atom, as far as learning remembers them."""
        return self._of_learning("usage") / self._of_learning("count")

    @property
    def n_resampled_(self):
        """How many atoms became a badly reconstructed sample, since nothing used them or another was the same.

        Not where atoms were given.
        """
        return self._of_learning("n_resampled")

    def _of_learning(self, name):
        check_is_fitted(self)
        if name not in self._state:
            raise AttributeError("Nothing was learned: the atoms were given.")
        return self._state[name]


def refuse_overflow(survey, dtype):
    """Refuse data whose sums of squares that dtype cannot hold."""
    if survey.largest > np.sqrt(np.finfo(dtype).max / max(1, survey.n_rows * survey.total.size)):
        raise ValueError(
            f"X has entries of magnitude {survey.largest:.0e}, whose squares overflow. Divide X by a constant first."
        )


def _unit_of_lmbda(survey, atoms):
    """1.2 x the root mean square of the entries of X, x the rms norm of given atoms (Mairal et al. 2010)."""
    return 1.2 * (survey.rms or 1.0) * (1.0 if atoms is None else _rms_norm(atoms.reshape(len(atoms), -1)))


def _rms_norm(rows):
    return surveyed(rows).rms * np.sqrt(rows.shape[1])
