"""The networks of a variational autoencoder before learning, and what their data must be."""

import math
from numbers import Integral

import numpy as np
from scipy import sparse

from skrlv._arrays import column, namespace, to_device, to_device_of, to_numpy
from skrlv._compat import Interval
from skrlv._layers import Layers
from skrlv._rows import Rows, sample_rows
from skrlv._threads import dense
from skrlv.bound import BoundShape
from skrlv.inference import fista_restart
from skrlv.learning import VariationalLearner, VariationalStream
from skrlv.models.base import rows_per_step
from skrlv.models.validation import refuse_extremes
from skrlv.models.warning import warn_user

MAX_SEED = 2**31 - 1
MAX_STEPS, STARTS = 500, 64  # of a search for the code of least energy
DRAWS = 32  # of the code of a row, at least, that its bound is the mean over
ROWS_TO_SETTLE = 10  # of a first batch, fewer than which know little of the mean and the spread
ROUNDING, MAX_BEYOND = 1e-6, 0.1  # how far data of Bernoulli variables may leave 0..1: in fit, afterwards


def check_networks(model):
    """Refuse parameters of the networks that do not go together."""
    sizes = _hidden_sizes(model)
    if not all(isinstance(size, Integral) and not isinstance(size, bool) and int(size) > 0 for size in sizes):
        raise ValueError(
            f"hidden_layer_sizes={model.hidden_layer_sizes!r} must hold whole numbers > 0, one per hidden layer."
        )
    if model.likelihood == "bernoulli" and model.scale != "auto":
        raise ValueError("scale= is that of Gaussian noise; likelihood='bernoulli' has none.")
    for name in ("encoder", "decoder"):
        if getattr(model, name) is not None and model.device == "cpu":
            raise ValueError(
                f"{name}= is a torch module: device= must be one of torch's, such as 'torch:cpu' or 'cuda'."
            )


def _hidden_sizes(model):
    sizes = model.hidden_layer_sizes
    return (sizes,) if isinstance(sizes, Integral) else tuple(sizes)


def bound_shape(model, X):
    """The settings of the bound, with the mean and the scale of validated data where these are Gaussian."""
    offset, unit = mean_and_scale(X) if model.likelihood == "gaussian" else (None, 1.0)
    learn_variance, n_components = bool(model.learn_variance), int(model.n_components)
    return BoundShape(
        model.likelihood, model.activation, learn_variance, n_components, float(model.beta), offset, unit
    )  # fmt: skip


def first_bound(model, n_features, rng):
    """The `VariationalBound` that learning starts from."""
    shape, sizes = model._shape, (n_features, *_hidden_sizes(model))
    like = model._placed(np.zeros((1, 1), model._dtype))
    n_out = shape.n_components * (2 if shape.learn_variance else 1)
    inward = _first_layers(model, "encoder", (*sizes, n_out), rng, like)
    outward = _first_layers(model, "decoder", (shape.n_components, *reversed(sizes)), rng, like)
    return shape.bound(inward, outward, _first_log_variance(model, shape), model._placed)


def _first_layers(model, name, sizes, rng, like):
    module = getattr(model, name)
    if module is None:
        return Layers.drawn(sizes, model.activation, rng, like)
    from skrlv.torch_modules import ModuleLayers  # torch is imported only where it is used

    return ModuleLayers.of(module, sizes[0], sizes[-1], like, name)


def _first_log_variance(model, shape):
    """Of the noise: a number if it is fixed, an array if it is learned."""
    if shape.likelihood == "bernoulli":
        return 0.0
    if model.scale != "auto":
        return 2.0 * math.log(model.scale)
    return to_device(np.asarray(2.0 * math.log(shape.unit)), model.device)


def fitted_bound(model):
    """The `VariationalBound` of a fitted model, on its device."""
    if model._modules and model.device == "cpu":
        raise ValueError(
            f"{min(model._modules)}= is a torch module: device= must be one of torch's, such as 'torch:cpu'."
        )
    fixed = 2.0 * math.log(getattr(model, "scale_", 1.0))
    return model._shape.unpacked(
        model._parameters, model._modules, fixed, lambda value: to_device(value, model.device), model._placed
    )


def mirrored_draws(group, n_components, seed):
    """Draws from N(0, I), at least 32 in groups of that many; half are mirror images, so that what is odd cancels."""
    n_drawn = -(-DRAWS // (2 * group)) * group
    half = np.random.RandomState(seed).standard_normal((n_drawn, n_components))
    return np.concatenate([half, -half])


def learner_of_passes(model, X, rng):
    """The learner of `fit`."""

    def load(rows):
        return model._placed(dense(X[rows]))

    return VariationalLearner(
        model.bound_, model._state, load, X.shape[0], origin=X.shape[1] * math.log(model._shape.unit), rng=rng,
        batch_size=rows_per_step(model, X.shape[0]), rate=model.learning_rate_init, tol=model.tol,
        patience=model.n_iter_no_change, warmup=model.kl_warmup, free_bits=model.free_bits,
        validation_fraction=model.validation_fraction,
    )  # fmt: skip


def learner_of_stream(model):
    """The learner of `partial_fit`; each call has noise of its own."""
    noise = np.random.RandomState((model._seed + model.n_iter_) % MAX_SEED)
    warmth = min(1.0, model.n_iter_ / model.kl_warmup) if model.kl_warmup else 1.0
    return VariationalStream(
        model.bound_, model._state, noise, rate=model.learning_rate_init, warmth=warmth, free_bits=model.free_bits
    )


def warn_of_collapse(model, X):
    """Warn of codes that carry no information, or none that is worth their KL term."""
    rows = Rows(X)
    sample, noise = sample_rows(rows, rows.summary()), np.random.RandomState(model._seed)
    learned = model.n_iter_ > 1 and sample.size  # the first batch of a stream has not
    if not model.active_units_.any() or (learned and model.bound_.gain_of_codes(model._placed(sample), noise) <= 0.0):
        warn_user(
            "The codes have collapsed, or nothing was learned yet: a code of zero for every row has no larger loss "
            "than the codes with their KL term. Lower beta, give kl_warmup, make more passes, or lower "
            "learning_rate_init."
        )


def warn_of_few_rows(model, n_samples):
    """Warn of a first batch of a stream that settles the mean and the scale of the data."""
    if model._shape.likelihood == "gaussian" and n_samples < ROWS_TO_SETTLE:
        warn_user(
            f"Mean and scale of the data are estimated from the first batch, which has only {n_samples} rows. Begin "
            "with more rows."
        )


def within_unit_range(X, fitted):
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


def mean_and_scale(X):
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


def posteriors(model, X):
    """Means and variances of the codes of validated rows."""
    encoder = model.encoder_

    def find(rows):
        mean, log_variance = map(to_numpy, encoder(model._placed(dense(X[rows]))))
        return mean.astype(X.dtype, copy=False), np.exp(log_variance).astype(X.dtype, copy=False)

    means, variances = zip(*model._each_block(find, X.shape[0]), strict=True)
    return np.concatenate(means), np.concatenate(variances)


def sampled(model, n_samples, rng, noise):
    """Decoded codes from N(0, I), or data drawn about them."""
    means = model.inverse_transform(rng.standard_normal((n_samples, model.n_components_)).astype(model._dtype))
    if not noise:
        return means
    if model._shape.likelihood == "bernoulli":
        return (rng.uniform(size=means.shape) < means).astype(means.dtype)
    return means + (model.scale_ * rng.standard_normal(means.shape)).astype(means.dtype)


def refuse_no_count(value, name):
    """Refuse what is no whole number above zero."""
    if not Interval(Integral, 1, None, closed="left").is_satisfied_by(value):
        raise ValueError(f"{name}={value!r} must be a whole number > 0.")


def descended(start, landscape, tol):
    """The `Solution` downhill from there, and from one of a few draws from N(0, I) if its energy is lower still.

    All rows count as converged, since none does at the kinks of ReLU units.
    """
    with np.errstate(over="ignore", invalid="ignore"):  # such steps are not taken
        found = fista_restart(landscape, start, max_iter=MAX_STEPS, tol=tol)
        again = fista_restart(landscape, _lowest_draw(found.z, landscape), max_iter=MAX_STEPS, tol=tol)
    return again._replace(n_iter=found.n_iter + again.n_iter, converged=np.ones_like(found.converged))


def _lowest_draw(z, landscape):
    """The codes, but the draw of least energy where that is lower."""
    xp, least = namespace(z), landscape(z)
    for draw in np.random.RandomState(0).standard_normal((STARTS, z.shape[1])):
        other = to_device_of(np.tile(draw, (z.shape[0], 1)), z)
        energy = landscape(other)
        lower = energy < least
        z, least = xp.where(column(lower, z), other, z), xp.where(lower, energy, least)
    return z
