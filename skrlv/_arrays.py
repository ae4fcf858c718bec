"""Array libraries, devices, and the primitives that several terms of the energy share.

Everything here follows the Python array API standard, so one definition runs on NumPy, torch and
any other library that conforms to it.
"""

import math
import re

import array_api_compat
import numpy as np

_TORCH_DEVICE = re.compile(r"cuda(:\d+)?|mps|torch:cpu")
_NUMPY = array_api_compat.array_namespace(np.empty(0))


def namespace(*arrays):
    """The array library that ``arrays`` come from."""
    if all(type(x) is np.ndarray for x in arrays):  # the usual case; a look-up takes longer than a small operation
        return _NUMPY
    return array_api_compat.array_namespace(*arrays)


def device(x):
    """The device of the array, as its own library names it."""
    return array_api_compat.device(x)


def is_numpy(x):
    """Whether x is a NumPy array, which the numba kernels take."""
    return array_api_compat.is_numpy_array(x)


def check_device(device):
    """Refuse a device that `to_device` does not know."""
    if device != "cpu" and not (isinstance(device, str) and _TORCH_DEVICE.fullmatch(device)):
        raise ValueError(f"device={device!r} is not known; use 'cpu' (NumPy), 'cuda', 'cuda:<index>' or 'torch:cpu'.")


def torch_devices():
    """The devices of torch on this machine, as values of ``device=``."""
    import torch

    return ["torch:cpu", *(f"cuda:{i}" for i in range(torch.cuda.device_count()))]


def to_device(x, device):
    """A NumPy array as an array on ``device``; unchanged for "cpu"."""
    check_device(device)
    if device == "cpu":
        return x
    if device == "mps":
        raise ValueError("device='mps' is not supported yet: energies are float64, which it lacks.")
    try:
        import torch
    except ImportError as error:
        raise ImportError(
            f"device={device!r} runs on torch; install it with: pip install 'skrlv[torch]', or set device='cpu', which "
            "a fitted model can as well."
        ) from error
    try:
        return torch.as_tensor(np.array(x), device=device.removeprefix("torch:"))
    except (AssertionError, RuntimeError) as error:  # raised by torch if there is no such device
        raise ValueError(f"device={device!r} cannot be used on this machine: {error}") from error


def to_device_of(x, like):
    """A NumPy array in the library, on the device and of the dtype of ``like``."""
    return namespace(like).asarray(x, dtype=like.dtype, device=device(like))


def to_numpy(x):
    """The array as a NumPy array in the host's memory."""
    return np.asarray(x.detach().cpu() if array_api_compat.is_torch_array(x) else x)


def zeros(shape, like):
    """Zeros in the library, on the device and of the dtype of ``like``."""
    return namespace(like).zeros(shape, dtype=like.dtype, device=array_api_compat.device(like))


def full(shape, value, like):
    """An array filled with one number, in the library, on the device and of the dtype of ``like``."""
    return namespace(like).full(shape, value, dtype=like.dtype, device=array_api_compat.device(like))


def aligned(x):
    """A NumPy array in C order that begins on a cache line, from which vectors are read fastest.

    Arrays of other libraries are returned unchanged.
    """
    if not is_numpy(x) or (x.flags.c_contiguous and x.ctypes.data % 64 == 0):
        return x
    out = empty_aligned(x.size, x.dtype).reshape(x.shape)
    out[...] = x
    return out


def as_kernel_takes(x):
    """A writable NumPy array in C order, copied only if necessary; numba would compile anew for any other."""
    return np.require(x, requirements=["C", "W"])


def empty_aligned(size, dtype):
    """An uninitialised NumPy vector that begins on a cache line."""
    dtype = np.dtype(dtype)
    buffer = np.empty(size + 64 // dtype.itemsize, dtype=dtype)
    start = -buffer.ctypes.data % 64 // dtype.itemsize
    return buffer[start : start + size]


def shrink(v, t):
    """Move each entry of v towards zero by t; an entry of magnitude at most t becomes exactly zero."""
    xp, t = namespace(v), _array(t, v)
    return v - xp.maximum(xp.minimum(v, t), -t)


def soft_threshold(v, t, positive):
    """`shrink`, or max(v - t, 0) if ``positive``."""
    return v - namespace(v).minimum(v, _array(t, v)) if positive else shrink(v, t)


def _array(t, like):
    """A number as an array, since not every library's minimum takes numbers."""
    return t if hasattr(t, "dtype") else full((), t, like=like)


def soft_threshold_vjp(z, dz):
    """Backward pass of z = soft_threshold(v, t), t with one entry per column -> (gradient in v, gradient in t)."""
    xp = namespace(z)
    dv = xp.where(z != 0, dz, xp.zeros_like(dz))
    return dv, -xp.sum(dv * xp.sign(z), axis=0)


def logistic(v):
    """1 / (1 + exp(-v)), the probability whose log odds are v; never overflows."""
    return 0.5 + 0.5 * namespace(v).tanh(0.5 * v)


def double(x):
    """The array in float64, for sums and for squares that overflow in float32."""
    xp = namespace(x)
    return xp.astype(x, xp.float64, copy=False)


def sum_per_sample(x):
    """Sum over all axes but the first, in float64: (n_samples, ...) -> (n_samples,)."""
    xp = namespace(x)
    return xp.sum(x, axis=tuple(range(1, x.ndim)), dtype=xp.float64)


def squares_per_sample(x):
    """Sum of squares over all axes but the first, in float64: (n_samples, ...) -> (n_samples,)."""
    xp = namespace(x)
    flat = xp.reshape(double(x), (x.shape[0], math.prod(x.shape[1:])))  # not -1, which fails for zero rows
    return xp.vecdot(flat, flat)


def max_per_sample(x):
    """Largest magnitude over all axes but the first: (n_samples, ...) -> (n_samples,)."""
    xp = namespace(x)
    return xp.max(xp.abs(x), axis=tuple(range(1, x.ndim)))


def column(values, like):
    """Values of shape (n_samples,), reshaped so that they broadcast over ``like`` of shape (n_samples, ...)."""
    return namespace(like).reshape(values, (-1, *(1,) * (like.ndim - 1)))


def per_row(values, like):
    """`column`, in the dtype of ``like``."""
    return namespace(like).astype(column(values, like), like.dtype)


def rows_of(like, rows):
    """Indices of rows, in the library and on the device of ``like``."""
    return namespace(like).asarray(rows, dtype=namespace(like).int64, device=device(like))
