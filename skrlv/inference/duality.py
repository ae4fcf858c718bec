r"""The certificate: how far a code's energy can be from the minimum, whatever method found it."""

import numpy as np

from skrlv._arrays import squares_per_sample
from skrlv.regularizers import LassoFamily


@np.errstate(over="ignore", invalid="ignore")
def duality_gap(landscape, z):
    r"""Relative duality gap per row of a Lasso with a linear decoder.

    With the residual correlations :math:`c = -\nabla_{smooth}(z)` and
    :math:`s = \min(1, \min_j t_j / |c_j|)`, the scaled residual is dual feasible and

    .. math:: gap = (1 - s)^2\, smooth(z) + \sum_j t_j |z_j| - s\, z \cdot c \; \ge \; E(y, z) - \min_z E(y, z).

    Every term is non-negative, so nothing cancels. For positive codes only c_j > 0 count. Atoms with
    t_j = 0 are least squares: the gap then adds the largest slack of their normal equations,
    :math:`|c_j| / \|d_j\| \cdot \|y\|`, which is zero at the minimum and only there, but no bound.

    Parameters
    ----------
    landscape : Landscape
        Of NumPy arrays, best in float64: linear decoder, squared error, L1 family.
    z : array of shape (n_samples, ..., n_components)
        Codes.

    Returns
    -------
    array of shape (n_samples,)
        gap / max(energy, 1e-3 x smooth(0)); 1/2 norm(y)^2 is smooth(0) without an encoder term.
        Infinite for a negative entry where codes must be positive.
    """
    energy = landscape.energy
    regularizer, lmbda = energy.regularizer, energy.lmbda
    if not (energy.is_quadratic and isinstance(regularizer, LassoFamily)):
        raise TypeError("A duality gap is known for the L1 family under squared error with a linear decoder.")
    thresholds, ridge = regularizer.thresholds(lmbda, z.shape[-1]), regularizer.ridge(lmbda)
    correlations = -landscape.grad(z) - ridge * z
    smooth = landscape.smooth(z)
    if ridge:  # 0 x an overflow would be NaN
        smooth = smooth + 0.5 * ridge * squares_per_sample(z)
    smooth = np.maximum(smooth, 0.0)
    at_zero, axes = landscape.half_norms, tuple(range(1, z.ndim))

    reach = np.maximum(correlations, 0.0) if regularizer.positive else np.abs(correlations)
    paid = thresholds > 0.0
    with np.errstate(divide="ignore"):
        scale = np.min(thresholds[paid] / reach[..., paid], axis=axes, initial=1.0)
    price = np.sum(thresholds * np.abs(z), axis=axes)
    used = np.sum((z * correlations)[..., paid], axis=axes)
    slack = np.where(z != 0.0, np.abs(correlations), reach)[..., ~paid]
    lengths = np.sqrt(energy.decoder.squared_norms[~paid] + energy.encoder_weight + ridge)
    slack = np.divide(slack, lengths, out=np.zeros_like(slack), where=lengths > 0.0)  # a zero atom changes nothing
    gap = (1.0 - scale) ** 2 * smooth + np.maximum(price - scale * used, 0.0)
    gap = gap + np.max(slack, axis=axes, initial=0.0) * np.sqrt(2.0 * at_zero)
    unit = np.maximum(smooth + price, 1e-3 * at_zero)
    lost = (scale < 1.0) | (z != 0.0).any(axis=axes) | (np.max(slack, axis=axes, initial=0.0) > 0.0)
    relative = np.divide(gap, unit, out=np.where(lost, np.inf, 0.0), where=unit != 0.0)
    relative = np.where(np.isnan(relative), np.inf, relative)  # an overflow certifies nothing
    return np.where((z < 0.0).any(axis=axes), np.inf, relative) if regularizer.positive else relative
