"""The one decorator of the kernels."""

import numba


def kernel(function, **more):
    """Compile for each dtype at first use, without the GIL; cached on disk where that can be written.

    numba stamps only the file that a kernel stands in, so a kernel and all that it calls share one file.
    """
    options: dict = {"nogil": True, "error_model": "numpy", "fastmath": {"reassoc", "contract", "nsz"}} | more
    try:
        return numba.njit(cache=True, **options)(function)
    except RuntimeError:  # "cannot cache function": no folder that may be written
        return numba.njit(**options)(function)


def lean(function):
    """A kernel that allocates nothing, and so counts no references: of short functions that is most of the time."""
    return kernel(function, _nrt=False)


def inlined(function):
    """A lean kernel that is copied to where it is called: handing many arrays over takes longer than a short loop."""
    return kernel(function, _nrt=False, forceinline=True)
