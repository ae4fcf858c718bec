"""Exact codes of a block of rows, by the method that suits their dtype."""

import numpy as np

from skrlv.inference.homotopy import homotopy_path
from skrlv.inference.mixed_precision import mixed_path
from skrlv.inference.working_set import working_set_path


def exact_codes(energy, y, z0=None, *, tol):
    """Certified codes at the energy's own lmbda.

    Parameters
    ----------
    energy : Energy
        An energy in float64 of a `Dictionary`, squared error and the L1 family; its encoder term, if any, is a ridge.
    y : array of shape (n_samples, n_features)
        NumPy, float32 or float64.
    z0 : array of shape (n_samples, n_components) or None, default=None
        Start; None is zero.
    tol : float
        Largest relative duality gap of a row.

    Returns
    -------
    Solution
        Its codes have the dtype of y.

    Examples
    --------
    >>> import numpy as np
    >>> from skrlv.energy import lasso_energy
    >>> from skrlv.inference import exact_codes
    >>> exact_codes(lasso_energy(np.eye(2), 0.5), np.array([[3.0, 0.2]]), tol=1e-6).z.tolist()
    [[2.5, 0.0]]
    """
    return exact_path(energy, y, [energy.lmbda], z0, tol=tol)[0]


def exact_path(energy, y, lmbdas, z0=None, *, tol):
    """A list of the `Solution` of `exact_codes` at each of several lmbdas, best given in decreasing order.

    Examples
    --------
    >>> import numpy as np
    >>> from skrlv.energy import lasso_energy
    >>> from skrlv.inference import exact_path
    >>> path = exact_path(lasso_energy(np.eye(2), 0.5), np.array([[3.0, 0.2]]), [1.0, 0.5], tol=1e-6)
    >>> [solution.z.tolist() for solution in path]
    [[[2.0, 0.0]], [[2.5, 0.0]]]
    """
    if energy.few_rows:
        return working_set_path(energy, y, lmbdas, z0, tol=tol)
    if y.dtype == np.float32:
        return mixed_path(energy, y, lmbdas, z0, tol=tol)
    return homotopy_path(energy.given(y), lmbdas, z0, tol=tol)
