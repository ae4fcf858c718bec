r"""Kernels that lower the mean energy, from statistics of codes and signals whose size does not depend on the signals'.

.. math:: \frac{\partial E}{\partial K_{i,c}[u]} = \sum_{j,v} \phi_{ij}[u - v] K_{j,c}[v] - \psi_{i,c}[u]

References
----------
Garcia-Cardona, Wohlberg, Convolutional Dictionary Learning: A Comparative Review and New Algorithms, 2018.
"""

import math
from dataclasses import replace
from functools import partial

import numpy as np

from skrlv._arrays import as_kernel_takes, double, to_device_of, to_numpy
from skrlv._convolution import AXES, boxed, correlate
from skrlv._threads import each_block, one_blas_thread
from skrlv.learning.dictionary import learn_from_statistics, per_atom, rescaled, unit_rows

_MAX_PARTS = 8  # of the sums over signals; each part has arrays of its own
GAIN_OF_A_SHIFT = 0.05  # share of a kernel's squared norm that a shift must gain
USES_PER_TAP = 10  # fewest uses of a kernel in a mini-batch, per tap, for it to be shifted
_FLAT = 1e-12  # share of the largest curvature below which a direction has none
_MAX_NEWTON_STEPS = 60  # 5 to 8 are usual
_ROUNDING = 4 * np.finfo(np.float64).eps


def convolution_statistics(y, z, kernel, n_jobs=None):
    r"""The sums over signals and positions that learning needs.

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
        With the names of `statistics`: ZtZ (n_components, n_components, \*(2 kernel - 1)), the sums phi; ZtY
        (n_components, \*kernel, n_channels), the sums psi; usage (n_components,), the number of non-zeros of each
        kernel's map; count, the number of positions. Usage and count are divided by the number of entries of a kernel,
        so that count is about the number of patches that do not overlap.
    """
    from skrlv.kernels.convolution import lag_products, window_products

    y, z, n_axes = double(to_numpy(y)), to_numpy(z), y.ndim - 2
    lags, taps = (z.shape[-1], z.shape[-1], *(2 * size - 1 for size in kernel)), (z.shape[-1], *kernel, y.shape[-1])
    ones = (1,) * (AXES - n_axes)

    def add_up(rows):
        products, windows = np.zeros((*lags[:2], *ones, *lags[2:])), np.zeros((taps[0], *ones, *taps[1:]))
        for code, signal in zip(*(boxed(as_kernel_takes(x[rows]), n_axes) for x in (z, y)), strict=True):
            lag_products(code, products)
            window_products(code, signal, windows)
        return products, windows

    size = max(1, -(-len(z) // _MAX_PARTS))
    products, windows = (sum(part) for part in zip(*each_block(add_up, len(z), n_jobs, size), strict=True))
    patch = math.prod(kernel)
    return {
        "ZtZ": products.reshape(lags),
        "ZtY": windows.reshape(taps),
        "usage": np.count_nonzero(z, axis=tuple(range(z.ndim - 1))) / patch,
        "count": math.prod(z.shape[:-1]) / patch,
    }


def update_kernels(rows, ZtZ, ZtY, *, n_sweeps=1):
    r"""Block coordinate descent on the kernels: each is set to its exact minimum in the unit ball, codes held fixed.

    Parameters
    ----------
    rows : array of shape (n_components, n_taps), float64
        The initial kernels, each with its pixels and channels as one row.
    ZtZ, ZtY : arrays
        See `convolution_statistics`.
    n_sweeps : int, default=1
        Number of updates of every kernel.

    Returns
    -------
    array of shape (n_components, n_taps)
        New kernels, of norm at most one; unused kernels are unchanged.
    """
    kernels, lags = np.array(rows).reshape(ZtY.shape), _lags_of_pairs(ZtY.shape[1:-1])
    n_axes, n_channels = ZtY.ndim - 2, ZtY.shape[-1]
    centre = (slice(None), *(size - 1 for size in ZtY.shape[1:-1]))
    with one_blas_thread():
        for i in n_sweeps * list(range(len(kernels))):
            own = ZtZ[i, i]
            if not own[centre[1:]] > 0.0:
                continue
            curvature = own.reshape(-1)[lags]
            present = kernels[i].reshape(-1, n_channels)
            slope = _slope(ZtZ[i], kernels, n_axes).reshape(-1, n_channels) - ZtY[i].reshape(-1, n_channels)
            kernels[i] = _in_unit_ball(curvature, curvature @ present - slope).reshape(kernels[i].shape)
    return kernels.reshape(rows.shape)


def _lags_of_pairs(kernel):
    """Index of the lag u - v in a flat array of all lags, for all pairs of taps (u, v): (n_taps, n_taps)."""
    taps = np.indices(kernel).reshape(len(kernel), -1)
    lags = taps[:, :, None] - taps[:, None, :] + np.reshape([size - 1 for size in kernel], (-1, 1, 1))
    return np.ravel_multi_index(tuple(lags), [2 * size - 1 for size in kernel])


def _slope(products, kernels, n_axes):
    """Sum over j and v of phi_ij[u - v] K_j[v], given phi_i: a correlation with the flipped kernels."""
    flipped = np.flip(kernels, axis=tuple(range(1, n_axes + 1)))
    weights = np.ascontiguousarray(np.moveaxis(flipped, [0, -1], [-1, 0]))
    return correlate(np.moveaxis(products, 0, -1)[None], weights)[0]


def _in_unit_ball(curvature, target):
    """argmin over x of 1/2 x.A x - b.x with norm at most one; A (n, n), b (n, n_channels)."""
    curvature, target = _in_common_unit(curvature, target)
    values, directions = np.linalg.eigh(curvature)
    values = np.maximum(values, 0.0)
    rotated = directions.T @ target
    lengths = np.linalg.norm(rotated, axis=1)
    flat = values <= _FLAT * values[-1]
    with np.errstate(divide="ignore", over="ignore", invalid="ignore"):  # curvatures far below the target's entries
        inside = np.where(flat, 0.0, lengths / values)
        on_sphere = np.sum(inside**2) > 1.0
    divisors = values + _multiplier(values, lengths) if on_sphere else np.where(flat, math.inf, values)
    return directions @ (rotated / divisors[:, None])


def _in_common_unit(*arrays):
    """The arrays divided by one power of two, so that the largest entry of all lies in [1/2, 1)."""
    exponent = int(np.frexp(max(np.abs(x).max() for x in arrays))[1])
    return [np.ldexp(x, -exponent) for x in arrays]


def _multiplier(values, lengths):
    """The multiplier m > 0 with norm(x) = 1 for x = lengths / (values + m), by Newton's method on 1 / norm(x).

    1 / norm(x) is concave in m, so that the iterates grow towards the solution from any m below it.
    """
    multiplier = max(_FLAT * values[-1], float(np.linalg.norm(lengths)) - values[-1])
    for _ in range(_MAX_NEWTON_STEPS):
        divisors = values + multiplier
        x = lengths / divisors
        norm = float(np.linalg.norm(x))
        step = (norm - 1.0) * norm**2 / float(np.sum(x**2 / divisors))
        if not step > _ROUNDING * multiplier:
            break
        multiplier += step
    return multiplier


def learn_kernels(state, energy, y, z, *, whole=False, n_sweeps=1, n_jobs=None):
    """`learn_dictionary` for a `ConvolutionalDictionary`: one step, from a batch of signals.

    Parameters
    ----------
    state : dict
        The state that the last step returned, or an empty dict. It is not changed.
    energy : Energy
        Its decoder is a `ConvolutionalDictionary`.
    y, z : arrays of shape (n_samples, \\*spatial, n_channels) and (n_samples, \\*positions, n_components)
        A batch and its codes.
    whole : bool, default=False
        Whether the batch is all of the data.
    n_sweeps : int, default=1
        Number of updates of every kernel.
    n_jobs : int or None, default=None
        Threads.

    Returns
    -------
    state : dict
        See `learn_dictionary`, with the statistics of `convolution_statistics`.
    energy : Energy
        The same energy with the new kernels.
    """
    kernel = energy.decoder.kernels.shape[1:-1]
    state, moved = learn_from_statistics(
        state, energy, convolution_statistics(y, z, kernel, n_jobs), partial(worst_windows, energy, y, z),
        whole=whole, move=partial(update_kernels, n_sweeps=n_sweeps),
    )  # fmt: skip
    shifted, kernels = better_centred(energy, y, z)
    if not whole:  # around a kernel with few codes the residual is mostly noise
        uses = np.count_nonzero(to_numpy(z), axis=tuple(range(z.ndim - 1)))
        shifted = shifted[uses[shifted] >= USES_PER_TAP * math.prod(kernel)]
    return recentred(state, moved, shifted, kernels)


def recentred(state, energy, shifted, kernels):
    """Replace the kernels with indices ``shifted``, and forget the statistics and codes of the old ones."""
    if not shifted.size:
        return state, energy
    rows, kept = np.array(to_numpy(energy.decoder.rows)), np.ones(len(state["usage"]))
    rows[shifted], kept[shifted] = unit_rows(kernels[shifted].reshape(len(shifted), -1))[0], 0.0
    state = state | rescaled(state, kept) | {"scale": state["scale"] * kept}
    return state, replace(energy, decoder=energy.decoder.with_rows(to_device_of(rows, energy.decoder.rows)))


def better_centred(energy, y, z):
    """Shift kernels, by up to half their size, to where they explain more of the signals.

    A kernel whose first window missed the centre of a pattern learns one part of it, and small steps do not bring in
    the rest. So each kernel is continued beyond its border by what its codes leave in the residual, less what noise
    would leave, and the window of its size with the largest energy is compared with the present one.

    Returns
    -------
    shifted : array of int
        Kernels whose squared norm grows by more than a share ``GAIN_OF_A_SHIFT``.
    kernels : array of the shape of the decoder's kernels, float64
        All kernels, each in its best window.
    """
    continued, noise = _continued_kernels(energy, y, z)
    kernel, n_axes = energy.decoder.kernels.shape[1:-1], continued.ndim - 2
    signal = np.maximum(continued**2 - noise.reshape(-1, *(1,) * (n_axes + 1)), 0.0)
    squares = correlate(np.sum(signal, axis=-1, keepdims=True), np.ones((1, *kernel, 1)))[..., 0]
    flat = squares.reshape(len(squares), -1)
    corners = np.transpose(np.unravel_index(np.argmax(flat, axis=1), squares.shape[1:]))
    windows = [whole[_window(corner, kernel)] for whole, corner in zip(continued, corners, strict=True)]
    present = squares[(slice(None), *(size // 2 for size in kernel))]
    gain = flat.max(axis=1) - (1.0 + GAIN_OF_A_SHIFT) * present
    return np.flatnonzero((gain > 0.0) & (present > 0.0)), np.stack(windows)


def _continued_kernels(energy, y, z):
    """Kernels continued by half their size on each side, and the variance of their entries by chance.

    An entry is the least-squares fit of the residual by the kernel's codes, and within the kernel what it has now
    besides: shrunk codes leave a part of their kernel in the residual.
    """
    from skrlv.kernels.convolution import window_products

    kernels = double(to_numpy(energy.decoder.kernels))
    kernel, n_axes = kernels.shape[1:-1], kernels.ndim - 2
    margins = [size // 2 for size in kernel]
    residual, z = double(to_numpy(y - energy.decoder(z))), as_kernel_takes(to_numpy(z))
    padded = np.pad(residual, [(0, 0), *((m, m) for m in margins), (0, 0)])
    wide = np.zeros((len(kernels), *(size + 2 * m for size, m in zip(kernel, margins, strict=True)), y.shape[-1]))
    for code, signal in zip(boxed(z, n_axes), boxed(padded, n_axes), strict=True):
        window_products(code, signal, boxed(wide, n_axes))
    squares = np.sum(double(z) ** 2, axis=tuple(range(z.ndim - 1)))
    has_codes = squares >= np.finfo(np.float64).tiny  # the inverse of a subnormal number may be infinite
    per_code = np.divide(1.0, squares, out=np.zeros_like(squares), where=has_codes)
    wide = per_atom(wide, per_code)
    wide[(slice(None), *_window(margins, kernel))] += kernels
    return wide, float(np.mean(residual**2)) * per_code


def worst_windows(energy, y, z, n):
    """The residual in n windows that do not overlap, those with the largest squared error, the worst first.

    Returns
    -------
    rows : array of shape (n, n_taps), float64
        The residual in each window, as a row.
    errors : array of shape (n,)
        Their squared errors; 0 where there are fewer windows.
    """
    kernels = energy.decoder.kernels
    residual = double(to_numpy(y - energy.decoder(z)))
    kernel = kernels.shape[1:-1]
    errors = correlate(np.sum(residual**2, axis=-1, keepdims=True), np.ones((1, *kernel, 1)))[..., 0]
    found, rows = [], np.zeros((n, math.prod(kernels.shape[1:])))
    for row in rows:
        sample, *corner = np.unravel_index(np.argmax(errors), errors.shape)
        found.append(max(float(errors[(sample, *corner)]), 0.0))
        row[:] = residual[(sample, *_window(corner, kernel))].reshape(-1)
        overlapping = (slice(max(0, at - size + 1), at + size) for at, size in zip(corner, kernel, strict=True))
        errors[(sample, *overlapping)] = -math.inf
    return rows, np.array(found)


def _window(corner, kernel):
    """Slices of the spatial axes: the window of a kernel's size at this corner."""
    return tuple(slice(at, at + size) for at, size in zip(corner, kernel, strict=True))
