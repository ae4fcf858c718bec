"""What all models share: fit, transform and the other methods of scikit-learn's interface."""

from abc import ABCMeta, abstractmethod
from typing import Any, Self

import numpy as np
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils import check_random_state
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted

from skrlv._arrays import to_device, to_numpy
from skrlv._compat import CallbackSupportMixin, _fit_context
from skrlv._containers import sparse_as
from skrlv._documentation import documented
from skrlv._restoring import restored_on_error, unless_learned
from skrlv._rows import Rows
from skrlv._threads import ROWS_PER_BLOCK, dense, each_block, one_blas_thread, row_blocks
from skrlv.inference import check_solution, gather
from skrlv.learning import LearningState
from skrlv.models.energies import check_temperature, free_energies
from skrlv.models.frozen import warn_of_frozen
from skrlv.models.passes import learn_batch, make_passes
from skrlv.models.validation import check_codes, refuse_extremes_for, rows_of
from skrlv.models.warning import warn_unless_converged

ROWS_PER_TRANSFER = 8192
ROWS_PER_STEP = 256


@documented
class LatentVariableModel(
    CallbackSupportMixin, ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator, metaclass=ABCMeta
):
    r"""A model with the energy :math:`E(y, z) = C(y, Dec(z)) + \lambda R(z) + w\, D(z, Enc(y))`.

    ``fit`` learns Dec and Enc, ``transform`` finds z. A subclass says which terms the energy has (`_initial_energy`),
    how z is found (`_infer`), what learns (`_learner`), and how the parameters are stored as arrays (`_store`).
    """

    device = "cpu"
    n_jobs: int | None = None
    warm_start = False
    _warns = True  # of a fit that is of little use
    _remedy = "Raise code_tol."
    _streams = True  # whether there is a learner of streams
    _mixes_dtypes = False  # whether data may have another dtype than the model, on NumPy
    _squares_in_dtype = False  # whether sums of squares of data are computed in their dtype

    @abstractmethod
    def _initial_energy(self, X, rng):
        """Return the Energy that learning starts from."""

    @abstractmethod
    def _learner(self, energy, rng, X=None, **given):
        """Return the `Learner` of data X, or without X the `Streamer` of a stream; None if nothing is to learn."""

    @abstractmethod
    def _infer(self, energy, y, z0=None):
        """Return the `Solution` of a block of rows; must be deterministic and thread-safe."""

    def _argmin(self, energy, y, z0=None):
        """Return the `Solution` of least energy; overridden where `_infer` predicts."""
        return self._infer(energy, y, z0)

    @abstractmethod
    def _store(self, energy, dtype):
        """Keep the parameters of the energy as fitted attributes: arrays of the dtype of X, and numbers."""

    @property
    @abstractmethod
    def energy_(self):
        """The fitted equation, rebuilt from the stored arrays."""

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y=None) -> Self:
        r"""Learn the parameters from X.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            Data, float32 or float64; float16 and bfloat16 become float32, other dtypes float64. For convolutional
            models signals, (n_samples, \*spatial[, n_channels]), or a list of signals of several sizes, of which crops
            of one size are taken.
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
            If X is not finite or has the wrong shape, or a parameter is out of its range.
        """
        return self._fit(X, y)

    def _fit(self, X, y=None, **given):
        """`fit`, with what else it was given for the learner."""
        with restored_on_error(self, keep=unless_learned), one_blas_thread():
            resumed = self.warm_start and hasattr(self, "n_iter_")
            data = self._validated(X, reset=not resumed)
            rng = check_random_state(self.random_state)
            energy = self.energy_ if resumed else self._begin(data, rng)
            learner = self._learner(energy, rng, data, **given)
            if learner is not None:
                make_passes(self, learner, rng, {"X": X, "y": y})
            if self._warns:
                self._warn_about_fit(data)
        return self

    def _begin(self, X, rng):
        """Set up the model, and return the energy that learning starts from."""
        self._dtype = np.dtype(X.dtype).name
        energy = self._initial_energy(X, rng)
        self._keep(energy, LearningState(), X.dtype, [])
        return energy

    def _keep(self, energy, state, dtype, history):
        self._store(energy, dtype)
        self.energy_history_, self.n_iter_ = np.array(history, dtype=np.float64), len(history)
        self._state = state  # last: it tells that all the others are there

    @available_if(lambda self: self._streams)
    @_fit_context(prefer_skip_nested_validation=True)
    def partial_fit(self, X, y=None) -> Self:
        """Learn from one more batch of a stream.

        The first call sets up the model from its batch, as `fit` would from all data: the initial parameters, and lmbda
        if it is "auto". Every call is one step, and counts as one pass in ``n_iter_`` and ``energy_history_``. One
        pass of `fit` takes the same steps on its batches. But `fit` sees its rows again: it starts from their last
        codes, and keeps no statistics of earlier passes if one batch holds all rows.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            The batch. For convolutional models signals, or a list of them: each size then is a step of its own, and
            counts as one pass.
        y : None
            Ignored.

        Returns
        -------
        self : object
            The estimator. A call that fails or is interrupted leaves it as it was.

        Raises
        ------
        ValueError
            If X is not finite, has another width than before, or a parameter is out of its range.
        """
        with restored_on_error(self), one_blas_thread():
            self._validate_params()  # scikit-learn does so at the first call alone
            for batch in self._validated_batches(X):
                learn_batch(self, batch)
        return self

    def _validated_batches(self, X):
        """Yield the validated batches of a call of `partial_fit`; each is a step."""
        yield self._validated(X, reset=not hasattr(self, "n_iter_"))

    def _warn_about_fit(self, X):
        """Warn of a fitted model that is of little use."""

    def _warn_about_first_batch(self, X):
        """Warn of a first batch that sets up a stream badly."""

    def _warn_about_next_batch(self, X):
        """Warn of a batch that spoils what the stream has learned."""

    def transform(self, X) -> Any:
        """Find the codes of X.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            Data. For convolutional models signals of the size of those in `fit`.

        Returns
        -------
        array or CSR matrix of shape (n_samples, n_components)
            Codes, of the dtype of X; sparse ones are a CSR array if X is a sparse array. Convolutional models return
            maps as rows, in C order: column ``p * n_components + i`` is kernel i at the p-th position. With ``pooling``
            the positions are windows; those at the end of an axis may hold fewer positions than the others, and give
            the mean of these.
        """
        rows = self._validated(X)
        return sparse_as(self._map_codes(self.energy_, rows, lambda x, z: self._as_features(z)), X)

    def _map_codes(self, energy, X, function=None, search=None):
        """Apply function(x, z) to validated rows and their codes, block by block; warn once of unconverged rows."""
        warn_unless_converged(solution := self._infer_rows(energy, X, function, search), self._remedy)
        return solution.z

    def _infer_rows(self, energy, X, function=None, search=None):
        """Return the `Solution` of validated rows, with codes as NumPy in the dtype of X; search is `_infer` if None.

        With ``function(x, z)``, of the rows of a block and their codes, its result takes the place of the codes, so
        that the codes of all rows need never be held.
        """
        energy, search = energy.for_rows(X.shape[0]), search or self._infer

        def infer(rows):
            x = dense(X[rows])
            solution = search(energy, self._placed(x))
            z = to_numpy(check_solution(solution, x).z).astype(X.dtype, copy=False)
            return solution._replace(z=z if function is None else function(x, z))

        return gather(infer, X.shape[0], self._each_block)

    def _each_block(self, work, n_rows):
        """Run blocks of rows on threads; on a device larger ones, one after the other."""
        if self.device == "cpu":
            return each_block(work, n_rows, self.n_jobs, self._rows_per_block)
        return [work(rows) for rows in row_blocks(n_rows, self._rows_per_block)]

    @property
    def _rows_per_block(self):
        return ROWS_PER_BLOCK if self.device == "cpu" else ROWS_PER_TRANSFER

    def _placed(self, x):
        """Return validated data or codes on the device, in the dtype of the model."""
        if self.device != "cpu" or not self._mixes_dtypes:
            x = x.astype(self._dtype, copy=False)
        return to_device(x, self.device)

    def _as_features(self, z):
        """Return codes as `transform` gives them out."""
        return z

    def _as_codes(self, Z):
        """Invert `_as_features`."""
        return Z

    def inverse_transform(self, X) -> Any:
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
        return self._decoded(self._validated_codes(X, "X"))

    def _decoded(self, z):
        """Return validated codes decoded."""
        energy = self.energy_
        with one_blas_thread():
            decoded = energy.cost.expected(energy.decoder(self._placed(z)))
        return to_numpy(decoded).astype(z.dtype, copy=False)

    def energy(self, X, Z=None) -> np.ndarray:
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
        return self._energies(self.energy_, X, z)

    def _energies(self, energy, X, z=None):
        """Return the energy of each validated row with its code; None infers the codes."""

        def evaluate(x, z):
            return to_numpy(energy(self._placed(x), self._placed(z)))

        if z is None:
            return self._map_codes(energy, X, evaluate)
        return np.concatenate(self._each_block(lambda rows: evaluate(dense(X[rows]), z[rows]), len(z)))

    def free_energy(self, X, temperature=0.0, *, return_std=False):
        r"""The energy of each sample without its code: at the best code, or integrated over all codes.

        .. math:: F_0(x) = \min_z E(x, z), \qquad F_T(x) = -T \log \int e^{-E(x, z) / T}\, dz

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            Data.
        temperature : float, default=0.0
            T, in the unit of the energy. Above zero the integral has a closed form for quadratic energies, is a
            quadrature for codes of up to 2 entries, and beyond an estimate by annealed importance sampling, which is
            rough for many entries at low temperatures. Codes count alike, :math:`dz` has no prior density.
        return_std : bool, default=False
            Whether to return standard errors too: 0 for closed forms, the last change of a quadrature.

        Returns
        -------
        array of shape (n_samples,), or a pair of them
            F(x), float64; at temperature 0 at most the energy of the code that `transform` gives.
        """
        check_temperature(temperature)
        found = self._by_size(X, lambda energy, rows: free_energies(self, energy, rows, temperature))
        return (found[:, 0], found[:, 1]) if return_std else found[:, 0]

    def _by_size(self, X, evaluate):
        """Return evaluate(energy, validated rows); convolutional models call it for each size of signals."""
        return evaluate(self.energy_, self._validated(X))

    def score_samples(self, X) -> np.ndarray:
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

    def score(self, X, y=None) -> float:
        """Mean of `score_samples`; energies at different lmbda do not compare.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            Data.
        y : None
            Ignored.

        Returns
        -------
        float
            Higher is better.
        """
        return float(np.mean(self.score_samples(X)))

    @property
    def validation_loss_history_(self):
        """Mean loss over the rows held out, after each pass of `fit`."""
        check_is_fitted(self)
        if "validation_loss" not in self._state.histories:
            raise AttributeError("No rows were held out, so there is no validation_loss_history_.")
        return self._state.histories["validation_loss"]

    def _validated(self, X, reset=False):
        if not reset:
            check_is_fitted(self)
            warn_of_frozen(self)
        if isinstance(X, Rows):  # of a model that holds this one
            return X
        X = rows_of(self, X, reset)
        if not reset and not isinstance(X, Rows):
            refuse_extremes_for(self, X)
        return X

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


def rows_per_step(model, n_samples, auto=ROWS_PER_STEP):
    """The size of a batch; auto is for batch_size="auto"."""
    return min(n_samples, auto) if model.batch_size == "auto" else model.batch_size


def batches_of(model, X, auto=ROWS_PER_STEP):
    """What an `Alternation` needs to make passes over validated data."""
    n_samples = X.shape[0]

    def load(rows):
        return model._placed(dense(X[:] if rows.size == n_samples else X[rows]))  # all rows come in their own order

    return {"load": load, "n_samples": n_samples, "batch_size": rows_per_step(model, n_samples, auto), "tol": model.tol}
