"""Compilation of the kernels ahead of their first use."""

import warnings

import numpy as np

from skrlv.energy import lasso_energy
from skrlv.inference import coordinate_descent
from skrlv.learning import adam_step, update_atoms
from skrlv.models.base import LatentVariableModel
from skrlv.sparse_coding import FISTACoder, SparseCoder
from skrlv.sparse_encoding import lmbda_path, sparse_encode

DTYPES = (np.float64, np.float32)
_OF_DATA = ("dictionary", "dictionary_init", "signal_shape", "encoder", "decoder")  # have the shape of the data


def warmup(estimator=None, dtypes=DTYPES):
    """Compile the numba kernels ahead of time, or load them if they were compiled before.

    If numba's cache can be written, as in the build of a container, later processes load the compiled kernels.

    Parameters
    ----------
    estimator : estimator of this library or None, default=None
        Compile what `fit`, `transform` and `score` of this estimator use; it is not changed. None compiles the kernels
        of all dense models and functions.
    dtypes : sequence of dtypes, default=(numpy.float64, numpy.float32)
        Kernels are compiled for each of these dtypes of the data.

    Returns
    -------
    None

    Raises
    ------
    TypeError
        If estimator is not an estimator of this library, or a dtype is not float64 or float32.

    Examples
    --------
    >>> import numpy as np
    >>> import skrlv
    >>> skrlv.warmup(skrlv.SparseCoder(), dtypes=[np.float64])
    """
    if estimator is not None and not isinstance(estimator, LatentVariableModel):
        raise TypeError(f"estimator must be an estimator of skrlv or None, got {type(estimator).__name__}.")
    dtypes = [np.dtype(dtype).type for dtype in dtypes]
    if not set(dtypes) <= set(DTYPES):
        raise TypeError(f"dtypes must be among float64 and float32, got {[dtype.__name__ for dtype in dtypes]}.")
    for dtype in dtypes:
        if estimator is None:
            _use_functions(dtype)
        else:
            _use(estimator, dtype)


def _use_functions(dtype):
    random = np.random.RandomState(0)
    atoms, X = random.randn(2, 3).astype(dtype), random.randn(2, 3).astype(dtype)
    sparse_encode(X, atoms, 0.5, n_jobs=1)
    sparse_encode(X, atoms.astype(np.float64), 0.5, n_jobs=1)
    sparse_encode(X, atoms, 0.5, max_error=0.9, debias=True, n_jobs=1)
    lmbda_path(X, atoms, [0.5], n_jobs=1)
    FISTACoder(dictionary=atoms, lmbda=0.5).fit(X).transform(X)
    adam_step({}, {"atoms": atoms}, {"atoms": X}, 1e-3, {"atoms": 1.0})
    update_atoms(atoms, np.eye(2), X)
    coordinate_descent(lasso_energy(atoms, 0.5).given(X))


def _use(estimator, dtype):
    """Fit a small copy of the estimator to a few random data."""
    kind = SparseCoder if isinstance(estimator, SparseCoder) and hasattr(estimator, "to_local") else type(estimator)
    usual, given = kind().get_params(), estimator.get_params()
    free = {name: usual[name] for name in _OF_DATA if not isinstance(given.get(name, ""), str)}
    if isinstance(given.get("regularizer"), str | None):  # an instance may have a weight per atom
        free["n_components"] = 2
    model = kind(**{name: given[name] for name in usual} | free | {"max_iter": 2})
    shape = [2 * size for size in np.atleast_1d(model.kernel_size)] if "kernel_size" in usual else [6]
    X = np.random.RandomState(0).uniform(size=(20, *shape)).astype(dtype)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.fit(X).transform(X)
        model.score(X)
