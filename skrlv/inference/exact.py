"""Exact codes of a block of rows; here it is decided whether float32 data are searched in float32 or in float64."""

import numpy as np

from skrlv.inference.homotopy import homotopy_path
from skrlv.inference.mixed_precision import mixed_path
from skrlv.inference.tally import tallied


def exact_codes(energy, y, z0=None, *, tol):
    """Certified codes at the energy's own lmbda.

    Parameters
    ----------
    energy : Energy
        In float64: a `Dictionary`, squared error, L1 or no more than a ridge besides.
    y : array of shape (n_samples, n_features)
        NumPy, float32 or float64.
    z0 : array of shape (n_samples, n_components) or None, default=None
        Codes to start from; None is zero.
    tol : float
        Largest relative duality gap of a row.

    Returns
    -------
    Solution
        With codes of the dtype of y.
    """
    return exact_path(energy, y, [energy.lmbda], z0, tol=tol)[0]


def exact_path(energy, y, lmbdas, z0=None, *, tol):
    """`exact_codes` at each of several lmbdas, best in decreasing order: a list of `Solution`."""
    if y.dtype == np.float32:
        return mixed_path(energy, y, lmbdas, z0, tol=tol)
    return homotopy_path(energy.given(y), lmbdas, z0, tol=tol)


def code_energies(energy, y, z):
    """The energy of each row, (n_samples,), at the cost of the non-zeros of its code."""
    return tallied(energy, y, z).energies(energy.lmbda, energy.encoder_weight)
