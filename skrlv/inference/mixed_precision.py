"""Exact codes of float32 data: computed in float32, certified in float64."""

from functools import partial

import numpy as np

from skrlv.energy import GramLandscape
from skrlv.inference.duality import duality_gap
from skrlv.inference.homotopy import follow_path, homotopy_path, path_thresholds
from skrlv.inference.problem import lasso_problem, lasso_start
from skrlv.inference.solution import Solution

_NEAR = 1e-2  # gap up to which a float32 code is a useful start
_ROUNDED = 1e-6  # about the gap that rounding codes to float32 causes; with duplicate atoms it is larger


def mixed_path(energy, y, lmbdas, z0=None, *, tol=1e-4):
    """Compute in float32, with half the memory traffic; rows that end above ``tol`` are continued in float64.

    The gap is that of the float32 codes under the float64 energy. Codes that met a ``tol`` below 1e-6 before they
    were rounded count as converged up to a gap of 1e-6.

    Parameters
    ----------
    energy : Energy
        In float64, quadratic, under L1; its own lmbda is not used.
    y : array of shape (n_samples, n_features)
        Data, float32.
    lmbdas : sequence of float
        Best in decreasing order.
    z0 : array of shape (n_samples, n_components) or None, default=None
        Start.
    tol : float, default=1e-4
        Largest relative duality gap of a row, see `duality_gap`.

    Returns
    -------
    list of Solution
        One per lmbda, with codes in float32.
    """
    exact = energy.given(y.astype(np.float64)).on_gram()
    if tol < _ROUNDED:
        return _float64_path(exact, lmbdas, z0, tol)
    solutions = _float32_path(exact, lmbdas, z0, tol)
    for lmbda, solution in zip(lmbdas, solutions, strict=True):
        missed = np.flatnonzero(~solution.converged)
        if missed.size:
            start = solution.z[missed]
            start[~(solution.error[missed] < _NEAR)] = 0.0
            (rest,) = _float64_path(exact.take(missed), [lmbda], start, tol)
            for mine, theirs in zip(solution[:4], rest[:4], strict=True):
                mine[missed] = theirs
    return solutions


def _float32_path(exact, lmbdas, z0, tol):
    from skrlv.kernels import lasso

    # Correlations are computed in float64 and rounded: in sgemm the rounding of a row depends on its position in the
    # block, so codes would depend on the order of the rows.
    form = exact.form._replace(gram=exact.energy.single.gram, correlations=exact.form.correlations.astype(np.float32))
    landscape, (problem, start) = GramLandscape(exact.energy.single, form, exact.decoded), lasso_start(exact, z0)
    n_iter, residual, z = follow_path(
        lasso_problem(landscape), path_thresholds(landscape, lmbdas), start.astype(np.float32)
    )
    n_features, solutions = exact.energy.decoder.atoms.shape[1], []
    for point, thresholds in enumerate(path_thresholds(exact, lmbdas)):
        gram, *rest = problem._replace(thresholds=thresholds).arrays
        gaps = np.empty(len(start))
        lasso.gaps_of_float32(gram, n_features, *rest, residual[point], z[point], gaps)
        solutions.append(Solution(z[point], n_iter[point], gaps, gaps <= tol))
    return solutions


def _float64_path(exact, lmbdas, z0, tol):
    solutions = homotopy_path(exact, lmbdas, z0, tol=before_rounding(tol, np.float32))
    return [
        rounded(solution, np.float32, tol, partial(duality_gap, exact.at(lmbda)))
        for lmbda, solution in zip(lmbdas, solutions, strict=True)
    ]


def before_rounding(tol, dtype):
    """The tolerance of float64 codes that are then rounded to dtype."""
    return tol if dtype == np.float64 else 0.5 * tol


def rounded(solution, dtype, tol, gaps):
    """The `Solution` in dtype, with gaps after rounding; gaps(z) returns the gaps of float64 codes."""
    if dtype == np.float64:
        return solution
    z = solution.z.astype(dtype)
    left = gaps(z.astype(np.float64))
    return solution._replace(z=z, error=left, converged=left <= max(tol, _ROUNDED))
