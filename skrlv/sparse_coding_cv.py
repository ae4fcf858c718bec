"""Sparse coding that chooses lmbda by cross-validation."""

import math
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from sklearn.model_selection import check_cv

from skrlv._rows import Rows, sample_rows
from skrlv.decoders import Dictionary
from skrlv.inference import useful_range
from skrlv.models.hold_out import r_squared
from skrlv.models.validation import decreasing
from skrlv.models.warning import warn_user
from skrlv.sparse_coding import SparseCoder

_WIDEST_STEP = 1.5
_PASSES = 3  # from the atoms of one lmbda to those of the next
_AT_A_TIME = 3  # lmbdas that are added to a grid whose end is the best
_FURTHEST = 100.0  # share of its end down to which a grid is extended


class SparseCoderCV(SparseCoder):
    r"""Sparse coding at the lmbda that predicts held-out features best.

    .. math:: E(x, z) = \tfrac12 \|x - zD\|_2^2 + \lambda \|z\|_1 + \tfrac{l_2}{2} \|z\|_2^2

    For each fold of the rows, atoms are learned from the other folds along one path: from the largest lmbda to the
    smallest, where each lmbda starts from the atoms of the last. The rows left out are scored as by
    `SparseCoder.score`, and the sums over all folds rank the lmbdas. The model is then learned from all rows along the
    same path, down to the best lmbda, where learning continues until it converges. With ``dictionary`` nothing is
    learned: all rows are scored, and one path per row and fold of features gives the codes at all lmbdas.

    Parameters
    ----------
    n_components : int or None, default=None
        Number of atoms; None is min(n_features, 256).
    lmbdas : array-like of shape (n_lmbdas,) or None, default=None
        Weights of the L1 term to choose from, >= 0, in any order. None is a geometric grid in steps of at most 1.5,
        between the ends of `lmbda_grid` at the first atoms; while its smallest value is the best, smaller ones are
        added, down to a hundredth of it.
    cv : int, cross-validation generator or iterable, default=None
        Folds of the rows, as in scikit-learn; None is five, and ``ShuffleSplit(1)`` is a fifth of the time.
    positive : bool, default=False
        Whether codes are non-negative.
    positive_dictionary : bool, default=False
        Whether atoms are non-negative.
    l2 : float, default=0.0
        Weight of the squared term (elastic net), >= 0.
    dictionary : array-like of shape (n_components, n_features) or None, default=None
        Atoms to use as they are; None learns them.
    dictionary_init : array-like of shape (n_components, n_features), "k-means++" or None, default=None
        Atoms to start from, copied and scaled to unit norm; None takes random rows of X, "k-means++" rows that are far
        from each other.
    max_iter : int, default=100
        Maximum number of passes over the data at the largest lmbda of a path, and for the model at the chosen one; 3 at
        each of the others.
    batch_size : int or "auto", default="auto"
        Number of rows per update of the atoms; "auto" is 256.
    tol : float, default=1e-3
        Learning stops when the mean energy falls by no more than this share of itself from one pass to the next; 0
        makes all ``max_iter`` passes.
    code_tol : float or "auto", default="auto"
        Largest relative duality gap of a code: 1e-6 for float64 and 1e-4 for float32 data.
    split_sign : bool, default=False
        Whether `transform` returns (max(z, 0), max(-z, 0)), twice the columns.
    sparse_output : bool, default=False
        Whether `transform` returns a CSR matrix.
    n_jobs : int or None, default=None
        Number of threads; None is all cores of the process, or a joblib worker's share. The result does not
        depend on it.
    random_state : int, RandomState instance or None, default=None
        Draws the initial atoms and the batches.

    Attributes
    ----------
    lmbda_ : float
        The lmbda of the best score, the largest where several are best.
    lmbdas_ : array of shape (n_lmbdas,)
        Those it was chosen from, decreasing.
    scores_ : array of shape (n_lmbdas,)
        The score of each, of all rows that were left out together.
    components_ : array of shape (n_components, n_features)
        Atoms, of the dtype of X.
    n_components_ : int
        Number of atoms.
    energy_history_ : array of shape (n_iter_,)
        Mean energy per sample over each pass at ``lmbda_``, each batch before its own update.
    n_iter_ : int
        Passes over the data at ``lmbda_``; with `partial_fit`, batches, of which the first chooses lmbda.
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
    SparseCoder : At one lmbda, and how its score hides features.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.datasets import load_digits
    >>> from skrlv import SparseCoderCV
    >>> X = load_digits().data[:500] / 16
    >>> noisy = X + np.random.RandomState(0).normal(scale=0.3, size=X.shape)
    >>> coder = SparseCoderCV(32, lmbdas=[2.0, 1.0, 0.5, 0.25, 0.125], random_state=0).fit(noisy)
    >>> coder.lmbda_
    0.5
    >>> cleaned = coder.inverse_transform(coder.transform(noisy))
    >>> bool(np.mean((cleaned - X) ** 2) < np.mean((noisy - X) ** 2) / 2)
    True
    """

    lmbda = "auto"  # of the equation before one is chosen
    _parameter_constraints = {
        **{
            name: rule
            for name, rule in SparseCoder._parameter_constraints.items()
            if name not in ("lmbda", "warm_start")
        },
        "lmbdas": ["array-like", None],
        "cv": ["cv_object"],
    }

    def __init__(
        self,
        n_components: int | None = None,
        *,
        lmbdas: ArrayLike | None = None,
        cv: Any = None,
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
        random_state: Any = None,
    ):
        super().__init__(
            n_components,
            positive=positive,
            positive_dictionary=positive_dictionary,
            l2=l2,
            dictionary=dictionary,
            dictionary_init=dictionary_init,
            max_iter=max_iter,
            batch_size=batch_size,
            tol=tol,
            code_tol=code_tol,
            split_sign=split_sign,
            sparse_output=sparse_output,
            n_jobs=n_jobs,
            random_state=random_state,
        )
        self.lmbdas = lmbdas
        self.cv = cv

    def _initial_energy(self, X, rng):
        energy = super()._initial_energy(X, rng)
        grid = _grid(energy, X) if self.lmbdas is None else decreasing(self.lmbdas)
        self.lmbdas_, errors = self._judged(X, grid, extended=self.lmbdas is None and min(grid.size, X.shape[1]) > 1)
        self.scores_ = r_squared(errors, X)
        best = np.argmax(self.scores_)
        energy = replace(energy, lmbda=self.lmbdas_[best])
        if self.dictionary is not None:
            return energy
        *_, end = self._path(X, self.lmbdas_[: best + 1])
        return replace(energy, decoder=Dictionary(end.energy_.decoder.atoms))

    def _judged(self, X, lmbdas, extended):
        """-> (lmbdas, their errors on held-out features); ``extended`` adds smaller ones while the last is the best."""
        folds = [] if self.dictionary is not None else self._folds(X)
        errors, atoms = self._errors_without_rows(X, lmbdas, folds, [None] * len(folds))
        ratio, lowest = lmbdas[-1] / lmbdas[-2] if extended else 1.0, lmbdas[-1] / _FURTHEST
        while extended and _ends_best(errors, X) and lmbdas[-1] * ratio > lowest:
            further = lmbdas[-1] * ratio ** np.arange(1, _AT_A_TIME + 1)
            more, atoms = self._errors_without_rows(X, further, folds, atoms)
            lmbdas, errors = np.append(lmbdas, further), np.append(errors, more)
        if extended and _ends_best(errors, X):
            warn_user(
                f"lmbda={lmbdas[-1]:.3g} has the best score, and it is the smallest that was tried: codes are dense "
                "there, and X may hold no noise. Pass lmbdas= that go lower, or choose lmbda by what codes are for."
            )
        return lmbdas, errors

    def _errors_without_rows(self, X, lmbdas, folds, starts):
        """Squared errors on held-out features of all rows at each lmbda, with atoms that did not learn from the row.

        The path of each fold goes on from its atoms in ``starts``, or begins where they are None. Returns the errors
        and the last atoms.
        """
        if self.dictionary is not None:
            return _Step(**self._shared).fit(X)._errors(X, lmbdas), []
        errors, ends = np.zeros(len(lmbdas)), []
        for (learned, left_out), start in zip(folds, starts, strict=True):
            for i, step in enumerate(self._path(X[learned], lmbdas, start)):
                errors[i] += step._errors(X[left_out], [step.lmbda])[0]
            ends.append(step.components_)
        return errors, ends

    def _folds(self, X):
        folds = list(check_cv(self.cv).split(X))
        if not folds or not all(np.size(X[part]) for fold in folds for part in fold):
            raise ValueError(f"cv={self.cv!r} must give folds with rows to learn from and rows to score.")
        return folds

    def _path(self, X, lmbdas, start=None):
        """A coder that has learned from X at each lmbda, every time from the atoms of the last."""
        step, passes = _Step(**self._shared), self.max_iter
        for lmbda in lmbdas:
            if start is not None:
                step.set_params(dictionary_init=start)
                passes = min(self.max_iter, _PASSES)
            yield step.set_params(lmbda=lmbda, max_iter=passes).fit(X)
            start = step.components_

    @property
    def _shared(self):
        """What it has in common with `SparseCoder`."""
        return {name: getattr(self, name) for name in SparseCoder().get_params() if name != "lmbda"}


class _Step(SparseCoder):
    """A fit of which only the score is wanted: the ends of a path are useless on purpose."""

    _warns = False


def _ends_best(errors, X):
    """Whether the smallest lmbda has a better score than all others."""
    scores = r_squared(errors, X)
    return scores[-1] > scores[:-1].max()


def _grid(energy, X):
    """From the first codes to dense ones; one value where there are no codes at any."""
    decoder = Dictionary(energy.decoder.atoms.astype(np.float64))
    rows = Rows(X)
    sample = sample_rows(rows, rows.summary())
    ends = useful_range(replace(energy, decoder=decoder), sample.astype(np.float64))
    if ends is None:
        return np.array([energy.lmbda])
    first, dense = ends
    return np.geomspace(first, dense, 1 + math.ceil(math.log(first / dense) / math.log(_WIDEST_STEP)))
