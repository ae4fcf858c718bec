"""Compilation of the kernels ahead of their first use."""

import numpy as np

from skrlv.energy import lasso_energy
from skrlv.inference import coordinate_descent
from skrlv.learning import adam_step, update_atoms
from skrlv.sparse_coding import FISTACoder
from skrlv.sparse_encoding import lmbda_path, sparse_encode


def warmup():
    """Compile the numba kernels for float32 and float64 data, or load them if they were compiled before.

    If numba's cache can be written, as in the build of a container, later processes load the compiled kernels.

    Returns
    -------
    None

    Examples
    --------
    >>> import skrlv
    >>> skrlv.warmup()
    """
    random = np.random.RandomState(0)
    for dtype in (np.float32, np.float64):
        atoms, X = random.randn(2, 3).astype(dtype), random.randn(2, 3).astype(dtype)
        sparse_encode(X, atoms, 0.5, n_jobs=1)
        sparse_encode(X, atoms, 0.5, max_error=0.9, debias=True, n_jobs=1)
        lmbda_path(X, atoms, [0.5], n_jobs=1)
        FISTACoder(dictionary=atoms, lmbda=0.5).fit(X).transform(X)
        adam_step({}, {"atoms": atoms}, {"atoms": X}, 1e-3, {"atoms": 1.0})
    sparse_encode(X.astype(np.float32), atoms, 0.5, n_jobs=1)
    update_atoms(atoms, np.eye(2), X)
    coordinate_descent(lasso_energy(atoms, 0.5).given(X))
