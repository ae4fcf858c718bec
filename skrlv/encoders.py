"""Floor 2: Enc, the prediction of the code that the encoder term pulls towards."""

from abc import ABC, abstractmethod
from dataclasses import dataclass

from skrlv._arrays import zeros


class Encoder(ABC):
    """A feed-forward guess of the code."""

    @abstractmethod
    def __call__(self, y):
        """Predict: data (n_samples, ...) -> codes (n_samples, ..., n_components)."""

    @abstractmethod
    def forward(self, y):
        """Predict and keep what the way back needs: y -> (z, tape)."""

    @abstractmethod
    def vjp(self, tape, dz):
        """Way back: gradient at z -> {parameter name: gradient}."""

    @property
    @abstractmethod
    def parameters(self):
        """The learned arrays by name."""


@dataclass(frozen=True)
class ZeroEncoder(Encoder):
    r"""Predicts :math:`z = 0`: its encoder term is the ridge :math:`\frac{w}{2}\|z\|^2` of the elastic net.

    Parameters
    ----------
    code_shape : tuple of int
        Shape of one code.
    """

    code_shape: tuple

    def __call__(self, y):
        return zeros((y.shape[0], *self.code_shape), like=y)

    def forward(self, y):
        return self(y), None

    def vjp(self, tape, dz):
        return {}

    @property
    def parameters(self):
        return {}
