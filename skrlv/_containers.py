"""Data from any container, as scikit-learn's validation takes them."""

import array_api_compat
import numpy as np
from scipy import sparse

_SHORT_FLOATS = {
    *("float32", "<f4", ">f4", "float16", "<f2", ">f2"),  # NumPy, in any order of bytes
    *("bfloat16", "float", "halffloat"),  # torch, Arrow
}


def as_numpy(X, name="X"):
    """NumPy arrays, sparse matrices and data frames as they are, other arrays as NumPy's.

    Tensors are detached and copied to the host; hidden entries of masked arrays are refused.
    """
    if isinstance(X, np.ma.MaskedArray):
        if np.ma.is_masked(X):
            raise ValueError(
                f"{name} is a masked array, and its mask would be lost. Fill or leave out what it hides; signals can "
                "be coded around it by encode(X, mask=)."
            )
        return X.data
    if array_api_compat.is_torch_array(X):
        X = X.detach().cpu()
        return (X.float() if str(X.dtype) == "torch.bfloat16" else X).numpy()
    if hasattr(X, "to_memory") and not hasattr(X, "__array__"):  # a sparse matrix on disk, as AnnData holds it
        return X.to_memory()
    return np.asarray(X) if not isinstance(X, np.ndarray) and array_api_compat.is_array_api_obj(X) else X


def float_dtype(X):
    """What data become: float32 if all of them are floats of at most 32 bits, float64 else."""
    of_table = getattr(getattr(X, "schema", None), "types", None)  # of the columns of an Arrow table
    dtypes = of_table or getattr(X, "dtypes", None)  # of those of other frames
    if dtypes is None or not np.iterable(dtypes) or isinstance(dtypes, str):
        dtypes = [getattr(X, "dtype", None)]
    names = {str(dtype).lower().split(".")[-1].split("[")[0] for dtype in dtypes}
    if any(name.startswith(("datetime", "timedelta")) for name in names):
        raise TypeError(
            "X has dates or durations, which are no numbers: divide by a unit, (t - t.min()) / np.timedelta64(1, 'D')."
        )
    return np.float32 if names <= _SHORT_FLOATS else np.float64


def canonical(X):
    """A CSR matrix without duplicate entries, copied where that changes it; arrays as they are."""
    if sparse.issparse(X) and not X.has_canonical_format:
        X = X.copy()
        X.sum_duplicates()
    return X


def sparse_as(codes, X):
    """Return CSR codes as a sparse array if X is one: the ``*`` of arrays is not that of matrices."""
    return sparse.csr_array(codes) if sparse.issparse(codes) and isinstance(X, sparse.sparray) else codes
