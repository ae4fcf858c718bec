"""Squared errors, counts and norms of given codes, in time proportional to the number of non-zeros."""

from typing import NamedTuple

import numpy as np

from skrlv._arrays import as_kernel_takes, empty_aligned


class CodeSummary(NamedTuple):
    """Values per row, in float64."""

    squares: np.ndarray  # squared norm of y - z D
    counts: np.ndarray  # number of entries that are not zero
    penalties: np.ndarray  # R(z)
    lengths: np.ndarray  # squared norm of z

    def energies(self, lmbda, l2):
        return 0.5 * (self.squares + l2 * self.lengths) + lmbda * self.penalties


def summarize(energy, y, z):
    """The `CodeSummary` of codes under the L1 family; y and z may be float32."""
    from skrlv.kernels import homotopy

    atoms = energy.decoder.atoms
    (n_components, n_features), factors = atoms.shape, energy.regularizer.thresholds(1.0, len(atoms))
    scratch = empty_aligned(n_features, np.float64), np.empty(n_components, dtype=np.int64), np.empty(n_components)
    summary = CodeSummary(*(np.empty(len(y)) for _ in CodeSummary._fields))
    homotopy.summarize(*scratch, *(as_kernel_takes(x) for x in (atoms, factors, y, z)), *summary)
    return summary


def code_energies(energy, y, z):
    """Energy per row, (n_samples,), in time proportional to the number of non-zeros of its code."""
    return summarize(energy, y, z).energies(energy.lmbda, energy.encoder_weight)
