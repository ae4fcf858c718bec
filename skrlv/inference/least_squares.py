"""Codes without a penalty: least squares by the pseudoinverse, in a number of operations that is known before."""

import numpy as np
from scipy.linalg import pinvh

from skrlv.inference.problem import lasso_problem, lasso_start
from skrlv.inference.solution import Solution

_STEPS = 3  # the first solves; the others take away what rounding left


def is_least_squares(landscape):
    """Whether no entry of the codes has a penalty or a sign."""
    problem = lasso_problem(landscape)
    return not (problem.positive or problem.thresholds.any())


def least_squares(landscape, z0=None, *, tol=1e-6):
    r"""The minimiser nearest to the start, also where atoms depend on each other.

    .. math:: z \leftarrow z + G^+ (q - G z)

    Parameters
    ----------
    landscape : Landscape
        Quadratic, of NumPy arrays, without a penalty and without a sign.
    z0 : array of shape (n_samples, n_components) or None, default=None
        Start; None is the landscape's own.
    tol : float, default=1e-6
        Largest relative duality gap of a row: without a penalty it measures the residual of the normal equations, see
        `duality_gap`.

    Returns
    -------
    Solution
        Codes, number of steps and gap per row, and which rows met ``tol``.
    """
    from skrlv.kernels import lasso

    problem, z = lasso_start(landscape, z0)
    gram, correlations, gaps, inverse = problem.gram, problem.correlations, np.empty(len(z)), pinvh(problem.gram)
    for q, code in zip(correlations, z, strict=True):  # row by row: a block would round a row by its place in it
        for _ in range(_STEPS):
            code += inverse @ (q - gram @ code)
    residual = np.array([q - gram @ code for q, code in zip(correlations, z, strict=True)]).reshape(z.shape)
    lasso.row_gaps(*problem.arrays, residual, z, gaps)
    return Solution(z, np.full(len(z), _STEPS), gaps, gaps <= tol)
