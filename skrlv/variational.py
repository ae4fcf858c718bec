"""The variational autoencoder: codes whose information is limited by noise."""

import math
from collections.abc import Sequence
from numbers import Integral, Real
from typing import Any

import numpy as np
from sklearn.base import DensityMixin
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from skrlv._arrays import check_device, to_numpy
from skrlv._compat import HasMethods, Interval, StrOptions
from skrlv._layers import ACTIVATIONS
from skrlv._threads import dense
from skrlv.bound import importance_bound, packed
from skrlv.energy import Energy
from skrlv.models.base import LatentVariableModel
from skrlv.models.encoder import predicted
from skrlv.models.networks import (
    MAX_SEED,
    bound_shape,
    check_networks,
    descended,
    first_bound,
    fitted_bound,
    learner_of_passes,
    learner_of_stream,
    mirrored_draws,
    posteriors,
    refuse_no_count,
    sampled,
    warn_of_collapse,
    warn_of_few_rows,
    within_unit_range,
)
from skrlv.models.validation import resolved_tol
from skrlv.regularizers import StandardNormal

ACTIVE = 0.01  # variance of its means from which an entry of the code says something
_MODULE = HasMethods(["state_dict", "named_parameters"])

_FROZEN = ("n_components", "hidden_layer_sizes", "activation", "likelihood", "scale", "beta", "learn_variance")
_CONSTRAINTS = {
    "n_components": [Interval(Integral, 1, None, closed="left")],
    "hidden_layer_sizes": ["array-like", Interval(Integral, 1, None, closed="left")],
    "activation": [StrOptions(set(ACTIVATIONS))],
    "likelihood": [StrOptions({"gaussian", "bernoulli"})],
    "scale": [Interval(Real, 1e-100, 1e100, closed="both"), StrOptions({"auto"})],  # its square is a number
    "beta": [Interval(Real, 0, None, closed="left")],
    "kl_warmup": [Interval(Integral, 0, None, closed="left")],
    "free_bits": [Interval(Real, 0, None, closed="left")],
    "learn_variance": ["boolean"],
    "max_iter": [Interval(Integral, 1, None, closed="left")],
    "batch_size": [Interval(Integral, 1, None, closed="left"), StrOptions({"auto"})],
    "learning_rate_init": [Interval(Real, 0, None, closed="neither")],
    "tol": [Interval(Real, 0, None, closed="left")],
    "n_iter_no_change": [Interval(Integral, 1, None, closed="left")],
    "validation_fraction": [Interval(Real, 0, 1, closed="left")],
    "encoder": [_MODULE, None],
    "decoder": [_MODULE, None],
    "device": [str],
    "warm_start": ["boolean"],
    "random_state": ["random_state"],
}


class VariationalAutoencoder(DensityMixin, LatentVariableModel):
    r"""Variational autoencoder: each code is a Gaussian distribution, whose noise limits what it says of the sample.

    .. math:: L(x) = \mathbb{E}_{z \sim q(z \mid x)}\, C(x, \mathrm{Dec}(z))
        + \beta\, \mathrm{KL}\bigl(q(z \mid x),\, N(0, I)\bigr), \qquad
        q(z \mid x) = N\bigl(\mu(x), \mathrm{diag}\, \sigma^2(x)\bigr)

    where :math:`C(x, \bar x) = -\log p(x \mid z)` sums over features, in nats. With :math:`\beta = 1` the loss is a
    bound: :math:`-L(x) \le \log p(x)`. `fit` learns the networks :math:`\mu, \sigma` and Dec; `transform` gives the
    means of the posteriors q.

    Parameters
    ----------
    n_components : int, default=16
        Number of entries of a code (latent units).
    hidden_layer_sizes : array-like of int, or int, default=(256,)
        Units of the hidden layers of the encoder; the decoder has them in reverse. () makes both of them linear.
    activation : {"relu", "tanh", "logistic", "identity"}, default="relu"
        Activation of the hidden layers.
    likelihood : {"gaussian", "bernoulli"}, default="gaussian"
        Distribution of a sample given its code: "gaussian" is white noise about the decoded mean; "bernoulli" is for
        features in 0..1.
    scale : float or "auto", default="auto"
        Standard deviation of the Gaussian noise, in the unit of X; "auto" learns it, and keeps it above a thousandth
        of the spread of X.
    beta : float, default=1.0
        Weight of the KL term, >= 0. Above one codes say less, and each entry says more of its own; zero drops the term.
    kl_warmup : int, default=0
        Number of passes, or calls of `partial_fit`, over which beta rises from zero, which keeps units from collapse.
    free_bits : float, default=0.0
        Nats per entry of the code that the KL term does not count, on the mean over a batch.
    learn_variance : bool, default=True
        Whether each posterior has variances of its own; without, :math:`\sigma = 1`.
    max_iter : int, default=200
        Maximum number of passes over the data.
    batch_size : int or "auto", default="auto"
        Rows per step; "auto" is 256.
    learning_rate_init : float, default=1e-3
        First learning rate of Adam; it falls when the loss on held-out rows stalls.
    tol : float, default=1e-4
        A pass improves if the loss on held-out rows, for data in units of their spread, falls by more than this share
        of it, or of one nat where it is smaller. 0 makes all passes.
    n_iter_no_change : int, default=5
        Number of passes without improvement before the rate falls to a third; after four such falls learning ends.
    validation_fraction : float, default=0.1
        Share of the rows held out; the weights with the smallest loss on them are kept. 0 takes the loss of all rows.
    encoder : torch.nn.Module or None, default=None
        Maps rows of X to means and log variances side by side, (n_samples, 2 n_components), or as a pair; with
        ``learn_variance=False`` to means alone. Learning starts from its own weights, and needs a device of torch. It
        gets X as it is, so X should be scaled, and runs in evaluation mode. None makes one of dense layers.
    decoder : torch.nn.Module or None, default=None
        Maps codes to the means of rows of X, or to log odds for "bernoulli"; else as ``encoder``.
    device : str, default="cpu"
        "cpu" is NumPy; "cuda", "cuda:1" and "torch:cpu" run the same code on torch.
    warm_start : bool, default=False
        Whether `fit` continues from what was learned before, with its statistics, instead of starting anew.
    random_state : int, RandomState instance or None, default=None
        Draws the first weights, the rows held out, the batches and the noise.

    Attributes
    ----------
    n_components_ : int
        Number of entries of a code.
    kl_per_unit_ : array of shape (n_components,)
        KL of each entry of the code from N(0, 1), in nats, the mean over all rows of X.
    active_units_ : array of bool of shape (n_components,)
        Entries whose means vary over these rows, with a variance above 0.01. The others say nothing.
    scale_ : float
        The standard deviation of the Gaussian noise, in the unit of X; not for "bernoulli".
    lmbda_ : float
        beta: the weight of :math:`R(z) = \frac12 \|z\|^2` in `energy`.
    energy_history_ : array of shape (n_iter_,)
        Mean of L per sample over each pass, each batch before its own step.
    kl_history_ : array of shape (n_iter_,)
        The part of it that is KL, before beta.
    validation_loss_history_ : array of shape (n_iter_,)
        Mean of L over the rows held out, after each pass of `fit`; `partial_fit` adds nothing to it.
    n_iter_ : int
        Passes over the data; with `partial_fit`, calls.
    n_features_in_ : int
        Number of features of X.
    feature_names_in_ : array of shape (n_features_in_,)
        Column names of X, if it has names that are strings.

    See Also
    --------
    SparseCoder : Codes whose information is limited by their few non-zeros.

    Notes
    -----
    With `partial_fit` the first call estimates the mean and scale of the data from its batch, which should have many
    rows. Of the parameters that are set later only ``learning_rate_init``, ``free_bits`` and ``kl_warmup`` have an
    effect. No rows are held out, so the last weights are kept, and ``kl_per_unit_`` and ``active_units_`` describe the
    last batch. If the loss of a batch is not finite no step is taken, and the rate falls to a tenth.

    `energy` is that of one code, :math:`C(x, \mathrm{Dec}(z)) + \beta\, \frac12 \|z\|^2`, by default of the mean, in
    nats. Dense layers see X less its mean, in units of its spread, where the likelihood is Gaussian, so the result does
    not depend on the unit of X.

    References
    ----------
    Kingma, Welling, Auto-Encoding Variational Bayes, 2014.
    Higgins et al., beta-VAE: Learning Basic Visual Concepts with a Constrained Variational Framework, 2017.
    Sonderby et al., Ladder Variational Autoencoders, 2016.
    Kingma et al., Improved Variational Inference with Inverse Autoregressive Flow, 2016.
    Burda, Grosse, Salakhutdinov, Importance Weighted Autoencoders, 2016.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from skrlv import VariationalAutoencoder
    >>> X = load_digits().data / 16
    >>> vae = VariationalAutoencoder(8, likelihood="bernoulli", max_iter=30, tol=0, random_state=0).fit(X)
    >>> vae.transform(X).shape
    (1797, 8)
    >>> vae.sample(3, random_state=0).shape
    (3, 64)
    """

    _parameter_constraints = _CONSTRAINTS

    def __init__(
        self,
        n_components: int = 16,
        *,
        hidden_layer_sizes: int | Sequence[int] = (256,),
        activation: str = "relu",
        likelihood: str = "gaussian",
        scale: float | str = "auto",
        beta: float = 1.0,
        kl_warmup: int = 0,
        free_bits: float = 0.0,
        learn_variance: bool = True,
        max_iter: int = 200,
        batch_size: int | str = "auto",
        learning_rate_init: float = 1e-3,
        tol: float = 1e-4,
        n_iter_no_change: int = 5,
        validation_fraction: float = 0.1,
        encoder: Any = None,
        decoder: Any = None,
        device: str = "cpu",
        warm_start: bool = False,
        random_state: Any = None,
    ):
        self.n_components = n_components
        self.hidden_layer_sizes = hidden_layer_sizes
        self.activation = activation
        self.likelihood = likelihood
        self.scale = scale
        self.beta = beta
        self.kl_warmup = kl_warmup
        self.free_bits = free_bits
        self.learn_variance = learn_variance
        self.max_iter = max_iter
        self.batch_size = batch_size
        self.learning_rate_init = learning_rate_init
        self.tol = tol
        self.n_iter_no_change = n_iter_no_change
        self.validation_fraction = validation_fraction
        self.encoder = encoder
        self.decoder = decoder
        self.device = device
        self.warm_start = warm_start
        self.random_state = random_state

    def _validate_params(self):
        super()._validate_params()
        check_device(self.device)
        check_networks(self)

    def _validated(self, X, reset=False):
        X = super()._validated(X, reset=reset)
        likelihood = self.likelihood if reset else self._shape.likelihood
        return within_unit_range(X, fitted=not reset) if likelihood == "bernoulli" else X

    def _initial_energy(self, X, rng):
        """The bound that learning starts from."""
        self._seed = int(rng.randint(MAX_SEED))
        self.lmbda_ = float(self.beta)
        self._at_fit = {name: getattr(self, name) for name in _FROZEN}
        self._shape = bound_shape(self, X)
        return first_bound(self, X.shape[1], rng)

    def _store(self, energy, dtype):
        self.n_components_ = energy.encoder.n_components
        self._parameters, self._modules = packed(energy)
        if self._shape.likelihood == "gaussian":
            self.scale_ = math.exp(0.5 * float(energy.cost.log_variance))

    def _learner(self, energy, rng, X=None, **given):
        return learner_of_stream(self) if X is None else learner_of_passes(self, X, rng)

    def _warn_about_fit(self, X):
        warn_of_collapse(self, X)

    def _warn_about_first_batch(self, X):
        warn_of_few_rows(self, X.shape[0])

    @property
    def bound_(self):
        """The fitted `VariationalBound`: encoder, decoder and cost, on the device."""
        check_is_fitted(self)
        return fitted_bound(self)

    @property
    def energy_(self):
        r"""The `Energy` :math:`C(x, \mathrm{Dec}(z)) + \beta\, \frac12 \|z\|^2` of one code, on the device.

        Up to constants the loss is its mean over the posterior, less beta times the entropy of the posterior.
        """
        bound = self.bound_
        return Energy(bound.decoder, StandardNormal(), bound.beta, cost=bound.cost)

    @property
    def encoder_(self):
        """The fitted `GaussianNetwork`, on the device."""
        return self.bound_.encoder

    @property
    def decoder_(self):
        """The fitted `Network`, on the device."""
        return self.bound_.decoder

    @property
    def kl_per_unit_(self):
        """KL of each entry of the code, in nats, the mean over all rows."""
        check_is_fitted(self)
        return self._state.summary["kl_per_unit"]

    @property
    def active_units_(self):
        """Entries of the code whose means vary over the rows."""
        check_is_fitted(self)
        return self._state.summary["variance_of_means"] > ACTIVE

    @property
    def kl_history_(self):
        """Mean KL per sample over each pass, in nats."""
        check_is_fitted(self)
        return self._state.histories["divergence"]

    def _infer(self, energy, y, z0=None):
        return predicted(lambda y: self.encoder_(y)[0], y)

    def _argmin(self, energy, y, z0=None):
        start, tol = self.encoder_(y)[0] if z0 is None else z0, resolved_tol("auto", np.dtype(self._dtype))
        return descended(start, energy.given(y), tol)

    def infer(self, X):
        r"""The codes of least energy, :math:`\arg\min_z C(x, \mathrm{Dec}(z)) + \beta\, \frac12 \|z\|^2`.

        The search goes down from the mean that `transform` gives, and again from the lowest of 64 draws from N(0, I)
        where that is lower still, 500 steps of FISTA at most each. It may miss the lowest minimum.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            Data.

        Returns
        -------
        array of shape (n_samples, n_components)
            Codes, of the dtype of X, whose energy is at most that of the means.
        """
        return self._map_codes(self.energy_, self._validated(X), search=self._argmin)

    def posterior(self, X):
        """The posterior of each sample.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            Data.

        Returns
        -------
        mean, variance : arrays of shape (n_samples, n_components)
            Of the Gaussian distribution of its code, of the dtype of X.
        """
        return posteriors(self, self._validated(X))

    def sample(self, n_samples=1, random_state=None, *, noise=False):
        r"""Data from the model: codes drawn from N(0, I), decoded.

        Parameters
        ----------
        n_samples : int, default=1
            How many.
        random_state : int, RandomState instance or None, default=None
            Draws the codes, and the noise.
        noise : bool, default=False
            Whether to draw the data about their mean as well: with Gaussian noise, or as Bernoulli variables.

        Returns
        -------
        array of shape (n_samples, n_features)
            Decoded means, or data, of the dtype of X.
        """
        check_is_fitted(self)
        refuse_no_count(n_samples, "n_samples")
        return sampled(self, n_samples, check_random_state(random_state), noise)

    def score_samples(self, X, *, n_importance_samples=1):
        r"""A bound on the log likelihood of each sample, in nats.

        .. math:: L_k = \mathbb{E} \log \frac1k \sum_{s=1}^k \frac{p(x, z_s)}{q(z_s \mid x)} \;\le\; \log p(x)

        With k = 1 it is the ELBO, whatever beta. All rows share one set of draws, whose seed is kept since `fit`, so
        that a row has the same bound in any batch.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            Data.
        n_importance_samples : int, default=1
            k: the more, the tighter the bound, and the longer it takes. At least 32 draws are made in all, half of them
            mirror images of the others; the bound is the mean over groups of k.

        Returns
        -------
        array of shape (n_samples,)
            Higher is more like the training data, float64.
        """
        refuse_no_count(n_importance_samples, "n_importance_samples")
        X, bound = self._validated(X), self.bound_
        draws = self._placed(mirrored_draws(n_importance_samples, self.n_components_, self._seed))

        def bounds(rows):
            weights = bound.log_weights(self._placed(dense(X[rows])), draws)
            return to_numpy(importance_bound(weights, n_importance_samples))

        return np.concatenate(self._each_block(bounds, X.shape[0]))

    def score(self, X, y=None):
        """The mean ELBO of the samples, in nats, at beta = 1: a bound on their mean log likelihood.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            Data.
        y : None
            Ignored.

        Returns
        -------
        float
            Higher is better; it ranks models of any beta.
        """
        return LatentVariableModel.score(self, X)  # that of scikit-learn's DensityMixin comes first
