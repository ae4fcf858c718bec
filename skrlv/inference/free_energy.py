r"""The free energy of data: what is left of the energy once the code is minimised or integrated over.

.. math:: F_0(y) = \min_z E(y, z), \qquad F_T(y) = -T \log \int e^{-E(y, z) / T}\, dz

As T falls, :math:`F_T` tends to :math:`F_0`. The integral is found

* in closed form, where the energy is a quadratic in z;
* by quadrature, for codes of one or two entries;
* else by annealed importance sampling: codes are drawn from a normal density about the minimum, as wide as the energy
  allows along each axis, and follow a Markov chain (Langevin steps with Metropolis' test) while that density turns into
  :math:`e^{-E / T}`. The mean of their weights is unbiased for the integral, so :math:`F_T` is biased upward, by half
  the square of its standard error over T.

References
----------
LeCun, Chopra, Hadsell, Ranzato, Huang, A Tutorial on Energy-Based Learning, 2006. Neal, Annealed Importance Sampling,
2001.
"""

import math
from typing import NamedTuple

import numpy as np

from skrlv._arrays import double, to_device_of, to_numpy, zeros
from skrlv.costs import GaussianError, SquaredError
from skrlv.inference.annealing import annealed
from skrlv.inference.quadrature import quadrature
from skrlv.regularizers import StandardNormal

MOST_ENTRIES = 2048  # of a code that is integrated over


class FreeEnergy(NamedTuple):
    """Free energies of a block of rows, and the standard error of each."""

    values: np.ndarray  # (n_samples,)
    errors: np.ndarray  # (n_samples,); 0 for the closed form, the last change of a quadrature


def free_energy(landscape, temperature, minimum, *, seed=0):
    """The free energy of each row at a temperature above zero.

    Parameters
    ----------
    landscape : Landscape
        E(y, .) for a block of rows.
    temperature : float
        T > 0, in the unit of the energy.
    minimum : array of shape (n_samples, n_components)
        Codes of least energy, around which the integral is looked for.
    seed : int, default=0
        Of the draws of annealing, which all rows share, so that a row does not depend on the others.

    Returns
    -------
    FreeEnergy
        Values and standard errors.

    Raises
    ------
    ValueError
        If the integral is infinite, since neither R nor the data bound the code; if R is not continuous, as L0; or if a
        code has more than 2,048 entries.

    Examples
    --------
    >>> import numpy as np
    >>> from skrlv.decoders import Dictionary
    >>> from skrlv.energy import Energy
    >>> from skrlv.inference import fista, free_energy
    >>> from skrlv.regularizers import L1
    >>> landscape = Energy(Dictionary(np.array([[1.0, 0.0]])), L1(), 0.5).given(np.array([[3.0, 0.2]]))
    >>> z = fista(landscape).z
    >>> landscape(z).round(3).tolist(), free_energy(landscape, 0.01, z).values.round(3).tolist()
    ([1.395], [1.409])
    """
    energy, n_entries = landscape.energy, math.prod(minimum.shape[1:])
    if n_entries > MOST_ENTRIES:
        raise ValueError(
            f"Codes of {n_entries} entries are too many to integrate over, at most {MOST_ENTRIES}; use temperature=0."
        )
    if energy.lmbda and not energy.regularizer.continuous:
        raise ValueError(
            f"{type(energy.regularizer).__name__} has no free energy at a temperature above zero: codes with zeros, "
            "whose penalty is smaller, are no part of an integral. Use temperature=0."
        )
    quadratic = energy.decoder.is_affine and type(energy.cost) in (SquaredError, GaussianError)
    hessian = _hessian(energy, landscape.start()[:1]) if quadratic else None
    if not _is_bounded(energy, hessian):
        raise ValueError(
            f"The free energy at temperature={temperature!r} is minus infinity: at lmbda={energy.lmbda:.3g} neither "
            f"{type(energy.regularizer).__name__} nor the data bound the code."
        )
    if quadratic and (isinstance(energy.regularizer, StandardNormal) or _is_absent(energy)):
        return _closed_form(landscape, temperature, hessian)
    if n_entries <= 2:
        return FreeEnergy(*quadrature(landscape, temperature, minimum))
    return FreeEnergy(*annealed(landscape, temperature, minimum, hessian, seed))


def _is_absent(energy):
    """Return whether the energy neither has a penalty nor forbids codes."""
    return not (energy.lmbda or energy.regularizer.positive)


def _is_bounded(energy, hessian):
    """Whether the energy grows along every line; hessian is that of its smooth part, if that is a quadratic."""
    if (energy.lmbda and energy.regularizer.confines) or energy.encoder_weight:
        return True
    if hessian is None:
        return False
    values = np.linalg.eigvalsh(hessian)
    return values[0] > len(values) * np.finfo(np.float64).eps * values[-1]


def _closed_form(landscape, temperature, hessian):
    r""":math:`E(z) = E^* + \frac12 (z - z^*) \cdot H (z - z^*)` has the integral of a Gaussian density."""
    zero = zeros(landscape.start().shape, like=landscape.start())
    ridge = landscape.energy.lmbda if isinstance(landscape.energy.regularizer, StandardNormal) else 0.0
    values, vectors = np.linalg.eigh(hessian + ridge * np.eye(len(hessian)))
    slope = to_numpy(double(landscape.grad(zero))).reshape(zero.shape[0], -1) @ vectors
    least = to_numpy(landscape(zero)) - 0.5 * np.sum(slope**2 / values, axis=1)
    volume = 0.5 * np.sum(np.log(2.0 * math.pi * temperature / values))
    return FreeEnergy(least - temperature * volume, np.zeros(len(least)))


def _hessian(energy, zero):
    """Of the smooth part in the entries of one code, float64."""
    zero, n_components = zeros(zero.shape, like=zero), math.prod(zero.shape[1:])
    unit = to_device_of(np.eye(n_components).reshape(n_components, *zero.shape[1:]), zero)
    columns = to_numpy(double(energy.decoder(unit) - energy.decoder(zero))).reshape(n_components, -1)
    return energy.cost.curvature * columns @ columns.T + energy.encoder_weight * np.eye(n_components)
