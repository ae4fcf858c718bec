"""Beside validation: parts of each sample to hide, to compare what a code says of them with what they are."""

from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from scipy.fft import dct

from skrlv._arrays import squares_per_sample, to_device_of, to_numpy
from skrlv._threads import dense_blocks
from skrlv.decoders import Dictionary
from skrlv.energy import Energy

_FOLDS = 10


class Fold(NamedTuple):
    """Some features hidden, and the energy of the others."""

    seen: np.ndarray
    hidden: np.ndarray
    energy: Energy
    atoms: Any  # on the hidden features, NumPy

    def errors(self, x, z):
        """Squared error per row of what the codes say of the hidden features."""
        return squares_per_sample(x[:, self.hidden] - z @ self.atoms)


def mixed(x):
    """Rows in a fixed orthonormal basis, each direction of which holds a little of every feature.

    White noise stays white and squared errors stay as they are. A feature that only few atoms reach, or none,
    cannot be predicted when it is hidden, whatever the noise; of a mixture the rest of the sample tells far more.
    """
    signs = np.random.RandomState(0).choice([-1, 1], x.shape[1]).astype(x.dtype)
    return dct(x * signs, axis=1, norm="ortho")


def hold_out(energy):
    """The fixed folds of mixed features; all seen and all hidden where there is but one."""
    atoms = to_numpy(energy.decoder.atoms)
    atoms, n_features = mixed(atoms), atoms.shape[1]
    order = np.random.RandomState(0).permutation(n_features)
    parts = [np.sort(part) for part in np.array_split(order, min(_FOLDS, n_features))]
    return [_fold(energy, atoms, np.setdiff1d(order, part) if n_features > 1 else part, part) for part in parts]


def _fold(energy, atoms, seen, hidden):
    decoder = Dictionary(to_device_of(np.ascontiguousarray(atoms[:, seen]), energy.decoder.atoms))
    return Fold(seen, hidden, replace(energy, decoder=decoder), atoms[:, hidden])


def _mean_row(X):
    return sum(x.sum(axis=0, dtype=np.float64) for x in dense_blocks(X)) / X.shape[0]


def r_squared(errors, X):
    """1 - error / spread of the rows for each error; where rows are all alike, 1 without an error and 0 with one."""
    mean = _mean_row(X)
    spread = sum(float(np.sum((x - mean) ** 2)) for x in dense_blocks(X))
    rounding = X.shape[0] * float(np.sum((1e-14 * mean) ** 2))
    return 1.0 - errors / spread if spread > rounding else (errors <= rounding).astype(np.float64)
