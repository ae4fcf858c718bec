"""Exact codes of few rows on many atoms, by working sets of few atoms, without the Gram matrix of all atoms."""

from dataclasses import replace
from functools import partial

import numpy as np

from skrlv.decoders import Dictionary
from skrlv.encoders import ZeroEncoder
from skrlv.inference.duality import duality_gap
from skrlv.inference.homotopy import homotopy_path
from skrlv.inference.least_angle import debiased, least_angle
from skrlv.inference.mixed_precision import before_rounding, rounded
from skrlv.inference.solution import Solution, joined

_FIRST = 64  # atoms of the first working set; the fastest of the sizes measured from 16 to 256


def working_set_path(energy, y, lmbdas, z0=None, *, tol=1e-6):
    r"""Exact codes at each of several lmbdas: each row has a working set of few atoms, to which missing ones are added.

    The minimum on a working set W of atoms is the minimum on all of them if no other atom has a residual correlation
    above its threshold, :math:`|d_j \cdot (y - zD)| \le t_j`. Otherwise the atoms that exceed their threshold
    most are added to W. The duality gap on all atoms certifies the result.

    Parameters
    ----------
    energy : Energy
        An energy in float64 of a `Dictionary`, squared error and the L1 family; its encoder term, if any, is a ridge.
        Its own lmbda is not used.
    y : array of shape (n_samples, n_features)
        NumPy, float32 or float64.
    lmbdas : sequence of float
        Best in decreasing order.
    z0 : array of shape (n_samples, n_components) or None, default=None
        Start at the first lmbda; None is zero.
    tol : float, default=1e-6
        Largest relative duality gap of a row, see `duality_gap`.

    Returns
    -------
    list of Solution
        One per lmbda; codes have the dtype of y.

    References
    ----------
    Fan, Tibshirani et al., Strong Rules for Discarding Predictors in Lasso-type Problems, 2012.
    Massias, Gramfort, Salmon, Celer: a Fast Solver for the Lasso with Dual Extrapolation, 2018.
    """
    within, before = before_rounding(tol, y.dtype), np.zeros((len(y), len(energy.decoder.atoms)))
    if z0 is not None:
        before[...] = z0
    solutions = []
    for lmbda in lmbdas:
        here = replace(energy, lmbda=lmbda)

        def solve(restricted, y, z, here=here):
            (solution,) = homotopy_path(restricted.given(y), [here.lmbda], z, tol=within)
            return solution, here.lmbda

        found, _ = _each_row(here, y, before, solve, within)
        before = found.z
        solutions.append(rounded(found, y.dtype, tol, partial(duality_gap, here.given(_double(y)))))
    return solutions


def working_set_least_angle(energy, y, *, n_nonzero=None, max_error=0.0, tol=1e-6):
    """`least_angle` of few rows on many atoms, each row on its own working set.

    Parameters
    ----------
    energy : Energy
        As for `working_set_path`; the paths end at its lmbda at the latest.
    y : array of shape (n_samples, n_features)
        NumPy, float64.
    n_nonzero, max_error, tol
        As for `least_angle`.

    Returns
    -------
    solution : Solution
        Codes, with their gaps at these lmbdas.
    lmbdas : array of shape (n_samples,)
        The lmbda at which the code of each row is exact.
    """

    def solve(restricted, y, z):
        solution, (lmbda,) = least_angle(restricted.given(y), n_nonzero=n_nonzero, max_error=max_error, tol=tol)
        return solution, lmbda

    return _each_row(energy, y, np.zeros((len(y), len(energy.decoder.atoms))), solve, tol)


def working_set_debiased(energy, y, z):
    """`debiased` of few rows on many atoms, in float64."""
    out = np.zeros(z.shape)
    for row in range(len(y)):
        support = np.flatnonzero(z[row])
        if support.size:
            landscape = _restricted(energy, support).given(_double(y[row : row + 1]))
            out[row, support] = debiased(landscape.on_gram(), _double(z[row : row + 1, support]))[0]
    return out


def working_set_gaps(energy, y, z, lmbdas):
    """Relative duality gap of each row at its own lmbda."""
    rows = zip(y[:, None], z[:, None], lmbdas, strict=True)
    return np.concatenate([duality_gap(replace(energy, lmbda=lmbda).given(_double(y)), z) for y, z, lmbda in rows])


def _each_row(energy, y, start, solve, tol):
    """The `Solution` of all rows, in float64, and the lmbda of each."""
    found = [_row(energy, _double(y[i : i + 1]), start[i : i + 1], solve, tol) for i in range(len(y))]
    solutions, lmbdas = zip(*found, strict=True)
    return joined(solutions), np.array(lmbdas)


def _row(energy, y, start, solve, tol):
    """The `Solution` of one row and its lmbda; solve(restricted energy, y, z) returns them on a working set."""
    landscape, n_iter = energy.given(y), 0
    chosen = np.union1d(np.flatnonzero(start[0]), _furthest(_excess(landscape, start), _FIRST))
    z = start.copy()
    while True:
        solution, lmbda = solve(_restricted(energy, chosen), y, z[:, chosen])
        z[:] = 0.0
        z[:, chosen] = solution.z
        landscape, n_iter = landscape.at(lmbda), n_iter + solution.n_iter
        gap, excess = duality_gap(landscape, z), _excess(landscape, z)
        excess[chosen] = -np.inf
        missing = _furthest(excess, max(_FIRST, len(chosen) // 2))
        missing = missing[excess[missing] > 0.0]
        if gap[0] <= tol or not missing.size:
            return Solution(z, n_iter, gap, gap <= tol), lmbda
        chosen = np.union1d(chosen, missing)


def _excess(landscape, z):
    """The residual correlation of each atom minus its threshold, (n_components,)."""
    regularizer, lmbda = landscape.energy.regularizer, landscape.energy.lmbda
    correlations = -landscape.grad(z)[0]
    reach = correlations if regularizer.positive else np.abs(correlations)
    return reach - regularizer.thresholds(lmbda, z.shape[1])


def _furthest(excess, n):
    """The indices of the n largest entries."""
    return np.arange(excess.size) if n >= excess.size else np.argpartition(-excess, n)[:n]


def _restricted(energy, chosen):
    """The energy of codes that are zero except for the chosen entries."""
    encoder = None if energy.encoder is None else ZeroEncoder((len(chosen),))
    decoder = Dictionary(energy.decoder.atoms[chosen])
    return replace(
        energy, decoder=decoder, regularizer=energy.regularizer.take(chosen), encoder=encoder, few_rows=False
    )


def _double(x):
    return x.astype(np.float64, copy=False)
