r"""The encoder of the variational autoencoder, which predicts a distribution of codes for each sample.

References
----------
Kingma, Welling, Auto-Encoding Variational Bayes, 2014.
"""

from dataclasses import dataclass, replace
from typing import Any

from skrlv._arrays import namespace, zeros
from skrlv._layers import Scaling
from skrlv.encoders.encoder import Encoder

MOST_LOG_VARIANCE = 20.0  # maximum magnitude; tanh approaches it smoothly, so that gradients do not vanish at a bound


@dataclass(frozen=True, eq=False)
class GaussianNetwork(Encoder):
    r"""Dense layers that predict a Gaussian posterior, :math:`q(z \mid y) = N(\mu(y), \mathrm{diag}\, \sigma^2(y))`.

    .. math:: (\mu, v) = \mathrm{layers}((y - o) / u), \qquad \log \sigma^2 = 20 \tanh(v / 20)

    Parameters
    ----------
    layers : Layers or ModuleLayers
        Map data (n_samples, n_features) to (n_samples, 2 n_components), the means followed by v; if ``learn_variance``
        is False, to the means alone.
    n_components : int
        Number of entries of a code.
    learn_variance : bool, default=True
        Whether variances are predicted; if not, :math:`\sigma = 1`.
    scaling : Scaling or None, default=None
        The offset o and the unit u of the data; None means 0 and 1.
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
        bounded = namespace(out).tanh(out[:, self.n_components :] / MOST_LOG_VARIANCE)
        return (out[:, : self.n_components], MOST_LOG_VARIANCE * bounded), (tape, bounded)

    def vjp(self, tape, dz):
        """Backward pass: pair of the gradients in mean and log variance -> {parameter name: gradient}."""
        (tape, bounded), (slope, at_log_variance) = tape, dz
        if bounded is not None:
            slope = namespace(slope).concat([slope, at_log_variance * (1.0 - bounded**2)], axis=1)
        return self.layers.gradients(tape, slope)

    @property
    def parameters(self):
        return self.layers.parameters

    def with_parameters(self, parameters):
        return replace(self, layers=self.layers.with_parameters(parameters))
