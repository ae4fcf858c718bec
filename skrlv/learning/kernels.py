r"""Kernels that lower the mean energy, from the statistics of codes and signals alone, whatever the signals' size.

.. math:: \frac{\partial E}{\partial K_{i,c}[u]} = \sum_{j,v} \phi_{ij}[u - v] K_{j,c}[v] - \psi_{i,c}[u]

References
----------
Garcia-Cardona, Wohlberg, Convolutional Dictionary Learning: A Comparative Review and New Algorithms, 2018.
"""

import math
from dataclasses import replace
from functools import partial

import numpy as np
from scipy.optimize import brentq

from skrlv._arrays import double, to_device_of, to_numpy
from skrlv._convolution import AXES, boxed, correlate
from skrlv._threads import each_block, one_blas_thread
from skrlv.learning.dictionary import learn_from_statistics, per_atom, rescaled, unit_rows

_MOST_PARTS = 8  # of the sums, each with a table of its own
GAIN_OF_A_SHIFT = 0.05  # share of its squared norm
USES_PER_TAP = 10  # in one batch of many
_FLAT = 1e-12  # share of the largest curvature below which a direction has none


def convolution_statistics(y, z, kernel, n_jobs=None):
    r"""Sums over signals and positions of what learning needs to know.

    .. math:: \phi_{ij}[d] = \sum_p z_i[p]\, z_j[p + d], \qquad \psi_{i,c}[u] = \sum_p z_i[p]\, y_c[p + u]

    Parameters
    ----------
    y : array of shape (n_samples, \*spatial, n_channels)
        Signals.
    z : array of shape (n_samples, \*positions, n_components)
        Their codes.
    kernel : tuple of int
        Size of a kernel along the spatial axes, at most three.
    n_jobs : int or None, default=None
        Threads.

    Returns
    -------
    dict of NumPy arrays, float64
        As `statistics` names them: ZtZ (n_components, n_components, \*(2 kernel - 1)), ZtY (n_components, \*kernel,
        n_channels), usage (n_components,), how often each kernel was used, and count, how many positions there are;
        these two in units of a kernel's size, so that a count is about that of patches that do not overlap.
    """
    from skrlv.kernels.convolution import lag_products, window_products

    y, z, n_axes = double(to_numpy(y)), to_numpy(z), y.ndim - 2
    lags, taps = (z.shape[-1], z.shape[-1], *(2 * size - 1 for size in kernel)), (z.shape[-1], *kernel, y.shape[-1])
    ones = (1,) * (AXES - n_axes)

    def add_up(rows):
        products, windows = np.zeros((*lags[:2], *ones, *lags[2:])), np.zeros((taps[0], *ones, *taps[1:]))
        for code, signal in zip(boxed(z[rows], n_axes), boxed(y[rows], n_axes), strict=True):
            lag_products(code, products)
            window_products(code, signal, windows)
        return products, windows

    size = max(1, -(-len(z) // _MOST_PARTS))
    products, windows = (sum(part) for part in zip(*each_block(add_up, len(z), n_jobs, size), strict=True))
    patch = math.prod(kernel)
    return {
        "ZtZ": products.reshape(lags),
        "ZtY": windows.reshape(taps),
        "usage": np.count_nonzero(z, axis=tuple(range(z.ndim - 1))) / patch,
        "count": math.prod(z.shape[:-1]) / patch,
    }


def update_kernels(rows, ZtZ, ZtY, *, n_sweeps=1):
    r"""Block coordinate descent on the kernels: each exactly at its minimum in the unit ball, with the codes held.

    Parameters
    ----------
    rows : array of shape (n_components, n_taps), float64
        Where to begin: kernels, pixels and channels, as rows.
    ZtZ, ZtY : arrays
        See `convolution_statistics`.
    n_sweeps : int, default=1
        Visits to every kernel.

    Returns
    -------
    array of shape (n_components, n_taps)
        New kernels, of norm at most one; those never used are unchanged.
    """
    kernels, places = np.array(rows).reshape(ZtY.shape), _differences(ZtY.shape[1:-1])
    n_axes, n_channels = ZtY.ndim - 2, ZtY.shape[-1]
    centre = (slice(None), *(size - 1 for size in ZtY.shape[1:-1]))
    with one_blas_thread():
        for i in n_sweeps * list(range(len(kernels))):
            own = ZtZ[i, i]
            if not own[centre[1:]] > 0.0:
                continue
            curvature = own.reshape(-1)[places]
            here = kernels[i].reshape(-1, n_channels)
            slope = _slope(ZtZ[i], kernels, n_axes).reshape(-1, n_channels) - ZtY[i].reshape(-1, n_channels)
            kernels[i] = _in_unit_ball(curvature, curvature @ here - slope).reshape(kernels[i].shape)
    return kernels.reshape(rows.shape)


def _differences(kernel):
    """Where u - v stands in a table of lags, for all pairs of taps: (n_taps, n_taps)."""
    taps = np.indices(kernel).reshape(len(kernel), -1)
    lags = taps[:, :, None] - taps[:, None, :] + np.reshape([size - 1 for size in kernel], (-1, 1, 1))
    return np.ravel_multi_index(tuple(lags), [2 * size - 1 for size in kernel])


def _slope(lags, kernels, n_axes):
    """Sum over j and v of phi_ij[u - v] K_j[v], given phi_i: a correlation with the kernels turned round."""
    turned = np.flip(kernels, axis=tuple(range(1, n_axes + 1)))
    return correlate(np.moveaxis(lags, 0, -1)[None], np.ascontiguousarray(np.moveaxis(turned, [0, -1], [-1, 0])))[0]


def _in_unit_ball(curvature, target):
    """argmin over x of 1/2 x.A x - b.x with norm at most one; A (n, n), b (n, n_channels)."""
    values, directions = np.linalg.eigh(curvature)
    values = np.maximum(values, 0.0)
    aimed = directions.T @ target
    squares = np.sum(aimed**2, axis=1)
    flat = values <= _FLAT * values[-1]
    with np.errstate(divide="ignore"):
        free = np.where(flat, 0.0, 1.0 / values)

    def excess(multiplier):
        return math.sqrt(np.sum(squares / (values + multiplier) ** 2)) - 1.0

    most = math.sqrt(squares.sum())
    if np.sum(squares * free**2) > 1.0 and most > 0.0:
        least = _FLAT * values[-1]
        free = 1.0 / (values + (brentq(excess, least, most, rtol=1e-12) if excess(least) > 0.0 else least))
    return directions @ (free[:, None] * aimed)


def learn_kernels(state, energy, y, z, *, whole=False, n_sweeps=1, n_jobs=None):
    """`learn_dictionary` for a `ConvolutionalDictionary`: one step, from the statistics of a batch of signals.

    Parameters
    ----------
    state : dict
        What earlier steps returned, or empty.
    energy : Energy
        With a `ConvolutionalDictionary`.
    y, z : arrays of shape (n_samples, \\*spatial, n_channels) and (n_samples, \\*positions, n_components)
        A batch and its codes.
    whole : bool, default=False
        Whether the batch is all of the data.
    n_sweeps : int, default=1
        Visits to every kernel.
    n_jobs : int or None, default=None
        Threads.

    Returns
    -------
    state : dict
        See `learn_dictionary`, with the statistics of `convolution_statistics`.
    energy : Energy
        With the new kernels.
    """
    kernel = energy.decoder.kernels.shape[1:-1]
    state, moved = learn_from_statistics(
        state, energy, convolution_statistics(y, z, kernel, n_jobs), partial(worst_windows, energy, y, z),
        whole=whole, move=partial(update_kernels, n_sweeps=n_sweeps),
    )  # fmt: skip
    shifted, kernels = better_centred(energy, y, z)
    if not whole:  # what a few codes say around a kernel is mostly chance
        uses = np.count_nonzero(to_numpy(z), axis=tuple(range(z.ndim - 1)))
        shifted = shifted[uses[shifted] >= USES_PER_TAP * math.prod(kernel)]
    return recentred(state, moved, shifted, kernels)


def recentred(state, energy, shifted, kernels):
    """Put kernels in the place of others, whose statistics and codes are forgotten."""
    if not shifted.size:
        return state, energy
    rows, kept = np.array(to_numpy(energy.decoder.rows)), np.ones(len(state["usage"]))
    rows[shifted], kept[shifted] = unit_rows(kernels[shifted].reshape(len(shifted), -1))[0], 0.0
    state = state | rescaled(state, kept) | {"scale": state["scale"] * kept}
    return state, replace(energy, decoder=energy.decoder.with_rows(to_device_of(rows, energy.decoder.rows)))


def better_centred(energy, y, z):
    """Kernels moved to where there is more to say: which ones gain by it, and all of them, where they stand best.

    A kernel that began beside its pattern learns one part of it, and no small step brings in the rest: so see what the
    codes would have it say around, up to half its size on each side, beyond what residuals say by chance, and compare
    that with what it would lose.
    """
    from skrlv.kernels.convolution import window_products

    kernels = double(to_numpy(energy.decoder.kernels))
    kernel, n_axes = kernels.shape[1:-1], kernels.ndim - 2
    margins = [size // 2 for size in kernel]
    around = [(0, 0), *((m, m) for m in margins), (0, 0)]
    missing, z = double(to_numpy(y - energy.decoder(z))), to_numpy(z)
    wide = np.zeros((len(kernels), *(size + 2 * m for size, m in zip(kernel, margins, strict=True)), y.shape[-1]))
    for code, signal in zip(boxed(z, n_axes), boxed(np.pad(missing, around), n_axes), strict=True):
        window_products(code, signal, boxed(wide, n_axes))
    squares = np.sum(double(z) ** 2, axis=tuple(range(z.ndim - 1)))
    per_code = np.divide(1.0, squares, out=np.zeros_like(squares), where=squares > 0.0)
    wide = per_atom(wide, per_code)
    inside = (slice(None), *(slice(m, m + size) for m, size in zip(margins, kernel, strict=True)))
    by_chance = float(np.mean(missing**2)) * per_code
    wide[inside] += kernels  # shrunk codes leave a part of what they say to the residual, here as outside
    said = np.maximum(wide**2 - by_chance.reshape(-1, *(1,) * (n_axes + 1)), 0.0)
    held = correlate(np.sum(said, axis=-1, keepdims=True), np.ones((1, *kernel, 1)))[..., 0]
    best = np.argmax(held.reshape(len(held), -1), axis=1)
    before = held[(slice(None), *margins)]
    gain = held.reshape(len(held), -1).max(axis=1) - (1.0 + GAIN_OF_A_SHIFT) * before
    for i, corner in enumerate(np.transpose(np.unravel_index(best, held.shape[1:]))):
        kernels[i] = wide[(i, *(slice(at, at + size) for at, size in zip(corner, kernel, strict=True)))]
    return np.flatnonzero((gain > 0.0) & (before > 0.0)), kernels


def worst_windows(energy, y, z, n):
    """The n windows with the largest squared error that do not overlap, the worst first: what is missing there.

    NumPy, float64, as rows, and their squared errors.
    """
    kernels = energy.decoder.kernels
    missing = double(to_numpy(y - energy.decoder(z)))
    kernel = kernels.shape[1:-1]
    errors = correlate(np.sum(missing**2, axis=-1, keepdims=True), np.ones((1, *kernel, 1)))[..., 0]
    found, rows = [], np.zeros((n, math.prod(kernels.shape[1:])))
    for row in rows:
        at = np.unravel_index(np.argmax(errors), errors.shape)
        found.append(max(float(errors[at]), 0.0))
        row[:] = missing[(at[0], *(slice(p, p + size) for p, size in zip(at[1:], kernel, strict=True)))].reshape(-1)
        around = (slice(max(0, p - size + 1), p + size) for p, size in zip(at[1:], kernel, strict=True))
        errors[(at[0], *around)] = -1.0
    return rows, np.array(found)
