"""Checks of what users pass in: data of any container, atoms and codes that fit each other, tolerances."""

import math
from functools import partial
from numbers import Integral, Real

import numpy as np
from scipy import sparse
from sklearn.utils import assert_all_finite, check_array
from sklearn.utils.validation import validate_data

from skrlv._compat import Interval, StrOptions
from skrlv._containers import as_numpy, canonical, float_dtype
from skrlv._rows import Rows, converts_by_block, largest_magnitude
from skrlv._threads import dense

ROOM = 1e4  # between data and the ends of the range of a dtype

LASSO_PARAMETERS: dict[str, list] = {
    "lmbda": [Interval(Real, 0, None, closed="left")],
    "l2": [Interval(Real, 0, None, closed="left")],
    "positive": ["boolean"],
}
ENCODING_PARAMETERS: dict[str, list] = {
    "code_tol": [Interval(Real, 0, None, closed="neither"), StrOptions({"auto"})],
    "sparse_output": ["boolean"],
    "n_jobs": [Interval(Integral, 1, None, closed="left"), Interval(Integral, None, -1, closed="right"), None],
}


def check_problem(X, dictionary):
    """Data (C-contiguous or CSR) and atoms that fit each other, finite, each in its own dtype."""
    X, dtype = as_numpy(X), float_dtype(X)
    X = canonical(check_array(X, accept_sparse="csr", dtype=dtype, order="C", input_name="X"))
    return X, check_dictionary(dictionary, X.shape[1])


def check_dictionary(dictionary, n_features, name="dictionary", dtype=None):
    """Atoms as a fresh C-contiguous array (n_components, n_features), finite."""
    dictionary, own = as_numpy(dictionary, name), float_dtype(dictionary)
    dictionary = check_array(dictionary, dtype=dtype or own, order="C", copy=True, input_name=name)
    if dictionary.shape[1] != n_features:
        raise ValueError(
            f"{name} has atoms of {dictionary.shape[1]} features (columns), but X has {n_features} features."
            + (" Is it transposed? Atoms are rows." if dictionary.shape[0] == n_features else "")
        )
    refuse_nothing_but_zeros(dictionary, name)
    return dictionary


def refuse_extremes_for(model, X):
    """Refuse data of a scale that a fitted model cannot compute with."""
    dtype = X.dtype if model._mixes_dtypes and model.device == "cpu" else model._dtype
    refuse_extremes(largest_magnitude(X), X.shape[1], dtype, dtype if model._squares_in_dtype else np.float64)


def refuse_overflow(model):
    """Refuse a step of a stream after which a number that the model holds is not finite."""
    params = model.get_params(deep=False)
    if not all(_is_finite(value) for name, value in vars(model).items() if name not in params):
        raise ValueError(
            "The numbers left the range of their dtype: the entries of this batch are far larger than those of the "
            "batches before. Nothing was learned from it. Scale X, or call fit to begin anew."
        )


def _is_finite(value):
    """Whether all numbers in nested containers are."""
    if isinstance(value, dict):
        return all(map(_is_finite, value.values()))
    if isinstance(value, list | tuple):
        return all(map(_is_finite, value))
    numbers = np.asarray(value) if isinstance(value, float | np.ndarray) else np.empty(0)
    return numbers.dtype.kind != "f" or bool(np.isfinite(numbers).all())


def refuse_nothing_but_zeros(atoms, name):
    """A zero atom has the coefficient zero, but a dictionary of such atoms is an error in the call."""
    if not atoms.any():
        raise ValueError(f"{name} has no entries but zeros.")


def refuse_zero_atoms(atoms, name):
    """Learning starts from directions, and an atom of zeros has none."""
    zero = np.flatnonzero(~atoms.reshape(len(atoms), -1).any(axis=1))
    if zero.size:
        raise ValueError(f"{name} has {zero.size} zero atoms, the first at index {zero[0]}; remove them.")


def rows_of(model, X, reset):
    """Data of any container as a C-contiguous array, a CSR matrix, or `Rows` that convert a block at a time."""
    X, dtype = as_numpy(X), float_dtype(X)
    if not converts_by_block(X):
        return canonical(validate_data(model, X, accept_sparse="csr", dtype=dtype, order="C", reset=reset))
    validate_data(model, X, dtype=None, ensure_all_finite=False, reset=reset)
    X = Rows(X, dtype)
    X.map(partial(assert_all_finite, input_name="X"))
    return X


def check_codes(Z, name, n_columns, n_samples=None):
    """Codes as a dense array, finite, of this width, and of this length where there are samples they belong to."""
    Z, dtype = as_numpy(Z, name), float_dtype(Z)
    Z = check_array(Z, dtype=dtype, order="C", accept_sparse="csr", input_name=name)
    wanted = (Z.shape[0] if n_samples is None else n_samples, n_columns)
    if Z.shape != wanted:
        raise ValueError(f"{name} has shape {Z.shape}, but must have shape {wanted}: one code per sample.")
    return dense(Z)


def resolved_tol(code_tol, dtype):
    """code_tol as a number; it may have been set since `fit`."""
    if isinstance(code_tol, str) and code_tol == "auto":
        return 1e-4 if dtype == np.float32 else 1e-6
    if not Interval(Real, 0, None, closed="neither").is_satisfied_by(code_tol):
        raise ValueError(f"code_tol={code_tol!r} must be a number above 0, or 'auto'.")
    return float(code_tol)


def stored(z, as_csr):
    """A block of codes as it is given out."""
    return sparse.csr_matrix(z) if as_csr else z


def decreasing(lmbdas):
    """A grid from its largest value down, checked."""
    grid = np.asarray(lmbdas)
    numbers = grid.dtype.kind in "iuf" and grid.ndim == 1 and grid.size > 0
    if not numbers or not (np.isfinite(grid) & (grid >= 0)).all():
        raise ValueError(f"lmbdas must be a list of finite numbers of at least 0, got {lmbdas!r}.")
    return -np.sort(-grid.astype(np.float64))


def refuse_extremes(largest, n_entries, dtype, squares_dtype):
    """Refuse data whose entries, or sums of n_entries squares, leave the range of the dtypes they are computed in."""
    entries, squares = np.finfo(dtype), np.finfo(squares_dtype)
    least = max(ROOM * float(entries.tiny), math.sqrt(ROOM * float(squares.tiny)))
    most = min(float(entries.max) / ROOM, math.sqrt(float(squares.max) / max(1, n_entries)))
    if 0.0 < largest < least:
        raise ValueError(
            f"X has no entries above {largest:.0e} in magnitude, whose squares vanish. Multiply X by a constant first."
        )
    if largest > most:
        raise ValueError(
            f"X has entries of magnitude {largest:.0e}, whose squares overflow. Divide X by a constant first."
        )
