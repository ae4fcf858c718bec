r"""ISTA and FISTA: a gradient step on the smooth part, and the proximal operator of the penalty.

.. math:: z \leftarrow \mathrm{prox}_{\lambda R / L}\bigl(v - \tfrac1L \nabla_{smooth}(v)\bigr)

The methods differ only in the point v. Every row stops independently: it is frozen once no entry of its
gradient mapping :math:`L (v - z)` exceeds ``tol`` times the largest entry of its gradient at zero, or once only
rounding moves it. So the code of a row does not depend on the other rows of its batch.

L is the landscape's bound on the curvature. Where there is none, as for a network, each row has an L of its own, found
by backtracking: L doubles until the quadratic with this curvature lies above the smooth part,

.. math:: f(z) \le f(v) + \nabla f(v) \cdot (z - v) + \tfrac L2 \|z - v\|^2

A step after which the energy would be higher is not taken; the next one begins at z without momentum. So the energy of
a row never rises, and what is found is a stationary point, if not the minimum.

References
----------
Daubechies, Defrise, De Mol, An iterative thresholding algorithm for linear inverse problems with a
sparsity constraint, 2004. Beck, Teboulle, A Fast Iterative Shrinkage-Thresholding Algorithm for Linear
Inverse Problems, 2009. O'Donoghue, Candes, Adaptive Restart for Accelerated Gradient Schemes, 2015. Li, Lin,
Accelerated Proximal Gradient Methods for Nonconvex Programming, 2015.
"""

from typing import NamedTuple

import numpy as np

from skrlv._arrays import (
    column,
    device,
    double,
    max_per_sample,
    namespace,
    per_row,
    rows_of,
    sum_per_sample,
    to_numpy,
)
from skrlv.inference.backtracking import ROUNDING, backtracked, first_step, rounding_of
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
        Start; None is the landscape's own.
    max_iter : int, default=1000
        Maximum number of steps of any row.
    tol : float, default=1e-6
        A row has converged when its gradient mapping is at most this share of its gradient at zero; with 0,
        only when a step changes nothing. A row that 100 steps have not brought nearer, and whose steps are within
        the rounding errors of its largest entry, stops as well, without having converged.
    record : bool, default=False
        Whether `Solution.energies` holds the energy before the first and after each step.

    Returns
    -------
    Solution
        Codes, number of steps and last share per row, and which rows met ``tol``.

    Examples
    --------
    >>> import numpy as np
    >>> from skrlv.decoders import Dictionary
    >>> from skrlv.energy import Energy
    >>> from skrlv.inference import ista
    >>> from skrlv.regularizers import L1
    >>> landscape = Energy(Dictionary(np.array([[1.0, 0.0], [0.6, 0.8]])), L1(), 0.1).given(np.array([[1.0, 1.0]]))
    >>> solution = ista(landscape)
    >>> solution.z.round(3).tolist(), solution.converged.tolist()
    ([[0.188, 1.187]], [True])
    """
    return _iterate(landscape, z0, _plain, max_iter=max_iter, tol=tol, record=record)


def fista(landscape, z0=None, *, max_iter=1000, tol=1e-6, record=False):
    r"""ISTA with Nesterov's momentum, as published by Beck and Teboulle; the energy may increase in between.

    After k steps the energy is at most :math:`2L \|z_0 - z^*\|^2 / (k + 1)^2` above its minimum.
    Parameters and return value are those of `ista`.

    Examples
    --------
    >>> import numpy as np
    >>> from skrlv.decoders import Dictionary
    >>> from skrlv.energy import Energy
    >>> from skrlv.inference import fista
    >>> from skrlv.regularizers import L1
    >>> landscape = Energy(Dictionary(np.array([[1.0, 0.0], [0.6, 0.8]])), L1(), 0.1).given(np.array([[1.0, 1.0]]))
    >>> fista(landscape, tol=1e-8).z.round(3).tolist()
    [[0.188, 1.187]]
    """
    return _iterate(landscape, z0, _accelerated, max_iter=max_iter, tol=tol, record=record)


def fista_restart(landscape, z0=None, *, max_iter=1000, tol=1e-6, record=False):
    """FISTA with the momentum of a row reset whenever it points uphill; the fastest of the three.

    A numba kernel is used for a quadratic landscape of NumPy arrays under the L1 family.
    Parameters and return value are those of `ista`.

    Examples
    --------
    >>> import numpy as np
    >>> from skrlv.decoders import Dictionary
    >>> from skrlv.energy import Energy
    >>> from skrlv.inference import fista_restart
    >>> from skrlv.regularizers import L1
    >>> landscape = Energy(Dictionary(np.array([[1.0, 0.0], [0.6, 0.8]])), L1(), 0.1).given(np.array([[1.0, 1.0]]))
    >>> fista_restart(landscape, tol=1e-8).z.round(3).tolist()
    [[0.188, 1.187]]
    """
    if is_lasso(landscape) and not record:
        return _fista_kernel(landscape, z0, max_iter=max_iter, tol=tol)
    return _iterate(landscape, z0, _restarted, max_iter=max_iter, tol=tol, record=record)


_STALLED = 100  # steps after which a row stops if its error has not fallen and its steps are rounding errors


class _Iterate(NamedTuple):
    """The rows that have not been removed yet; every array has one entry or row for each."""

    rows: object  # index in the block
    scale: object  # largest entry of the gradient at zero
    z: object
    ahead: object  # v, the point of the next gradient
    momentum: object  # t of FISTA, float64
    step: object  # 1 / L, float64
    energy: object  # of z if steps are found by backtracking, NaN else, float64


def _plain(z, iterate):
    return z, iterate.momentum


def _accelerated(z, iterate):
    following = _next_momentum(iterate.momentum)
    return z + per_row((iterate.momentum - 1.0) / following, z) * (z - iterate.z), following


def _restarted(z, iterate):
    xp = namespace(z)
    uphill = sum_per_sample(double(iterate.ahead - z) * (z - iterate.z)) > 0.0
    momentum = xp.where(uphill, xp.ones_like(iterate.momentum), iterate.momentum)
    return _accelerated(z, iterate._replace(momentum=momentum))


def _next_momentum(momentum):
    return (1.0 + namespace(momentum).sqrt(1.0 + 4.0 * momentum**2)) / 2.0


def _iterate(landscape, z0, extrapolate, *, max_iter, tol, record):
    """Proximal steps; extrapolate(z, iterate) returns the next point v and momentum."""
    z = landscape.start() if z0 is None else z0
    take_step = _known_step if landscape.lipschitz is not None else _backtracked_step
    iterate, active, n_iter = _start(landscape, z), np.ones(z.shape[0], dtype=bool), np.full(z.shape[0], max_iter)
    error, energies, done = np.zeros(z.shape[0]), [to_numpy(landscape(z))] if record else [], []
    least, least_before, energy_before = np.full((3, z.shape[0]), np.inf)

    for iteration in range(1, max_iter + 1):
        iterate, share, stuck = take_step(landscape, iterate, extrapolate)
        rows = to_numpy(iterate.rows)
        error[rows[active]] = share[active]
        least[rows] = np.minimum(least[rows], share)
        if record:
            energies.append(_latest(energies[-1], landscape, iterate, active))
        stops = active & ((share <= tol) | stuck)
        if iteration % _STALLED == 0:
            rests = (share <= _rounding(iterate)) | ~_falls(iterate, energy_before[rows])
            stops |= active & ~(least[rows] < least_before[rows]) & rests
            least_before, least = least, np.full_like(least, np.inf)
            energy_before[rows] = to_numpy(iterate.energy)
        if stops.any():
            n_iter[rows[stops]] = iteration
            done.append(_taken(iterate, stops))
            active = active & ~stops
            if not active.any():
                break
            if active.mean() < 0.9:  # remove the frozen rows, but not at every step
                landscape = landscape.take(rows_of(iterate.z, np.flatnonzero(active)))
                iterate, active = _taken(iterate, active), np.ones(active.sum(), dtype=bool)
    done.append(_taken(iterate, active))
    return Solution(_in_order(done), n_iter, error, error <= tol, np.stack(energies) if record else None)


def _start(landscape, z):
    xp, where, n_samples = namespace(z), device(z), z.shape[0]
    scale, ones = max_per_sample(landscape.grad(xp.zeros_like(z))), xp.ones(n_samples, dtype=xp.float64, device=where)
    step, energy = ones / (landscape.lipschitz or 1.0), float("nan") * ones
    if landscape.lipschitz is None:
        scale = xp.maximum(scale, max_per_sample(landscape.grad(z)))  # a network may be flat at zero
        step, energy = first_step(landscape, z), landscape(z)
    return _Iterate(xp.arange(n_samples, device=where), scale, z, z, ones, step, energy)


def _known_step(landscape, iterate, extrapolate):
    """One step of all rows: -> (iterate, share of the gradient mapping, whether a row can move no more)."""
    ahead, step = iterate.ahead, 1.0 / (landscape.lipschitz or 1.0)
    z = landscape.prox(ahead - step * landscape.grad(ahead), step)
    share = _share(max_per_sample(ahead - z), iterate)
    ahead, momentum = extrapolate(z, iterate)
    return iterate._replace(z=z, ahead=ahead, momentum=momentum), share, False


def _backtracked_step(landscape, iterate, extrapolate):
    """The same where no L is known. A row whose energy would rise stays, and goes on from there without momentum."""
    xp, before = namespace(iterate.z), iterate
    z, mapping, step = backtracked(landscape, before.ahead, before.step)
    energy, rests = landscape(z), max_per_sample(z - before.ahead) == 0.0
    falls = energy <= before.energy + rounding_of(before.energy, z)
    stuck = rests & (max_per_sample(z - before.z) == 0.0)
    ahead, momentum = extrapolate(z, before)
    z = xp.where(column(falls, z), z, before.z)
    ahead = xp.where(column(falls & ~rests, z), ahead, z)
    momentum = xp.where(falls & ~rests, momentum, xp.ones_like(energy))
    following = before._replace(
        z=z, ahead=ahead, momentum=momentum, step=step, energy=xp.where(falls, energy, before.energy)
    )
    return following, _share(mapping, before._replace(step=xp.ones_like(step))), to_numpy(stuck)


def _share(moved, iterate):
    """The largest entry of the gradient mapping, moved / step, over that of the gradient at zero, as NumPy."""
    moved = to_numpy(moved).astype(np.float64)
    unit = to_numpy(iterate.step) * to_numpy(iterate.scale).astype(np.float64)
    with np.errstate(divide="ignore"):
        return np.divide(moved, unit, out=np.zeros_like(moved), where=moved > 0.0)


def _falls(iterate, energy_before):
    """Whether the energy has fallen by more than rounding; so it is said of all rows where steps are known."""
    energy = to_numpy(iterate.energy)
    return ~(energy >= energy_before - to_numpy(rounding_of(iterate.energy, iterate.z)))


def _rounding(iterate):
    """The share of a step that is as small as rounding errors of the largest entry of a row."""
    unit = ROUNDING * float(namespace(iterate.z).finfo(iterate.z.dtype).eps)
    return _share(unit * max_per_sample(iterate.z), iterate)


def _taken(iterate, mask):
    xp, indices = namespace(iterate.z), rows_of(iterate.z, np.flatnonzero(mask))
    return _Iterate(*(xp.take(part, indices, axis=0) for part in iterate))


def _in_order(done):
    """Codes in the order of the block, from the order in which rows were done."""
    xp = namespace(done[0].z)
    order = xp.argsort(xp.concat([group.rows for group in done]))
    return xp.take(xp.concat([group.z for group in done], axis=0), order, axis=0)


def _latest(energies, landscape, iterate, active):
    """Energies of all rows after a step; the energies of frozen rows stay."""
    energies = energies.copy()
    energies[to_numpy(iterate.rows)[active]] = to_numpy(landscape(iterate.z))[active]
    return energies


def _fista_kernel(landscape, z0, *, max_iter, tol):
    from skrlv.kernels import lasso

    problem = lasso_problem(landscape)
    z = np.array(landscape.start() if z0 is None else z0, dtype=problem.correlations.dtype, order="C")
    n_iter, error = np.empty(z.shape[0], dtype=np.int64), np.empty(z.shape[0])
    step = z.dtype.type(1.0 / max(landscape.lipschitz + problem.ridge, np.finfo(z.dtype).tiny))
    lasso.fista_restart(*problem.arrays, step, float(tol), int(max_iter), n_iter, error, z)
    return Solution(z, n_iter, error, error <= tol)
