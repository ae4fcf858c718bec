"""Above the roof: the kernels compiled ahead of the first call that matters."""

import numpy as np

from skrlv.sparse_coding import FISTACoder
from skrlv.sparse_encoding import sparse_encode


def warmup():
    """Compile the numba kernels that float32 and float64 data need, or load them where they were compiled before.

    Where numba's cache can be written, as in the build of a container, later processes load what this compiled.

    Returns
    -------
    None

    Examples
    --------
    >>> import skrlv
    >>> skrlv.warmup()
    """
    for dtype in (np.float32, np.float64):
        atoms = np.eye(2, 3, dtype=dtype)
        X = np.ones((2, 3), dtype=dtype)
        sparse_encode(X, atoms, 0.5, n_jobs=1)
        sparse_encode(X, atoms, max_error=0.9, debias=True, n_jobs=1)
        FISTACoder(dictionary=atoms, lmbda=0.5).fit(X).transform(X)
