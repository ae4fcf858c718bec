"""Coordinate descent on the Gram matrix: exact codes, each row certified."""

import numpy as np

from skrlv.inference.problem import lasso_start
from skrlv.inference.solution import Solution


def coordinate_descent(landscape, z0=None, *, max_iter=100_000, tol=1e-6):
    r"""Minimise over one entry after another; the energy never rises.

    .. math:: z_j \leftarrow \mathrm{sh}_{t_j}(c_j + G_{jj} z_j) / G_{jj}, \qquad c \leftarrow c - \Delta z_j\, G_j

    Parameters
    ----------
    landscape : Landscape
        Quadratic, under the L1 family, of NumPy arrays.
    z0 : array of shape (n_samples, n_components) or None, default=None
        Start; None is the landscape's own.
    max_iter : int, default=100_000
        Maximum number of sweeps of any row.
    tol : float, default=1e-6
        A row stops when its relative duality gap (see `duality_gap`) is at most this. It is checked
        before the first sweep, so a zero code may be returned.

    Returns
    -------
    Solution
        Codes, number of sweeps and gap per row, and which rows met ``tol``.

    References
    ----------
    Friedman, Hastie, Tibshirani, Regularization Paths for Generalized Linear Models via Coordinate
    Descent, 2010.

    Examples
    --------
    >>> import numpy as np
    >>> from skrlv.decoders import Dictionary
    >>> from skrlv.energy import Energy
    >>> from skrlv.inference import coordinate_descent
    >>> from skrlv.regularizers import L1
    >>> landscape = Energy(Dictionary(np.array([[1.0, 0.0], [0.6, 0.8]])), L1(), 0.1).given(np.array([[1.0, 1.0]]))
    >>> coordinate_descent(landscape).z.round(3).tolist()
    [[0.188, 1.187]]
    """
    from skrlv.kernels import lasso

    problem, z = lasso_start(landscape, z0)
    n_iter, gaps = np.empty(z.shape[0], dtype=np.int64), np.empty(z.shape[0])
    lasso.coordinate_descent(*problem.arrays, float(tol), int(max_iter), n_iter, gaps, z)
    return Solution(z, n_iter, gaps, gaps <= tol)
