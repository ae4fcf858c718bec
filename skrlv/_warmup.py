"""Compilation of the kernels ahead of their first use."""

import warnings
from collections.abc import Iterable
from functools import partial

import numpy as np

from skrlv.energy import MOST_ATOMS_OF_A_CHEAP_GRAM, lasso_energy
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
    estimator : estimator or None, default=None
        Compile what `fit`, `transform` and `score` of this estimator use, or of those of this library in a pipeline or
        a search; it is not changed. None compiles the kernels of all dense models and functions.
    dtypes : dtype or sequence of dtypes, default=(numpy.float64, numpy.float32)
        Kernels are compiled for each of these dtypes of the data.

    Returns
    -------
    None

    Raises
    ------
    TypeError
        If estimator is a class, or contains no estimator of this library, or a dtype is not float64 or float32.

    Examples
    --------
    >>> import numpy as np
    >>> import skrlv
    >>> skrlv.warmup(skrlv.SparseCoder(), dtypes=[np.float64])
    """
    uses = [_use_functions] if estimator is None else [partial(_use, model) for model in _contained(estimator)]
    for dtype in _checked(dtypes):
        for use in uses:
            use(dtype)


def _contained(estimator):
    """The estimators of this library that an estimator is or contains."""
    if isinstance(estimator, type):
        raise TypeError(f"estimator must be an instance, {estimator.__name__}(), not the class {estimator.__name__}.")
    parts = [estimator, *(estimator.get_params().values() if hasattr(estimator, "get_params") else [])]
    found = [part for part in parts if isinstance(part, LatentVariableModel)]
    if not found:
        raise TypeError(f"estimator must be or contain an estimator of skrlv, got {type(estimator).__name__}.")
    return [model.to_local() if hasattr(model, "to_local") else model for model in found]  # what a chunk is given to


def _checked(dtypes):
    several = isinstance(dtypes, Iterable) and not isinstance(dtypes, str | type)
    try:
        found = [np.dtype(dtype).type for dtype in (dtypes if several else [dtypes])]
    except TypeError:
        found = []
    if not found or not set(found) <= set(DTYPES):
        raise TypeError(f"dtypes must be float64, float32 or both, got {dtypes!r}.")
    return found


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
    kind = type(estimator)
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
    if isinstance(model, SparseCoder):
        coordinate_descent(lasso_energy(model.components_, 0.5).given(X.astype(np.float64)))  # where a path ends short
        if _n_atoms(given) > MOST_ATOMS_OF_A_CHEAP_GRAM:
            _use_few_rows(dtype)


def _n_atoms(parameters):
    atoms, n_components = parameters["dictionary"], parameters["n_components"]
    return np.shape(atoms)[0] if atoms is not None else n_components if isinstance(n_components, int) else 0


def _use_few_rows(dtype):
    """Few rows on many atoms are encoded without the Gram matrix, in float64."""
    atoms = np.random.RandomState(0).randn(MOST_ATOMS_OF_A_CHEAP_GRAM + 1, 3).astype(dtype)
    sparse_encode(atoms[:1], atoms, 0.5, n_jobs=1)
