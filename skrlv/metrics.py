"""Beside the house: certificates of codes, and the range of lmbda that means something for given data."""

from dataclasses import replace
from numbers import Integral

import numpy as np

from skrlv._compat import Interval, validate_params
from skrlv._rows import Rows
from skrlv._threads import dense, dense_blocks, each_block
from skrlv._validation import LASSO_PARAMETERS, check_codes, check_problem, lasso_energy
from skrlv.decoders import Dictionary
from skrlv.energy import Energy
from skrlv.inference import coordinate_descent
from skrlv.inference import duality_gap as landscape_gap
from skrlv.regularizers import L1

_SAMPLE = 256  # rows that a grid of lmbda is measured on


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
        gap / max(energy, 1e-3 x 1/2 norm(x)^2), float64: the unit of ``code_tol``.

    Raises
    ------
    ValueError
        If shapes disagree, entries are not finite, or lmbda, l2 or a weight is negative.

    Notes
    -----
    Atoms without a price (all at ``lmbda=0``, else those of weight 0) have no dual to bound with. They add the largest
    residual of their normal equations, :math:`|c_j| / \|d_j\| \cdot \|x\|`: zero at the minimum and only there, but no
    bound on the distance to it.

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

    return np.concatenate(each_block(gaps, len(Z)))


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
        In the unit of X times that of the atoms, of the dtype of X.

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
    """A decreasing geometric grid of lmbda, from where codes appear to where they are dense.

    It starts at the median of `lmbda_max`, where half of the samples have a non-zero, and ends where codes of a
    sample of the rows, found exactly, hold half as many non-zeros as a least-squares fit would need.

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
        If every sample is orthogonal to every atom: no lmbda gives a code then.

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
    ends = useful_range(energy, sample_rows(rows, rows.survey()).astype(np.float64))
    if ends is None:
        raise ValueError("X is orthogonal to every atom of the dictionary, so every code is zero at any lmbda.")
    first, dense = ends
    return np.geomspace(first, dense, n)


def sample_rows(rows, survey):
    """Up to 256 of the rows that are not zero, evenly spread."""
    found = np.flatnonzero(survey.nonzero)
    return rows.take(found[np.linspace(0, found.size - 1, min(found.size, _SAMPLE)).astype(int)])


def useful_range(energy, X):
    """The lmbda at which half of the rows have a non-zero, and one at which codes are dense; None if there are none.

    For an energy of the L1 family with a Dictionary, on NumPy. Rows without a code at any lmbda are left out, and so
    are atoms without a price.
    """
    correlations = energy.given(X).quadratic().correlations
    thresholds = energy.regularizer.thresholds(1.0, correlations.shape[1])
    paid = thresholds > 0.0
    reach = (correlations if energy.regularizer.positive else np.abs(correlations))[:, paid] / thresholds[paid]
    reached = reach.max(axis=1, initial=0.0)
    if not reached.any():
        return None
    top = float(np.median(reached[reached > 0.0]))
    return top, _dense_end(energy, X[reached > 0.0], top)


def _dense_end(energy, X, top):
    """Halve lmbda until codes are half as long as a least-squares fit, at most down to top / 2^14."""
    lmbda, z = top, None
    for _ in range(14):
        lmbda /= 2.0
        z = coordinate_descent(replace(energy, lmbda=lmbda).given(X), z, tol=1e-3, max_iter=1000).z
        if np.count_nonzero(z, axis=1).mean() >= 0.5 * min(energy.decoder.atoms.shape):
            break
    return lmbda
