"""Roof: exact codes of given data on given atoms: at one lmbda, to a target, or along a path."""

from functools import partial
from numbers import Integral, Real
from typing import Any, NamedTuple

import numpy as np

from skrlv._arrays import squares_per_sample
from skrlv._compat import Interval, validate_params
from skrlv._threads import ROWS_PER_BLOCK, dense, each_block
from skrlv.inference import (
    Gathered,
    before_rounding,
    debiased,
    exact_codes,
    exact_path,
    gaps_at,
    joined,
    least_angle,
    rounded,
    summarize,
)
from skrlv.metrics import lmbda_grid
from skrlv.models.base import warn_unless_converged, warn_user
from skrlv.models.validation import (
    ENCODING_PARAMETERS,
    LASSO_PARAMETERS,
    check_codes,
    check_problem,
    decreasing,
    lasso_energy,
    resolved_tol,
    stored,
)

_REMEDY = "Raise code_tol; where atoms nearly depend on each other, raise lmbda or l2."
_CODES_PER_BLOCK = 4096  # of a path: rows x lmbdas
_ROUNDING = {"f": 1e-6, "d": 1e-8}  # of a relative error: the root of that of its square


@validate_params(
    LASSO_PARAMETERS
    | ENCODING_PARAMETERS
    | {
        "lmbda": [*LASSO_PARAMETERS["lmbda"], None],
        "n_nonzero": [Interval(Integral, 1, None, closed="left"), None],
        "max_error": [Interval(Real, 0, 1, closed="left"), None],
        "debias": ["boolean"],
    },
    prefer_skip_nested_validation=True,
)
def sparse_encode(
    X,
    dictionary,
    lmbda=None,
    *,
    n_nonzero=None,
    max_error=None,
    debias=False,
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

    With ``n_nonzero`` or ``max_error`` every row has a lmbda of its own: from where its code is zero lmbda falls, and
    the code with it moves along its exact path, until it meets the first of the targets given, or ``lmbda``. The path
    ends early where atoms depend on each other so much that rounding hides the rest of it.

    Parameters
    ----------
    X : array-like or sparse matrix of shape (n_samples, n_features)
        Data, float32 or float64; a memory-mapped array or a sparse matrix is read a block of rows at a time.
    dictionary : array-like of shape (n_components, n_features)
        Atoms, one per row, used as they are.
    lmbda : float or None, default=None
        Weight of the L1 term, >= 0; in the unit of X for unit atoms. Zero is least squares. None needs a target, and
        is zero then.
    n_nonzero : int or None, default=None
        Most non-zeros of a row, >= 1: its code is that of the smallest lmbda before one more atom joins. Fewer where
        atoms that tie would join together, as for rows of equal entries on unit vectors, or where the path ends.
    max_error : float or None, default=None
        Relative error :math:`\|x - zD\| / \|x\|`, from 0 to below 1, at which a row is good enough: its code is that
        of the largest lmbda that gives it. Reached to about 1e-8.
    debias : bool, default=False
        Whether to refit the non-zeros of each row by least squares without any penalty (non-negative least squares
        where ``positive``), which undoes the shrinkage. Targets are met before.
    positive : bool, default=False
        Whether codes are non-negative.
    l2 : float, default=0.0
        Weight of the squared term, >= 0.
    weights : array-like of shape (n_components,) or None, default=None
        One factor w_j >= 0 on lmbda per atom; 0 leaves an atom unpenalised, which no target allows.
    init : array-like of shape (n_samples, n_components) or None, default=None
        Codes to start from; the result is the same within ``code_tol``. Not with a target.
    code_tol : float or "auto", default="auto"
        Largest relative duality gap of a row, see `duality_gap`: 1e-6 for float64 and 1e-4 for float32 data. Below
        1e-6 float32 codes meet it before they are rounded. Rounding opens wider gaps where atoms are nearly
        duplicates or rows are all but reproduced; rows beyond ``code_tol`` are then warned of. With a target the gap
        is that at the row's own lmbda; it is taken before ``debias``.
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
        If shapes disagree, entries are not finite, an atom is zero, or a weight is negative. If neither lmbda nor a
        target is given, or a target with ``init`` or with a weight of zero.

    Warns
    -----
    ConvergenceWarning
        Once, if rows did not reach ``code_tol``.
    UserWarning
        Once, if rows end above ``max_error`` although nothing else stopped them: the atoms do not span them, or
        rounding hides the rest of their paths.

    See Also
    --------
    lmbda_path : Codes at many lmbdas.

    References
    ----------
    Efron, Hastie, Johnstone, Tibshirani, Least Angle Regression, 2004: the path, and its steps.

    Examples
    --------
    >>> import numpy as np
    >>> from skrlv import sparse_encode
    >>> sparse_encode([[3.0, -1.0, 0.2]], np.eye(3), 0.5)
    array([[ 2.5, -0.5,  0. ]])
    >>> sparse_encode([[3.0, -1.0, 0.2]], np.eye(3), n_nonzero=1)
    array([[2., 0., 0.]])
    >>> sparse_encode([[3.0, -1.0, 0.2]], np.eye(3), n_nonzero=1, debias=True)
    array([[3., 0., 0.]])
    """
    to_target = n_nonzero is not None or max_error is not None
    if lmbda is None and not to_target:
        raise ValueError("Give lmbda, n_nonzero or max_error: without any there is no telling how sparse codes are.")
    if init is not None and to_target:
        raise ValueError("init cannot be given with n_nonzero or max_error: the path to a target starts from zero.")
    X, dictionary = check_problem(X, dictionary)
    energy = lasso_energy(dictionary, lmbda or 0.0, positive=positive, l2=l2, weights=weights)
    if to_target and not energy.regularizer.thresholds(1.0, len(dictionary)).all():
        raise ValueError("weights has zeros, but n_nonzero and max_error need a price on every atom.")
    if init is not None:
        init = check_codes(init, "init", len(dictionary), X.shape[0])
        if positive and (init < 0.0).any():
            raise ValueError("init has negative entries, but positive=True.")
    tol = resolved_tol(code_tol, X.dtype)

    gathered, missed = Gathered(X.shape[0]), list[float]()

    def search(rows):
        x = dense(X[rows])
        landscape = energy.given(_double(x)).on_gram() if to_target or debias else None
        if to_target:
            solution, errors = _to_target(landscape, x, n_nonzero, max_error, tol)
            missed.extend(errors)
        else:
            solution = exact_codes(energy, x, None if init is None else init[rows], tol=tol)
        if debias:
            z = debiased(landscape, _double(solution.z))
            solution = solution._replace(z=z.astype(x.dtype, copy=False))
        gathered.add(rows, solution._replace(z=stored(solution.z, sparse_output)))

    each_block(search, X.shape[0], n_jobs)
    solution = gathered.solution()
    warn_unless_converged(solution, _REMEDY)
    _warn_of_errors(missed, X.shape[0], max_error)
    return solution.z


def _to_target(landscape, x, n_nonzero, max_error, tol):
    """The `Solution` of a block of rows, and the relative errors of those left above max_error by the atoms alone."""
    solution, lmbdas = least_angle(
        landscape, n_nonzero=n_nonzero, max_error=max_error or 0.0, tol=before_rounding(tol, x.dtype)
    )
    missed = np.empty(0)
    if max_error is not None:
        energy = landscape.energy
        errors, lmbda = _relative(summarize(energy, x, solution.z).squares, x), energy.lmbda
        stopped = (np.count_nonzero(solution.z, axis=1) == n_nonzero) | ((lmbdas == lmbda) & (lmbda > 0.0))
        missed = errors[(errors > max_error + _ROUNDING[x.dtype.char]) & ~stopped]
    return rounded(solution, x.dtype, tol, partial(gaps_at, landscape, lmbdas=lmbdas)), missed


def _warn_of_errors(errors, n_samples, max_error):
    if errors:
        warn_user(
            f"{len(errors)} of {n_samples} rows cannot reach max_error={max_error} with these atoms; the worst ended "
            f"at a relative error of {max(errors):.2g}. Raise max_error, add atoms, lower l2, allow negative codes, or "
            "remove atoms that nearly depend on others."
        )


class LmbdaPath(NamedTuple):
    """Codes along a path of lmbda, see `lmbda_path`."""

    lmbdas: np.ndarray  # (n_lmbdas,), decreasing
    codes: Any  # (n_lmbdas, n_samples, n_components), or a list of n_lmbdas CSR matrices
    energies: np.ndarray  # (n_lmbdas, n_samples), float64
    densities: np.ndarray  # (n_lmbdas,): share of entries that are not zero
    errors: np.ndarray  # (n_lmbdas, n_samples): norm(x - zD) / norm(x), 0 for a row of zeros


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
    r"""Exact sparse codes at many lmbdas, for little more than the smallest alone.

    .. math:: \min_z \tfrac12 \|x - zD\|_2^2 + \lambda_i \sum_j w_j |z_j| + \tfrac{l_2}{2} \|z\|_2^2,
        \qquad \lambda_1 \ge \lambda_2 \ge \dots

    Between bends the minimum is linear in lmbda. So one walk per row, from where its code is zero down to the
    smallest lmbda, passes the codes at all of them.

    Parameters
    ----------
    X : array-like or sparse matrix of shape (n_samples, n_features)
        Data, float32 or float64.
    dictionary : array-like of shape (n_components, n_features)
        Atoms, one per row, used as they are.
    lmbdas : array-like of shape (n_lmbdas,) or None, default=None
        Weights of the L1 term, >= 0, in any order; None is `lmbda_grid`.
    positive : bool, default=False
        Whether codes are non-negative.
    l2 : float, default=0.0
        Weight of the squared term, >= 0.
    weights : array-like of shape (n_components,) or None, default=None
        One factor w_j >= 0 on lmbda per atom. With a weight of 0 there is no such walk: each code is then the start of
        the next, which takes longer.
    code_tol : float or "auto", default="auto"
        Largest relative duality gap of any code, as in `sparse_encode`.
    n_jobs : int or None, default=None
        Threads; None is all cores of the process, or a joblib worker's share. The result is the same to the bit.
    sparse_output : bool, default=False
        Whether codes are CSR matrices, one per lmbda, built a block of rows at a time.

    Returns
    -------
    path : LmbdaPath
        A named tuple of

        - lmbdas, array of shape (n_lmbdas,), decreasing;
        - codes, array of shape (n_lmbdas, n_samples, n_components) of the dtype of X, or a list of CSR matrices;
        - energies, array of shape (n_lmbdas, n_samples), float64;
        - densities, array of shape (n_lmbdas,), the share of entries that are not zero;
        - errors, array of shape (n_lmbdas, n_samples), :math:`\|x - zD\| / \|x\|` as in ``max_error``, and 0 for a row
          of zeros.

    Raises
    ------
    ValueError
        If shapes disagree, entries are not finite, an atom is zero, or a weight or a lmbda is negative.

    Warns
    -----
    ConvergenceWarning
        Once, if codes did not reach ``code_tol``.

    See Also
    --------
    sparse_encode : Codes at one lmbda, or to a number of entries or an error.
    lmbda_grid : The range of lmbda that means something.

    References
    ----------
    Osborne, Presnell, Turlach, A new approach to variable selection in least squares problems, 2000.
    Efron, Hastie, Johnstone, Tibshirani, Least Angle Regression, 2004.

    Examples
    --------
    >>> import numpy as np
    >>> from skrlv import lmbda_path
    >>> path = lmbda_path([[3.0, -1.0, 0.2]], np.eye(3), [0.5, 2.0])
    >>> path.lmbdas
    array([2. , 0.5])
    >>> path.codes
    array([[[ 1. ,  0. ,  0. ]],
    <BLANKLINE>
           [[ 2.5, -0.5,  0. ]]])
    >>> path.energies.round(3).tolist(), path.errors.round(3).tolist()
    ([[4.52], [1.77]], [[0.709], [0.232]])
    """
    lmbdas = None if lmbdas is None else decreasing(lmbdas)
    X, dictionary = check_problem(X, dictionary)
    if lmbdas is None:
        lmbdas = lmbda_grid(X, dictionary)
    energy = lasso_energy(dictionary, lmbdas[-1], positive=positive, l2=l2, weights=weights)
    tol = resolved_tol(code_tol, X.dtype)

    shape = (len(lmbdas), X.shape[0])
    codes = None if sparse_output else np.empty((*shape, len(dictionary)), X.dtype)
    gathered = [Gathered(X.shape[0], None if codes is None else codes[i]) for i in range(len(lmbdas))]
    counts, energies, errors = np.empty(shape), np.empty(shape), np.empty(shape)

    def walk(rows):
        x = dense(X[rows])
        for i, solution in enumerate(exact_path(energy, x, lmbdas, tol=tol)):
            summary = summarize(energy, x, solution.z)
            counts[i, rows], errors[i, rows] = summary.counts, _relative(summary.squares, x)
            energies[i, rows] = summary.energies(lmbdas[i], energy.encoder_weight)
            gathered[i].add(rows, solution._replace(z=stored(solution.z, sparse_output)))

    each_block(walk, X.shape[0], n_jobs, size=min(ROWS_PER_BLOCK, max(1, _CODES_PER_BLOCK // len(lmbdas))))
    solutions = [part.solution() for part in gathered]
    warn_unless_converged(joined([solution._replace(z=np.empty(0)) for solution in solutions]), _REMEDY)
    given_out = [solution.z for solution in solutions] if codes is None else codes
    return LmbdaPath(lmbdas, given_out, energies, counts.sum(axis=1) / (X.shape[0] * len(dictionary)), errors)


def _relative(squares, x):
    """norm(x - zD) / norm(x) per row; 0 for a row of zeros, infinite where squares overflow."""
    with np.errstate(over="ignore"):
        whole = squares_per_sample(x)
    known = (whole > 0.0) & (whole < np.inf)
    return np.sqrt(np.divide(squares, whole, out=np.where(whole > 0.0, np.inf, 0.0), where=known))


def _double(x):
    return x.astype(np.float64, copy=False)
