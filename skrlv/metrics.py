"""The duality gap of codes, and the useful range of lmbda for given data."""

from numbers import Integral

import numpy as np

from skrlv._compat import Interval, validate_params
from skrlv._rows import Rows, sample_rows
from skrlv._threads import ROWS_PER_BLOCK, dense, dense_blocks, each_block
from skrlv.decoders import Dictionary
from skrlv.energy import Energy, lasso_energy
from skrlv.inference import duality_gap as landscape_gap
from skrlv.inference import useful_range
from skrlv.models.validation import LASSO_PARAMETERS, check_codes, check_problem
from skrlv.regularizers import L1


@validate_params(LASSO_PARAMETERS, prefer_skip_nested_validation=True)
def duality_gap(X, Z, dictionary, lmbda, *, positive=False, l2=0.0, weights=None):
    r"""Relative duality gap of codes, a bound on how far their energy is above the minimum.

    .. math:: E(x, z) = \tfrac12 \|x - zD\|^2 + \lambda \sum_j w_j |z_j| + \tfrac{l_2}{2} \|z\|^2

    Parameters
    ----------
    X : array-like or sparse matrix of shape (n_samples, n_features)
        Data.
    Z : array-like or sparse matrix of shape (n_samples, n_components)
        Codes.
    dictionary : array-like of shape (n_components, n_features)
        Atoms, one per row.
    lmbda : float
        Weight of the L1 term, >= 0.
    positive : bool, default=False
        Whether codes must be non-negative; the gap of a negative code is infinite.
    l2 : float, default=0.0
        Weight of the squared term.
    weights : array-like of shape (n_components,) or None, default=None
        One factor on lmbda per atom.

    Returns
    -------
    array of shape (n_samples,)
        gap / max(min(energy, h), 1e-3 h) with h = 1/2 norm(x)^2, float64; ``code_tol`` has the same unit.

    Raises
    ------
    ValueError
        If shapes disagree, entries are not finite, or lmbda, l2 or a weight is negative.

    Notes
    -----
    The gap is relative to the energy of the code, or to the energy h of the zero code if that is smaller; otherwise a
    code that is far too large would have a gap of about one.

    There is no dual bound for unpenalised atoms (all atoms at ``lmbda=0``, otherwise those of weight 0). For these the
    largest residual of the normal equations, :math:`|c_j| / \|d_j\| \cdot \|x\|`, is added to the gap; it is zero
    only at the minimum, but does not bound the distance to it.

    Examples
    --------
    >>> import numpy as np
    >>> from skrlv import duality_gap, sparse_encode
    >>> D, X = np.eye(3), np.array([[3.0, -1.0, 0.2]])
    >>> Z = sparse_encode(X, D, 0.5)
    >>> Z
    array([[ 2.5, -0.5,  0. ]])
    >>> bool(duality_gap(X, Z, D, 0.5)[0] < 1e-12)
    True
    """
    X, dictionary = check_problem(X, dictionary)
    Z = check_codes(Z, "Z", len(dictionary), X.shape[0])
    energy = lasso_energy(dictionary, lmbda, positive=positive, l2=l2, weights=weights)

    def gaps(rows):
        x, z = dense(X[rows]).astype(np.float64, copy=False), Z[rows].astype(np.float64, copy=False)
        return landscape_gap(energy.given(x), z)

    return np.concatenate(each_block(gaps, len(Z), size=ROWS_PER_BLOCK // 2))  # ten arrays as large as a block of Z


def lmbda_max(X, dictionary):
    r"""Smallest lmbda at which the code of each sample is zero.

    .. math:: \lambda_{\max}(x) = \max_j |d_j \cdot x|

    Parameters
    ----------
    X : array-like or sparse matrix of shape (n_samples, n_features)
        Data.
    dictionary : array-like of shape (n_components, n_features)
        Atoms, one per row.

    Returns
    -------
    array of shape (n_samples,)
        Values of lmbda, in the unit of X times the unit of the atoms, of the dtype of X.

    Raises
    ------
    ValueError
        If the widths disagree or an entry is not finite.

    Examples
    --------
    >>> import numpy as np
    >>> from skrlv import lmbda_max
    >>> lmbda_max([[3.0, -4.0]], np.eye(2))
    array([4.])
    """
    X, dictionary = check_problem(X, dictionary)
    largest = [np.abs(x @ dictionary.T).max(axis=1) for x in dense_blocks(X)]
    return np.concatenate(largest).astype(X.dtype, copy=False)


@validate_params({"n": [Interval(Integral, 2, None, closed="left")]}, prefer_skip_nested_validation=True)
def lmbda_grid(X, dictionary, n=10):
    """A decreasing geometric grid of lmbda, from the first non-zero codes to dense codes.

    It starts at the median of `lmbda_max`, at which half of the samples have a non-zero. It ends at the lmbda at which
    the exact codes of a subset of the rows have half as many non-zeros as a least-squares fit would need.

    Parameters
    ----------
    X : array-like or sparse matrix of shape (n_samples, n_features)
        Data.
    dictionary : array-like of shape (n_components, n_features)
        Atoms, one per row.
    n : int, default=10
        Length of the grid, at least 2.

    Returns
    -------
    array of shape (n,)
        Values of lmbda, float64.

    Raises
    ------
    ValueError
        If every sample is orthogonal to every atom, so that every code is zero at any lmbda.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from skrlv import lmbda_grid
    >>> X = load_digits().data / 16
    >>> grid = lmbda_grid(X, X[:20], n=4)
    >>> grid.shape, bool((grid[:-1] > grid[1:]).all())
    ((4,), True)
    """
    X, dictionary = check_problem(X, dictionary)
    energy = Energy(Dictionary(dictionary.astype(np.float64)), L1(), 1.0)
    rows = Rows(X)
    ends = useful_range(energy, sample_rows(rows, rows.summary()).astype(np.float64))
    if ends is None:
        raise ValueError("X is orthogonal to every atom of the dictionary, so every code is zero at any lmbda.")
    first, dense = ends
    return np.geomspace(first, dense, n)
