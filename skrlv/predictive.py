"""Sparse codes and an encoder that agree with each other (PredictiveSparseDecomposition)."""

from functools import partial
from numbers import Real
from typing import Any

from numpy.typing import ArrayLike

from skrlv._arrays import double, is_numpy
from skrlv._compat import HasMethods, Interval, StrOptions
from skrlv.decoders import Dictionary
from skrlv.encoders import LISTA, Encoder, ShrinkageEncoder, TanhEncoder
from skrlv.energy import Energy
from skrlv.inference import blockwise
from skrlv.models.base import batches_of
from skrlv.models.dictionary import DictionaryModel, warn_of_many_atoms, warns_of_offset
from skrlv.models.encoder import (
    is_module,
    least,
    own_encoder,
    predicted,
    predictive_alternation,
    predicts,
    refuse_cpu,
    warn_of_divergence,
)
from skrlv.models.validation import resolved_tol
from skrlv.regularizers import L1
from skrlv.sparse_coding import SparseCoder


class PredictiveSparseDecomposition(DictionaryModel):
    r"""Predictive sparse decomposition: sparse codes that an encoder can predict, and the encoder.

    .. math:: E(x, z) = \tfrac12 \|x - zD\|_2^2 + \lambda \|z\|_1 + \tfrac{w}{2} \|z - \mathrm{Enc}(x)\|_2^2

    For each batch `fit` finds the codes that minimise E, then updates the atoms D to reduce the reconstruction error,
    and the encoder to predict the codes. `transform` returns the prediction, or the minimum.

    Parameters
    ----------
    n_components : int or None, default=None
        Number of atoms; None is min(n_features, 256).
    lmbda : float or "auto", default="auto"
        Weight of the L1 term, >= 0, in the unit of X, as in `SparseCoder`.
    encoder_weight : float, default=1.0
        w, >= 0, the weight of the prediction error. With 0 the encoder learns to predict the codes, but codes and atoms
        do not depend on it.
    encoder : {"tanh", "shrinkage", "lista"}, Encoder, callable or torch.nn.Module, default="tanh"
        Enc: :math:`g \odot \tanh(W x + b)`, :math:`g \odot \mathrm{sh}_\theta(W x)`, which can be exactly zero, or
        the layers of `LISTAEncoder` with one use of S. A module maps rows to codes. Learning starts from its own
        weights; it needs a device of torch, and runs in evaluation mode
        (`skrlv.torch_modules.ModuleEncoder`). An `Encoder` of your own is where learning starts; so is what a function
        ``(decoder, lmbda, data_unit) -> Encoder`` returns. It is tested by `skrlv.encoders.check_encoder`.
    inference : {"encoder", "argmin"}, default="encoder"
        What `transform` returns: the prediction, which takes one matrix product, or the minimum of the energy.
    positive : bool, default=False
        Whether codes are non-negative; not with "tanh".
    dictionary : array-like of shape (n_components, n_features) or None, default=None
        Atoms to use as they are; only the encoder is learned then. None learns both.
    dictionary_init : array-like of shape (n_components, n_features), "k-means++" or None, default=None
        Atoms to start from, as in `SparseCoder`.
    max_iter : int, default=100
        Maximum number of passes over the data.
    batch_size : int or "auto", default="auto"
        Number of rows per update; "auto" is 256.
    learning_rate_init : float, default=1e-2
        Learning rate of Adam for the encoder, at most 1; it falls as one over the square root of the number of steps.
        A deep module may need a tenth of it. If predictions diverge, the encoder starts again at a tenth of the rate.
    tol : float, default=1e-3
        Learning stops when the mean energy falls by no more than this share of itself from one pass to the next; 0
        makes all ``max_iter`` passes. The encoder takes one step per batch: with few rows choose a small
        batch_size, or 0 here.
    code_tol : float or "auto", default="auto"
        Largest relative duality gap of a code: 1e-6 for float64 and 1e-4 for float32 data.
    device : str, default="cpu"
        "cpu" is NumPy and numba; "cuda", "cuda:1" and "torch:cpu" run the array code on torch, and find codes by FISTA.
    n_jobs : int or None, default=None
        Number of threads; None is all cores of the process, or a joblib worker's share.
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
    encoder_ : Encoder
        The encoder, see `skrlv.encoders`.
    prediction_error_history_ : array of shape (n_steps,)
        Mean of :math:`\|z - \mathrm{Enc}(x)\|^2` in each batch, before its update.
    energy_history_ : array of shape (n_iter_,)
        Mean energy per sample of each pass; each batch is measured before its own update.
    n_iter_ : int
        Number of passes over the data; with `partial_fit`, of batches.
    atom_usage_ : array of shape (n_components,)
        Share of the samples that use each atom; recent samples weigh more. Not available if atoms were given.
    n_features_in_ : int
        Number of features of X.
    feature_names_in_ : array of shape (n_features_in_,)
        Column names of X, if it has names that are strings.

    See Also
    --------
    LISTAEncoder : An encoder learned for atoms that do not depend on it.

    References
    ----------
    Kavukcuoglu, Ranzato, LeCun, Fast Inference in Sparse Coding Algorithms with Applications to Object Recognition,
    2008. Their energy has no factors 1/2: their lambda is 2 lmbda, their alpha encoder_weight.

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
        "encoder": [
            StrOptions({"tanh", "shrinkage", "lista"}), HasMethods(["state_dict", "named_parameters"]), Encoder,
            callable,
        ],
        "inference": [StrOptions({"encoder", "argmin"})],
        "learning_rate_init": [Interval(Real, 0, 1, closed="right")],
        "device": [str],
    }  # fmt: skip

    def __init__(
        self,
        n_components: int | None = None,
        *,
        lmbda: float | str = "auto",
        encoder_weight: float = 1.0,
        encoder: Any = "tanh",
        inference: str = "encoder",
        positive: bool = False,
        dictionary: ArrayLike | None = None,
        dictionary_init: ArrayLike | str | None = None,
        max_iter: int = 100,
        batch_size: int | str = "auto",
        learning_rate_init: float = 1e-2,
        tol: float = 1e-3,
        code_tol: float | str = "auto",
        device: str = "cpu",
        n_jobs: int | None = None,
        warm_start: bool = False,
        random_state: Any = None,
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
        if isinstance(self.encoder, str) and self.encoder == "tanh" and self.positive:
            raise ValueError("positive=True needs encoder='shrinkage' or 'lista': tanh takes both signs.")
        if is_module(self.encoder):
            refuse_cpu(self.device)

    def _energy(self, atoms, lmbda, encoder=None):
        if encoder is None and is_numpy(atoms):
            atoms = double(atoms)  # as they are while learning
        decoder, positive = Dictionary(atoms), bool(self._shape["positive"])
        encoder = _first_encoder(self, decoder, lmbda) if encoder is None else encoder
        return Energy(decoder, L1(positive=positive), lmbda, encoder, self._shape["encoder_weight"])

    def _learner(self, energy, rng, X=None, **given):
        if X is not None and self.dictionary is None:
            warn_of_many_atoms(self, X.shape[0])
        return predictive_alternation(
            self, energy, infer=blockwise(self._argmin, self.n_jobs), first_encoder=partial(_first_encoder, self),
            **({} if X is None else batches_of(self, X)),
        )  # fmt: skip

    def _infer(self, energy, y, z0=None):
        return predicted(energy.encoder, y) if predicts(self) else self._argmin(energy, y)

    def _argmin(self, energy, y, z0=None):
        return least(energy, y, self._tol)

    def _warn_about_fit(self, X):
        warns_of_offset(self._rows(X).summary())
        warn_of_divergence(self)

    @property
    def _tol(self):
        return resolved_tol(self.code_tol, self.components_.dtype)


def _first_encoder(model, decoder, lmbda):
    """The encoder that learning starts from."""
    positive = bool(model._shape["positive"])
    if not isinstance(model.encoder, str) and not is_module(model.encoder):
        return own_encoder(model, decoder, lmbda)
    if not isinstance(model.encoder, str):
        from skrlv.torch_modules import ModuleEncoder  # torch is imported only where it is used

        return ModuleEncoder.of(model.encoder, decoder, positive=positive)
    if model.encoder == "tanh":
        return TanhEncoder.first_step(decoder, model._data_unit)
    if model.encoder == "shrinkage":
        return ShrinkageEncoder.first_step(decoder, lmbda, positive=positive)
    return LISTA.unrolled(decoder, lmbda, 1, positive=positive)
