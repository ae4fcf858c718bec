"""Least angle regression: the path of exact codes from zero to a number of non-zeros or an error; refits."""

import numpy as np

from skrlv._arrays import aligned
from skrlv.encoders import ZeroEncoder
from skrlv.inference.homotopy import workspace
from skrlv.inference.problem import lasso_start
from skrlv.inference.solution import Solution
from skrlv.regularizers import L1


def least_angle(landscape, *, n_nonzero=None, max_error=0.0, max_iter=100_000, tol=1e-6):
    r"""Exact codes, each at its own lmbda: the largest one at which its path from zero reaches a target.

    The path ends before more than ``n_nonzero`` entries are non-zero, at :math:`\|y - zD\| = max\_error \|y\|`, or at
    the landscape's lmbda, whichever comes first. It ends earlier if atoms are so close to linearly dependent that
    rounding errors dominate the rest of it.

    Parameters
    ----------
    landscape : Landscape
        A landscape of NumPy arrays, with a dictionary under squared error and L1 with positive weights.
    n_nonzero : int or None, default=None
        Maximum number of non-zeros of a row; None is no limit.
    max_error : float, default=0.0
        Relative error at which the path of a row ends; 0 is no limit.
    max_iter, tol
        As for `homotopy`.

    Returns
    -------
    solution : Solution
        Codes, with their gaps at these lmbdas.
    lmbdas : array of shape (n_samples,)
        The lmbda at which the code of each row is exact.

    Raises
    ------
    TypeError
        If the regularizer is not L1 with positive weights, or the encoder is more than a ridge.

    Examples
    --------
    >>> import numpy as np
    >>> from skrlv.decoders import Dictionary
    >>> from skrlv.energy import Energy
    >>> from skrlv.inference import least_angle
    >>> from skrlv.regularizers import L1
    >>> landscape = Energy(Dictionary(np.eye(3)), L1(), 0.1).given(np.array([[3.0, 2.0, 1.0]]))
    >>> solution, lmbdas = least_angle(landscape, n_nonzero=2)
    >>> solution.z.round(3).tolist(), lmbdas.round(3).tolist()
    ([[2.0, 1.0, 0.0]], [1.0])
    """
    energy = landscape.energy
    weights = energy.regularizer.thresholds(1.0, landscape.start().shape[1])
    if not (isinstance(energy.regularizer, L1) and isinstance(energy.encoder, ZeroEncoder | None) and weights.all()):
        raise TypeError("A path to a target needs L1, without a weight of zero, and no encoder term except a ridge.")
    landscape = landscape.on_gram()
    n_nonzero = len(weights) if n_nonzero is None else int(n_nonzero)
    codes, lmbdas, n_breakpoints = _follow(landscape, n_nonzero, max_error)
    solution = _refined(landscape, codes, lmbdas, tol, 0)
    if not (solution.error < 1.0).all():  # above the energy of zero
        codes[~(solution.error < 1.0)] = 0.0
        solution = _refined(landscape, codes, lmbdas, tol, 0)
    if not solution.converged.all():
        solution = _unless_dense(n_nonzero, _refined(landscape, codes, lmbdas, tol, max_iter), solution)
    return solution._replace(n_iter=solution.n_iter + n_breakpoints), lmbdas


def _unless_dense(n_nonzero, better, solution):
    """Take `better` for each row, or `solution` if `better` has more than `n_nonzero` non-zeros there."""
    few = np.count_nonzero(better.z, axis=1) <= n_nonzero
    z = np.where(few[:, None], better.z, solution.z)
    return Solution(z, *(np.where(few, a, b) for a, b in zip(better[1:4], solution[1:4], strict=True)))


def gaps_at(landscape, z, lmbdas):
    """Relative duality gap of each row at its own lmbda."""
    return _refined(landscape.on_gram(), z, lmbdas, np.inf, 0).error


def debiased(landscape, z):
    """Least squares on the non-zero entries of each code, without a penalty; non-negative for positive codes.

    If the atoms of these entries are linearly dependent, some of the entries become zero.

    Examples
    --------
    >>> import numpy as np
    >>> from skrlv.decoders import Dictionary
    >>> from skrlv.energy import Energy
    >>> from skrlv.inference import debiased, homotopy
    >>> from skrlv.regularizers import L1
    >>> landscape = Energy(Dictionary(np.eye(2)), L1(), 0.5).given(np.array([[3.0, 0.2]]))
    >>> debiased(landscape, homotopy(landscape).z).tolist()
    [[3.0, 0.0]]
    """
    from skrlv.kernels.homotopy import refit

    energy, z = landscape.energy, z.copy()
    gram, correlations, positive = energy.decoder.gram, landscape.quadratic().correlations, energy.regularizer.positive
    refit(*workspace(len(gram), gram.dtype), gram, correlations, np.zeros(len(gram)), bool(positive), z)
    return z


def _follow(landscape, n_nonzero, max_error):
    """Codes, the lmbda of each, and the number of breakpoints per row.

    The kernel takes no weights, so each atom is divided by its own weight.
    """
    from skrlv.kernels import homotopy

    problem, codes = lasso_start(landscape, None)
    energy, (n_samples, n_components) = landscape.energy, codes.shape
    weights = energy.regularizer.thresholds(1.0, n_components)
    gram, correlations = problem.gram, problem.correlations
    if (weights != 1.0).any():
        gram, correlations = gram / weights / weights[:, None], correlations / weights
    ridges, norms = energy.encoder_weight / weights**2, np.sqrt(2.0 * problem.half_norms)
    ends, n_breakpoints = np.empty(n_samples), np.empty(n_samples, dtype=np.int64)
    working = workspace(n_components, gram.dtype)[0]._replace(gram=_whole_vectors(gram))
    target = homotopy.Target(energy.lmbda, n_nonzero, float(max_error))
    homotopy.least_angle(working, correlations, norms, ridges, problem.positive, target, n_breakpoints, ends, codes)
    if (weights != 1.0).any():
        codes /= weights
    return codes, ends, n_breakpoints


def _whole_vectors(gram):
    """The rows of a Gram matrix as one vector, each padded with zeros to whole vectors."""
    from skrlv.kernels.homotopy import LANES

    k, rest = len(gram), -len(gram) % LANES
    wide = np.pad(gram, ((0, 0), (0, rest))) if rest else gram
    return aligned(wide.reshape(k * (k + rest)))


def _refined(landscape, z, lmbdas, tol, max_iter):
    """The `Solution` of rows that each have their own lmbda; rows above tol are continued by coordinate descent.

    A row divided by its lmbda is a problem with lmbda = 1; a row with lmbda = 0 is a least-squares problem.
    """
    from skrlv.kernels import lasso

    problem, z = lasso_start(landscape, z)
    weights = landscape.energy.regularizer.thresholds(1.0, z.shape[1])
    sweeps, gaps = np.zeros(len(z), dtype=np.int64), np.zeros(len(z))
    for rows, thresholds in ((lmbdas > 0.0, weights), (lmbdas == 0.0, 0.0 * weights)):
        unit = np.where(lmbdas > 0.0, lmbdas, 1.0)[rows, None]
        half_norms = 0.5 * (np.sqrt(2.0 * problem.half_norms[rows]) / unit[:, 0]) ** 2
        found, steps, left = z[rows] / unit, sweeps[rows], gaps[rows]
        lasso.coordinate_descent(
            problem.gram, problem.correlations[rows] / unit, half_norms, thresholds, problem.positive,
            float(tol), int(max_iter), steps, left, found,
        )  # fmt: skip
        z[rows] = np.where(steps[:, None] > 0, found * unit, z[rows])
        sweeps[rows], gaps[rows] = steps, left
    return Solution(z, sweeps, gaps, gaps <= tol)
