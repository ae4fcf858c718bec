"""Sparse coding, with exact codes (SparseCoder) or by proximal gradient on any device (FISTACoder)."""

from numbers import Integral, Real
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from skrlv._compat import Interval, StrOptions
from skrlv._threads import each_block
from skrlv.decoders import Dictionary
from skrlv.energy import Energy, lasso_energy
from skrlv.inference import ROWS_PER_THREAD, code_energies, exact_codes, exact_path, fista_restart
from skrlv.models.coder import Coder
from skrlv.models.validation import ENCODING_PARAMETERS, LASSO_PARAMETERS, resolved_tol, stored
from skrlv.regularizers import L0, L1, ElasticNet, GroupL1, Regularizer, check_regularizer

_FAMILY = {"l1": L1, "elastic_net": ElasticNet, "group_l1": GroupL1, "l0": L0}

_COMMON = {
    "n_components": [Interval(Integral, 1, None, closed="left"), None],
    "lmbda": [*LASSO_PARAMETERS["lmbda"], StrOptions({"auto"})],
    "positive": LASSO_PARAMETERS["positive"],
    "dictionary": ["array-like", None],
    "dictionary_init": ["array-like", StrOptions({"k-means++"}), None],
    "max_iter": [Interval(Integral, 1, None, closed="left")],
    "batch_size": [Interval(Integral, 1, None, closed="left"), StrOptions({"auto"})],
    "tol": [Interval(Real, 0, None, closed="left")],
    "code_tol": ENCODING_PARAMETERS["code_tol"],
    "sparse_output": ENCODING_PARAMETERS["sparse_output"],
    "warm_start": ["boolean"],
    "random_state": ["random_state"],
}


class SparseCoder(Coder):
    r"""Sparse coding with exact codes, and dictionary learning.

    .. math:: E(x, z) = \tfrac12 \|x - zD\|_2^2 + \lambda \|z\|_1 + \tfrac{l_2}{2} \|z\|_2^2

    `transform` minimises over z by homotopy with a certificate on each row; `fit` learns the unit-norm
    atoms, the rows of D, from the statistics of codes and data.

    Parameters
    ----------
    n_components : int or None, default=None
        Number of atoms; None is min(n_features, 256).
    lmbda : float or "auto", default="auto"
        Weight of the L1 term, >= 0, in the unit of X: what scikit-learn's ``DictionaryLearning`` calls alpha.
        "auto" is 1.2 times the root mean square of the entries of X (times the rms norm of given atoms).
    positive : bool, default=False
        Whether codes are non-negative.
    positive_dictionary : bool, default=False
        Whether atoms are non-negative.
    l2 : float, default=0.0
        Weight of the squared term (elastic net), >= 0.
    dictionary : array-like of shape (n_components, n_features) or None, default=None
        Atoms to use as they are; `fit` then only validates, and ``n_iter_`` is 0. None learns the atoms.
    dictionary_init : array-like of shape (n_components, n_features), "k-means++" or None, default=None
        Atoms to start from, copied and scaled to unit norm; None takes random rows of X, "k-means++" rows that are far
        from each other.
    max_iter : int, default=100
        Maximum number of passes over the data.
    batch_size : int or "auto", default="auto"
        Number of rows per update of the atoms; "auto" is 256. With all rows in one batch the energy never rises.
    tol : float, default=1e-3
        Learning stops when the mean energy falls by no more than this share of itself from one pass to the next; 0
        makes all ``max_iter`` passes.
    code_tol : float or "auto", default="auto"
        Largest relative duality gap of a code: 1e-6 for float64 and 1e-4 for float32 data. float32 codes
        meet a tolerance below 1e-6 before they are rounded; see `sparse_encode`.
    split_sign : bool, default=False
        Whether `transform` returns (max(z, 0), max(-z, 0)), twice the columns.
    sparse_output : bool, default=False
        Whether `transform` returns a CSR matrix.
    n_jobs : int or None, default=None
        Number of threads; None is all cores of the process, or a joblib worker's share. The result does not
        depend on it.
    warm_start : bool, default=False
        Whether `fit` continues from what was learned before, with its statistics, instead of starting anew.
    random_state : int, RandomState instance or None, default=None
        Draws the initial atoms and the batches.

    Attributes
    ----------
    components_ : array of shape (n_components, n_features)
        Atoms, of the dtype of X.
    n_components_ : int
        Number of atoms.
    lmbda_ : float
        Weight of the regularizer in use.
    energy_history_ : array of shape (n_iter_,)
        Mean energy per sample of each pass; each batch is measured before its own update.
    n_iter_ : int
        Number of passes over the data; with `partial_fit`, of batches.
    atom_usage_ : array of shape (n_components,)
        Share of the samples that use each atom; recent samples weigh more. Not available if atoms were given.
    n_resampled_ : int
        Number of unused or duplicate atoms that were replaced by poorly reconstructed samples.
    n_features_in_ : int
        Number of features of X.
    feature_names_in_ : array of shape (n_features_in_,)
        Column names of X, if it has names that are strings.

    See Also
    --------
    sparse_encode : Codes on given atoms, as a function.
    FISTACoder : Other regularizers; GPUs.

    References
    ----------
    Olshausen, Field, Sparse coding with an overcomplete basis set: a strategy employed by V1?, 1997.
    Mairal, Bach, Ponce, Sapiro, Online Learning for Matrix Factorization and Sparse Coding, 2010.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from skrlv import SparseCoder
    >>> X = load_digits().data / 16
    >>> coder = SparseCoder(n_components=32, random_state=0).fit(X)
    >>> Z = coder.transform(X)
    >>> Z.shape
    (1797, 32)
    >>> bool(0.02 < (Z != 0).mean() < 0.3)
    True
    """

    _frozen = ("positive", "l2")
    _mixes_dtypes = True
    _parameter_constraints = {
        **_COMMON,
        "positive_dictionary": ["boolean"],
        "l2": LASSO_PARAMETERS["l2"],
        "split_sign": ["boolean"],
        "n_jobs": ENCODING_PARAMETERS["n_jobs"],
    }

    def __init__(
        self,
        n_components: int | None = None,
        *,
        lmbda: float | str = "auto",
        positive: bool = False,
        positive_dictionary: bool = False,
        l2: float = 0.0,
        dictionary: ArrayLike | None = None,
        dictionary_init: ArrayLike | str | None = None,
        max_iter: int = 100,
        batch_size: int | str = "auto",
        tol: float = 1e-3,
        code_tol: float | str = "auto",
        split_sign: bool = False,
        sparse_output: bool = False,
        n_jobs: int | None = None,
        warm_start: bool = False,
        random_state: Any = None,
    ):
        self.n_components = n_components
        self.lmbda = lmbda
        self.positive = positive
        self.positive_dictionary = positive_dictionary
        self.l2 = l2
        self.dictionary = dictionary
        self.dictionary_init = dictionary_init
        self.max_iter = max_iter
        self.batch_size = batch_size
        self.tol = tol
        self.code_tol = code_tol
        self.split_sign = split_sign
        self.sparse_output = sparse_output
        self.n_jobs = n_jobs
        self.warm_start = warm_start
        self.random_state = random_state

    def _energy(self, atoms, lmbda, encoder=None):
        return lasso_energy(atoms, lmbda, **self._shape)

    def _infer(self, energy, y, z0=None):
        return exact_codes(energy, y, z0, tol=resolved_tol(self.code_tol, y.dtype))

    def _infer_path(self, energy, y, lmbdas):
        return exact_path(energy, y, lmbdas, tol=resolved_tol(self.code_tol, y.dtype))

    def _spend(self, energy, y, z):
        def spent(rows):
            return code_energies(energy, y[rows], z[rows]).sum()

        return float(sum(each_block(spent, len(y), self.n_jobs, ROWS_PER_THREAD)))

    def _as_features(self, z):
        if self.split_sign:
            z = np.hstack([np.maximum(z, 0.0), np.maximum(-z, 0.0)])
        return stored(z, self.sparse_output)

    def _as_codes(self, Z):
        return Z[:, : self.n_components_] - Z[:, self.n_components_ :] if self.split_sign else Z

    @property
    def _n_features_out(self):
        return self.n_components_ * (2 if self.split_sign else 1)


class FISTACoder(Coder):
    r"""Sparse coding by FISTA with restart: any regularizer, any device.

    .. math:: E(x, z) = \tfrac12 \|x - zD\|_2^2 + \lambda R(z)

    Parameters
    ----------
    n_components : int or None, default=None
        Number of atoms; None is min(n_features, 256).
    lmbda : float or "auto", default="auto"
        Weight of R, >= 0. "auto" is 1.2 times the root mean square of the entries of X (times the rms norm of
        given atoms), which suits L1. For L0 lmbda is in squared units: an entry is kept if it lowers the squared
        error by more than 2 lmbda, so give a number.
    regularizer : {"l1", "elastic_net", "group_l1", "l0"} or Regularizer, default="l1"
        R, by name with its default settings or as an instance from `skrlv.regularizers`.
    positive : bool, default=False
        Whether codes are non-negative; a regularizer instance must say so itself.
    dictionary : array-like of shape (n_components, n_features) or None, default=None
        Atoms to use as they are; `fit` then only validates, and ``n_iter_`` is 0. None learns the atoms.
    dictionary_init : array-like of shape (n_components, n_features), "k-means++" or None, default=None
        Atoms to start from, copied and scaled to unit norm; None takes random rows of X, "k-means++" rows that are far
        from each other.
    max_iter : int, default=100
        Maximum number of passes over the data.
    batch_size : int or "auto", default="auto"
        Number of rows per update of the atoms; "auto" is 256.
    tol : float, default=1e-3
        Learning stops when the mean energy falls by no more than this share of itself from one pass to the next; 0
        makes all ``max_iter`` passes.
    code_max_iter : int, default=1000
        Maximum number of FISTA steps per code.
    code_tol : float or "auto", default="auto"
        A code has converged when no entry of its gradient mapping exceeds this share of its largest correlation:
        1e-6 for float64 and 1e-4 for float32 data. This is not a certificate; `duality_gap` is one.
    sparse_output : bool, default=False
        Whether `transform` returns a CSR matrix.
    device : str, default="cpu"
        "cpu" is NumPy and numba; "cuda", "cuda:1" and "torch:cpu" run the array code on torch. "mps" is not
        supported, since energies are float64, which it lacks.
    warm_start : bool, default=False
        Whether `fit` continues from what was learned before, with its statistics, instead of starting anew.
    random_state : int, RandomState instance or None, default=None
        Draws the initial atoms and the batches.

    Attributes
    ----------
    components_ : array of shape (n_components, n_features)
        Atoms, of the dtype of X.
    n_components_ : int
        Number of atoms.
    lmbda_ : float
        Weight of the regularizer in use.
    energy_history_ : array of shape (n_iter_,)
        Mean energy per sample of each pass; each batch is measured before its own update.
    n_iter_ : int
        Number of passes over the data; with `partial_fit`, of batches.
    atom_usage_ : array of shape (n_components,)
        Share of the samples that use each atom; recent samples weigh more. Not available if atoms were given.
    n_resampled_ : int
        Number of unused or duplicate atoms that were replaced by poorly reconstructed samples.
    n_features_in_ : int
        Number of features of X.
    feature_names_in_ : array of shape (n_features_in_,)
        Column names of X, if it has names that are strings.

    See Also
    --------
    SparseCoder : The same for L1 and the elastic net on a CPU, faster and with a certificate.

    References
    ----------
    Beck, Teboulle, A Fast Iterative Shrinkage-Thresholding Algorithm for Linear Inverse Problems, 2009.
    O'Donoghue, Candes, Adaptive Restart for Accelerated Gradient Schemes, 2015.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from skrlv import FISTACoder
    >>> X = load_digits().data[:300] / 16
    >>> coder = FISTACoder(32, regularizer="group_l1", random_state=0).fit(X)
    >>> coder.transform(X).shape
    (300, 32)
    """

    _frozen = ("regularizer", "positive")
    _remedy = "Raise code_max_iter, or code_tol."
    _parameter_constraints = {
        **_COMMON,
        "regularizer": [StrOptions(set(_FAMILY)), Regularizer],
        "code_max_iter": [Interval(Integral, 1, None, closed="left")],
        "device": [str],
    }

    def __init__(
        self,
        n_components: int | None = None,
        *,
        lmbda: float | str = "auto",
        regularizer: str | Regularizer = "l1",
        positive: bool = False,
        dictionary: ArrayLike | None = None,
        dictionary_init: ArrayLike | str | None = None,
        max_iter: int = 100,
        batch_size: int | str = "auto",
        tol: float = 1e-3,
        code_max_iter: int = 1000,
        code_tol: float | str = "auto",
        sparse_output: bool = False,
        device: str = "cpu",
        warm_start: bool = False,
        random_state: Any = None,
    ):
        self.n_components = n_components
        self.lmbda = lmbda
        self.regularizer = regularizer
        self.positive = positive
        self.dictionary = dictionary
        self.dictionary_init = dictionary_init
        self.max_iter = max_iter
        self.batch_size = batch_size
        self.tol = tol
        self.code_max_iter = code_max_iter
        self.code_tol = code_tol
        self.sparse_output = sparse_output
        self.device = device
        self.warm_start = warm_start
        self.random_state = random_state

    def _validate_params(self):
        super()._validate_params()
        if isinstance(self.regularizer, Regularizer) and self.positive and not self.regularizer.positive:
            raise ValueError(f"positive=True needs a positive regularizer, got {self.regularizer!r}.")

    def _initial_energy(self, X, rng):
        energy = super()._initial_energy(X, rng)
        check_regularizer(energy.regularizer, len(energy.decoder.atoms), like=energy.decoder.atoms)
        return energy

    def _energy(self, atoms, lmbda, encoder=None):
        return Energy(Dictionary(atoms), _regularizer(**self._shape), lmbda)

    def _infer(self, energy, y, z0=None):
        tol = resolved_tol(self.code_tol, self.components_.dtype)
        return fista_restart(energy.given(y), z0, max_iter=self.code_max_iter, tol=tol)

    def _as_features(self, z):
        return stored(z, self.sparse_output)


def _regularizer(regularizer, positive):
    return regularizer if isinstance(regularizer, Regularizer) else _FAMILY[regularizer](positive=positive)
