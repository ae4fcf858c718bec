"""The decorators of the kernels."""

from pathlib import Path

import numba

from skrlv.kernels import _notice

_notice.register()


def kernel(function, **more):
    """Compile for each dtype at first use, without the GIL; cached on disk if that can be written.

    numba's cache notices changes of a kernel's own file alone, so a kernel and all kernels it calls share one file.
    """
    options: dict = {"nogil": True, "error_model": "numpy", "fastmath": {"reassoc", "contract", "nsz"}} | more
    try:
        return numba.njit(cache=True, **options)(function)
    except RuntimeError:  # "cannot cache function": no folder can be written
        return numba.njit(**options)(function)


def lean(function, **more):
    """A kernel that allocates nothing, so no references are counted; in short functions that takes most of the time."""
    return kernel(function, _nrt=False, **more)


def inlined(function):
    """A lean kernel that LLVM copies into its callers: to pass many arrays takes longer than a short loop."""
    return lean(function, forceinline=True)


def merged(function):
    """A long lean kernel that a kernel calls in one place; numba compiles it as a part of its caller.

    LLVM optimises a function again at each level of callers above it; merged functions are optimised once, which more
    than halves the time of compilation.
    """
    return lean(function, inline="always")


def cache_folder(kernel):
    """Where numba keeps what it has compiled of a kernel; None if it finds no folder that it can write to."""
    path = kernel.stats.cache_path
    return None if path is None else Path(path)
