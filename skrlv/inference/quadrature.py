r"""The integral of :math:`e^{-E / T}` over codes of one or two entries, by Gauss-Legendre quadrature.

The rule is exact for smooth integrands to high order on each panel; panels begin and end at zero, where the penalty may
have a kink. Their number doubles until the free energy stays what it is.
"""

import math
from itertools import pairwise

import numpy as np

from skrlv._arrays import rows_of, to_device_of, to_numpy

_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(8)
_NEGLIGIBLE = 36.0  # energies so many temperatures above the least do not count: exp(-36) is 2e-16
_COARSE = 64  # intervals along each axis of the grid that looks for the box
_PANELS, _MOST_PANELS = 8, 64  # on each side of zero


def quadrature(landscape, temperature, minimum):
    """Integrate over the codes of each row: -> (free energies, by how much the last refinement changed each)."""
    found = [
        _quadrature_of_row(landscape.take(rows_of(minimum, [row])), temperature, to_numpy(minimum[row]).ravel())
        for row in range(minimum.shape[0])
    ]
    return tuple(np.array(part) for part in zip(*found, strict=True))


def _quadrature_of_row(row, temperature, minimum):
    """-> (free energy, by how much the last refinement changed it)."""

    def energies(axes):
        z = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, *row.start().shape[1:])
        many = row.take(rows_of(row.start(), np.zeros(len(z), dtype=np.int64)))
        return to_numpy(many(to_device_of(z, row.start()))).reshape([len(axis) for axis in axes])

    box = _box(energies, temperature, minimum)
    before, n_panels = None, _PANELS
    while True:
        axes, weights = zip(*(_panels(low, high, n_panels) for low, high in box), strict=True)
        value = -temperature * _log_sum(-energies(axes) / temperature, weights)
        if before is not None and (abs(value - before) <= 1e-9 * temperature or n_panels >= _MOST_PANELS):
            return value, abs(value - before)
        before, n_panels = value, 2 * n_panels


def _box(energies, temperature, minimum):
    """Intervals along the axes, outside of which the integrand is negligible."""
    box, least = [(z - size, z + size) for z, size in zip(minimum, 1.0 + np.abs(minimum), strict=True)], np.inf
    for _ in range(200):
        axes = [np.union1d(np.linspace(*ends, _COARSE + 1), z) for ends, z in zip(box, minimum, strict=True)]
        found = energies(axes)
        least = min(least, float(found.min()))
        counts, new = found <= least + _NEGLIGIBLE * temperature, []
        for at, axis in enumerate(axes):
            here = np.flatnonzero(counts.any(axis=1 - at) if counts.ndim == 2 else counts)
            low, high = axis[max(here[0] - 1, 0)], axis[min(here[-1] + 1, len(axis) - 1)]
            size = axis[-1] - axis[0]
            new.append((low - size * (here[0] == 0), high + size * (here[-1] == len(axis) - 1)))
        grown = any(n[0] < b[0] or n[1] > b[1] for n, b in zip(new, box, strict=True))
        small = all(n[1] - n[0] > 0.5 * (b[1] - b[0]) for n, b in zip(new, box, strict=True))
        box = new
        if small and not grown:
            break
    return box


def _panels(low, high, n_panels):
    """Gauss-Legendre nodes and weights on panels between the ends, with a border at zero, where R may have a kink."""
    borders = [low, 0.0, high] if low < 0.0 < high else [low, high]
    edges = np.concatenate([np.linspace(a, b, n_panels + 1)[:-1] for a, b in pairwise(borders)])
    edges = np.append(edges, high)
    half, middle = 0.5 * np.diff(edges), 0.5 * (edges[1:] + edges[:-1])
    return (middle[:, None] + half[:, None] * _NODES).ravel(), (half[:, None] * _WEIGHTS).ravel()


def _log_sum(logs, weights):
    """log of the sum of exp(logs) with a weight per axis."""
    top = logs.max()
    scaled = np.exp(logs - top)
    for weight in reversed(weights):
        scaled = scaled @ weight
    return top + math.log(scaled)
