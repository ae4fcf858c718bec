"""What every inference method returns."""

from typing import NamedTuple

import numpy as np
from scipy import sparse


class Solution(NamedTuple):
    """Codes of a block of rows, and how the search for them went."""

    z: object  # (n_samples, ..., n_components), like the landscape's arrays
    n_iter: np.ndarray  # (n_samples,): steps taken by each row
    error: np.ndarray  # (n_samples,): what the method stops on, where each row ended
    converged: np.ndarray  # (n_samples,): whether that met the tolerance
    energies: np.ndarray | None = None  # (longest n_iter + 1, n_samples) where recorded: energy at the start and on


def joined(solutions):
    """The solutions of consecutive blocks of rows, with NumPy or CSR codes, as one."""
    z, *records = zip(*(part[:4] for part in solutions), strict=True)
    codes = sparse.vstack(z, format="csr") if sparse.issparse(z[0]) else np.concatenate(z)
    return Solution(codes, *map(np.concatenate, records))
