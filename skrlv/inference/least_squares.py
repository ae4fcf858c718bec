"""Codes without a penalty: least squares by the pseudoinverse, in a number of operations that is known before."""

from scipy.linalg import pinvh

from skrlv.inference.problem import lasso_problem, lasso_start

_STEPS = 2  # the second takes away what rounding left of the first


def is_least_squares(landscape):
    """Whether no entry of the codes has a penalty or a sign."""
    problem = lasso_problem(landscape)
    return not (problem.positive or problem.thresholds.any())


def least_squares(landscape, z0=None):
    r"""The minimiser nearest to the start, also where atoms depend on each other.

    .. math:: z \leftarrow z + G^+ (q - G z)

    Parameters
    ----------
    landscape : Landscape
        Quadratic, of NumPy arrays, without a penalty and without a sign.
    z0 : array of shape (n_samples, n_components) or None, default=None
        Start; None is the landscape's own.

    Returns
    -------
    array of shape (n_samples, n_components)
        Codes.
    """
    problem, z = lasso_start(landscape, z0)
    gram, inverse = problem.gram, pinvh(problem.gram)
    for q, code in zip(problem.correlations, z, strict=True):  # row by row: a block rounds a row by its place in it
        for _ in range(_STEPS):
            code += inverse @ (q - gram @ code)
    return z
