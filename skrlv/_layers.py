r"""A network of dense layers and its backward pass, for decoders and encoders.

.. math:: h_0 = x, \qquad h_l = s(h_{l-1} W_l + b_l), \qquad \text{the last layer without the activation } s

References
----------
Rumelhart, Hinton, Williams, Learning Representations by Back-propagating Errors, 1986. Glorot, Bengio, Understanding
the Difficulty of Training Deep Feedforward Neural Networks, 2010.
"""

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from skrlv._arrays import full, logistic, namespace, to_device_of, zeros


def _relu(v):
    return namespace(v).maximum(v, full((), 0.0, like=v))


def _affine(x, weights, biases):
    h = x @ weights
    h += biases
    return h


# Each activation, and its derivative as a function of its value.
ACTIVATIONS = {
    "identity": (lambda v: v, lambda h: namespace(h).ones_like(h)),
    "logistic": (logistic, lambda h: h * (1.0 - h)),
    "tanh": (lambda v: namespace(v).tanh(v), lambda h: 1.0 - h**2),
    "relu": (_relu, lambda h: namespace(h).astype(h > 0.0, h.dtype)),
}


@dataclass(frozen=True, eq=False)
class Scaling:
    """An affine map that standardises data: x = offset + unit h."""

    offset: Any  # array (n_features,), for example the mean of the data
    unit: float

    def into(self, x):
        """Data -> h."""
        return (x - self.offset) / self.unit

    def back(self, h):
        """h -> data."""
        return h * self.unit + self.offset

    def slope(self, dx):
        """Gradient in the data -> gradient in h."""
        return dx * self.unit


@dataclass(frozen=True, eq=False)
class Layers:
    """Dense layers.

    Parameters
    ----------
    weights : tuple of arrays of shape (n_in, n_out)
        W, one per layer.
    biases : tuple of arrays of shape (n_out,)
        b, one per layer.
    activation : {"identity", "logistic", "tanh", "relu"}
        s, of every layer but the last.
    """

    weights: tuple
    biases: tuple
    activation: str

    @classmethod
    def drawn(cls, sizes, activation, rng, like):
        """Uniform weights within the bounds of Glorot and Bengio and biases of zero; ``sizes`` from input to output."""
        weights, biases = [], []
        for n_in, n_out in pairwise(sizes):
            bound = ((2.0 if activation == "logistic" else 6.0) / (n_in + n_out)) ** 0.5
            weights.append(to_device_of(rng.uniform(-bound, bound, size=(n_in, n_out)), like))
            biases.append(zeros((n_out,), like=like))
        return cls(tuple(weights), tuple(biases), activation)

    @classmethod
    def of(cls, parameters, activation):
        """Layers with the arrays that `parameters` gave."""
        weights, biases = (
            tuple(parameters[f"{kind}_{at}"] for at in range(len(parameters) // 2)) for kind in ("weights", "biases")
        )
        return cls(weights, biases, activation)

    def __call__(self, x):
        """Rows (n_samples, n_in of the first layer) -> (n_samples, n_out of the last)."""
        return self.forward(x)[0]

    def forward(self, x):
        """Run the layers: x -> (out, tape for `vjp`)."""
        activation, tape = ACTIVATIONS[self.activation][0], [x]
        *hidden, last = zip(self.weights, self.biases, strict=True)
        for layer in hidden:
            tape.append(activation(_affine(tape[-1], *layer)))
        return _affine(tape[-1], *last), tape

    def vjp(self, tape, slope):
        """Backward pass: gradient in the output -> (gradient in x, {parameter name: gradient})."""
        slope, gradients = self._back(tape, slope)
        return slope @ self.weights[0].T, gradients

    def gradients(self, tape, slope):
        """The second part of `vjp`, without the first."""
        return self._back(tape, slope)[1]

    def _back(self, tape, slope):
        """-> (gradient in x @ weights[0], {parameter name: gradient})."""
        derivative, gradients = ACTIVATIONS[self.activation][1], {}
        for at in reversed(range(len(self.weights))):
            gradients[f"weights_{at}"] = tape[at].T @ slope
            gradients[f"biases_{at}"] = namespace(slope).sum(slope, axis=0)
            if at:
                slope = (slope @ self.weights[at].T) * derivative(tape[at])
        return slope, gradients

    @property
    def n_in(self):
        """The number of inputs."""
        return self.weights[0].shape[0]

    @property
    def parameters(self):
        """The learned arrays, by name."""
        named: dict[str, Any] = {f"weights_{at}": value for at, value in enumerate(self.weights)}
        return named | {f"biases_{at}": value for at, value in enumerate(self.biases)}

    def with_parameters(self, parameters):
        """The same layers with other parameters, by name."""
        return Layers.of(parameters, self.activation)
