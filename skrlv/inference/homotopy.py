"""Homotopy: the quickest road to exact codes, certified on each row."""

import numpy as np

from skrlv._arrays import empty_aligned
from skrlv.inference.coordinate_descent import coordinate_descent
from skrlv.inference.problem import lasso_start
from skrlv.inference.solution import Solution


def homotopy(landscape, z0=None, *, max_iter=100_000, tol=1e-6):
    r"""Follow the minimum from a problem that the start solves to the one that is asked.

    .. math:: |q - Gz|_j \le t_j + e, \qquad e \to 0

    As e falls the minimum moves along straight lines. From zero these are the steps of least angle regression; from a
    code near the minimum there are few. Rows that end above ``tol``, where atoms nearly depend on each other, go on
    by `coordinate_descent`.

    Parameters
    ----------
    landscape : Landscape
        Quadratic, under the L1 family, of NumPy arrays.
    z0 : array of shape (n_samples, n_components) or None, default=None
        Where to begin; None is the landscape's own start.
    max_iter : int, default=100_000
        Most sweeps of coordinate descent for any row.
    tol : float, default=1e-6
        Largest relative duality gap of a row, see `duality_gap`.

    Returns
    -------
    Solution
        Codes, bends and sweeps together and gap per row, and which rows met ``tol``.

    References
    ----------
    Osborne, Presnell, Turlach, A new approach to variable selection in least squares problems, 2000.
    Efron, Hastie, Johnstone, Tibshirani, Least Angle Regression, 2004.
    """
    from skrlv.kernels import lasso

    problem, z = lasso_start(landscape, z0)
    gram, correlations, half_norms, thresholds, positive = problem.arrays
    n_iter, residual, gaps = *walked(problem, z), np.empty(len(z))
    lasso.relative_gaps(gram, correlations, half_norms, thresholds, positive, residual, z, gaps)
    solution = Solution(z, n_iter, gaps, gaps <= tol)
    return solution if solution.converged.all() else _mended(landscape, solution, max_iter, tol)


def walked(problem, z):
    """Walk each row to its minimum, in place; -> the bends of each and its residual correlations q - G z."""
    from skrlv.kernels.homotopy import homotopy

    gram, correlations, _, thresholds, positive = problem.arrays
    n_iter, residual = np.empty(len(z), dtype=np.int64), np.empty_like(correlations)
    homotopy(*scratch(len(gram), gram.dtype), gram, correlations, thresholds, positive, n_iter, residual, z)
    return n_iter, residual


def scratch(k, dtype):
    """A walk, and three vectors over all atoms."""
    from skrlv.kernels.homotopy import LANES, Walk

    width = (-(-k // LANES) + 1) * LANES
    sizes = dict.fromkeys(Walk._fields, width) | {"gram": width**2, "inverse": width**2}
    dtypes = dict.fromkeys(Walk._fields, dtype) | dict.fromkeys(("atoms", "support", "order"), np.int64)
    walk = Walk(**{name: empty_aligned(sizes[name], dtypes[name]) for name in Walk._fields})
    walk.order[:] = np.arange(width)
    whole = width - LANES
    return walk, empty_aligned(whole, dtype), empty_aligned(whole, dtype), np.empty(whole, dtype=np.int64)


def _mended(landscape, solution, max_iter, tol):
    """Rows that did not arrive go on by coordinate descent."""
    missed = np.flatnonzero(~solution.converged)
    rest = coordinate_descent(landscape.take(missed), solution.z[missed], max_iter=max_iter, tol=tol)
    solution.z[missed], solution.error[missed], solution.converged[missed] = rest.z, rest.error, rest.converged
    solution.n_iter[missed] += rest.n_iter
    return solution
