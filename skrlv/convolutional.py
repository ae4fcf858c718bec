"""Sparse codes of whole signals and images by convolution, exact (ConvSparseCoder) and predicted."""

from collections.abc import Sequence
from math import prod
from numbers import Integral, Real
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from sklearn.utils.validation import check_is_fitted

from skrlv._arrays import max_per_sample, to_numpy
from skrlv._compat import Interval, StrOptions
from skrlv.encoders import ConvolutionalEncoder
from skrlv.energy import Energy
from skrlv.learning import Alternation
from skrlv.models.convolutional import ConvolutionalModel, sized
from skrlv.models.encoder import predicted, predictive_alternation, predicts, warn_of_divergence
from skrlv.models.hold_out import r_squared
from skrlv.models.signals import N_FOLDS, crops, folds, is_list_of_signals, listed
from skrlv.models.validation import ENCODING_PARAMETERS, LASSO_PARAMETERS
from skrlv.models.warning import warn_user
from skrlv.regularizers import L1

ROWS_REVIEWED = 8  # signals, or crops, that a warning is judged by, from the strongest to the weakest

CONVOLUTIONAL_PARAMETERS: dict[str, list] = {
    "n_components": [Interval(Integral, 1, None, closed="left")],
    "kernel_size": [tuple, list, Interval(Integral, 1, None, closed="left")],
    "lmbda": [*LASSO_PARAMETERS["lmbda"], StrOptions({"auto"})],
    "signal_shape": [tuple, list, None],
    "dictionary": ["array-like", None],
    "dictionary_init": ["array-like", None],
    "pooling": [tuple, list, Interval(Integral, 1, None, closed="left"), None],
    "crop_size": [tuple, list, Interval(Integral, 1, None, closed="left"), StrOptions({"auto"}), None],
    "max_iter": [Interval(Integral, 1, None, closed="left")],
    "batch_size": [Interval(Integral, 1, None, closed="left"), StrOptions({"auto"})],
    "tol": [Interval(Real, 0, None, closed="left")],
    "code_tol": ENCODING_PARAMETERS["code_tol"],
    "sparse_output": ENCODING_PARAMETERS["sparse_output"],
    "n_jobs": ENCODING_PARAMETERS["n_jobs"],
    "device": [str],
    "warm_start": ["boolean"],
    "random_state": ["random_state"],
}


class ConvSparseCoder(ConvolutionalModel):
    r"""Convolutional sparse coding with exact codes, and convolutional dictionary learning.

    .. math:: E(x, z) = \tfrac12 \sum_c \Bigl\| x_c - \sum_i K_{i,c} * z_i \Bigr\|_2^2 + \lambda \sum_i \|z_i\|_1

    The map z_i holds the coefficient of kernel i at each position of a signal. `encode` finds the maps, with a
    certificate for each signal; `transform` returns them as rows; `fit` learns the unit-norm kernels K from lagged
    products of maps and signals.

    Parameters
    ----------
    n_components : int, default=16
        Number of kernels.
    kernel_size : tuple of int or int, default=(9, 9)
        Size of a kernel along each spatial axis, one to three of them; an int is the length of kernels over one axis.
    lmbda : float or "auto", default="auto"
        Weight of the L1 term, >= 0, in the unit of X. "auto" is 1.2 times the root mean square of the entries of X
        (times the rms norm of given kernels).
    signal_shape : tuple of int or None, default=None
        (\*spatial[, n_channels]) of a signal, if X has rows of entries. Not needed if X has the axes of the signals, or
        if kernels have one axis and the rows are the signals.
    positive : bool, default=False
        Whether codes are non-negative.
    dictionary : array-like of shape (n_components, \*kernel_size[, n_channels]) or None, default=None
        Kernels to use as they are; they determine the number and the size of kernels, while the length of
        ``kernel_size`` is still the number of spatial axes. `fit` then only validates, and ``n_iter_`` is 0. None
        learns the kernels.
    dictionary_init : array-like of shape (n_components, \*kernel_size[, n_channels]) or None, default=None
        Kernels to start from, copied and scaled to unit norm; None takes random windows of X.
    pooling : tuple of int or int, or None, default=None
        Size of the windows along each axis, side by side, over which `transform` averages the magnitude of each map;
        None returns the maps themselves.
    crop_size : tuple of int or int, "auto" or None, default="auto"
        Size of the crops that are cut from larger signals for learning, side by side from a random position, so that a
        batch fits into memory; at least twice the size of a kernel. "auto" is about 16,384 positions; None learns from
        whole signals.
    max_iter : int, default=50
        Maximum number of passes over the data.
    batch_size : int or "auto", default="auto"
        Number of signals, or crops, per update of the kernels; "auto" is as many as have about 262,144 positions. With
        all in one batch the energy never rises.
    tol : float, default=1e-3
        Learning stops when the mean energy falls by no more than this share of itself from one pass to the next; 0
        makes all ``max_iter`` passes.
    code_tol : float or "auto", default="auto"
        Largest relative duality gap of a signal's code: 1e-6 for float64 and 1e-4 for float32 data. While
        learning 1e-3 is enough. On a device of torch it is FISTA's tolerance, see `skrlv.inference.fista_restart`.
    sparse_output : bool, default=False
        Whether `transform` returns a CSR matrix.
    n_jobs : int or None, default=None
        Number of threads, over signals and over tiles of large ones; None is all cores of the process, or a joblib
        worker's share. The result does not depend on it.
    device : str, default="cpu"
        "cpu" is NumPy and numba; "cuda", "cuda:1" and "torch:cpu" run FISTA on torch.
    warm_start : bool, default=False
        Whether `fit` continues from what was learned before, with its statistics, instead of starting anew.
    random_state : int, RandomState instance or None, default=None
        Draws the initial kernels, the positions of crops, and the batches.

    Attributes
    ----------
    components_ : array of shape (n_components, \*kernel_size[, n_channels])
        Kernels, of the dtype of X; with an axis of channels if signals have one.
    n_components_ : int
        Number of kernels.
    lmbda_ : float
        Weight of the regularizer in use.
    signal_shape_ : tuple of int
        (\*spatial[, n_channels]) of the signals of `fit`.
    energy_history_ : array of shape (n_iter_,)
        Mean energy per signal, or crop, of each pass; each batch is measured before its own update.
    n_iter_ : int
        Number of passes over the data; with `partial_fit`, of batches.
    atom_usage_ : array of shape (n_components,)
        Share of the positions where a kernel is used; recent signals weigh more. Not available if kernels were given.
    n_resampled_ : int
        Number of unused or duplicate kernels that were replaced by poorly reconstructed windows of signals.
    n_features_in_ : int
        Number of entries of a signal.
    feature_names_in_ : array of shape (n_features_in_,)
        Column names of X, if it has names that are strings.

    See Also
    --------
    SparseCoder : Codes of patches that do not overlap.
    skrlv.decoders.ConvolutionalDictionary : The decoder.

    Notes
    -----
    Codes have the positions where a kernel fits, spatial - kernel + 1 along each axis, and decoding is the full
    convolution: nothing wraps around, and nothing is padded. Slow variations such as illumination are not sparse:
    remove them first (`skrlv.preprocessing.LocalContrastNormalizer`).

    References
    ----------
    Zeiler, Krishnan, Taylor, Fergus, Deconvolutional Networks, 2010.
    Wohlberg, Efficient Algorithms for Convolutional Sparse Representations, 2016.
    Garcia-Cardona, Wohlberg, Convolutional Dictionary Learning: A Comparative Review and New Algorithms, 2018.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from skrlv import ConvSparseCoder
    >>> X = load_digits().images / 16
    >>> coder = ConvSparseCoder(8, (4, 4), max_iter=5, random_state=0).fit(X)
    >>> coder.components_.shape
    (8, 4, 4)
    >>> coder.encode(X).shape, coder.transform(X).shape
    ((1797, 5, 5, 8), (1797, 200))
    >>> coder.set_params(pooling=3).transform(X).shape
    (1797, 32)
    """

    _mixes_dtypes = True
    _parameter_constraints = {**CONVOLUTIONAL_PARAMETERS, "positive": LASSO_PARAMETERS["positive"]}

    def __init__(
        self,
        n_components: int = 16,
        kernel_size: int | Sequence[int] = (9, 9),
        *,
        lmbda: float | str = "auto",
        signal_shape: Sequence[int] | None = None,
        positive: bool = False,
        dictionary: ArrayLike | None = None,
        dictionary_init: ArrayLike | str | None = None,
        pooling: int | Sequence[int] | None = None,
        crop_size: int | Sequence[int] | str | None = "auto",
        max_iter: int = 50,
        batch_size: int | str = "auto",
        tol: float = 1e-3,
        code_tol: float | str = "auto",
        sparse_output: bool = False,
        n_jobs: int | None = None,
        device: str = "cpu",
        warm_start: bool = False,
        random_state: Any = None,
    ):
        self.n_components = n_components
        self.kernel_size = kernel_size
        self.lmbda = lmbda
        self.signal_shape = signal_shape
        self.positive = positive
        self.dictionary = dictionary
        self.dictionary_init = dictionary_init
        self.pooling = pooling
        self.crop_size = crop_size
        self.max_iter = max_iter
        self.batch_size = batch_size
        self.tol = tol
        self.code_tol = code_tol
        self.sparse_output = sparse_output
        self.n_jobs = n_jobs
        self.device = device
        self.warm_start = warm_start
        self.random_state = random_state

    def _energy(self, atoms, lmbda, encoder=None):
        return Energy(self._decoder(atoms), L1(positive=bool(self._shape["positive"])), lmbda)

    def _infer(self, energy, y, z0=None):
        return self._argmin(energy, y, z0)

    def _learner(self, energy, rng, X=None, **given):
        if self.dictionary is not None:
            return None
        return Alternation(
            energy, self._state, infer=self._infer_batch, update=self._learn_atoms, spend=self._spend,
            remedy=self._remedy, **({} if X is None else self._batches(X, rng)),
        )  # fmt: skip

    def score(self, X, y=None):
        r"""R^2 on pixels held out, which ranks lmbda: energies cannot, since a smaller lmbda always wins.

        .. math:: 1 - \sum (x - \hat x)^2 / \sum (x - \bar x)^2

        The entries of a signal are cut in five fixed random folds. For each, codes are found from the other four at
        the same lmbda, and :math:`\hat x` is their prediction of those held out; :math:`\bar x` is the mean of each
        channel.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features) or (n_samples, \*spatial[, n_channels]), or list of arrays
            Signals; those of a list may have different sizes.
        y : None
            Ignored.

        Returns
        -------
        float
            At most 1.
        """
        check_is_fitted(self)
        X = listed(X)
        groups = [group for _, group in self._layout.groups(X)] if is_list_of_signals(X) else [self._validated(X)]
        error = sum(self._error_on_held_out(group) for group in groups)
        pixels = np.concatenate([group.reshape(-1, group.shape[-1]) for group in groups])
        return float(r_squared(np.array([error]), pixels)[0])

    def _error_on_held_out(self, X):
        """Squared error on held-out entries of validated signals of one size."""
        energy, fold_of = sized(self.energy_, X), folds(X.shape[1:])
        error = 0.0
        for fold in range(N_FOLDS):
            seen = (fold_of != fold)[None]
            solution = self._masked(energy, X * seen, seen.astype(X.dtype))
            guess = to_numpy(energy.decoder(self._placed(solution.z)))
            error += float(np.sum(((X - guess) * ~seen).astype(np.float64) ** 2))
        return error

    def _warn_about_fit(self, X):
        super()._warn_about_fit(X)
        rows = np.flatnonzero(X.reshape(len(X), -1).any(axis=1))[:ROWS_REVIEWED]
        if not rows.size:
            return
        sample = crops(X[rows], self._crop_size(X.shape[1:-1]), np.random.RandomState(0))
        ranked = np.argsort(-np.abs(sample).reshape(len(sample), -1).max(axis=1), kind="stable")
        sample = sample[ranked[np.unique(np.linspace(0, len(sample) - 1, ROWS_REVIEWED).astype(int))]]
        energy, placed = sized(self.energy_, sample), self._placed(sample)
        used = np.count_nonzero(to_numpy(self._infer_batch(energy, placed).z)) / len(sample)
        reached = to_numpy(max_per_sample(energy.decoder.adjoint(placed)))
        if used == 0.0:
            warn_user(
                f"With lmbda={self.lmbda_:.3g} all codes are zero. For these signals and kernels the first non-zeros "
                f"appear below {np.median(reached):.3g}."
            )
        elif used > 0.9 * min(sample[0].size, prod(energy.decoder.code_shape)) and sample[0].size >= 10:
            warn_user(
                f"With lmbda={self.lmbda_:.3g} codes have as many non-zeros as signals have entries. Raise lmbda; the "
                f"last non-zeros vanish at {np.median(reached):.3g}."
            )


class ConvSparseAutoencoder(ConvolutionalModel):
    r"""Convolutional sparse autoencoder: kernels whose sparse maps a layer of filters can predict, and these filters.

    .. math:: E(x, z) = \tfrac12 \sum_c \Bigl\| x_c - \sum_i K_{i,c} * z_i \Bigr\|_2^2 + \lambda \sum_i \|z_i\|_1
        + \tfrac{w}{2} \|z - \mathrm{Enc}(x)\|_2^2, \qquad \mathrm{Enc}(x)_i = g_i \tanh(K^e_i \star x + b_i)

    `fit` finds the maps of a batch, which minimise the whole energy, then moves the kernels towards the signals, and
    the encoder's filters, biases and gains towards the maps. `transform` gives the prediction, or the minimum.

    Parameters
    ----------
    n_components : int, default=16
        Number of kernels.
    kernel_size : tuple of int or int, default=(9, 9)
        Size of a kernel along each spatial axis, one to three of them; an int is the length of kernels over one axis.
    lmbda : float or "auto", default="auto"
        Weight of the L1 term, >= 0, in the unit of X. "auto" is 1.2 times the root mean square of the entries of X
        (times the rms norm of given kernels).
    encoder_weight : float, default=1.0
        w, >= 0, the weight of the prediction error. With 0 the encoder learns to predict the codes, but codes and atoms
        do not depend on it.
    inference : {"encoder", "argmin"}, default="encoder"
        What `transform` and `encode` return: the prediction, which takes one convolution, or the minimum of the energy.
    signal_shape : tuple of int or None, default=None
        (\*spatial[, n_channels]) of a signal, if X has rows of entries, as in `ConvSparseCoder`.
    dictionary : array-like of shape (n_components, \*kernel_size[, n_channels]) or None, default=None
        Kernels to use as they are; only the encoder is learned then. None learns both.
    dictionary_init : array-like of shape (n_components, \*kernel_size[, n_channels]) or None, default=None
        Kernels to start from, copied and scaled to unit norm; None takes random windows of X.
    pooling : tuple of int or int, or None, default=None
        Size of the windows over which `transform` averages the magnitude of each map, as in `ConvSparseCoder`.
    crop_size : tuple of int or int, "auto" or None, default="auto"
        Size of the crops that are cut from larger signals for learning, as in `ConvSparseCoder`.
    max_iter : int, default=50
        Maximum number of passes over the data.
    batch_size : int or "auto", default="auto"
        Number of signals, or crops, per update; "auto" is as many as have about 65,536 positions. The encoder takes one
        step per batch: with few signals choose a small batch.
    learning_rate_init : float, default=1e-2
        Learning rate of Adam for the encoder, at most 1; it falls as one over the square root of the number of steps.
        If predictions diverge, the encoder starts again at a tenth of the rate.
    tol : float, default=1e-3
        Learning stops when the mean energy falls by no more than this share of itself from one pass to the next; 0
        makes all ``max_iter`` passes.
    code_tol : float or "auto", default="auto"
        Largest relative duality gap of a code at the minimum, as in `ConvSparseCoder`.
    sparse_output : bool, default=False
        Whether `transform` returns a CSR matrix; predictions by tanh have no zeros.
    n_jobs : int or None, default=None
        Number of threads; None is all cores of the process, or a joblib worker's share.
    device : str, default="cpu"
        "cpu" is NumPy and numba; "cuda", "cuda:1" and "torch:cpu" run the array code on torch, and find codes by FISTA
        from their prediction.
    warm_start : bool, default=False
        Whether `fit` continues from what was learned before, with its statistics, instead of starting anew.
    random_state : int, RandomState instance or None, default=None
        Draws the initial kernels, the positions of crops, and the batches.

    Attributes
    ----------
    components_ : array of shape (n_components, \*kernel_size[, n_channels])
        Kernels of the decoder, of the dtype of X; with an axis of channels if signals have one.
    encoder_ : ConvolutionalEncoder
        The encoder, see `skrlv.encoders`; its filters are ``encoder_.kernels``, always with channels.
    prediction_error_history_ : array of shape (n_steps,)
        Mean of :math:`\|z - \mathrm{Enc}(x)\|^2` in each batch, before its update.
    n_components_, lmbda_, signal_shape_, energy_history_, n_iter_, atom_usage_, n_resampled_, n_features_in_
        As in `ConvSparseCoder`.
    feature_names_in_ : array of shape (n_features_in_,)
        Column names of X, if it has names that are strings.

    See Also
    --------
    ConvSparseCoder : The same without an encoder.
    PredictiveSparseDecomposition : The same for patches that do not overlap.

    References
    ----------
    Kavukcuoglu, Sermanet, Boureau, Gregor, Mathieu, LeCun, Learning Convolutional Feature Hierarchies for Visual
    Recognition, 2010. Their square of the prediction term has no 1/2: their beta is encoder_weight / 2.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from skrlv import ConvSparseAutoencoder
    >>> X = load_digits().images / 16
    >>> model = ConvSparseAutoencoder(8, (4, 4), max_iter=5, random_state=0).fit(X)
    >>> model.encode(X).shape
    (1797, 5, 5, 8)
    >>> exact = model.set_params(inference="argmin").encode(X)
    >>> bool((exact == 0).mean() > 0.5)
    True
    """

    _frozen = ("encoder_weight",)
    _has_encoder = True
    _parameter_constraints = {
        **CONVOLUTIONAL_PARAMETERS,
        "encoder_weight": [Interval(Real, 0, None, closed="left")],
        "inference": [StrOptions({"encoder", "argmin"})],
        "learning_rate_init": [Interval(Real, 0, 1, closed="right")],
    }
    _pixels_per_update = 2**16

    def __init__(
        self,
        n_components: int = 16,
        kernel_size: int | Sequence[int] = (9, 9),
        *,
        lmbda: float | str = "auto",
        encoder_weight: float = 1.0,
        inference: str = "encoder",
        signal_shape: Sequence[int] | None = None,
        dictionary: ArrayLike | None = None,
        dictionary_init: ArrayLike | str | None = None,
        pooling: int | Sequence[int] | None = None,
        crop_size: int | Sequence[int] | str | None = "auto",
        max_iter: int = 50,
        batch_size: int | str = "auto",
        learning_rate_init: float = 1e-2,
        tol: float = 1e-3,
        code_tol: float | str = "auto",
        sparse_output: bool = False,
        n_jobs: int | None = None,
        device: str = "cpu",
        warm_start: bool = False,
        random_state: Any = None,
    ):
        self.n_components = n_components
        self.kernel_size = kernel_size
        self.lmbda = lmbda
        self.encoder_weight = encoder_weight
        self.inference = inference
        self.signal_shape = signal_shape
        self.dictionary = dictionary
        self.dictionary_init = dictionary_init
        self.pooling = pooling
        self.crop_size = crop_size
        self.max_iter = max_iter
        self.batch_size = batch_size
        self.learning_rate_init = learning_rate_init
        self.tol = tol
        self.code_tol = code_tol
        self.sparse_output = sparse_output
        self.n_jobs = n_jobs
        self.device = device
        self.warm_start = warm_start
        self.random_state = random_state

    def _energy(self, atoms, lmbda, encoder=None):
        decoder = self._decoder(atoms)
        encoder = self._linear_encoder(decoder, lmbda) if encoder is None else encoder
        return Energy(decoder, L1(), lmbda, encoder, self._shape["encoder_weight"])

    def _infer(self, energy, y, z0=None):
        return predicted(energy.encoder, y) if predicts(self) else self._argmin(energy, y, z0)

    def _learner(self, energy, rng, X=None, **given):
        return predictive_alternation(
            self, energy, infer=self._infer_batch, first_encoder=self._linear_encoder,
            **({} if X is None else self._batches(X, rng)),
        )  # fmt: skip

    def _linear_encoder(self, decoder, lmbda):
        """The encoder that learning starts from."""
        return ConvolutionalEncoder.first_step(decoder, self._data_unit)

    def _warn_about_fit(self, X):
        super()._warn_about_fit(X)
        warn_of_divergence(self)
