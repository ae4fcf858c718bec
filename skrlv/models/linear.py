"""What models with a linear decoder share, dense or convolutional, with or without an encoder."""

from abc import abstractmethod
from dataclasses import replace

import numpy as np
from sklearn.utils.validation import check_is_fitted

from skrlv._arrays import check_device, to_device, to_numpy
from skrlv._restoring import restored_on_error
from skrlv._rows import Rows, summarize
from skrlv.encoders import packed, unpacked
from skrlv.learning import reordered
from skrlv.models.base import LatentVariableModel
from skrlv.models.decoder_cache import cached_decoder
from skrlv.models.encoder import refuse_cpu
from skrlv.models.validation import refuse_extremes
from skrlv.models.warning import warn_user

MOST_LARGER = 1e3  # than the first batch of a stream, a batch may be without a warning


class LinearModel(LatentVariableModel):
    """A model whose decoder is a sum of atoms, learned or given.

    What shapes the equation besides atoms and lmbda are the constructor's parameters named in ``_frozen``: `fit` copies
    them to ``_shape``, where `_energy` reads them, so that setting them later changes nothing.
    """

    _frozen: tuple[str, ...] = ("positive",)
    _has_encoder = False
    _rows = Rows  # reads X block by block

    @abstractmethod
    def _energy(self, atoms, lmbda, encoder=None):
        """Return the Energy with these atoms, an array on the device; without an encoder, with the first one."""

    @abstractmethod
    def _given_atoms(self, name, X):
        """Return the atoms of that parameter, checked against X and the other parameters; None if there are none."""

    @abstractmethod
    def _first_atoms(self, X, summary, rng):
        """Return atoms to start from, of unit norm."""

    @abstractmethod
    def _learn_atoms(self, state, energy, y, z, whole):
        """Move the atoms: -> (state, energy); whole says that the batch holds all rows."""

    def _warn_about_first_batch(self, X):
        if isinstance(self.lmbda, str) and not self._rows(X).summary().largest:
            warn_user(
                f"The first batch is all zeros, so lmbda={self.lmbda!r} has no scale to be derived from: it stays "
                f"{self.lmbda_:.3g} for the whole stream."
            )

    def _warn_about_next_batch(self, X):
        ratio = self._rows(X).summary().rms / self._data_unit
        if ratio > MOST_LARGER:
            warn_user(
                f"The entries of this batch are {ratio:.0e} times as large as those of the first, by their root mean "
                "square: it decides what is learned from now on, and lmbda is small for it. Scale all batches alike."
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
        summary = self._rows(X).summary()
        squares_dtype = X.dtype if self._squares_in_dtype else np.float64
        refuse_extremes(summary.largest, summary.n_rows * summary.total.size, X.dtype, squares_dtype)
        if self._warns and self.dictionary is None:
            _warn_of_outlier(summary)
        if self.dictionary is not None and self.dictionary_init is not None:
            raise ValueError(
                "Pass either dictionary= (fixed atoms) or dictionary_init= (where learning starts), not both."
            )
        self._shape = {name: getattr(self, name) for name in self._frozen}
        self._at_fit = {"lmbda": self.lmbda, "n_components": self.n_components, **self._shape}
        self._data_unit = summary.rms or 1.0
        atoms = self._given_atoms("dictionary", X)
        lmbda = _unit_of_lmbda(summary, atoms) if self.lmbda == "auto" else float(self.lmbda)
        if atoms is None:
            atoms = self._first_atoms(X, summary, rng)
        return self._energy(to_device(atoms, self.device), lmbda)

    def _store(self, energy, dtype):
        self.components_ = to_numpy(energy.decoder.atoms).astype(dtype)
        self.n_components_ = len(self.components_)
        self.lmbda_ = energy.lmbda
        if self._has_encoder:
            self._encoder = packed(energy.encoder.mapped(lambda value: to_numpy(value).astype(dtype)))

    def reorder(self, order=None):
        """Put the atoms in another order, with all that was learned about them, so that a stream can go on.

        Parameters
        ----------
        order : array-like of int of shape (n_components,) or None, default=None
            Where each atom comes from; None sorts them by use, the most used first.

        Returns
        -------
        self : object
            The estimator.

        Raises
        ------
        ValueError
            If order is no permutation.
        AttributeError
            If order is None, but the atoms were given, so that their use is not known.
        TypeError
            If the encoder is a module of torch, whose entries keep their order.
        """
        check_is_fitted(self)
        if order is None:
            order = np.argsort(-self.atom_usage_, kind="stable")
        order = np.asarray(order)
        if order.dtype.kind not in "iu" or not np.array_equal(np.sort(order), np.arange(self.n_components_)):
            raise ValueError(f"order must be a permutation of 0..{self.n_components_ - 1}.")
        state, encoder = self._state, None
        if self._has_encoder:
            encoder = unpacked(self._encoder, np.asarray).reordered(order)
            state = state._replace(adam=state.adam.reordered(encoder, order))
        energy = self._energy(self.components_[order], self.lmbda_, encoder)
        with restored_on_error(self):
            state = state._replace(atoms=reordered(state.atoms, order))
            self._keep(energy, state, self.components_.dtype, self.energy_history_)
        return self

    @property
    def energy_(self):
        """The fitted `Energy`, on the device."""
        check_is_fitted(self)
        encoder = self.encoder_ if self._has_encoder else None
        energy = self._energy(to_device(self.components_, self.device), self.lmbda_, encoder)
        return replace(energy, decoder=cached_decoder(self, energy.decoder))

    @property
    def encoder_(self):
        """The fitted encoder, on the device."""
        if not self._has_encoder:
            raise AttributeError(f"{type(self).__name__} has no encoder.")
        check_is_fitted(self)
        if self._encoder["kind"].startswith("skrlv.torch_modules:"):
            refuse_cpu(self.device)
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
            raise AttributeError("These atoms were given, or learned by another estimator.")
        return self._state.atoms[name]


def _warn_of_outlier(summary):
    if summary.outlier is not None:
        share = summary.longest_squares / summary.squares
        warn_user(
            f"The row at index {summary.outlier} of X holds {share:.1%} of the energy of all {summary.n_rows} rows: an "
            "outlier, which decides lmbda='auto' and draws atoms to itself. Leave it out, or scale the rows."
        )


def _unit_of_lmbda(summary, atoms):
    """1.2 x the root mean square of the entries of X, x the rms norm of given atoms (Mairal et al. 2010)."""
    return 1.2 * (summary.rms or 1.0) * (1.0 if atoms is None else _rms_norm(atoms.reshape(len(atoms), -1)))


def _rms_norm(rows):
    return summarize(rows).rms * np.sqrt(rows.shape[1])
