r"""The certificate: how far a code's energy can be from the minimum, whatever method found it."""

import numpy as np

from skrlv._arrays import sum_per_sample, to_numpy
from skrlv.inference.problem import is_lasso


def duality_gap(landscape, z):
    r"""Relative duality gap per row of a Lasso with a linear decoder.

    With the residual correlations :math:`c = -\nabla_{smooth}(z)` and
    :math:`s = \min(1, \min_j t_j / |c_j|)`, the scaled residual is dual feasible and

    .. math:: gap = (1 - s)^2\, smooth(z) + \sum_j t_j |z_j| - s\, z \cdot c \; \ge \; E(y, z) - \min_z E(y, z).

    Every term is non-negative, so nothing cancels. For positive codes only c_j > 0 count. Atoms with
    t_j = 0 are least squares: the gap then adds the largest slack of their normal equations,
    :math:`|c_j| / \|d_j\| \cdot \|y\|`.

    Parameters
    ----------
    landscape : Landscape
        Of NumPy arrays, best in float64: quadratic, under the L1 family.
    z : array of shape (n_samples, n_components)
        Codes.

    Returns
    -------
    array of shape (n_samples,)
        gap / max(energy, 1e-3 x smooth(0)); 1/2 norm(y)^2 is smooth(0) without an encoder term.
        Infinite for a negative entry where codes must be positive.
    """
    if not is_lasso(landscape):
        raise TypeError("A duality gap is known for the L1 family under squared error with a linear decoder.")
    regularizer, lmbda = landscape.energy.regularizer, landscape.energy.lmbda
    thresholds, ridge = regularizer.thresholds(lmbda, z.shape[-1]), regularizer.ridge(lmbda)
    correlations = -landscape.grad(z) - ridge * z
    smooth = np.maximum(landscape.smooth(z) + 0.5 * ridge * sum_per_sample(z**2), 0.0)
    at_zero = to_numpy(landscape.smooth(np.zeros_like(z)))

    reach = np.maximum(correlations, 0.0) if regularizer.positive else np.abs(correlations)
    paid = thresholds > 0.0
    with np.errstate(divide="ignore"):
        scale = np.min(thresholds[paid] / reach[:, paid], axis=1, initial=1.0)
    price = np.sum(thresholds * np.abs(z), axis=1)
    used = np.sum((z * correlations)[:, paid], axis=1)
    slack = _normal_equations_slack(reach, correlations, z, landscape.energy.gram.diagonal() + ridge, ~paid)
    gap = (1.0 - scale) ** 2 * smooth + np.maximum(price - scale * used, 0.0) + slack * np.sqrt(2.0 * at_zero)
    unit = np.maximum(smooth + price, 1e-3 * at_zero)
    relative = np.divide(gap, unit, out=np.zeros_like(gap), where=unit > 0.0)
    return np.where((z < 0.0).any(axis=1), np.inf, relative) if regularizer.positive else relative


def _normal_equations_slack(reach, correlations, z, squared_norms, free):
    """Largest |c_j| / norm(d_j) among unpenalised atoms; where z_j > 0 both signs of c_j count."""
    slack = np.where(z != 0.0, np.abs(correlations), reach)[:, free] / np.sqrt(squared_norms[free])
    return slack.max(axis=1, initial=0.0)
