"""Homotopy: the fastest method for exact codes, each row certified."""

import numpy as np

from skrlv._arrays import empty_aligned
from skrlv.inference.coordinate_descent import coordinate_descent
from skrlv.inference.duality import duality_gap
from skrlv.inference.least_squares import is_least_squares, least_squares
from skrlv.inference.problem import lasso_start
from skrlv.inference.solution import Solution

_SWEEPS_AFTER_LEAST_SQUARES = 20  # remove rounding errors


def homotopy(landscape, z0=None, *, max_iter=100_000, tol=1e-6):
    r"""Follow the minimum along a path, from a problem that the start solves to the given problem.

    .. math:: |q - Gz|_j \le t_j + e, \qquad e \to 0

    As e falls, the minimiser is piecewise linear in e. From zero this is least angle regression; from a code near the
    minimum the path has few breakpoints. Rows that end above ``tol``, because atoms are nearly linearly dependent, are
    continued by `coordinate_descent`. If there is no penalty, it starts from the solution by `least_squares`.

    Parameters
    ----------
    landscape : Landscape
        Quadratic, under the L1 family, of NumPy arrays.
    z0 : array of shape (n_samples, n_components) or None, default=None
        Start; None is the landscape's own.
    max_iter : int, default=100_000
        Maximum number of sweeps of coordinate descent for any row.
    tol : float, default=1e-6
        Largest relative duality gap of a row, see `duality_gap`.

    Returns
    -------
    Solution
        Codes, number of breakpoints plus sweeps and gap per row, and which rows met ``tol``.

    References
    ----------
    Osborne, Presnell, Turlach, A new approach to variable selection in least squares problems, 2000.
    Efron, Hastie, Johnstone, Tibshirani, Least Angle Regression, 2004.

    Examples
    --------
    >>> import numpy as np
    >>> from skrlv.decoders import Dictionary
    >>> from skrlv.energy import Energy
    >>> from skrlv.inference import homotopy
    >>> from skrlv.regularizers import L1
    >>> landscape = Energy(Dictionary(np.array([[1.0, 0.0], [0.6, 0.8]])), L1(), 0.1).given(np.array([[1.0, 1.0]]))
    >>> homotopy(landscape).z.round(3).tolist()
    [[0.188, 1.187]]
    """
    return homotopy_path(landscape, [landscape.energy.lmbda], z0, max_iter=max_iter, tol=tol)[0]


def homotopy_path(landscape, lmbdas, z0=None, *, max_iter=100_000, tol=1e-6):
    """Exact codes at each of several lmbdas: `homotopy` continues from each to the next.

    Parameters
    ----------
    landscape : Landscape
        As for `homotopy`, but not of an elastic net, whose Gram matrix changes with lmbda. Its own lmbda is not used.
    lmbdas : sequence of float
        Best in decreasing order.
    z0, max_iter, tol
        As for `homotopy`; z0 is the start at the first lmbda.

    Returns
    -------
    list of Solution
        One per lmbda.

    Examples
    --------
    >>> import numpy as np
    >>> from skrlv.decoders import Dictionary
    >>> from skrlv.energy import Energy
    >>> from skrlv.inference import homotopy_path
    >>> from skrlv.regularizers import L1
    >>> landscape = Energy(Dictionary(np.eye(2)), L1(), 0.1).given(np.array([[3.0, 1.0]]))
    >>> [solution.z.round(3).tolist() for solution in homotopy_path(landscape, [2.0, 0.5])]
    [[[1.0, 0.0]], [[2.5, 0.5]]]
    """
    from skrlv.kernels import lasso

    problem, start = lasso_start(landscape, z0)
    n_iter, residual, z = follow_path(problem, path_thresholds(landscape, lmbdas), start)
    solutions = []
    for point, lmbda in enumerate(lmbdas):
        here, gaps = problem._replace(thresholds=path_thresholds(landscape, [lmbda])[0]), np.empty(len(start))
        lasso.row_gaps(*here.arrays, residual[point], z[point], gaps)
        solution = Solution(z[point], n_iter[point], gaps, gaps <= tol)
        if not solution.converged.all():
            solution = _refined(landscape.at(lmbda), solution, max_iter, tol)
        solutions.append(solution)
    return solutions


def path_thresholds(landscape, lmbdas):
    """The thresholds (n_lmbdas, n_components) of the atoms at each lmbda."""
    energy = landscape.energy
    if len(lmbdas) > 1 and energy.regularizer.ridge(1.0):
        raise TypeError("The ridge of an ElasticNet changes with lmbda; use a ZeroEncoder with its weight instead.")
    gram = energy.gram
    return np.stack([energy.regularizer.thresholds(lmbda, len(gram)) for lmbda in lmbdas]).astype(gram.dtype)


def follow_path(problem, thresholds, start):
    """Follow each row from one set of thresholds to the next.

    Returns the numbers of breakpoints (n_points, n_samples), the residual correlations q - G z and the codes.
    """
    from skrlv.kernels.homotopy import homotopy

    gram, correlations, shape = problem.gram, problem.correlations, (len(thresholds), *start.shape)
    n_iter, residual, z = np.empty(shape[:2], dtype=np.int64), np.empty(shape, gram.dtype), np.empty(shape, gram.dtype)
    z[0] = start
    homotopy(*workspace(len(gram), gram.dtype), gram, correlations, thresholds, problem.positive, n_iter, residual, z)
    return n_iter, residual, z


def workspace(n_components, dtype):
    """An empty `WorkingSet` with room for all atoms, and its `Scratch`."""
    from skrlv.kernels.homotopy import LANES, Scratch, WorkingSet

    whole = -(-n_components // LANES) * LANES
    width = whole + LANES
    sizes = dict.fromkeys(WorkingSet._fields, width) | {"gram": width**2, "inverse": width**2}
    dtypes = dict.fromkeys(WorkingSet._fields, dtype) | dict.fromkeys(("atoms", "support", "order"), np.int64)
    working = WorkingSet(**{name: empty_aligned(sizes[name], dtypes[name]) for name in WorkingSet._fields})
    working.order[:] = np.arange(width)
    return working, Scratch(empty_aligned(whole, dtype), empty_aligned(whole, dtype), np.empty(whole, dtype=np.int64))


def _refined(landscape, solution, max_iter, tol):
    """Continue rows that have not converged; rows that ended above the energy of the zero code restart from zero."""
    missed = np.flatnonzero(~solution.converged)
    start = solution.z[missed]
    start[~(solution.error[missed] < 1.0)] = 0.0
    rest = landscape.take(missed)
    if is_least_squares(rest):
        start, max_iter = least_squares(rest, start), _SWEEPS_AFTER_LEAST_SQUARES
    rest = coordinate_descent(rest, start, max_iter=max_iter, tol=tol)
    rest = _measured(landscape.take(missed), rest)
    solution.z[missed], solution.error[missed], solution.converged[missed] = rest.z, rest.error, rest.converged
    solution.n_iter[missed] += rest.n_iter
    return solution


def _measured(landscape, solution):
    """The `Solution`, with the gaps of rows that have not converged computed by `duality_gap`.

    Below 1e-12 the gaps of a kernel are too small, since its residual correlations are rounded together with the code.
    """
    missed = np.flatnonzero(~solution.converged)
    if missed.size:
        solution.error[missed] = duality_gap(landscape.take(missed), solution.z[missed])
    return solution
