"""What becomes of the data under given codes, at the cost of their non-zeros."""

from typing import NamedTuple

import numpy as np

from skrlv._arrays import as_kernel_takes, empty_aligned


class Tally(NamedTuple):
    """Per row, in float64."""

    squares: np.ndarray  # squared norm of y - z D
    counts: np.ndarray  # entries that are not zero
    prices: np.ndarray  # R(z)
    lengths: np.ndarray  # squared norm of z

    def energies(self, lmbda, l2):
        return 0.5 * (self.squares + l2 * self.lengths) + lmbda * self.prices


def tallied(energy, y, z):
    """The `Tally` of codes under the L1 family; y and z may be float32."""
    from skrlv.kernels.homotopy import summarize

    atoms = energy.decoder.atoms
    (n_components, n_features), factors = atoms.shape, energy.regularizer.thresholds(1.0, len(atoms))
    chosen, entries = np.empty(n_components, dtype=np.int64), np.empty(n_components)
    found = Tally(*(np.empty(len(y)) for _ in Tally._fields))
    data = (as_kernel_takes(x) for x in (atoms, factors, y, z))
    summarize(empty_aligned(n_features, np.float64), chosen, entries, *data, *found)
    return found
