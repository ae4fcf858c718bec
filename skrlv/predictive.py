"""Sparse codes and an encoder that agree with each other (PredictiveSparseDecomposition)."""

from dataclasses import replace
from functools import partial
from numbers import Real

from skrlv._arrays import double, is_numpy, zeros
from skrlv._compat import HasMethods, Interval, StrOptions
from skrlv.decoders import Dictionary
from skrlv.encoders import LISTA, ShrinkageEncoder, TanhEncoder
from skrlv.energy import Energy
from skrlv.inference import blockwise, exact_codes, fista_restart
from skrlv.models.base import batches_of
from skrlv.models.dictionary import DictionaryModel, warn_of_many_atoms, warns_of_offset
from skrlv.models.encoder import predicted, predictive_alternation, predicts, refuse_cpu, warn_of_divergence
from skrlv.models.validation import resolved_tol
from skrlv.regularizers import L1
from skrlv.sparse_coding import SparseCoder


class PredictiveSparseDecomposition(DictionaryModel):
    r"""Predictive sparse decomposition: sparse codes that an encoder can predict, and the encoder.

    .. math:: E(x, z) = \tfrac12 \|x - zD\|_2^2 + \lambda \|z\|_1 + \tfrac{w}{2} \|z - \mathrm{Enc}(x)\|_2^2

    `fit` finds the codes of a batch, which minimise the whole energy, then moves the atoms D towards the data and the
    encoder towards the codes. `transform` gives the prediction, or the minimum.

    Parameters
    ----------
    n_components : int or None, default=None
        Number of atoms; None is min(n_features, 256).
    lmbda : float or "auto", default="auto"
        Weight of the L1 term, >= 0, in the unit of X, as in `SparseCoder`.
    encoder_weight : float, default=1.0
        w, >= 0: how strongly codes are drawn to their prediction. With 0 the encoder only learns to follow.
    encoder : {"tanh", "shrinkage", "lista"} or torch.nn.Module, default="tanh"
        Enc: :math:`g \odot \tanh(W x + b)`, :math:`g \odot \mathrm{sh}_\theta(W x)`, which can be exactly zero, or
        the layers of `LISTAEncoder` with one use of S. A module takes rows to codes, and learns on from its own
        weights; it needs a device of torch, and runs as in evaluation (`skrlv.torch_modules.ModuleEncoder`).
    inference : {"encoder", "argmin"}, default="encoder"
        What `transform` gives: the prediction, by one product of matrices, or the minimum of the energy.
    positive : bool, default=False
        Whether codes are non-negative; not with "tanh".
    dictionary : array-like of shape (n_components, n_features) or None, default=None
        Atoms to use as they are, the encoder alone learns. None learns both.
    dictionary_init : array-like of shape (n_components, n_features), "k-means++" or None, default=None
        Atoms to start from, as in `SparseCoder`.
    max_iter : int, default=100
        Most passes over the data.
    batch_size : int or "auto", default="auto"
        Rows per update; "auto" is 256.
    learning_rate_init : float, default=1e-2
        Rate of Adam for the encoder, at most 1, which falls as one over the root of the steps; a deep module may want a
        tenth of it. Where predictions go astray the encoder starts anew at a tenth.
    tol : float, default=1e-3
        Stop when the mean energy of a pass falls by no more than this share of it, or rises; 0 makes all passes. The
        encoder takes one step per batch: with few rows give a small batch_size, or 0 here.
    code_tol : float or "auto", default="auto"
        Largest relative duality gap of a code: 1e-6 for float64 and 1e-4 for float32 data.
    device : str, default="cpu"
        "cpu" is NumPy and numba; "cuda", "cuda:1" and "torch:cpu" run the array code on torch, and find codes by FISTA.
    n_jobs : int or None, default=None
        Threads; None is all cores of the process, or a joblib worker's share.
    warm_start : bool, default=False
        Whether `fit` goes on from what was learned before, its statistics kept, instead of starting anew.
    random_state : int, RandomState instance or None, default=None
        Draws the initial atoms and the batches.

    Attributes
    ----------
    components_ : array of shape (n_components, n_features)
        Atoms, of the dtype of X.
    n_components_ : int
        Number of atoms.
    lmbda_ : float
        The weight in use.
    encoder_ : Encoder
        The encoder, see `skrlv.encoders`.
    prediction_error_history_ : array of shape (n_steps,)
        Mean of :math:`\|z - \mathrm{Enc}(x)\|^2` in each batch, before its update.
    energy_history_ : array of shape (n_iter_,)
        Mean energy per sample over each pass, each batch before its own update.
    n_iter_ : int
        Passes over the data; with `partial_fit`, batches.
    atom_usage_ : array of shape (n_components,)
        Share of the samples that use each atom, as far as learning remembers them; not where atoms were given.
    n_features_in_ : int
        Width of X.
    feature_names_in_ : array of shape (n_features_in_,)
        Column names of X, where it had string names.

    See Also
    --------
    LISTAEncoder : Predicts the codes of atoms that know nothing of it.

    References
    ----------
    Kavukcuoglu, Ranzato, LeCun, Fast Inference in Sparse Coding Algorithms with Applications to Object Recognition,
    2008. It has no halves: its lambda is 2 lmbda, its alpha encoder_weight.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from skrlv import PredictiveSparseDecomposition
    >>> X = load_digits().data / 16
    >>> model = PredictiveSparseDecomposition(32, random_state=0).fit(X)
    >>> model.transform(X).shape
    (1797, 32)
    >>> exact = model.set_params(inference="argmin").transform(X)
    >>> bool((exact == 0).mean() > 0.5)
    True
    """

    _frozen = ("positive", "encoder_weight")
    _has_encoder = True
    _parameter_constraints = {
        **{
            name: SparseCoder._parameter_constraints[name]
            for name in (
                "n_components", "lmbda", "positive", "dictionary", "dictionary_init", "max_iter", "batch_size", "tol",
                "code_tol", "n_jobs", "warm_start", "random_state",
            )
        },
        "encoder_weight": [Interval(Real, 0, None, closed="left")],
        "encoder": [StrOptions({"tanh", "shrinkage", "lista"}), HasMethods(["state_dict", "named_parameters"])],
        "inference": [StrOptions({"encoder", "argmin"})],
        "learning_rate_init": [Interval(Real, 0, 1, closed="right")],
        "device": [str],
    }  # fmt: skip

    def __init__(
        self,
        n_components=None,
        *,
        lmbda="auto",
        encoder_weight=1.0,
        encoder="tanh",
        inference="encoder",
        positive=False,
        dictionary=None,
        dictionary_init=None,
        max_iter=100,
        batch_size="auto",
        learning_rate_init=1e-2,
        tol=1e-3,
        code_tol="auto",
        device="cpu",
        n_jobs=None,
        warm_start=False,
        random_state=None,
    ):
        self.n_components = n_components
        self.lmbda = lmbda
        self.encoder_weight = encoder_weight
        self.encoder = encoder
        self.inference = inference
        self.positive = positive
        self.dictionary = dictionary
        self.dictionary_init = dictionary_init
        self.max_iter = max_iter
        self.batch_size = batch_size
        self.learning_rate_init = learning_rate_init
        self.tol = tol
        self.code_tol = code_tol
        self.device = device
        self.n_jobs = n_jobs
        self.warm_start = warm_start
        self.random_state = random_state

    def _validate_params(self):
        super()._validate_params()
        named = isinstance(self.encoder, str)
        if named and self.encoder == "tanh" and self.positive:
            raise ValueError("positive=True needs encoder='shrinkage' or 'lista': tanh takes both signs.")
        if not named:
            refuse_cpu(self.device)

    def _energy(self, atoms, lmbda, encoder=None):
        if encoder is None and is_numpy(atoms):
            atoms = double(atoms)  # as they are while learning
        decoder, positive = Dictionary(atoms), bool(self._shape["positive"])
        encoder = _first_encoder(self, decoder, lmbda) if encoder is None else encoder
        return Energy(decoder, L1(positive=positive), lmbda, encoder, self._shape["encoder_weight"])

    def _learner(self, energy, rng, X=None, **given):
        def minimum(energy, y, z0=None):
            return _minimum(energy, y, self._tol)

        if X is not None and self.dictionary is None:
            warn_of_many_atoms(self, X.shape[0])
        return predictive_alternation(
            self, energy, infer=blockwise(minimum, self.n_jobs), first_encoder=partial(_first_encoder, self),
            **({} if X is None else batches_of(self, X)),
        )  # fmt: skip

    def _infer(self, energy, y, z0=None):
        return predicted(energy.encoder, y) if predicts(self) else _minimum(energy, y, self._tol)

    def _warn_about_fit(self, X):
        warns_of_offset(self._rows(X).summary())
        warn_of_divergence(self)

    @property
    def _tol(self):
        return resolved_tol(self.code_tol, self.components_.dtype)


def _first_encoder(model, decoder, lmbda):
    """The encoder that learning starts from."""
    positive = bool(model._shape["positive"])
    if not isinstance(model.encoder, str):
        from skrlv.torch_modules import ModuleEncoder  # torch is imported only where it is used

        return ModuleEncoder.of(model.encoder, decoder, positive=positive)
    if model.encoder == "tanh":
        return TanhEncoder.first_step(decoder, model._data_unit)
    if model.encoder == "shrinkage":
        return ShrinkageEncoder.first_step(decoder, lmbda, positive=positive)
    return LISTA.unrolled(decoder, lmbda, 1, positive=positive)


def _minimum(energy, y, tol):
    """The codes of least energy, as a `Solution`.

    They do not depend on the start: the exact path is quickest from zero, FISTA from the prediction.
    """
    if not is_numpy(y):
        return fista_restart(energy.given(y), tol=tol)
    decoder = Dictionary(double(energy.decoder.atoms))
    start = zeros((len(y), *decoder.code_shape), like=y)
    return exact_codes(replace(energy, decoder=decoder), y, start, tol=tol)
