"""Codes without a penalty: least squares by the pseudoinverse, in a fixed number of operations."""

from scipy.linalg import pinvh

from skrlv.inference.problem import lasso_problem, lasso_start

_STEPS = 2  # the second removes the rounding errors of the first


def is_least_squares(landscape):
    """Whether the entries of the codes have neither a penalty nor a sign constraint."""
    problem = lasso_problem(landscape)
    return not (problem.positive or problem.thresholds.any())


def least_squares(landscape, z0=None):
    r"""The minimiser nearest to the start, also if atoms are linearly dependent.

    .. math:: z \leftarrow z + G^+ (q - G z)

    Parameters
    ----------
    landscape : Landscape
        Quadratic, of NumPy arrays, without a penalty or a sign constraint.
    z0 : array of shape (n_samples, n_components) or None, default=None
        Start; None is the landscape's own.

    Returns
    -------
    array of shape (n_samples, n_components)
        Codes.
    """
    problem, z = lasso_start(landscape, z0)
    gram, inverse = problem.gram, pinvh(problem.gram)
    for q, code in zip(problem.correlations, z, strict=True):  # not as a block, in which rounding depends on position
        for _ in range(_STEPS):
            code += inverse @ (q - gram @ code)
    return z
