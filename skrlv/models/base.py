"""Floor 5: the scikit-learn face that all models share."""

import sys
import warnings
from abc import ABCMeta, abstractmethod
from contextlib import contextmanager

import numpy as np
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data

from skrlv._arrays import to_device, to_numpy
from skrlv._compat import CallbackSupportMixin, _fit_context
from skrlv._threads import ROWS_PER_BLOCK, dense, each_block, row_blocks
from skrlv.inference import gather
from skrlv.models.validation import check_codes

ROWS_PER_TRANSFER = 8192
ROWS_PER_STEP = 256


class LatentVariableModel(
    CallbackSupportMixin, ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator, metaclass=ABCMeta
):
    r"""A model with the energy :math:`E(y, z) = C(y, Dec(z)) + \lambda R(z) + w\, D(z, Enc(y))`.

    ``fit`` learns Dec and Enc, ``transform`` finds z. A subclass says which letters (`_initial_energy`), how z is
    found (`_infer`) and how the parameters move (`_update`), and stores what it learned as arrays (`_store`).
    """

    device = "cpu"
    n_jobs: int | None = None
    _remedy = "Raise code_tol."

    @abstractmethod
    def _initial_energy(self, X, rng):
        """The Energy that learning starts from."""

    @abstractmethod
    def _learner(self, X, energy, rng, **given):
        """What learns in `fit`: it has the state and the energy so far, says when it has settled, and may complain."""

    @abstractmethod
    def _pass(self, X, learned, rng):
        """Pass over the data once, written down in ``learned``: -> energy spent on all rows."""

    @abstractmethod
    def _encode(self, energy, y, z0=None):
        """In `transform`: the `Solution` of a block of rows y, without any chance in it; several threads call it."""

    @abstractmethod
    def _store(self, energy, dtype):
        """Keep the energy's parameters as fitted attributes: arrays of the dtype of X, and scalars."""

    @property
    @abstractmethod
    def energy_(self):
        """The fitted equation, rebuilt from the stored arrays."""

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y=None):
        """Learn the parameters from X.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            Data, float32 or float64; other dtypes become float64.
        y : None
            Ignored, for scikit-learn's pipelines.

        Returns
        -------
        self : object
            The fitted estimator. A fit that fails leaves it as it was, and so does one that is interrupted before its
            first complete step; interrupted later, it keeps the last one.

        Raises
        ------
        ValueError
            If X is not a finite matrix, or a parameter is out of its range.
        """
        return self._fit(X)

    def _fit(self, X, **given):
        """`fit`, with what else it was given for the learner."""
        with unchanged_unless_learned(self):
            X = self._validated(X, reset=True)
            rng = check_random_state(self.random_state)
            energy = self._begin(X, rng)
            if self._learns:
                seen = self._learned_from(X, rng)
                self._learn(seen, self._learner(seen, energy, rng, **given), rng)
            self._review(X)
        return self

    @property
    def _learns(self):
        """Whether there is anything to learn."""
        return True

    def _learned_from(self, X, rng):
        """What `fit` passes over."""
        return X

    def _begin(self, X, rng):
        """Set up the model, and return the energy that learning starts from."""
        energy = self._initial_energy(X, rng)
        self._keep({}, energy, X.dtype, np.empty(0))
        return energy

    def _keep(self, state, energy, dtype, history):
        self._store(energy, dtype)
        self._state, self.energy_history_, self.n_iter_ = state, history, len(history)

    def _learn(self, X, learned, rng):
        """Pass over the data until there is nothing to gain."""
        history: list[float] = []
        context = self._init_callback_context(max_subtasks=self.max_iter)
        context.call_on_fit_task_begin(estimator=self, X=X)
        try:
            for _ in range(self.max_iter):
                task = context.subcontext(task_name="pass over the data")
                task.call_on_fit_task_begin(estimator=self, X=X)
                history.append(self._pass(X, learned, rng) / X.shape[0])
                if task.call_on_fit_task_end(estimator=self, X=X) or learned.settled(history, self.tol):
                    break
        finally:
            # Also on KeyboardInterrupt: what the last complete step gave is kept.
            self._keep(learned.state, learned.energy, X.dtype, np.asarray(history))
        context.call_on_fit_task_end(estimator=self, X=X)
        complaint = learned.complaint
        if complaint:
            warn_user(complaint, ConvergenceWarning)

    def _review(self, X):
        """Warn of a fitted model that is of little use."""

    def _batch_size(self, n_samples):
        return min(n_samples, ROWS_PER_STEP) if self.batch_size == "auto" else self.batch_size

    def transform(self, X):
        """Find the codes of X.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            Data.

        Returns
        -------
        array or CSR matrix of shape (n_samples, n_components)
            Codes, of the dtype of X.
        """
        X = self._validated(X)
        return self._kept_of_codes(self.energy_, X, lambda x, z: self._as_features(z))

    def _kept_of_codes(self, energy, X, keep):
        """What ``keep`` makes of validated rows and their codes, with a warning about those not converged."""
        solution = self._solve(energy, X, keep)
        warn_unless_converged(solution, self._remedy)
        return solution.z

    def _solve(self, energy, X, keep=None):
        """The `Solution` of validated rows, codes as NumPy in the dtype of X.

        With ``keep(x, z)``, a function of the rows of a block and their codes, its result takes the place of the
        codes, so that the codes of all rows need never be held.
        """

        def search(rows):
            x = dense(X[rows])
            solution = self._encode(energy, self._placed(x))
            z = to_numpy(solution.z).astype(X.dtype, copy=False)
            return solution._replace(z=z if keep is None else keep(x, z))

        return gather(search, X.shape[0], self._each_block)

    def _each_block(self, work, n_rows):
        """Blocks of rows go to threads; a device is kept busy by larger ones, one after the other."""
        if self.device == "cpu":
            return each_block(work, n_rows, self.n_jobs, self._rows_at_once)
        return [work(rows) for rows in row_blocks(n_rows, self._rows_at_once)]

    @property
    def _rows_at_once(self):
        return ROWS_PER_BLOCK if self.device == "cpu" else ROWS_PER_TRANSFER

    def _placed(self, x):
        """Validated data or codes on the device."""
        return to_device(x, self.device)

    def _as_features(self, z):
        """Codes as transform returns them."""
        return z

    def _as_codes(self, Z):
        """The inverse of `_as_features`."""
        return Z

    def inverse_transform(self, X):
        """Decode codes as `transform` returns them.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features_out)
            Codes.

        Returns
        -------
        array of shape (n_samples, n_features)
            Their reconstructions, of the dtype of X.
        """
        check_is_fitted(self)
        z = self._validated_codes(X, "X")
        energy = self.energy_
        decoded = energy.cost.expected(energy.decoder(self._placed(z)))
        return self._as_data(to_numpy(decoded).astype(z.dtype, copy=False))

    def _as_data(self, y):
        """Decoded codes in the shape of X."""
        return y

    def energy(self, X, Z=None):
        """Energy of each sample with its code.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            Data.
        Z : array-like or sparse matrix of shape (n_samples, n_features_out) or None, default=None
            Codes as `transform` returns them; None infers them.

        Returns
        -------
        array of shape (n_samples,)
            E(x, z), in squared units of X, float64; infinite for a code that the model does not allow.
        """
        X = self._validated(X)
        z = None if Z is None else self._validated_codes(Z, "Z", X.shape[0])
        return self._spent_on(self.energy_, X, z)

    def _spent_on(self, energy, X, z=None):
        """The energy of each validated row with its code, with the one that is found where there is none."""

        def spent(x, z):
            return to_numpy(energy(self._placed(x), self._placed(z)))

        if z is None:
            return self._kept_of_codes(energy, X, spent)
        return np.concatenate(self._each_block(lambda rows: spent(dense(X[rows]), z[rows]), len(z)))

    def score_samples(self, X):
        """Minus the energy of each sample with the code that `transform` gives it.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            Data.

        Returns
        -------
        array of shape (n_samples,)
            Higher is more like the training data.
        """
        return -self.energy(X)

    def _validated(self, X, reset=False):
        if not reset:
            check_is_fitted(self)
        return validate_data(self, X, accept_sparse="csr", dtype=[np.float64, np.float32], order="C", reset=reset)

    def _validated_codes(self, Z, name, n_samples=None):
        return self._as_codes(check_codes(Z, name, self._n_features_out, n_samples))

    @property
    def _n_features_out(self):
        return self.n_components_

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags


def warn_unless_converged(solution, remedy):
    """One warning for all rows of a call."""
    complaint = of_those_not_converged(solution, remedy)
    if complaint:
        warn_user(complaint, ConvergenceWarning)


def of_those_not_converged(solution, remedy):
    """How many rows, how far, and what to do; None where all arrived."""
    missed = ~solution.converged
    if not missed.any():
        return None
    return (
        f"{missed.sum()} of {missed.size} codes missed the tolerance; the worst ended at "
        f"{solution.error[missed].max():.1e}. {remedy}"
    )


def warn_user(message, category=UserWarning):
    """Warn at the line outside of this library and scikit-learn that led here."""
    frame, level = sys._getframe(1), 2
    while frame.f_back and frame.f_globals.get("__name__", "").split(".")[0] in ("skrlv", "sklearn"):
        frame, level = frame.f_back, level + 1
    warnings.warn(message, category, stacklevel=level)


@contextmanager
def unchanged_unless_learned(estimator):
    """Restore the attributes where a fit ends early; after an interrupt, only if there is no complete step to keep."""
    before = dict(vars(estimator))
    try:
        yield
    except BaseException as error:
        state = vars(estimator).get("_state")
        if isinstance(error, Exception) or not state or state is before.get("_state"):
            # scikit-learn's own, which it still needs to take its callbacks down
            callbacks = {name: value for name, value in vars(estimator).items() if "callback" in name}
            vars(estimator).clear()
            vars(estimator).update(before | callbacks)
        raise


@contextmanager
def one_more_batch(estimator):
    """For `partial_fit`: `unchanged_unless_learned`, with parameters checked first; gives whether it is the first call.

    Scikit-learn checks them at the first call alone.
    """
    with unchanged_unless_learned(estimator):
        estimator._validate_params()
        yield not hasattr(estimator, "n_iter_")
