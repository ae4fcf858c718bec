"""Codes whose information is limited by noise (VariationalAutoencoder)."""

import math
from numbers import Integral, Real

import numpy as np
from scipy import sparse
from sklearn.base import DensityMixin
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from skrlv._arrays import check_device, to_device, to_numpy
from skrlv._compat import HasMethods, Interval, StrOptions
from skrlv._layers import BENDS, Layers
from skrlv._rows import Rows, sample_rows
from skrlv._threads import dense
from skrlv.bound import BoundShape, importance_bound, packed
from skrlv.energy import Energy
from skrlv.learning import VariationalLearner, VariationalStream
from skrlv.models.base import LatentVariableModel, rows_per_step
from skrlv.models.encoder import predicted
from skrlv.models.validation import refuse_extremes
from skrlv.models.warning import warn_user
from skrlv.regularizers import StandardNormal

MAX_SEED = 2**31 - 1
DRAWS = 32  # of the code of a row, at least, that its bound is the mean over
ROWS_TO_SETTLE = 10  # of a first batch, fewer than which know little of the mean and the spread
ROUNDING, MAX_BEYOND = 1e-6, 0.1  # how far data of Bernoulli variables may leave 0..1: in fit, afterwards
ACTIVE = 0.01  # variance of its means from which an entry of the code says something
_MODULE = HasMethods(["state_dict", "named_parameters"])


class VariationalAutoencoder(DensityMixin, LatentVariableModel):
    r"""Variational autoencoder: codes that are fuzzy balls, each on a spring to the origin.

    .. math:: L(x) = \mathbb{E}_{z \sim q(z \mid x)}\, C(x, \mathrm{Dec}(z))
        + \beta\, \mathrm{KL}\bigl(q(z \mid x),\, N(0, I)\bigr), \qquad
        q(z \mid x) = N\bigl(\mu(x), \mathrm{diag}\, \sigma^2(x)\bigr)

    where :math:`C(x, \bar x) = -\log p(x \mid z)` sums over features, in nats. The noise of the ball limits what a code
    can say of a sample. With :math:`\beta = 1` the loss is a bound: :math:`-L(x) \le \log p(x)`. `fit` moves the
    networks :math:`\mu, \sigma` and Dec; `transform` gives the means.

    Parameters
    ----------
    n_components : int, default=16
        Number of entries of a code.
    hidden_layer_sizes : array-like of int, or int, default=(256,)
        Units of the hidden layers of the encoder; the decoder has them in reverse. () makes both of them linear.
    activation : {"relu", "tanh", "logistic", "identity"}, default="relu"
        Of the hidden layers.
    likelihood : {"gaussian", "bernoulli"}, default="gaussian"
        "gaussian": white noise about the decoded mean. "bernoulli": each feature is a coin, for data in 0..1.
    scale : float or "auto", default="auto"
        Standard deviation of the Gaussian noise, in the unit of X; "auto" learns it, and keeps it above a thousandth
        of the spread of X.
    beta : float, default=1.0
        Strength of the spring, >= 0. Above one codes say less, and each entry more of its own; with zero balls fly
        apart.
    kl_warmup : int, default=0
        Passes over which beta rises from zero; with `partial_fit`, calls. It helps against entries that never say
        anything.
    free_bits : float, default=0.0
        Nats per entry of the code that cost nothing: below, on the mean over a batch, its spring does not pull.
    learn_variance : bool, default=True
        Whether each ball has a size of its own; without, :math:`\sigma = 1`.
    max_iter : int, default=200
        Most passes over the data.
    batch_size : int or "auto", default="auto"
        Rows per step; "auto" is 256.
    learning_rate_init : float, default=1e-3
        First rate of Adam; it falls where learning stalls.
    tol : float, default=1e-4
        A pass gains if the loss on held-out rows, for data in units of their spread, falls by more than this share of
        it, of one nat where it is smaller. 0 makes all passes.
    n_iter_no_change : int, default=5
        Passes without gain before the rate falls to a third; after four such falls learning ends.
    validation_fraction : float, default=0.1
        Share of the rows held out to judge by; the weights that are best on them are kept. With 0 all rows judge.
    encoder : torch.nn.Module or None, default=None
        Takes rows of X to means and log variances side by side, (n_samples, 2 n_components), or as a pair; with
        ``learn_variance=False`` to means alone. It learns on from its own weights, and needs a device of torch. It
        gets X as it is, so X should be scaled; and it always runs as in evaluation: dropout passes everything, batch
        normalization keeps the statistics it came with. None makes one of dense layers.
    decoder : torch.nn.Module or None, default=None
        Takes codes to the means of rows of X, or to the log odds for "bernoulli"; the same is true of it. None makes
        one of dense layers.
    device : str, default="cpu"
        "cpu" is NumPy; "cuda", "cuda:1" and "torch:cpu" run the same code on torch.
    warm_start : bool, default=False
        Whether `fit` goes on from what was learned before, its statistics kept, instead of starting anew.
    random_state : int, RandomState instance or None, default=None
        Draws the first weights, the rows held out, the batches and the noise.

    Attributes
    ----------
    n_components_ : int
        Number of entries of a code.
    kl_per_unit_ : array of shape (n_components,)
        KL of each entry of the code from N(0, 1), in nats, the mean over all rows of X: what it says.
    active_units_ : array of bool of shape (n_components,)
        Entries whose means vary over these rows, with a variance above 0.01. The others have collapsed: they say
        nothing.
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
        Width of X.
    feature_names_in_ : array of shape (n_features_in_,)
        Column names of X, where it had string names.

    See Also
    --------
    SparseCoder : Codes whose information is limited by their few non-zeros.

    Notes
    -----
    With `partial_fit` the first call estimates the mean and scale of the data from its batch, which should have many
    rows. What shapes the model is frozen then, beta and scale as well; of parameters that are set later
    ``learning_rate_init``, ``free_bits`` and ``kl_warmup`` count. Nothing is held out, so the last weights are kept,
    and ``kl_per_unit_`` and ``active_units_`` describe the last batch. If the loss of a batch is not finite no step is
    taken, and the rate falls to a tenth.

    `energy` is that of one code, :math:`C(x, \mathrm{Dec}(z)) + \beta\, \frac12 \|z\|^2`, by default of the mean, in
    nats.

    Networks of our own see X less its mean, in units of its spread, where the likelihood is Gaussian. So the result
    does not depend on the unit of X.

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
    >>> mean, variance = vae.posterior(X)
    >>> bool((variance < 1).mean() > 0.5)
    True
    >>> vae.sample(3, random_state=0).shape
    (3, 64)
    """

    _parameter_constraints = {
        "n_components": [Interval(Integral, 1, None, closed="left")],
        "hidden_layer_sizes": ["array-like", Interval(Integral, 1, None, closed="left")],
        "activation": [StrOptions(set(BENDS))],
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

    def __init__(
        self,
        n_components=16,
        *,
        hidden_layer_sizes=(256,),
        activation="relu",
        likelihood="gaussian",
        scale="auto",
        beta=1.0,
        kl_warmup=0,
        free_bits=0.0,
        learn_variance=True,
        max_iter=200,
        batch_size="auto",
        learning_rate_init=1e-3,
        tol=1e-4,
        n_iter_no_change=5,
        validation_fraction=0.1,
        encoder=None,
        decoder=None,
        device="cpu",
        warm_start=False,
        random_state=None,
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
        sizes = self._hidden_sizes
        if not all(isinstance(size, Integral) and not isinstance(size, bool) and int(size) > 0 for size in sizes):
            raise ValueError(
                f"hidden_layer_sizes={self.hidden_layer_sizes!r} must hold whole numbers > 0, one per hidden layer."
            )
        if self.likelihood == "bernoulli" and self.scale != "auto":
            raise ValueError("scale= is that of Gaussian noise; likelihood='bernoulli' has none.")
        for name in ("encoder", "decoder"):
            if getattr(self, name) is not None and self.device == "cpu":
                raise ValueError(
                    f"{name}= is a torch module: device= must be one of torch's, such as 'torch:cpu' or 'cuda'."
                )

    @property
    def _hidden_sizes(self):
        sizes = self.hidden_layer_sizes
        return (sizes,) if isinstance(sizes, Integral) else tuple(sizes)

    # Learning

    def _validated(self, X, reset=False):
        X = super()._validated(X, reset=reset)
        likelihood = self.likelihood if reset else self._shape.likelihood
        return _within_unit_range(X, fitted=not reset) if likelihood == "bernoulli" else X

    def _initial_energy(self, X, rng):
        """The bound that learning starts from."""
        self._seed = int(rng.randint(MAX_SEED))
        self.lmbda_ = float(self.beta)
        self._shape = BoundShape(
            self.likelihood, self.activation, bool(self.learn_variance), int(self.n_components), self.lmbda_,
            *(_mean_and_scale(X) if self.likelihood == "gaussian" else (None, 1.0)),
        )  # fmt: skip
        like = self._placed(np.zeros((1, 1), X.dtype))
        n_out = self.n_components * (2 if self.learn_variance else 1)
        sizes = (X.shape[1], *self._hidden_sizes)
        inward = self._first_layers("encoder", (*sizes, n_out), rng, like)
        outward = self._first_layers("decoder", (self.n_components, *reversed(sizes)), rng, like)
        return self._shape.bound(inward, outward, self._first_log_variance(), self._placed)

    def _first_layers(self, name, sizes, rng, like):
        module = getattr(self, name)
        if module is None:
            return Layers.drawn(sizes, self.activation, rng, like)
        from skrlv.torch_modules import ModuleLayers  # torch is imported only where it is used

        return ModuleLayers.of(module, sizes[0], sizes[-1], like, name)

    def _first_log_variance(self):
        """Of the noise: a number if it is fixed, an array if it is learned."""
        if self.likelihood == "bernoulli":
            return 0.0
        if self.scale != "auto":
            return 2.0 * math.log(self.scale)
        return to_device(np.asarray(2.0 * math.log(self._shape.unit)), self.device)

    def _store(self, energy, dtype):
        self.n_components_ = energy.encoder.n_components
        self._parameters, self._modules = packed(energy)
        if self._shape.likelihood == "gaussian":
            self.scale_ = math.exp(0.5 * float(energy.cost.log_variance))

    def _learner(self, energy, rng, X=None, **given):
        bound = self.bound_  # as it was stored: the energy of one code is no bound
        if X is None:
            noise = np.random.RandomState((self._seed + self.n_iter_) % MAX_SEED)  # other noise for each call
            warmth = min(1.0, self.n_iter_ / self.kl_warmup) if self.kl_warmup else 1.0
            return VariationalStream(
                bound, self._state, noise, rate=self.learning_rate_init, warmth=warmth, free_bits=self.free_bits
            )

        def load(rows):
            return self._placed(dense(X[rows]))

        n_samples, n_features = X.shape
        return VariationalLearner(
            bound, self._state, load, n_samples, origin=n_features * math.log(self._shape.unit), rng=rng,
            batch_size=rows_per_step(self, n_samples), rate=self.learning_rate_init, tol=self.tol,
            patience=self.n_iter_no_change, warmup=self.kl_warmup, free_bits=self.free_bits,
            validation_fraction=self.validation_fraction,
        )  # fmt: skip

    def _warn_about_fit(self, X):
        rows = Rows(X)
        sample, noise = sample_rows(rows, rows.summary()), np.random.RandomState(self._seed)
        learned = self.n_iter_ > 1 and sample.size  # the first batch of a stream has not
        if not self.active_units_.any() or (learned and self.bound_.gain_of_codes(self._placed(sample), noise) <= 0.0):
            warn_user(
                "The codes have collapsed, or nothing was learned yet: a code of zero for every row has no larger loss "
                "than the codes with their KL term. Lower beta, give kl_warmup, make more passes, or lower "
                "learning_rate_init."
            )

    def _warn_about_first_batch(self, X):
        if self._shape.likelihood == "gaussian" and X.shape[0] < ROWS_TO_SETTLE:
            warn_user(
                f"Mean and scale of the data are estimated from the first batch, which has only {X.shape[0]} rows. "
                "Begin with more rows."
            )

    # What was learned

    @property
    def bound_(self):
        """The fitted `VariationalBound`: encoder, decoder and cost, on the device."""
        check_is_fitted(self)
        if self._modules and self.device == "cpu":
            raise ValueError(
                f"{min(self._modules)}= is a torch module: device= must be one of torch's, such as 'torch:cpu'."
            )
        fixed = 2.0 * math.log(getattr(self, "scale_", 1.0))
        return self._shape.unpacked(
            self._parameters, self._modules, fixed, lambda value: to_device(value, self.device), self._placed
        )

    @property
    def energy_(self):
        r"""The `Energy` :math:`C(x, \mathrm{Dec}(z)) + \beta\, \frac12 \|z\|^2` of one code, on the device.

        The loss is its mean over a ball, less beta times the entropy of the ball, up to constants.
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

    # Codes

    def _infer(self, energy, y, z0=None):
        return predicted(lambda y: self.encoder_(y)[0], y)

    def posterior(self, X):
        """The ball of codes of each sample.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            Data.

        Returns
        -------
        mean, variance : arrays of shape (n_samples, n_components)
            Of the Gaussian law of its code, of the dtype of X.
        """
        X, encoder = self._validated(X), self.encoder_

        def find(rows):
            mean, log_variance = map(to_numpy, encoder(self._placed(dense(X[rows]))))
            return mean.astype(X.dtype, copy=False), np.exp(log_variance).astype(X.dtype, copy=False)

        means, variances = zip(*self._each_block(find, X.shape[0]), strict=True)
        return np.concatenate(means), np.concatenate(variances)

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
        if not Interval(Integral, 1, None, closed="left").is_satisfied_by(n_samples):
            raise ValueError(f"n_samples={n_samples!r} must be a whole number > 0.")
        rng = check_random_state(random_state)
        means = self.inverse_transform(rng.standard_normal((n_samples, self.n_components_)).astype(self._dtype))
        if not noise:
            return means
        if self._shape.likelihood == "bernoulli":
            return (rng.uniform(size=means.shape) < means).astype(means.dtype)
        return means + (self.scale_ * rng.standard_normal(means.shape)).astype(means.dtype)

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
        if not Interval(Integral, 1, None, closed="left").is_satisfied_by(n_importance_samples):
            raise ValueError(f"n_importance_samples={n_importance_samples!r} must be a whole number > 0.")
        X, bound = self._validated(X), self.bound_
        n_drawn = -(-DRAWS // (2 * n_importance_samples)) * n_importance_samples
        half = np.random.RandomState(self._seed).standard_normal((n_drawn, self.n_components_))
        noise = self._placed(np.concatenate([half, -half]))  # what is odd in the noise cancels

        def judge(rows):
            weights = bound.log_weights(self._placed(dense(X[rows])), noise)
            return to_numpy(importance_bound(weights, n_importance_samples))

        return np.concatenate(self._each_block(judge, X.shape[0]))

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


def _within_unit_range(X, fitted):
    """Data of Bernoulli variables: refused outside of 0..1, but for rounding, and for little in a fitted model."""
    ends = Rows(X).map(lambda x: (float(x.min()), float(x.max())))
    least, most = min(low for low, _ in ends), max(high for _, high in ends)
    beyond = max(-least, most - 1.0)
    if beyond <= 0.0:
        return X
    if beyond > (MAX_BEYOND if fitted else ROUNDING):
        raise ValueError(
            f"likelihood='bernoulli' takes X within 0..1, but X goes from {least:.9g} to {most:.9g}. Divide X by its "
            "largest value, or use sklearn.preprocessing.MinMaxScaler(clip=True), or likelihood='gaussian'."
        )
    if beyond > ROUNDING:
        warn_user(f"X goes from {least:.3g} to {most:.3g}, and is clipped to 0..1.")
    if not sparse.issparse(X):
        return np.clip(X[:], 0.0, 1.0)
    X = X.copy()
    X.data = np.clip(X.data, 0.0, 1.0)
    return X


def _mean_and_scale(X):
    """The mean row of X, and the root mean square of what is left without it (1 if nothing is)."""
    rows = Rows(X)
    summary = rows.summary()
    refuse_extremes(summary.largest, summary.n_rows * summary.total.size, X.dtype, np.float64)
    mean = summary.total / X.shape[0]
    squares = sum(rows.map(lambda x: float(np.sum((x - mean) ** 2))))
    unit = math.sqrt(squares / (X.shape[0] * X.shape[1]))
    if not summary.varies or unit <= 10.0 * np.finfo(np.float64).eps * summary.largest:
        unit = 1.0  # nothing is left but rounding
    limit = 0.1 * math.sqrt(float(np.finfo(X.dtype).max))
    if not 1.0 / limit <= unit <= limit:
        raise ValueError(f"X has a spread of {unit:.0e}, whose square {X.dtype} cannot hold. Rescale X first.")
    return mean.astype(X.dtype), unit
