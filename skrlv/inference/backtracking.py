r"""The step of a row where no bound on the curvature is known.

A step 1/L is short enough if the smooth part f of the energy lies below the quadratic with this curvature,

.. math:: f(z) \le f(v) + \nabla f(v) \cdot (z - v) + \tfrac L2 \|z - v\|^2, \qquad
    z = \mathrm{prox}_{\lambda R / L}\bigl(v - \tfrac1L \nabla f(v)\bigr)

Steps are powers of two. So a regularizer, whose prox takes one step for all rows, is called once for each of the few
steps that occur, and the code of a row does not depend on the other rows.

References
----------
Beck, Teboulle, A Fast Iterative Shrinkage-Thresholding Algorithm for Linear Inverse Problems, 2009.
"""

import numpy as np

from skrlv._arrays import (
    column,
    device,
    double,
    max_per_sample,
    namespace,
    per_row,
    squares_per_sample,
    sum_per_sample,
    to_numpy,
)

_PROBE = 1e-3  # length of the difference that the first curvature is measured on, as a share of the code's
_HALVINGS = 50
ROUNDING = 16.0  # units in the last place of the largest entry
_RESOLVED = 100.0  # times the rounding of an energy, above which a difference of energies means something


def backtracked(landscape, v, step):
    """One proximal step from v of each row: -> (z, the largest entry of its gradient mapping, the step to try next).

    The step is halved until it is short enough; one that was short enough by half is tried doubled next. At a kink of
    the smooth part, as a network of ReLU units has them, the step that is short enough is lost in rounding: then z is
    v, and the gradient mapping is that of the first step tried. A row at which the energy is not finite keeps what its
    step gives.
    """
    xp = namespace(v)
    smooth, slope, first = landscape.smooth(v), landscape.grad(v), None
    tried, finite = step, xp.isfinite(smooth)
    for _ in range(_HALVINGS):
        z = _proximal_step(landscape, v, slope, step)
        first = z if first is None else first
        excess, squares = _excess(landscape, v, z, smooth, slope, step), squares_per_sample(z - v)
        short = (excess <= 0.5 * squares / step) | ~finite
        if bool(xp.all(short)):
            break
        step = xp.where(short, step, 0.5 * step)
    lost = ~short | (max_per_sample(slope) * step <= ROUNDING * float(xp.finfo(v.dtype).eps) * max_per_sample(v))
    mapping = xp.where(lost, max_per_sample(first - v) / tried, max_per_sample(z - v) / step)
    roomy = (excess <= 0.25 * squares / step) & (squares > 0.0)
    following = xp.where(lost, tried, xp.where(roomy, 2.0 * step, step))
    return xp.where(column(lost, v), v, z), mapping, following


def _excess(landscape, v, z, smooth, slope, step):
    """Return by how much the smooth part at z lies above its tangent at v.

    Where that is lost in rounding, half of what the slope changes by along the way is the same for short steps.
    """
    xp, moved = namespace(v), z - v
    excess = landscape.smooth(z) - smooth - sum_per_sample(double(moved) * slope)
    lost = squares_per_sample(moved) / step < _RESOLVED * rounding_of(smooth, v)
    if not bool(xp.any(lost)):
        return excess
    return xp.where(lost, 0.5 * sum_per_sample(double(moved) * (landscape.grad(z) - slope)), excess)


def first_step(landscape, z):
    """One over the curvature along the gradient at z, rounded to a power of two; 1 where there is none."""
    xp = namespace(z)
    slope = landscape.grad(z)
    length = xp.sqrt(squares_per_sample(slope))
    size = _PROBE * xp.where(max_per_sample(z) > 0.0, xp.sqrt(squares_per_sample(z)), xp.ones_like(length))
    moved = per_row(size / xp.where(length > 0.0, length, xp.ones_like(length)), z) * slope
    change = xp.sqrt(squares_per_sample(landscape.grad(z + moved) - slope))
    size, change = to_numpy(size), to_numpy(change)
    steps = np.divide(size, change, out=np.ones(z.shape[0]), where=change > 0.0)
    powers = np.exp2(np.clip(np.round(np.log2(np.where(np.isfinite(steps), steps, 1.0))), -200, 200))
    return xp.asarray(powers, dtype=xp.float64, device=device(z))


def rounding_of(energies, z):
    """Return by how much rounding in the dtype of z may change energies."""
    xp = namespace(z)
    return 8.0 * float(xp.finfo(z.dtype).eps) * xp.abs(energies)


def _proximal_step(landscape, v, slope, step):
    """Take the prox of all rows, once for each of the steps that occur."""
    xp, steps = namespace(v), to_numpy(step)
    z = v - per_row(step, v) * slope
    found = None
    for value in np.unique(steps):
        moved = landscape.prox(z, float(value))
        found = moved if found is None else xp.where(column(step == float(value), v), moved, found)
    return found
