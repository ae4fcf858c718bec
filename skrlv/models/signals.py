"""Signals with any number of axes: how they are shaped, pieces of them, and what is asked of their sizes."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import product
from numbers import Integral
from typing import Any

import numpy as np
from sklearn.utils import check_array

from skrlv._containers import as_numpy, float_dtype
from skrlv.models.warning import warn_user

PIXELS_PER_CROP = 2**14
N_FOLDS = 5
DRAWN_PER_WINDOW = 4
MANY_CHANNELS = 4  # times the positions: so many are seldom meant


@dataclass(frozen=True)
class SignalLayout:
    r"""How signals are shaped: spatial axes, and perhaps one axis of channels behind them.

    Parameters
    ----------
    n_axes : int
        Number of spatial axes, those of a kernel.
    kernel : tuple of int
        Size of the kernels, which every signal must hold.
    shape : tuple of int or None
        (\*spatial[, n_channels]) of a signal, as the parameter ``signal_shape`` or the data of `fit` have it.
    fitted : bool, default=False
        Whether ``shape`` comes from `fit`.
    """

    n_axes: int
    kernel: tuple
    shape: Any
    fitted: bool = False

    def are_rows(self, X):
        """Whether X has one row of entries per signal."""
        return n_dimensions(X) == 2 or n_dimensions(X) not in (self.n_axes + 1, self.n_axes + 2)

    def refuse_bare_signal(self, X):
        """Refuse a signal without an axis of samples before it."""
        if n_dimensions(X) == 1:
            raise ValueError(
                f"Reshape your data: X has shape {np.shape(X)}, that of one signal, but must be "
                "(n_samples, n_features) or (n_samples, *spatial[, n_channels]); pass X[None] for one sample."
            )

    def warn_of_channels_first(self, shape):
        """Warn of signals with far more channels than positions: the axes may have changed places."""
        if len(shape) > self.n_axes and shape[-1] > MANY_CHANNELS * min(shape[: self.n_axes]):
            warn_user(
                f"The signals of X have shape {tuple(shape)}, which is read as {shape[: self.n_axes]} positions of "
                f"{shape[-1]} channels each. Channels come last: if they stand first, pass "
                "np.moveaxis(X, 1, -1)."
            )

    def flattened(self, X):
        """Signals in an array of their own shape, checked, as rows: -> (rows, shape of a signal)."""
        X = checked(X, "X")
        shape = X.shape[1:]
        if self.shape is not None and shape != tuple(self.shape):
            name = "signal_shape_" if self.fitted else "signal_shape"
            raise ValueError(f"X has signals of shape {shape}, but {name}={tuple(self.shape)}.")
        return X.reshape(len(X), -1), shape

    def shape_of_rows(self, width):
        """The shape of a signal whose entries are a row."""
        if self.shape is not None:
            shape = tuple(int(size) for size in self.shape)
            if math.prod(shape) != width:
                raise ValueError(
                    f"signal_shape={shape} has {math.prod(shape)} entries, but X has rows of {width} features."
                )
            return shape
        if self.n_axes > 1:
            raise ValueError(
                f"X has two dimensions, but kernel_size has {self.n_axes} axes. For rows of pixels give "
                "signal_shape=(height, width) or (height, width, n_channels); images as they are need X of shape "
                "(n_samples, height, width) or (n_samples, height, width, n_channels); series need a kernel_size of "
                "one number."
            )
        return (width,)

    def check_holds_kernel(self, shape):
        """Refuse signals that are smaller than a kernel."""
        if any(k > s for k, s in zip(self.kernel, shape, strict=False)):
            raise ValueError(
                f"kernel_size={tuple(self.kernel)} does not fit into signals of shape {tuple(shape)} "
                f"(n_features = {math.prod(shape)})."
            )

    def refuse_one_signal(self, X):
        """Refuse a signal that is not in an array or list of signals."""
        if getattr(X, "shape", None) == self.shape:
            raise ValueError(
                f"Reshape your data: X has shape {X.shape}, that of one signal; pass X[None], or a list of it."
            )

    def with_channels(self, X, shape):
        """Signals of that shape as (n_samples, \\*spatial, n_channels)."""
        return X.reshape(len(X), *shape, *(1,) * (self.n_axes + 1 - len(shape)))

    @property
    def has_channels(self):
        return len(self.shape) > self.n_axes

    def without_channels(self, y):
        """Signals without the axis of channels, if those of `fit` had none."""
        return y if self.has_channels else y[..., 0]

    def groups(self, signals):
        """The signals of a list, checked, by shape and dtype: (indices, array with channels) of each."""
        found: dict = {}
        for index, signal in enumerate(signals):
            signal = self._one(signal, index)
            found.setdefault((signal.shape, signal.dtype), []).append((index, signal))
        channels = {shape[self.n_axes :]: members[0][0] for (shape, _), members in found.items()}
        if len(channels) > 1:
            kinds = ", ".join(f"{part[0] if part else 'no axis'} (X[{index}])" for part, index in channels.items())
            raise ValueError(f"The signals of X differ in their channels: {kinds}.")
        return [
            ([index for index, _ in members], self.with_channels(np.stack([x for _, x in members]), shape))
            for (shape, _), members in found.items()
        ]

    def each_group(self, signals, function):
        """Results of function(indices, group) for each of the `groups`, one per signal, in the order of the signals."""
        found = [None] * len(signals)
        for indices, group in self.groups(signals):
            for index, part in zip(indices, function(indices, group), strict=True):
                found[index] = part
        return found

    def _one(self, signal, index):
        name = f"X[{index}]"
        signal = checked(signal, name)
        allowed = (len(self.shape),) if self.fitted else (self.n_axes, self.n_axes + 1)
        if signal.ndim not in allowed:
            raise ValueError(
                f"{name} has {signal.ndim} dimensions, but a signal must have {' or '.join(map(str, allowed))}: the "
                "axes of a kernel, and one of channels if there are any."
            )
        if self.fitted and signal.shape[self.n_axes :] != self.shape[self.n_axes :]:
            raise ValueError(f"{name} has shape {signal.shape}, but signal_shape_={self.shape} has other channels.")
        self.check_holds_kernel(signal.shape)
        return signal

    def mask_like(self, mask, X):
        """A mask in the shape of signals with channels, whatever shape it was given in."""
        mask = np.asarray(mask)
        if mask.dtype != bool:
            raise ValueError(f"mask has dtype {mask.dtype}, but must be bool: True where X was seen.")
        shape, one = X.shape, X.shape[1:]
        allowed = {
            shape: shape, shape[:-1]: (*shape[:-1], 1), one: (1, *one), one[:-1]: (1, *one[:-1], 1),
            (len(X), math.prod(one)): shape, (math.prod(one),): (1, *one),
        }  # fmt: skip
        if mask.shape not in allowed:
            signals = self.without_channels(X).shape
            raise ValueError(
                f"mask has shape {mask.shape}, but X has shape {signals}: mask must have that of X or of one signal, "
                f"{signals[1:]}, with or without channels."
            )
        return np.broadcast_to(mask.reshape(allowed[mask.shape]), shape)


def checked(X, name):
    """An array of signals, or one signal, finite, C-contiguous, float32 or float64."""
    X, dtype = as_numpy(X, name), float_dtype(X)
    try:
        return check_array(X, allow_nd=True, ensure_2d=False, dtype=dtype, order="C", input_name=name)
    except ValueError as error:
        if "NaN" in str(error):
            raise ValueError(f"{error} Entries that were not seen can be left out by encode(X, mask=).") from error
        raise


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


def crop_sides(sides, spatial, kernel):
    """The size of crops of signals; "auto" is that of about 2^14 positions. They hold two kernels, if signals do."""
    if isinstance(sides, str):
        sides = round(PIXELS_PER_CROP ** (1.0 / len(spatial)))
    sides = per_axis(sides, len(spatial))
    return tuple(min(w, max(side, 2 * k)) for w, side, k in zip(spatial, sides, kernel, strict=True))


def cut_alike(layout, signals, crop_size):
    """Crops of one size from signals of several; crop_size(spatial) is the size for signals of that size."""
    groups = [group for _, group in layout.groups(signals)]
    shapes = np.concatenate([[group.shape[1:-1]] * len(group) for group in groups])
    size = crop_size(tuple(map(int, shapes.min(axis=0))))
    if 2 * math.prod(size) < math.prod(crop_size(tuple(map(int, np.median(shapes, axis=0))))):
        warn_user(
            f"All signals are cropped to {size}, the size of the smallest. Leave these out, or learn by partial_fit, "
            "which takes each size by itself."
        )
    cut = [crops(group, size, np.random.RandomState(0)) for group in groups]
    return np.concatenate(cut if np.ndim(signals[0]) > layout.n_axes else [part[..., 0] for part in cut])


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
    """Turn iterables and object arrays of signals into a list; return arrays, frames and lists unchanged."""
    if isinstance(X, list | tuple) and not X:
        raise ValueError("X is an empty list: 0 samples.")
    if hasattr(X, "detach") or isinstance(X, np.ma.MaskedArray):
        return as_numpy(X)
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
            "X has signals of different shapes, which have no common features: `fit`, `partial_fit`, `encode`, "
            "`energy` and `score` take a list of such arrays."
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
