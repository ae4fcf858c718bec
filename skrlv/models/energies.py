"""Free energies of validated data under a fitted model."""

import math
from numbers import Real

import numpy as np

from skrlv._arrays import to_numpy
from skrlv._compat import Interval
from skrlv.inference import free_energy


def check_temperature(temperature):
    """Refuse what is no finite number of at least 0."""
    if not Interval(Real, 0, None, closed="left").is_satisfied_by(temperature) or temperature == math.inf:
        raise ValueError(f"temperature={temperature!r} must be a finite number of at least 0.")


def free_energies(model, energy, X, temperature):
    """Values and their standard errors side by side, (n_samples, 2)."""

    def evaluate(x, z):
        landscape, z = energy.given(model._placed(x)), model._placed(z)
        pair = free_energy(landscape, float(temperature), z) if temperature else (to_numpy(landscape(z)), 0.0)
        return np.stack(np.broadcast_arrays(*pair), axis=1)

    return model._map_codes(energy, X, evaluate, model._argmin)
