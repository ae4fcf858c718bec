r"""The duality gap: it bounds how far the energy of a code is above the minimum, whatever method found the code."""

import numpy as np

from skrlv._arrays import squares_per_sample
from skrlv.regularizers import LassoFamily


@np.errstate(over="ignore", invalid="ignore")
def duality_gap(landscape, z):
    r"""Relative duality gap per row of a Lasso with a linear decoder.

    With the residual correlations :math:`c = -\nabla_{smooth}(z)` and
    :math:`s = \min(1, \min_j t_j / |c_j|)`, the scaled residual is dual feasible and

    .. math:: gap = (1 - s)^2\, smooth(z) + \sum_j t_j |z_j| - s\, z \cdot c \; \ge \; E(y, z) - \min_z E(y, z).

    Every term is non-negative, so nothing cancels. For positive codes only c_j > 0 count. Atoms with t_j = 0 have no
    penalty: for these the largest residual of their normal equations, :math:`|c_j| / \|d_j\| \cdot \|y\|`, is added
    to the gap. It is zero only at the minimum, but it is not a bound. The same applies to atoms with
    :math:`t_j \le 10^{-12} \|d_j\| \|y\|`, a penalty below the rounding errors.

    Parameters
    ----------
    landscape : Landscape
        A landscape of NumPy arrays, best in float64, with a linear decoder, squared error and the L1 family.
    z : array of shape (n_samples, ..., n_components)
        Codes.

    Returns
    -------
    array of shape (n_samples,)
        gap / max(min(E(y, z), h), 1e-3 h), float64, with h = smooth(0), which is 1/2 norm(y)^2 without an encoder
        term; see `skrlv.kernels.lasso.relative_gap`. Infinite for a negative entry if codes must be positive, and for
        any code but zero of a row of zeros.

    Raises
    ------
    TypeError
        If the regularizer is not of the L1 family, the cost is not the squared error, or the decoder is not linear.
    """
    from skrlv.kernels.lasso import NEGLIGIBLE, relative_gap

    energy = landscape.energy
    regularizer, lmbda = energy.regularizer, energy.lmbda
    if not (energy.is_quadratic and isinstance(regularizer, LassoFamily)):
        raise TypeError("A duality gap is known only for the L1 family under squared error with a linear decoder.")
    thresholds, ridge = regularizer.thresholds(lmbda, z.shape[-1]), regularizer.ridge(lmbda)
    correlations = -landscape.grad(z) - ridge * z
    smooth, half_norms, axes = landscape.smooth(z), landscape.half_norms, tuple(range(1, z.ndim))
    if ridge:  # 0 x an overflow would be NaN
        smooth = smooth + 0.5 * ridge * squares_per_sample(z)

    reach = np.maximum(correlations, 0.0) if regularizer.positive else np.abs(correlations)
    lengths, sizes = np.sqrt(energy.decoder.squared_norms + energy.encoder_weight + ridge), np.sqrt(2.0 * half_norms)
    negligible = thresholds <= NEGLIGIBLE * lengths * sizes.reshape(-1, *(1 for _ in axes))
    free, fits = thresholds == 0.0, reach <= thresholds
    with np.errstate(divide="ignore"):
        scale = np.min(np.where(negligible | fits, 1.0, thresholds / reach), axis=axes, initial=1.0)
    penalty = np.sum(thresholds * np.abs(z), axis=axes)
    fitted = np.sum((z * correlations)[..., ~free], axis=axes)
    slack = np.where(free & (z != 0.0), np.abs(correlations), np.where(negligible & ~fits, reach, 0.0))
    slack = np.divide(slack, lengths, out=np.zeros_like(slack), where=lengths > 0.0)  # a zero atom changes nothing
    slack, n_nonzero = np.max(slack, axis=axes, initial=0.0), np.count_nonzero(z, axis=axes)
    parts = (np.maximum(smooth, 0.0), half_norms, penalty, fitted, scale, slack, n_nonzero)
    gaps = np.array([relative_gap(*row) for row in zip(*(part.tolist() for part in parts), strict=True)])
    return np.where((z < 0.0).any(axis=axes), np.inf, gaps) if regularizer.positive else gaps
