r"""The encoder of the convolutional sparse autoencoder: one layer of filters, one bend.

References
----------
Kavukcuoglu, Sermanet, Boureau, Gregor, Mathieu, LeCun, Learning Convolutional Feature Hierarchies for Visual
Recognition, 2010.
"""

from dataclasses import dataclass
from typing import Any

from skrlv._arrays import full, namespace
from skrlv._convolution import correlate, tap_products
from skrlv.encoders.encoder import Encoder


@dataclass(frozen=True, eq=False)
class ConvolutionalEncoder(Encoder):
    r"""A gain per map behind squashed filters, :math:`\mathrm{Enc}(y)_i = g_i \tanh(K_i \star y + b_i)`.

    The star correlates each filter with the signal, on the positions where it fits.

    Parameters
    ----------
    kernels : array of shape (n_components, \*kernel_size, n_channels)
        The filters K.
    bias : array of shape (n_components,)
        b.
    gain : array of shape (n_components,)
        g.
    """

    kernels: Any
    bias: Any
    gain: Any

    @classmethod
    def first_step(cls, decoder, data_unit):
        """Nearly the first step of ISTA without a threshold, for signals whose entries are about ``data_unit``."""
        kernels, rows = decoder.kernels, decoder.rows
        length = data_unit * rows.shape[1] ** 0.5
        numbers = (full(rows.shape[:1], value, like=rows) for value in (0.0, length / decoder.lipschitz))
        return cls(kernels / length, *numbers)

    def forward(self, y):
        squashed = namespace(y).tanh(correlate(y, self.kernels) + self.bias)
        return squashed * self.gain, (y, squashed)

    def vjp(self, tape, dz):
        y, squashed = tape
        xp, places = namespace(y), tuple(range(dz.ndim - 1))
        slope = dz * self.gain * (1.0 - squashed**2)
        return {
            "kernels": tap_products(slope, y, self.kernels.shape[1:-1]),
            "bias": xp.sum(slope, axis=places),
            "gain": xp.sum(dz * squashed, axis=places),
        }

    @property
    def parameters(self):
        return {"kernels": self.kernels, "bias": self.bias, "gain": self.gain}

    @property
    def units(self):
        return {"kernels": (-1, 0), "gain": (0, 1)}
