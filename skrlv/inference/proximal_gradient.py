r"""ISTA and FISTA: descend the smooth part, shrink the sharp part.

.. math:: z \leftarrow \mathrm{prox}_{\lambda R / L}\bigl(v - \tfrac1L \nabla_{smooth}(v)\bigr)

The methods differ only in the point v they look from. Every row walks by itself: it stops, and is
frozen, once no entry of its gradient mapping :math:`L (v - z)` exceeds ``tol`` times the largest entry
of its gradient at zero. So a row's code does not depend on the batch it came in.

References
----------
Daubechies, Defrise, De Mol, An iterative thresholding algorithm for linear inverse problems with a
sparsity constraint, 2004. Beck, Teboulle, A Fast Iterative Shrinkage-Thresholding Algorithm for Linear
Inverse Problems, 2009. O'Donoghue, Candes, Adaptive Restart for Accelerated Gradient Schemes, 2015.
"""

from typing import NamedTuple

import numpy as np

from skrlv._arrays import device, double, max_per_sample, namespace, per_row, sum_per_sample, to_numpy
from skrlv.inference.problem import is_lasso, lasso_problem
from skrlv.inference.solution import Solution


def ista(landscape, z0=None, *, max_iter=1000, tol=1e-6, record=False):
    r"""Iterative shrinkage and thresholding; the energy never rises.

    After k steps the energy is at most :math:`L \|z_0 - z^*\|^2 / (2k)` above its minimum.

    Parameters
    ----------
    landscape : Landscape
        E(y, .) for a block of rows.
    z0 : array of shape (n_samples, ..., n_components) or None, default=None
        Where to begin; None is the landscape's own start.
    max_iter : int, default=1000
        Most steps of any row.
    tol : float, default=1e-6
        A row rests when its gradient mapping is below this share of its gradient at zero; 0 never rests
        before the step moves nothing.
    record : bool, default=False
        Whether `Solution.energies` holds the energy before the first and after each step.

    Returns
    -------
    Solution
        Codes, steps and last share per row, and which rows met ``tol``.
    """
    return _walk(landscape, z0, _look_from_here, max_iter=max_iter, tol=tol, record=record)


def fista(landscape, z0=None, *, max_iter=1000, tol=1e-6, record=False):
    r"""ISTA with Nesterov's momentum, as Beck and Teboulle wrote it; the energy may rise in between.

    After k steps the energy is at most :math:`2L \|z_0 - z^*\|^2 / (k + 1)^2` above its minimum.
    Parameters and return value are those of `ista`.
    """
    return _walk(landscape, z0, _lean_into_the_move, max_iter=max_iter, tol=tol, record=record)


def fista_restart(landscape, z0=None, *, max_iter=1000, tol=1e-6, record=False):
    """FISTA where each row drops its momentum when it points uphill; the fastest of the three.

    Where a numba kernel fits (a quadratic landscape of NumPy arrays under the L1 family) it is used.
    Parameters and return value are those of `ista`.
    """
    if is_lasso(landscape) and not record:
        return _kernel_walk(landscape, z0, max_iter=max_iter, tol=tol)
    return _walk(landscape, z0, _lean_until_uphill, max_iter=max_iter, tol=tol, record=record)


class _Walkers(NamedTuple):
    """The rows that still walk. All arrays have one row each."""

    rows: object  # index in the block
    scale: object  # largest entry of the gradient at zero
    z: object
    ahead: object  # v, the point looked from
    inertia: object  # t of FISTA, float64


def _look_from_here(z, walkers):
    return z, walkers.inertia


def _lean_into_the_move(z, walkers):
    faster = _grown(walkers.inertia)
    return z + per_row((walkers.inertia - 1.0) / faster, z) * (z - walkers.z), faster


def _lean_until_uphill(z, walkers):
    xp = namespace(z)
    uphill = sum_per_sample(double(walkers.ahead - z) * (z - walkers.z)) > 0.0
    inertia = xp.where(uphill, xp.ones_like(walkers.inertia), walkers.inertia)
    return _lean_into_the_move(z, walkers._replace(inertia=inertia))


def _grown(inertia):
    return (1.0 + namespace(inertia).sqrt(1.0 + 4.0 * inertia**2)) / 2.0


def _walk(landscape, z0, look, *, max_iter, tol, record):
    z = landscape.start() if z0 is None else z0
    walkers, step = _starting(landscape, z), 1.0 / (landscape.lipschitz or 1.0)
    awake, n_iter = np.ones(z.shape[0], dtype=bool), np.full(z.shape[0], max_iter)
    error, energies, arrived = np.zeros(z.shape[0]), [to_numpy(landscape(z))] if record else [], []

    for iteration in range(1, max_iter + 1):
        ahead = walkers.ahead
        z = landscape.prox(ahead - step * landscape.grad(ahead), step)
        share = _share(max_per_sample(ahead - z), step * walkers.scale)
        ahead, inertia = look(z, walkers)
        walkers, rows = walkers._replace(z=z, ahead=ahead, inertia=inertia), to_numpy(walkers.rows)
        error[rows[awake]] = share[awake]
        if record:
            energies.append(_latest(energies[-1], landscape, walkers, awake))
        rests = awake & (share <= tol)
        if rests.any():
            n_iter[rows[rests]] = iteration
            arrived.append(_taken(walkers, rests))
            awake = awake & ~rests
            if not awake.any():
                break
            if awake.mean() < 0.9:  # leave the frozen rows behind, but not at every step
                landscape = landscape.take(_indices(walkers.rows, awake))
                walkers, awake = _taken(walkers, awake), np.ones(awake.sum(), dtype=bool)
    arrived.append(_taken(walkers, awake))
    return Solution(_in_order(arrived), n_iter, error, error <= tol, np.stack(energies) if record else None)


def _starting(landscape, z):
    xp, where, n_samples = namespace(z), device(z), z.shape[0]
    scale = max_per_sample(landscape.grad(xp.zeros_like(z)))
    return _Walkers(xp.arange(n_samples, device=where), scale, z, z, xp.ones(n_samples, dtype=xp.float64, device=where))


def _share(moved, unit):
    """moved / unit per row, as NumPy; 0 where nothing moved."""
    moved, unit = to_numpy(moved).astype(np.float64), to_numpy(unit).astype(np.float64)
    with np.errstate(divide="ignore"):
        return np.divide(moved, unit, out=np.zeros_like(moved), where=moved > 0.0)


def _indices(like, mask):
    """Where the mask is true, on the device of ``like``."""
    return namespace(like).asarray(np.flatnonzero(mask), dtype=like.dtype, device=device(like))


def _taken(walkers, mask):
    xp, indices = namespace(walkers.z), _indices(walkers.rows, mask)
    return _Walkers(*(xp.take(part, indices, axis=0) for part in walkers))


def _in_order(arrived):
    """Codes in the order of the block, from the order they arrived in."""
    xp = namespace(arrived[0].z)
    order = xp.argsort(xp.concat([group.rows for group in arrived]))
    return xp.take(xp.concat([group.z for group in arrived], axis=0), order, axis=0)


def _latest(energies, landscape, walkers, awake):
    """Energies of all rows after a step; those of frozen rows stay."""
    energies = energies.copy()
    energies[to_numpy(walkers.rows)[awake]] = to_numpy(landscape(walkers.z))[awake]
    return energies


def _kernel_walk(landscape, z0, *, max_iter, tol):
    from skrlv.kernels import lasso

    problem = lasso_problem(landscape)
    z = np.array(landscape.start() if z0 is None else z0, dtype=problem.correlations.dtype, order="C")
    n_iter, error = np.empty(z.shape[0], dtype=np.int64), np.empty(z.shape[0])
    step = z.dtype.type(1.0 / max(landscape.lipschitz + problem.ridge, np.finfo(z.dtype).tiny))
    lasso.fista_restart(*problem.arrays, step, float(tol), int(max_iter), n_iter, error, z)
    return Solution(z, n_iter, error, error <= tol)
