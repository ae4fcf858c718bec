r"""The encoder of the variational autoencoder: not one code for a sample, but a law of codes.

References
----------
Kingma, Welling, Auto-Encoding Variational Bayes, 2014.
"""

from dataclasses import dataclass, replace
from typing import Any

from skrlv._arrays import namespace, zeros
from skrlv._layers import Scaling
from skrlv.encoders.encoder import Encoder

MOST_LOG_VARIANCE = 20.0  # in magnitude; tanh bends towards it, so that no gradient is ever lost at a wall


@dataclass(frozen=True, eq=False)
class GaussianNetwork(Encoder):
    r"""Dense layers that give a ball of codes, :math:`q(z \mid y) = N(\mu(y), \mathrm{diag}\, \sigma^2(y))`.

    .. math:: (\mu, v) = \mathrm{layers}((y - o) / u), \qquad \log \sigma^2 = 20 \tanh(v / 20)

    Parameters
    ----------
    layers : Layers or ModuleLayers
        From data (n_samples, n_features) to (n_samples, 2 n_components): means, then v. Balls of a fixed size need the
        means alone.
    n_components : int
        Number of entries of a code.
    learn_variance : bool, default=True
        Whether the balls have sizes of their own; without, :math:`\sigma = 1`.
    scaling : Scaling or None, default=None
        The offset o and the unit u of the data; None is zero and one.
    """

    layers: Any
    n_components: int
    learn_variance: bool = True
    scaling: Scaling | None = None

    def forward(self, y):
        """Data (n_samples, n_features) -> ((mean, log variance), tape), each of shape (n_samples, n_components)."""
        out, tape = self.layers.forward(y if self.scaling is None else self.scaling.into(y))
        if not self.learn_variance:
            return (out, zeros(out.shape, like=out)), (tape, None)
        bent = namespace(out).tanh(out[:, self.n_components :] / MOST_LOG_VARIANCE)
        return (out[:, : self.n_components], MOST_LOG_VARIANCE * bent), (tape, bent)

    def vjp(self, tape, dz):
        """Way back: the pair of gradients at mean and log variance -> {parameter name: gradient}."""
        (tape, bent), (slope, at_log_variance) = tape, dz
        if bent is not None:
            slope = namespace(slope).concat([slope, at_log_variance * (1.0 - bent**2)], axis=1)
        return self.layers.gradients(tape, slope)

    @property
    def parameters(self):
        return self.layers.parameters

    def with_parameters(self, parameters):
        return replace(self, layers=self.layers.with_parameters(parameters))
