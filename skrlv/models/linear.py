"""What models with a linear decoder share, dense or convolutional, with or without an encoder."""

from abc import abstractmethod

import numpy as np
from sklearn.utils.validation import check_is_fitted

from skrlv._arrays import check_device, to_device, to_numpy
from skrlv._rows import Rows, surveyed
from skrlv.encoders import packed, unpacked
from skrlv.models.base import LatentVariableModel
from skrlv.models.validation import refuse_overflow
from skrlv.models.warning import warn_user


class LinearModel(LatentVariableModel):
    """A model whose decoder is a sum of atoms, learned or given.

    What shapes the equation besides atoms and lmbda are the constructor's parameters named in ``_frozen``: `fit` copies
    them to ``_shape``, where `_energy` reads them, so that setting them later changes nothing.
    """

    _frozen: tuple[str, ...] = ("positive",)
    _has_encoder = False
    _squares_in_dtype = False  # whether learning multiplies data in their own dtype
    _rows = Rows

    @abstractmethod
    def _energy(self, atoms, lmbda, encoder=None):
        """Return the Energy with these atoms, an array on the device; without an encoder, with the first one."""

    @abstractmethod
    def _given_atoms(self, name, X):
        """Return the atoms of that parameter, checked against X and the other parameters; None if there are none."""

    @abstractmethod
    def _first_atoms(self, X, survey, rng):
        """Return atoms to start from, of unit norm."""

    @abstractmethod
    def _learn_atoms(self, state, energy, y, z, whole):
        """Move the atoms: -> (state, energy); whole says that the batch holds all rows."""

    def _warn_about_first_batch(self, X):
        if isinstance(self.lmbda, str) and not abs(X).max():
            warn_user(
                f"The first batch is all zeros, so lmbda={self.lmbda!r} has no scale to go by: it stays "
                f"{self.lmbda_:.3g} for the whole stream."
            )

    def _spend(self, energy, y, z):
        """The summed energy of the rows of a batch."""
        return float(energy(y, z).sum())

    def _validate_params(self):
        if np.ndim(self.n_components) > 0:
            raise ValueError("n_components is a number of atoms; to give the atoms themselves use dictionary=.")
        super()._validate_params()
        check_device(self.device)

    def _initial_energy(self, X, rng):
        survey = self._rows(X).survey()
        refuse_overflow(survey, X.dtype if self._squares_in_dtype else np.float64)
        if self.dictionary is not None and self.dictionary_init is not None:
            raise ValueError(
                "Pass either dictionary= (fixed atoms) or dictionary_init= (where learning starts), not both."
            )
        self._shape = {name: getattr(self, name) for name in self._frozen}
        self._data_unit = survey.rms or 1.0
        atoms = self._given_atoms("dictionary", X)
        lmbda = _unit_of_lmbda(survey, atoms) if self.lmbda == "auto" else float(self.lmbda)
        if atoms is None:
            atoms = self._first_atoms(X, survey, rng)
        return self._energy(to_device(atoms, self.device), lmbda)

    def _store(self, energy, dtype):
        self.components_ = to_numpy(energy.decoder.atoms).astype(dtype)
        self.n_components_ = len(self.components_)
        self.lmbda_ = energy.lmbda
        if self._has_encoder:
            self._encoder = packed(energy.encoder.mapped(lambda value: to_numpy(value).astype(dtype)))

    @property
    def energy_(self):
        """The fitted `Energy`, on the device."""
        check_is_fitted(self)
        encoder = self.encoder_ if self._has_encoder else None
        return self._energy(to_device(self.components_, self.device), self.lmbda_, encoder)

    @property
    def encoder_(self):
        """The fitted encoder, on the device."""
        if not self._has_encoder:
            raise AttributeError(f"{type(self).__name__} has no encoder.")
        check_is_fitted(self)
        return unpacked(self._encoder, lambda value: to_device(value, self.device))

    @property
    def atom_usage_(self):
        """Share of the samples that use each atom, as far as learning remembers them."""
        return self._of_atoms("usage") / self._of_atoms("count")

    @property
    def n_resampled_(self):
        """Number of unused or duplicate atoms that were replaced by poorly reconstructed samples.

        Not if atoms were given.
        """
        return self._of_atoms("n_resampled")

    @property
    def prediction_error_history_(self):
        """Mean squared length of z - Enc(x) in each batch, before its update."""
        if not hasattr(self, "encoder_weight"):
            raise AttributeError(f"{type(self).__name__} does not draw codes to predictions.")
        check_is_fitted(self)
        return self._state.histories.get("prediction_errors", np.empty(0))

    def _of_atoms(self, name):
        check_is_fitted(self)
        if name not in self._state.atoms:
            raise AttributeError("No atoms were learned: they were given.")
        return self._state.atoms[name]


def _unit_of_lmbda(survey, atoms):
    """1.2 x the root mean square of the entries of X, x the rms norm of given atoms (Mairal et al. 2010)."""
    return 1.2 * (survey.rms or 1.0) * (1.0 if atoms is None else _rms_norm(atoms.reshape(len(atoms), -1)))


def _rms_norm(rows):
    return surveyed(rows).rms * np.sqrt(rows.shape[1])
