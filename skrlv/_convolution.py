"""Convolution over any number of axes, by matrix products or by FFT, whichever is faster.

Signals have the shape (n_samples, *spatial, n_channels) and kernels (n_components, *kernel, n_channels). Maps have the
shape (n_samples, *positions, n_components) with positions = spatial - kernel + 1, where a kernel fits.
"""

import math
from itertools import product

from scipy.fft import next_fast_len

from skrlv._arrays import namespace, zeros

AXES = 3  # spatial axes in numba
MOST_TAPS = 64  # entries of a kernel up to which matrix products are faster than the FFT, as measured
_MOST_ENTRIES = 2**21  # of a matrix of windows, so that memory is bounded whatever the signal


def correlate(x, kernels):
    """The inner product of each kernel with the signal at each position where it fits: signals -> maps."""
    n_positions = positions(x.shape[1:-1], kernels)
    if _is_large(kernels):
        return _by_fft(x, kernels, x.shape[1:-1], n_positions, forward=False)
    weights, parts = _flat(kernels).T, []
    for rows in _slabs(x, kernels.shape[1:], n_positions[0]):
        parts.append(_windows(x, kernels.shape[1:-1], rows, n_positions) @ weights)
    return namespace(x).concat(parts, axis=1)


def convolve(z, kernels):
    """The sum of the full convolutions of each map with its kernel: maps -> signals."""
    n_positions, kernel, n_channels = z.shape[1:-1], kernels.shape[1:-1], kernels.shape[-1]
    spatial = tuple(p + k - 1 for p, k in zip(n_positions, kernel, strict=True))
    if _is_large(kernels):
        return _by_fft(z, kernels, spatial, spatial, forward=True)
    out, weights = zeros((z.shape[0], *spatial, n_channels), like=z), _flat(kernels)
    for rows in _slabs(z, kernels.shape[1:], n_positions[0]):
        taps = z[:, rows, ...] @ weights
        for i, offset in enumerate(_offsets(kernel)):
            out[_window(offset, rows, n_positions)] += taps[..., i * n_channels : (i + 1) * n_channels]
    return out


def tap_products(z, x, kernel):
    """The sum over samples and positions p of z_i[p] x_c[p + u], of shape (n_components, *kernel, n_channels)."""
    xp, n_components, taps = namespace(z), z.shape[-1], (*kernel, x.shape[-1])
    total = zeros((n_components, math.prod(taps)), like=z)
    for rows in _slabs(x, taps, z.shape[1]):
        windows, codes = _windows(x, kernel, rows, z.shape[1:-1]), z[:, rows, ...]
        total = total + xp.reshape(codes, (-1, n_components)).T @ xp.reshape(windows, (-1, math.prod(taps)))
    return xp.reshape(total, (n_components, *taps))


def positions(spatial, kernels):
    """The number of positions along each axis where kernels fit into signals of that shape."""
    return tuple(s - k + 1 for s, k in zip(spatial, kernels.shape[1:-1], strict=True))


def spectra(x, shape):
    """Real DFTs of kernels, signals or maps on a grid of that shape: x (n, *axes, m) -> (*frequencies, n, m)."""
    xp, n_axes = namespace(x), len(shape)
    return xp.moveaxis(xp.fft.rfftn(x, s=shape, axes=tuple(range(1, n_axes + 1))), 0, n_axes)


def grid(spatial):
    """A shape whose FFT is fast, and on which full convolutions of signals of that shape do not wrap around."""
    return tuple(next_fast_len(int(size), real=True) for size in spatial)


def boxed_shape(sizes):
    """Sizes along three axes; leading axes that are missing have size 1."""
    return (*(1,) * (AXES - len(sizes)), *sizes)


def boxed(x, n_axes):
    """An array (n, *axes, channels) with three spatial axes; leading axes that are missing have size 1."""
    return x.reshape(x.shape[0], *boxed_shape(x.shape[1 : 1 + n_axes]), x.shape[-1])


def _is_large(kernels):
    return math.prod(kernels.shape[1:]) > MOST_TAPS


def _flat(kernels):
    return namespace(kernels).reshape(kernels, (kernels.shape[0], -1))


def _offsets(kernel):
    return product(*map(range, kernel))


def _window(offset, rows, positions):
    """The index of the taps at that offset, for the positions whose first index is in rows."""
    first = slice(rows.start + offset[0], rows.stop + offset[0])
    return (slice(None), first, *(slice(o, o + p) for o, p in zip(offset[1:], positions[1:], strict=True)), ...)


def _windows(x, kernel, rows, positions):
    """The part of x under a kernel at each position, in the order of the kernel: (n_samples, *positions, n_taps)."""
    return namespace(x).concat([x[_window(offset, rows, positions)] for offset in _offsets(kernel)], axis=-1)


def _slabs(x, taps, n_rows):
    """Slices of the first axis of positions, so that a matrix of windows has no more than _MOST_ENTRIES entries."""
    per_row = x.shape[0] * math.prod(x.shape[2:-1]) * math.prod(taps)
    height = max(1, _MOST_ENTRIES // max(1, per_row))
    return [slice(start, min(start + height, n_rows)) for start in range(0, n_rows, height)]


def _by_fft(x, kernels, spatial, wanted, *, forward):
    """x times the spectra of the kernels, or their conjugate transposes, cropped to the wanted size."""
    xp, n_axes, shape = namespace(x), x.ndim - 2, grid(spatial)
    of_x, of_kernels = spectra(x, shape), spectra(kernels, shape)
    of_result = of_x @ (of_kernels if forward else xp.conj(xp.matrix_transpose(of_kernels)))
    out = xp.fft.irfftn(xp.moveaxis(of_result, n_axes, 0), s=shape, axes=tuple(range(1, n_axes + 1)))
    return xp.astype(out[(slice(None), *(slice(0, size) for size in wanted), ...)], x.dtype, copy=False)
