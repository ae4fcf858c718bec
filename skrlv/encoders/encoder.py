"""The interface of encoders, and the encoder that predicts zero."""

from abc import ABC, abstractmethod
from dataclasses import dataclass, fields, replace

import numpy as np

from skrlv._arrays import namespace, zeros


@dataclass(frozen=True, eq=False)
class Encoder(ABC):
    """A feed-forward prediction of the code, as a dataclass of arrays and numbers."""

    @abstractmethod
    def forward(self, y):
        """Predict: data (n_samples, ...) -> (codes (n_samples, ...), tape for `vjp`)."""

    @abstractmethod
    def vjp(self, tape, dz):
        """Backward pass: gradient in z -> {parameter name: gradient}, summed over samples."""

    @property
    @abstractmethod
    def parameters(self):
        """The learned arrays, by name."""

    @property
    def non_negative(self) -> tuple[str, ...]:
        """Names of the parameters that must not be negative."""
        return ()

    @property
    def units(self) -> dict[str, tuple[int, int]]:
        """The unit of each parameter as powers of the units of data and codes; those without a unit may be left out."""
        return {}

    @property
    def code_axes(self) -> dict[str, tuple[int, ...]]:
        """The axes of each array that run over the entries of a code; empty if these entries cannot be reordered."""
        return {}

    def reordered(self, order):
        """The same encoder, of NumPy arrays, for codes whose entries come in another order, given by their indices."""
        if not self.code_axes:
            raise TypeError(f"The entries of the codes of {type(self).__name__} cannot be reordered.")
        return replace(self, **{name: self.in_order(name, getattr(self, name), order) for name in self.code_axes})

    def in_order(self, name, values, order):
        """A NumPy array of the shape of that parameter, for codes in another order."""
        for axis in self.code_axes.get(name, ()):
            values = np.take(values, order, axis=axis)
        return values

    def scales(self, data_unit, code_unit):
        """The unit of each parameter as a number, by name, for data and codes in these units."""
        powers = {name: self.units.get(name, (0, 0)) for name in self.parameters}
        return {name: data_unit**data * code_unit**code for name, (data, code) in powers.items()}

    def __call__(self, y):
        """Predict: data (n_samples, ...) -> codes (n_samples, ..., n_components)."""
        return self.forward(y)[0]

    def mapped(self, function):
        """The same encoder with the function applied to each of its arrays."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return replace(self, **{name: function(value) for name, value in values.items() if getattr(value, "ndim", 0)})

    def with_parameters(self, parameters):
        """The same encoder with other parameters, by name; those that must not be negative are clipped at zero."""
        return replace(self, **{name: self._allowed(name, value) for name, value in parameters.items()})

    def _allowed(self, name, value):
        return namespace(value).clip(value, min=0.0) if name in self.non_negative else value


@dataclass(frozen=True)
class ZeroEncoder(Encoder):
    r"""Predicts :math:`z = 0`: its encoder term is the ridge :math:`\frac{w}{2}\|z\|^2` of the elastic net.

    Parameters
    ----------
    code_shape : tuple of int
        Shape of one code.

    Examples
    --------
    >>> import numpy as np
    >>> from skrlv.encoders import ZeroEncoder
    >>> ZeroEncoder((3,))(np.ones((2, 5))).tolist()
    [[0.0, 0.0, 0.0], [0.0, 0.0, 0.0]]
    """

    code_shape: tuple

    def forward(self, y):
        return zeros((y.shape[0], *self.code_shape), like=y), None

    def vjp(self, tape, dz):
        return {}

    @property
    def parameters(self):
        return {}
