"""Exact codes of float32 data: searched in float32, certified in float64."""

from functools import partial

import numpy as np

from skrlv._arrays import as_kernel_takes
from skrlv.encoders import ZeroEncoder
from skrlv.inference.duality import duality_gap
from skrlv.inference.homotopy import homotopy_path, path_thresholds, walked
from skrlv.inference.problem import lasso_start
from skrlv.inference.solution import Solution

_NEAR = 1e-2  # gap up to which a code of float32 is worth going on from
_ROUNDED = 1e-6  # rounding codes to float32 alone opens gaps about this wide, and wider between twin atoms


def mixed_path(energy, y, lmbdas, z0=None, *, tol=1e-4):
    """Walk in float32, which moves half of the bytes; rows that end above ``tol`` go on in float64.

    The gap is that of the float32 codes under the float64 energy. Codes that met a ``tol`` below 1e-6 before they
    were rounded count as converged up to a gap of 1e-6.

    Parameters
    ----------
    energy : Energy
        In float64, quadratic, under L1; its own lmbda is not used. With another encoder than `ZeroEncoder` all is done
        in float64.
    y : array of shape (n_samples, n_features)
        Data, float32.
    lmbdas : sequence of float
        Best in decreasing order.
    z0 : array of shape (n_samples, n_components) or None, default=None
        Where to begin.
    tol : float, default=1e-4
        Largest relative duality gap of a row, see `duality_gap`.

    Returns
    -------
    list of Solution
        One per lmbda, with codes in float32.
    """
    if tol < _ROUNDED or not (energy.encoder is None or isinstance(energy.encoder, ZeroEncoder)):
        return _in_double(energy, y, lmbdas, z0, tol)
    solutions = _in_single(energy, y, lmbdas, z0, tol)
    for lmbda, solution in zip(lmbdas, solutions, strict=True):
        missed = np.flatnonzero(~solution.converged)
        if missed.size:
            start = solution.z[missed]
            start[~(solution.error[missed] < _NEAR)] = 0.0
            (rest,) = _in_double(energy, y[missed], [lmbda], start, tol)
            for mine, theirs in zip(solution[:4], rest[:4], strict=True):
                mine[missed] = theirs
    return solutions


def _in_single(energy, y, lmbdas, z0, tol):
    from skrlv.kernels import lasso

    landscape = energy.single.given(y)
    problem, start = lasso_start(landscape, z0)
    n_iter, residual, z = walked(problem, path_thresholds(landscape, lmbdas), start)
    decoder, ridge = energy.decoder, energy.encoder_weight + problem.ridge
    atoms = decoder.single.atoms if decoder.is_single else decoder.atoms  # float32 is read in half the time
    atoms, y = as_kernel_takes(atoms), as_kernel_takes(y)
    norms, solutions = np.sqrt(decoder.squared_norms), []
    for point, lmbda in enumerate(lmbdas):
        thresholds, gaps = energy.regularizer.thresholds(lmbda, len(atoms)), np.empty(len(y))
        lasso.gaps_of_float32(atoms, norms, ridge, thresholds, problem.positive, y, residual[point], z[point], gaps)
        solutions.append(Solution(z[point], n_iter[point], gaps, gaps <= tol))
    return solutions


def _in_double(energy, y, lmbdas, z0, tol):
    landscape = energy.given(y.astype(np.float64)).on_gram()
    solutions = homotopy_path(landscape, lmbdas, z0, tol=before_rounding(tol, np.float32))
    return [
        rounded(solution, np.float32, tol, partial(duality_gap, landscape.at(lmbda)))
        for lmbda, solution in zip(lmbdas, solutions, strict=True)
    ]


def before_rounding(tol, dtype):
    """What float64 codes must meet, with room for their rounding to dtype."""
    return tol if dtype == np.float64 else 0.5 * tol


def rounded(solution, dtype, tol, gaps):
    """The `Solution` in dtype, certified as it is given out; gaps(z) is the certificate of float64 codes."""
    if dtype == np.float64:
        return solution
    z = solution.z.astype(dtype)
    left = gaps(z.astype(np.float64))
    return solution._replace(z=z, error=left, converged=left <= max(tol, _ROUNDED))
