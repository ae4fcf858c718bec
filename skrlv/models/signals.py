"""Beside validation: signals with any number of axes, pieces of them, and what is asked of their sizes."""

import math
from collections.abc import Iterable, Sequence
from itertools import product
from numbers import Integral

import numpy as np

N_FOLDS = 5
DRAWN_PER_WINDOW = 4


def crops(X, size, rng):
    """Pieces of that size, side by side from a random place on, as many as fit: (n_crops, \\*size, n_channels)."""
    spatial = X.shape[1:-1]
    if tuple(size) == spatial:
        return X
    pieces = []
    for x in X:
        starts = []
        for whole, side in zip(spatial, size, strict=True):
            n = whole // side
            starts.append(rng.randint(whole - n * side + 1) + side * np.arange(n))
        for corner in product(*starts):
            pieces.append(x[tuple(slice(at, at + side) for at, side in zip(corner, size, strict=True))])
    return np.stack(pieces)


def per_axis(sizes, n_axes):
    """One size per axis; a number is that of each."""
    return (int(sizes),) * n_axes if isinstance(sizes, Integral) else tuple(int(size) for size in sizes)


def pooled(z, windows):
    """Mean magnitude of each map over windows side by side; the last may hold fewer positions."""
    z = np.abs(z)
    for axis, window in enumerate(windows, start=1):
        starts = np.arange(0, z.shape[axis], window)
        counts = np.diff(np.append(starts, z.shape[axis])).astype(z.dtype)
        z = np.add.reduceat(z, starts, axis=axis) / counts.reshape(-1, *(1,) * (z.ndim - 1 - axis))
    return z


def listed(X):
    """Signals one after the other, in whatever holds them, as a list; arrays, frames and lists as they are."""
    if hasattr(X, "shape"):
        held = len(X.shape) == 1 and getattr(X.dtype, "kind", None) == "O"
    else:
        held = isinstance(X, Iterable) and not isinstance(X, Sequence) and not hasattr(X, "__array__")
    return list(X) if held else X


def is_list_of_signals(X):
    """Whether X is a list of arrays, each a signal."""
    return isinstance(X, list | tuple) and len(X) > 0 and all(getattr(x, "ndim", 0) > 0 for x in X)


def of_one_shape(signals):
    return len({np.shape(x) for x in signals}) == 1


def check_sizes(name, value, lengths):
    """One size per axis, or one number: that of the only axis, or of all."""
    if value is None or isinstance(value, str):
        return
    sides = [value] * lengths[0] if isinstance(value, Integral) and name != "signal_shape" else value
    whole = not isinstance(sides, Integral) and all(
        isinstance(side, Integral) and not isinstance(side, bool) and int(side) > 0 for side in sides
    )
    if not whole or len(sides) not in lengths:
        wanted = " or ".join(map(str, lengths))
        raise ValueError(f"{name}={value!r} must be {wanted} whole numbers > 0, one per axis.")


def n_dimensions(X):
    if hasattr(X, "ndim"):
        return X.ndim
    try:
        return np.asarray(X).ndim
    except ValueError as error:
        raise ValueError(
            "X has signals of different shapes, which have no common features: `fit`, `partial_fit` and `encode` take "
            "a list of such arrays."
        ) from error


def folds(shape):
    """A fold for each entry of a signal; those of one pixel are together, or its channels would tell."""
    spatial = shape[:-1] if math.prod(shape[:-1]) >= N_FOLDS else shape
    order = np.random.RandomState(0).permutation(math.prod(spatial)) % N_FOLDS
    return order.reshape(*spatial, *(1,) * (len(shape) - len(spatial)))


def drawn_windows(X, kernel, wanted, rng):
    """Windows at random places, of those the half with more to see; noise where there is nothing."""
    spatial, windows = X.shape[1:-1], []
    for _ in range(DRAWN_PER_WINDOW * wanted):
        corner = [rng.randint(size - side + 1) for size, side in zip(spatial, kernel, strict=True)]
        window = tuple(slice(at, at + side) for at, side in zip(corner, kernel, strict=True))
        windows.append(X[(rng.randint(len(X)), *window)])
    found = np.stack(windows)
    squares = np.sum((found / (np.abs(found).max() or 1.0)) ** 2, axis=tuple(range(1, found.ndim)))
    best = np.flatnonzero((squares >= np.median(squares)) & (squares > 0.0))[:wanted]
    drawn = rng.standard_normal((wanted, *found.shape[1:]))
    drawn[: len(best)] = found[best]
    return drawn
