r"""The encoder of the convolutional sparse autoencoder: one layer of filters and an activation.

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
    r"""One layer of filters with tanh and a gain per map, :math:`\mathrm{Enc}(y)_i = g_i \tanh(K_i \star y + b_i)`.

    The star is the correlation of the signal with a filter, at the positions where the filter fits.

    Parameters
    ----------
    kernels : array of shape (n_components, \*kernel_size, n_channels)
        The filters K.
    bias : array of shape (n_components,)
        b.
    gain : array of shape (n_components,)
        g.

    Examples
    --------
    >>> import numpy as np
    >>> from skrlv.encoders import ConvolutionalEncoder
    >>> encoder = ConvolutionalEncoder(np.ones((4, 3, 3, 1)), bias=np.zeros(4), gain=np.ones(4))
    >>> encoder(np.zeros((2, 10, 12, 1))).shape
    (2, 8, 10, 4)
    """

    kernels: Any
    bias: Any
    gain: Any

    @classmethod
    def first_step(cls, decoder, data_unit):
        """Approximate the first step of ISTA without a threshold, for signals of root mean square ``data_unit``."""
        kernels, rows = decoder.kernels, decoder.rows
        length = data_unit * rows.shape[1] ** 0.5
        numbers = (full(rows.shape[:1], value, like=rows) for value in (0.0, length / decoder.lipschitz))
        return cls(kernels / length, *numbers)

    def forward(self, y):
        activations = namespace(y).tanh(correlate(y, self.kernels) + self.bias)
        return activations * self.gain, (y, activations)

    def vjp(self, tape, dz):
        y, activations = tape
        xp, positions = namespace(y), tuple(range(dz.ndim - 1))
        slope = dz * self.gain * (1.0 - activations**2)
        return {
            "kernels": tap_products(slope, y, self.kernels.shape[1:-1]),
            "bias": xp.sum(slope, axis=positions),
            "gain": xp.sum(dz * activations, axis=positions),
        }

    @property
    def code_axes(self):
        return {"kernels": (0,), "bias": (0,), "gain": (0,)}

    @property
    def parameters(self):
        return {"kernels": self.kernels, "bias": self.bias, "gain": self.gain}

    @property
    def units(self):
        return {"kernels": (-1, 0), "gain": (0, 1)}
