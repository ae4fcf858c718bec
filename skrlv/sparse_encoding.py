"""Exact sparse codes on given atoms: at one lmbda, for a number of non-zeros or an error, or along a path of lmbda."""

from dataclasses import dataclass
from functools import cached_property, partial
from numbers import Integral, Real
from typing import Any, NamedTuple

import numpy as np

from skrlv._arrays import squares_per_sample
from skrlv._compat import Interval, validate_params
from skrlv._containers import sparse_as
from skrlv._rows import largest_magnitude
from skrlv._threads import ROWS_PER_BLOCK, dense, each_block
from skrlv.energy import lasso_energy
from skrlv.inference import (
    Gathered,
    before_rounding,
    debiased,
    exact_codes,
    exact_path,
    gaps_at,
    gather,
    joined,
    least_angle,
    rounded,
    summarize,
    working_set_debiased,
    working_set_gaps,
    working_set_least_angle,
)
from skrlv.metrics import lmbda_grid
from skrlv.models.validation import (
    ENCODING_PARAMETERS,
    LASSO_PARAMETERS,
    check_codes,
    check_problem,
    decreasing,
    refuse_extremes,
    resolved_tol,
    stored,
)
from skrlv.models.warning import warn_unless_converged, warn_user

_REMEDY = "Raise code_tol; if atoms are nearly linearly dependent, raise lmbda or l2."
_CODES_PER_BLOCK = 4096  # rows x lmbdas in a block of a path
_ROUNDING = {"f": 1e-6, "d": 2e-8}  # of a relative error: the square root of the rounding of its square


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

    With the targets ``n_nonzero`` and ``max_error`` every row has its own lmbda. This lmbda decreases from the smallest
    value at which the code is zero, while the code follows its exact path, until the first of the targets, or
    ``lmbda``, is reached. A path ends early if the atoms are so close to linearly dependent that rounding errors
    dominate the rest of it.

    Parameters
    ----------
    X : array-like or sparse matrix of shape (n_samples, n_features)
        Data, float32 or float64; a memory-mapped array or a sparse matrix is read a block of rows at a time.
    dictionary : array-like of shape (n_components, n_features)
        Atoms, one per row, used as they are.
    lmbda : float or None, default=None
        Weight of the L1 term, >= 0; in the unit of X for unit-norm atoms. Zero means least squares. None needs a
        target, and then means zero.
    n_nonzero : int or None, default=None
        Maximum number of non-zeros of a row, >= 1. The code is the one at the smallest lmbda before one more atom would
        enter. It has fewer non-zeros if tied atoms would enter at once (for example unit vectors as atoms, and a row of
        equal entries), or if the path ends.
    max_error : float or None, default=None
        Largest relative error :math:`\|x - zD\| / \|x\|` of a row, in [0, 1). The code is the one at the largest lmbda
        whose error is no larger than this. The error is accurate to about 2e-8.
    debias : bool, default=False
        Whether to refit the non-zeros of each row by least squares without any penalty (non-negative least squares
        if ``positive``), which undoes the shrinkage. Targets apply to the codes before the refit.
    positive : bool, default=False
        Whether codes are non-negative.
    l2 : float, default=0.0
        Weight of the squared term, >= 0.
    weights : array-like of shape (n_components,) or None, default=None
        One factor w_j >= 0 on lmbda per atom; 0 leaves an atom unpenalised, and cannot be combined with a target.
    init : array-like of shape (n_samples, n_components) or None, default=None
        Codes to start from; the result is the same within ``code_tol``. Cannot be combined with a target.
    code_tol : float or "auto", default="auto"
        Largest relative duality gap of a row, see `duality_gap`; "auto" is 1e-6 for float64 and 1e-4 for float32 data.
        float32 codes meet a tolerance below 1e-6 before they are rounded. Rounding leaves larger gaps if atoms are
        nearly duplicates or rows are almost exactly reproduced; a warning states the number of such rows. With a target
        the gap of a row is computed at its own lmbda, before ``debias``.
    n_jobs : int or None, default=None
        Number of threads; None is all cores of the process, or a joblib worker's share. The result does not
        depend on it.
    sparse_output : bool, default=False
        Whether to return a CSR matrix, built a block of rows at a time.

    Returns
    -------
    array or CSR matrix of shape (n_samples, n_components)
        Codes, of the dtype of X. Sparse codes are a CSR array if X is a sparse array.

    Raises
    ------
    ValueError
        If shapes disagree, entries are not finite, all atoms are zero, or a weight is negative; if neither lmbda nor a
        target is given; or if a target is combined with ``init`` or with a weight of zero.

    Warns
    -----
    ConvergenceWarning
        Once, if rows did not reach ``code_tol``.
    UserWarning
        Once, if rows end above ``max_error`` although neither ``n_nonzero`` nor ``lmbda`` ended their paths. Either the
        atoms do not span these rows, or rounding errors dominate the rest of their paths.

    See Also
    --------
    lmbda_path : Codes at many lmbdas.

    References
    ----------
    Efron, Hastie, Johnstone, Tibshirani, Least Angle Regression, 2004: the path and its steps.

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
    _check_combination(lmbda, init, to_target)
    given, (X, dictionary) = X, check_problem(X, dictionary)
    refuse_extremes(largest_magnitude(X), X.shape[1], X.dtype, np.float64)
    energy = lasso_energy(dictionary, lmbda or 0.0, positive=positive, l2=l2, weights=weights)
    energy, init = energy.for_rows(X.shape[0]), _checked_init(init, energy, X)
    tol = resolved_tol(code_tol, X.dtype)
    missed: list[float] = []
    if to_target:
        _check_all_penalised(energy)
        encode = partial(_to_target, n_nonzero=n_nonzero, max_error=max_error, tol=tol, missed=missed)
    else:
        encode = partial(_at_lmbda, tol=tol)

    def search(rows):
        block = _Block(energy, dense(X[rows]), None if init is None else init[rows])
        solution = encode(block)
        z = block.debiased(solution.z).astype(X.dtype, copy=False) if debias else solution.z
        return solution._replace(z=stored(z, sparse_output))

    solution = gather(search, X.shape[0], partial(each_block, n_jobs=n_jobs))
    warn_unless_converged(solution, _REMEDY)
    _warn_of_errors(missed, X.shape[0], max_error)
    return sparse_as(solution.z, given)


def _check_combination(lmbda, init, to_target):
    """Refuse arguments that cannot be combined."""
    if lmbda is None and not to_target:
        raise ValueError("Pass at least one of lmbda, n_nonzero and max_error.")
    if init is not None and to_target:
        raise ValueError("init cannot be given with n_nonzero or max_error: the path to a target starts from zero.")


def _check_all_penalised(energy):
    """Refuse weights of zero: no lmbda then makes the code zero, so that a path has no start."""
    if not energy.regularizer.thresholds(1.0, len(energy.decoder.atoms)).all():
        raise ValueError("weights has zeros, but n_nonzero and max_error need a penalty on every atom.")


def _checked_init(init, energy, X):
    """Codes to start from, as a dense array that fits X, the atoms and their signs; None stays None."""
    if init is None:
        return None
    init = check_codes(init, "init", len(energy.decoder.atoms), X.shape[0])
    if energy.regularizer.positive and (init < 0.0).any():
        raise ValueError("init has negative entries, but positive=True.")
    return init


@dataclass(frozen=True, eq=False)
class _Block:
    """A block of rows to encode."""

    energy: Any
    x: np.ndarray
    z0: np.ndarray | None  # codes to start from

    @cached_property
    def landscape(self):
        """The landscape of these rows, in float64 and with its Gram matrix."""
        return self.energy.given(_double(self.x)).on_gram()

    def least_angle(self, **targets):
        """Return the `Solution` with a lmbda for each row, in float64, and these lmbdas."""
        if self.energy.few_rows:
            return working_set_least_angle(self.energy, _double(self.x), **targets)
        return least_angle(self.landscape, **targets)

    def gaps_at(self, z, lmbdas):
        """The relative duality gaps of codes at these lmbdas."""
        if self.energy.few_rows:
            return working_set_gaps(self.energy, self.x, z, lmbdas)
        return gaps_at(self.landscape, z, lmbdas)

    def debiased(self, z):
        """The codes with their non-zeros refitted by least squares without any penalty, in float64."""
        if self.energy.few_rows:
            return working_set_debiased(self.energy, self.x, z)
        return debiased(self.landscape, _double(z))


def _at_lmbda(block, *, tol):
    """The `Solution` of a block at the energy's own lmbda."""
    return exact_codes(block.energy, block.x, block.z0, tol=tol)


def _to_target(block, *, n_nonzero, max_error, tol, missed):
    """The `Solution` of a block; appends to ``missed`` the errors of rows that these atoms keep above max_error."""
    x, lmbda = block.x, block.energy.lmbda
    solution, lmbdas = block.least_angle(
        n_nonzero=n_nonzero, max_error=max_error or 0.0, tol=before_rounding(tol, x.dtype)
    )
    if max_error is not None:
        errors = _relative(summarize(block.energy, x, solution.z).squares, x)
        stopped = (np.count_nonzero(solution.z, axis=1) == n_nonzero) | ((lmbdas == lmbda) & (lmbda > 0.0))
        missed.extend(errors[(errors > max_error + _ROUNDING[x.dtype.char]) & ~stopped])
    return rounded(solution, x.dtype, tol, partial(block.gaps_at, lmbdas=lmbdas))


def _warn_of_errors(errors, n_samples, max_error):
    if errors:
        warn_user(
            f"{len(errors)} of {n_samples} rows cannot reach max_error={max_error} with these atoms; the worst ended "
            f"at a relative error of {max(errors):.2g}. Raise max_error, add atoms, lower l2, allow negative codes, or "
            "remove atoms that are nearly combinations of others."
        )


class LmbdaPath(NamedTuple):
    """Codes at decreasing values of lmbda, see `lmbda_path`."""

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
    r"""Exact sparse codes at many lmbdas, by following the path of each row once.

    .. math:: \min_z \tfrac12 \|x - zD\|_2^2 + \lambda_i \sum_j w_j |z_j| + \tfrac{l_2}{2} \|z\|_2^2,
        \qquad \lambda_1 \ge \lambda_2 \ge \dots

    Between breakpoints the minimum is linear in lmbda. The path of a row is therefore followed once, from the lmbda at
    which its code is zero down to the smallest lmbda, and contains the codes at all of them.

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
        One factor w_j >= 0 on lmbda per atom. With a weight of 0 there is no such path; the code at each lmbda is then
        the start of the search at the next lmbda, which takes longer.
    code_tol : float or "auto", default="auto"
        Largest relative duality gap of any code, as in `sparse_encode`.
    n_jobs : int or None, default=None
        Number of threads; None is all cores of the process, or a joblib worker's share. The result does not
        depend on it.
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
        If shapes disagree, entries are not finite, all atoms are zero, or a weight or a lmbda is negative.

    Warns
    -----
    ConvergenceWarning
        Once, if codes did not reach ``code_tol``.

    See Also
    --------
    sparse_encode : Codes at one lmbda, or to a number of entries or an error.
    lmbda_grid : Values of lmbda from the first non-zero codes to dense codes.

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
    given, (X, dictionary) = X, check_problem(X, dictionary)
    refuse_extremes(largest_magnitude(X), X.shape[1], X.dtype, np.float64)
    if lmbdas is None:
        lmbdas = lmbda_grid(X, dictionary)
    energy = lasso_energy(dictionary, lmbdas[-1], positive=positive, l2=l2, weights=weights)
    energy, tol = energy.for_rows(X.shape[0]), resolved_tol(code_tol, X.dtype)

    record = _PathRecord(energy, lmbdas, X, sparse_output)

    def follow(rows):
        x = dense(X[rows])
        for i, solution in enumerate(exact_path(energy, x, lmbdas, tol=tol)):
            record.add(i, rows, x, solution)

    each_block(follow, X.shape[0], n_jobs, size=min(ROWS_PER_BLOCK, max(1, _CODES_PER_BLOCK // len(lmbdas))))
    path, searches = record.gathered()
    warn_unless_converged(searches, _REMEDY)
    return path._replace(codes=[sparse_as(z, given) for z in path.codes]) if sparse_output else path


class _PathRecord:
    """The codes of all rows at each lmbda, with their energies, densities and errors, stored block by block."""

    def __init__(self, energy, lmbdas, X, sparse_output):
        self._energy, self._lmbdas, self._sparse_output = energy, lmbdas, sparse_output
        shape, n_components = (len(lmbdas), X.shape[0]), len(energy.decoder.atoms)
        self._codes = [None] * len(lmbdas) if sparse_output else np.empty((*shape, n_components), X.dtype)
        self._solutions = [Gathered(X.shape[0], codes) for codes in self._codes]
        self._counts, self._energies, self._errors = np.empty(shape), np.empty(shape), np.empty(shape)

    def add(self, i, rows, x, solution):
        """Store the solution of the rows x at the i-th lmbda."""
        sums = summarize(self._energy, x, solution.z)
        self._counts[i, rows] = sums.counts
        self._energies[i, rows] = sums.energies(self._lmbdas[i], self._energy.encoder_weight)
        self._errors[i, rows] = _relative(sums.squares, x)
        self._solutions[i].add(rows, solution._replace(z=stored(solution.z, self._sparse_output)))

    def gathered(self):
        """Return the `LmbdaPath`, and the `Solution` of all searches without codes."""
        solutions = [part.solution() for part in self._solutions]
        codes = [solution.z for solution in solutions] if self._sparse_output else self._codes
        densities = self._counts.sum(axis=1) / (self._counts.shape[1] * len(self._energy.decoder.atoms))
        path = LmbdaPath(self._lmbdas, codes, self._energies, densities, self._errors)
        return path, joined([solution._replace(z=np.empty(0)) for solution in solutions])


def _relative(squares, x):
    """norm(x - zD) / norm(x) per row; 0 for a row of zeros, infinite if its squares overflow."""
    with np.errstate(over="ignore"):
        whole = squares_per_sample(x)
    known = (whole > 0.0) & (whole < np.inf)
    return np.sqrt(np.divide(squares, whole, out=np.where(whole > 0.0, np.inf, 0.0), where=known))


def _double(x):
    return x.astype(np.float64, copy=False)
