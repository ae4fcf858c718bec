r"""The encoders of predictive sparse decomposition: one matrix and an activation.

References
----------
Kavukcuoglu, Ranzato, LeCun, Fast Inference in Sparse Coding Algorithms with Applications to Object Recognition, 2008.
"""

from dataclasses import dataclass
from typing import Any

from skrlv._arrays import full, namespace, soft_threshold, soft_threshold_vjp
from skrlv.encoders.encoder import Encoder


@dataclass(frozen=True, eq=False)
class TanhEncoder(Encoder):
    r"""One layer with tanh and a gain per entry, :math:`\mathrm{Enc}(y) = g \odot \tanh(W y + b)`.

    Parameters
    ----------
    weights : array of shape (n_components, n_features)
        W, one filter per row.
    bias : array of shape (n_components,)
        b.
    gain : array of shape (n_components,)
        g.

    Examples
    --------
    >>> import numpy as np
    >>> from skrlv.encoders import TanhEncoder
    >>> encoder = TanhEncoder(np.eye(2), bias=np.zeros(2), gain=np.array([1.0, 2.0]))
    >>> encoder(np.array([[0.0, 10.0]])).round(3).tolist()
    [[0.0, 2.0]]
    """

    weights: Any
    bias: Any
    gain: Any

    @classmethod
    def first_step(cls, decoder, data_unit):
        """Approximate the first step of ISTA without a threshold, for rows of root mean square ``data_unit``."""
        atoms = decoder.atoms
        length = data_unit * atoms.shape[1] ** 0.5
        numbers = (full(atoms.shape[:1], value, like=atoms) for value in (0.0, length / decoder.lipschitz))
        return cls(atoms / length, *numbers)

    def forward(self, y):
        activations = namespace(y).tanh(y @ self.weights.T + self.bias)
        return activations * self.gain, (y, activations)

    def vjp(self, tape, dz):
        y, activations = tape
        xp = namespace(y)
        slope = dz * self.gain * (1.0 - activations**2)
        return {"weights": slope.T @ y, "bias": xp.sum(slope, axis=0), "gain": xp.sum(dz * activations, axis=0)}

    @property
    def code_axes(self):
        return {"weights": (0,), "bias": (0,), "gain": (0,)}

    @property
    def parameters(self):
        return {"weights": self.weights, "bias": self.bias, "gain": self.gain}

    @property
    def units(self):
        return {"weights": (-1, 0), "gain": (0, 1)}


@dataclass(frozen=True, eq=False)
class ShrinkageEncoder(Encoder):
    r"""One layer with soft thresholding, which gives exact zeros, and a gain: :math:`g \odot \mathrm{sh}_\theta(W y)`.

    Parameters
    ----------
    weights : array of shape (n_components, n_features)
        W, one filter per row.
    thresholds : array of shape (n_components,)
        :math:`\theta \ge 0`.
    gain : array of shape (n_components,)
        g; non-negative if ``positive``.
    positive : bool, default=False
        Whether codes are non-negative.

    Examples
    --------
    >>> import numpy as np
    >>> from skrlv.encoders import ShrinkageEncoder
    >>> encoder = ShrinkageEncoder(np.eye(2), np.array([0.5, 0.5]), np.ones(2))
    >>> encoder(np.array([[0.3, 2.0]])).tolist()
    [[0.0, 1.5]]
    """

    weights: Any
    thresholds: Any
    gain: Any
    positive: bool = False

    @classmethod
    def first_step(cls, decoder, lmbda, *, positive=False):
        """The first step of ISTA."""
        atoms, L = decoder.atoms, decoder.lipschitz
        thresholds, gain = (full(atoms.shape[:1], value, like=atoms) for value in (lmbda / L, 1.0))
        return cls(atoms / L, thresholds, gain, positive)

    @property
    def non_negative(self):
        return ("thresholds", "gain") if self.positive else ("thresholds",)

    def forward(self, y):
        shrunk = soft_threshold(y @ self.weights.T, self.thresholds, self.positive)
        return shrunk * self.gain, (y, shrunk)

    def vjp(self, tape, dz):
        y, shrunk = tape
        slope, thresholds = soft_threshold_vjp(shrunk, dz * self.gain)
        gain = namespace(y).sum(dz * shrunk, axis=0)
        return {"weights": slope.T @ y, "thresholds": thresholds, "gain": gain}

    @property
    def code_axes(self):
        return {"weights": (0,), "thresholds": (0,), "gain": (0,)}

    @property
    def parameters(self):
        return {"weights": self.weights, "thresholds": self.thresholds, "gain": self.gain}

    @property
    def units(self):
        return {"weights": (-1, 1), "thresholds": (0, 1)}
