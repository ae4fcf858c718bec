"""Roof: exact codes of given data on given atoms, at one lmbda or along a path of them."""

from typing import Any, NamedTuple

import numpy as np
from scipy import sparse

from skrlv._arrays import squares_per_sample
from skrlv._compat import validate_params
from skrlv._threads import dense, each_block
from skrlv._validation import ENCODING_PARAMETERS, LASSO_PARAMETERS, check_codes, check_problem, lasso_energy
from skrlv.base import warn_unless_converged
from skrlv.inference import duality_gap, homotopy, joined
from skrlv.metrics import lmbda_grid

_FLOAT32_GAP = 1e-6  # rounding codes to float32 alone opens gaps about this wide, and wider between twin atoms


@validate_params(
    LASSO_PARAMETERS | ENCODING_PARAMETERS,
    prefer_skip_nested_validation=True,
)
def sparse_encode(
    X,
    dictionary,
    lmbda,
    *,
    positive=False,
    l2=0.0,
    weights=None,
    init=None,
    code_tol="auto",
    n_jobs=None,
    sparse_output=False,
):
    r"""Exact sparse codes of X on given atoms.

    .. math:: \min_z \tfrac12 \|x - zD\|_2^2 + \lambda \sum_j w_j |z_j| + \tfrac{l_2}{2} \|z\|_2^2

    Parameters
    ----------
    X : array-like or sparse matrix of shape (n_samples, n_features)
        Data, float32 or float64; a memory-mapped array or a sparse matrix is read a block of rows at a time.
    dictionary : array-like of shape (n_components, n_features)
        Atoms, one per row, used as they are.
    lmbda : float
        Weight of the L1 term, >= 0; in the unit of X for unit atoms. Zero is least squares.
    positive : bool, default=False
        Whether codes are non-negative.
    l2 : float, default=0.0
        Weight of the squared term, >= 0.
    weights : array-like of shape (n_components,) or None, default=None
        One factor w_j >= 0 on lmbda per atom; 0 leaves an atom unpenalised.
    init : array-like of shape (n_samples, n_components) or None, default=None
        Codes to start from; the result is the same within ``code_tol``.
    code_tol : float or "auto", default="auto"
        Largest relative duality gap of a row, see `duality_gap`: 1e-6 for float64 and 1e-4 for float32 data. Below
        1e-6 float32 codes meet it before they are rounded. Rounding opens wider gaps where atoms are nearly
        duplicates or rows are all but reproduced; rows beyond ``code_tol`` are then warned of.
    n_jobs : int or None, default=None
        Threads; None is all cores of the process, or a joblib worker's share. The result is the same to the bit.
    sparse_output : bool, default=False
        Whether to return a CSR matrix, built a block of rows at a time.

    Returns
    -------
    array or CSR matrix of shape (n_samples, n_components)
        Codes, of the dtype of X.

    Raises
    ------
    ValueError
        If shapes disagree, entries are not finite, an atom is zero, or a weight is negative.

    Warns
    -----
    ConvergenceWarning
        Once, if rows did not reach ``code_tol``.

    Examples
    --------
    >>> import numpy as np
    >>> from skrlv import sparse_encode
    >>> sparse_encode([[3.0, -1.0, 0.2]], np.eye(3), 0.5)
    array([[ 2.5, -0.5,  0. ]])
    """
    X, dictionary = check_problem(X, dictionary)
    energy = lasso_energy(dictionary, lmbda, positive=positive, l2=l2, weights=weights)
    if init is not None:
        init = check_codes(init, "init", len(dictionary), X.shape[0])
        if positive and (init < 0.0).any():
            raise ValueError("init has negative entries, but positive=True.")
    tol = resolved_tol(code_tol, X.dtype)

    def search(rows):
        solution = exact_codes(energy, dense(X[rows]), None if init is None else init[rows], tol=tol)
        return solution._replace(z=stored(solution.z, sparse_output))

    solution = joined(each_block(search, X.shape[0], n_jobs))
    warn_unless_converged(solution, "Raise code_tol.")
    return solution.z


class LmbdaPath(NamedTuple):
    """What `lmbda_path` returns."""

    lmbdas: np.ndarray  # (n_lmbdas,), decreasing
    codes: Any  # (n_lmbdas, n_samples, n_components), or a list of CSR matrices, one per lmbda
    energies: np.ndarray  # (n_lmbdas, n_samples)
    densities: np.ndarray  # (n_lmbdas,): share of the entries that are not zero
    errors: np.ndarray  # (n_lmbdas, n_samples): norm(x - zD) / norm(x); 0 for a row of zeros


@validate_params(
    {name: LASSO_PARAMETERS[name] for name in ("positive", "l2")} | ENCODING_PARAMETERS,
    prefer_skip_nested_validation=True,
)
def lmbda_path(
    X,
    dictionary,
    lmbdas=None,
    *,
    positive=False,
    l2=0.0,
    weights=None,
    code_tol="auto",
    n_jobs=None,
    sparse_output=False,
):
    X, dictionary = check_problem(X, dictionary)
    lmbdas = lmbda_grid(X, dictionary) if lmbdas is None else _checked_grid(lmbdas)
    energy = lasso_energy(dictionary, lmbdas[-1], positive=positive, l2=l2, weights=weights)
    tol = resolved_tol(code_tol, X.dtype)

    def walk(rows):
        x = dense(X[rows])
        y, z, points = x.astype(np.float64, copy=False), None, []
        landscape = energy.given(y).on_gram()
        for lmbda in lmbdas:
            solution = _certified(landscape.at(lmbda), z, x.dtype, tol)
            z = solution.z
            energies, errors = _energies_and_errors(landscape.at(lmbda).energy, y, z)
            points.append((solution._replace(z=stored(z, sparse_output)), energies, errors))
        return points

    points = zip(*each_block(walk, X.shape[0], n_jobs), strict=True)
    solutions, energies, errors = zip(*(_joined_points(blocks) for blocks in points), strict=True)
    warn_unless_converged(joined([s._replace(z=np.empty(0)) for s in solutions]), "Raise code_tol.")
    codes = [s.z for s in solutions]
    densities = np.array([(z.nnz if sparse.issparse(z) else np.count_nonzero(z)) / np.prod(z.shape) for z in codes])
    codes = codes if sparse_output else np.stack(codes)
    return LmbdaPath(lmbdas, codes, np.stack(energies), densities, np.stack(errors))


def _joined_points(blocks):
    solutions, energies, errors = zip(*blocks, strict=True)
    return joined(solutions), np.concatenate(energies), np.concatenate(errors)


def _energies_and_errors(energy, y, z):
    """E(y, z) and norm(y - zD) / norm(y), per row, from one decoding."""
    z = z.astype(np.float64, copy=False)
    squares, norms = squares_per_sample(y - energy.decoder(z)), np.sqrt(squares_per_sample(y))
    energies = 0.5 * squares + energy.lmbda * energy.regularizer(z)
    if energy.encoder_weight:
        energies += 0.5 * energy.encoder_weight * squares_per_sample(z)
    return energies, np.divide(np.sqrt(squares), norms, out=np.zeros_like(norms), where=norms > 0.0)


def _checked_grid(lmbdas):
    return np.sort(np.asarray(lmbdas, dtype=np.float64))[::-1]


def exact_codes(energy, y, z0, *, tol):
    """Certified codes of a block of rows, by homotopy in float64, in the dtype of the rows."""
    return _certified(energy.given(y.astype(np.float64, copy=False)), z0, y.dtype, tol)


def _certified(landscape, z0, dtype, tol):
    if dtype == np.float64:
        return homotopy(landscape, z0, tol=tol)
    # Leave room for rounding, then certify what is given out.
    solution = homotopy(landscape, z0, tol=0.5 * tol)
    z = solution.z.astype(dtype)
    gaps = duality_gap(landscape, z.astype(np.float64))
    return solution._replace(z=z, error=gaps, converged=gaps <= max(tol, _FLOAT32_GAP))


def resolved_tol(code_tol, dtype):
    """code_tol as a number."""
    if code_tol == "auto":
        return 1e-4 if dtype == np.float32 else 1e-6
    return float(code_tol)


def stored(z, as_csr):
    """A block of codes as it is given out."""
    return sparse.csr_matrix(z) if as_csr else z
