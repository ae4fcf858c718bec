r"""The bound that a variational autoencoder minimises.

It has no term D: the encoder returns the distribution that codes are drawn from. So the bound is not an `Energy`.

References
----------
Kingma, Welling, Auto-Encoding Variational Bayes, 2014. Burda, Grosse, Salakhutdinov, Importance Weighted Autoencoders,
2016.
"""

import math
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from skrlv._arrays import double, namespace, squares_per_sample, sum_per_sample, to_device_of, to_numpy, zeros
from skrlv._layers import Layers, Scaling
from skrlv.costs import Cost, CrossEntropy, GaussianError
from skrlv.decoders import Network
from skrlv.encoders import GaussianNetwork

MIN_NOISE = 1e-3  # lower bound of learned noise, as a share of the scale of the data


@dataclass(frozen=True, eq=False)
class VariationalBound:
    r"""The negative evidence lower bound, with a weight on its KL term.

    .. math:: L(y) = \mathbb{E}_{z \sim q(z \mid y)}\, C(y, \mathrm{Dec}(z)) + \beta\, \mathrm{KL}(q(z \mid y), N(0, I))

    With :math:`C = -\log p(y \mid z)` and :math:`\beta = 1` it is at least :math:`-\log p(y)`.

    Parameters
    ----------
    encoder : GaussianNetwork
        q.
    decoder : Network
        Dec.
    cost : Cost
        C.
    beta : float, default=1.0
        Weight of the KL term.
    """

    encoder: GaussianNetwork
    decoder: Any
    cost: Cost
    beta: float = 1.0

    def loss(self, y, noise):
        """L per sample, estimated with one draw of the code; noise as for `drawn` -> (n_samples,), float64."""
        mean, log_variance = self.encoder(y)
        cost = self.cost(y, self.decoder(drawn(mean, log_variance, noise)))
        return cost + self.beta * sum_per_sample(divergence(mean, log_variance))

    def log_weights(self, y, noise):
        r""":math:`\log p(y, z) - \log q(z \mid y)` of drawn codes.

        The noise, (n_draws, n_components), is the same for all rows. The mean of the log weights over draws is the
        evidence lower bound (ELBO); the logarithm of the mean weight is the importance-weighted bound. Returns
        (n_draws, n_samples), float64.
        """
        xp = namespace(y)
        mean, log_variance = self.encoder(y)
        volume = 0.5 * sum_per_sample(log_variance)
        weights = []
        for draw in range(noise.shape[0]):
            e = noise[draw : draw + 1, :]
            z = drawn(mean, log_variance, e)
            weights.append(
                0.5 * (squares_per_sample(e) - squares_per_sample(z)) + volume - self.cost(y, self.decoder(z))
            )
        return xp.stack(weights)

    def gain_of_codes(self, y, rng):
        """The mean cost of a zero code for all of these rows, minus their mean loss, in nats."""
        zero = zeros((y.shape[0], self.encoder.n_components), like=y)
        noise = to_device_of(rng.standard_normal(zero.shape), y)
        loss = 0.5 * (self.loss(y, noise) + self.loss(y, -noise))  # terms that are odd in the noise cancel
        return float((self.cost(y, self.decoder(zero)) - loss).mean())

    @property
    def parameters(self):
        """The learned arrays of encoder, decoder and cost, by name."""
        return {f"{part}.{name}": value for part in _PARTS for name, value in getattr(self, part).parameters.items()}

    def with_parameters(self, parameters):
        """The bound with other parameters, given by name."""
        return replace(self, **{part: getattr(self, part).with_parameters(_of(part, parameters)) for part in _PARTS})


class BoundShape(NamedTuple):
    """The settings of a bound besides its learned arrays, as plain values that a fitted model stores."""

    likelihood: str
    activation: str
    learn_variance: bool
    n_components: int
    beta: float
    offset: Any  # mean row of the data, or None
    unit: float  # scale of the data

    def bound(self, inward, outward, log_variance, place):
        """Build a bound from the layers of encoder and decoder, and the noise."""
        lowest = 2.0 * math.log(MIN_NOISE * self.unit)
        cost = GaussianError(log_variance, lowest) if self.likelihood == "gaussian" else CrossEntropy()

        def scaling(layers):
            if self.offset is None or not isinstance(layers, Layers):
                return None  # a user's own module is given the data without scaling
            return Scaling(place(self.offset), self.unit)

        encoder = GaussianNetwork(inward, self.n_components, self.learn_variance, scaling(inward))
        return VariationalBound(encoder, Network(outward, scaling(outward)), cost, self.beta)

    def unpacked(self, parameters, modules, log_variance, to_device, place):
        """Rebuild the bound from the output of `packed`; log_variance is used if the noise is not learned."""
        parameters = {name: to_device(value) for name, value in parameters.items()}
        inward, outward = (
            modules[part](_of(part, parameters)["weights"])
            if part in modules
            else Layers.of(_of(part, parameters), self.activation)
            for part in ("encoder", "decoder")
        )
        return self.bound(inward, outward, parameters.get("cost.log_variance", log_variance), place)


def packed(bound):
    """Return the learned arrays as NumPy arrays by name, and by name the layers that are a user's own modules."""
    layers = {"encoder": bound.encoder.layers, "decoder": bound.decoder.layers}
    modules = {name: value.without_weights() for name, value in layers.items() if not isinstance(value, Layers)}
    return {name: to_numpy(value) for name, value in bound.parameters.items()}, modules


_PARTS = ("encoder", "decoder", "cost")


def _of(part, parameters):
    return {name.removeprefix(f"{part}."): value for name, value in parameters.items() if name.startswith(f"{part}.")}


def drawn(mean, log_variance, noise):
    """Codes drawn from the posteriors, for noise from N(0, I) of the shape of the codes or shared by all rows.

    Examples
    --------
    >>> import numpy as np
    >>> from skrlv.bound import drawn
    >>> drawn(np.array([[1.0]]), np.log([[4.0]]), np.array([[0.5]])).tolist()
    [[2.0]]
    """
    return mean + namespace(mean).exp(0.5 * log_variance) * noise


def divergence(mean, log_variance):
    r"""KL divergence of each entry's posterior from N(0, 1), :math:`\frac12 (\sigma^2 + \mu^2 - 1 - \log \sigma^2)`.

    Examples
    --------
    >>> import numpy as np
    >>> from skrlv.bound import divergence
    >>> divergence(np.array([[0.0, 2.0]]), np.array([[0.0, 0.0]])).tolist()
    [[0.0, 2.0]]
    """
    return 0.5 * (namespace(mean).expm1(log_variance) - log_variance + mean**2)


def importance_bound(log_weights, n_samples):
    """Importance-weighted bound on log p(y), (n_rows,), from log weights of shape (n_draws, n_rows).

    The draws are cut into groups of n_samples; the bound is the mean over groups of the logarithm of the mean weight.
    With one draw per group it is the ELBO.

    Examples
    --------
    >>> import numpy as np
    >>> from skrlv.bound import importance_bound
    >>> log_weights = np.log([[1.0], [3.0]])
    >>> importance_bound(log_weights, 1).round(3).tolist(), importance_bound(log_weights, 2).round(3).tolist()
    ([0.549], [0.693])
    """
    xp = namespace(log_weights)
    groups = xp.reshape(double(log_weights), (-1, n_samples, log_weights.shape[1]))
    top = xp.max(groups, axis=1, keepdims=True)
    means = xp.log(xp.sum(xp.exp(groups - top), axis=1)) - math.log(n_samples) + top[:, 0, :]
    return xp.mean(means, axis=0)
