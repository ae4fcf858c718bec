"""What every inference method returns."""

from typing import NamedTuple

import numpy as np


class Solution(NamedTuple):
    """Codes of a block of rows, and how the search for them went."""

    z: object  # (n_samples, ..., n_components), like the landscape's arrays
    n_iter: np.ndarray  # (n_samples,): steps taken by each row
    error: np.ndarray  # (n_samples,): what the method stops on, where each row ended
    converged: np.ndarray  # (n_samples,): whether that met the tolerance
    energies: np.ndarray | None = None  # (longest n_iter + 1, n_samples) where recorded: energy at the start and on


def joined(solutions):
    """The solutions of consecutive blocks of rows, with NumPy codes, as one."""
    names = ("z", "n_iter", "error", "converged")
    return Solution(**{name: np.concatenate([getattr(part, name) for part in solutions]) for name in names})
