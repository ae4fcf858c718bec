"""Costs C and D: the distance of a decoded code from the data, and of a code from its prediction."""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from typing import Any

from skrlv._arrays import full, logistic, namespace, squares_per_sample, sum_per_sample


class Cost(ABC):
    """The cost of a decoded code b for data a, sample by sample."""

    @abstractmethod
    def __call__(self, a, b):
        """Cost per sample: two arrays (n_samples, ...) -> (n_samples,), float64."""

    @abstractmethod
    def grad(self, a, b):
        """Gradient in b, an array of the shape of b."""

    @property
    @abstractmethod
    def curvature(self):
        """The largest second derivative in b."""

    def expected(self, b):
        """The data that are expected for b, in their unit."""
        return b

    @property
    def parameters(self) -> dict[str, Any]:
        """The learned arrays, by name."""
        return {}

    def with_parameters(self, parameters):
        """The same cost with other parameters, by name, clipped to their range."""
        return self

    def gradients(self, a, costs) -> dict[str, Any]:
        """{parameter name: gradient of the sum of the costs}, for the costs that `__call__` returned."""
        return {}


@dataclass(frozen=True)
class SquaredError(Cost):
    r"""Half the squared distance, :math:`C(a, b) = \frac12 \|a - b\|_2^2`.

    Examples
    --------
    >>> import numpy as np
    >>> from skrlv.costs import SquaredError
    >>> SquaredError()(np.array([[1.0, 2.0]]), np.array([[1.0, 0.0]])).tolist()
    [2.0]
    """

    curvature = 1.0

    def __call__(self, a, b):
        return 0.5 * squares_per_sample(a - b)

    def grad(self, a, b):
        return b - a


@dataclass(frozen=True)
class CrossEntropy(Cost):
    r"""The cross-entropy of data in [0, 1] and Bernoulli probabilities whose log odds (logits) are b.

    .. math:: C(a, b) = \sum_i \log(1 + e^{b_i}) - a_i b_i
        = -\sum_i a_i \log \bar y_i + (1 - a_i) \log(1 - \bar y_i), \qquad \bar y = \frac{1}{1 + e^{-b}}

    If all entries are 0 or 1, it is minus the log likelihood, in nats.

    Examples
    --------
    >>> import numpy as np
    >>> from skrlv.costs import CrossEntropy
    >>> CrossEntropy()(np.array([[1.0, 0.0]]), np.zeros((1, 2))).round(3).tolist()  # 2 log 2: both at even odds
    [1.386]
    """

    curvature = 0.25

    def __call__(self, a, b):
        xp = namespace(b)
        terms = xp.log1p(xp.exp(-xp.abs(b)))  # at most log 2, so that it never overflows
        terms += xp.maximum(b, full((), 0.0, like=b))
        terms -= a * b
        return sum_per_sample(terms)

    def grad(self, a, b):
        return logistic(b) - a

    def expected(self, b):
        return logistic(b)


@dataclass(frozen=True)
class GaussianError(Cost):
    r"""Minus the log likelihood of data with white Gaussian noise, whose mean is a decoded code.

    .. math:: C(a, b) = \frac{1}{2 \sigma^2} \|a - b\|_2^2 + \frac{m}{2} \log(2 \pi \sigma^2)

    Parameters
    ----------
    log_variance : float, or array of shape ()
        :math:`\log \sigma^2`, for :math:`\sigma` in the unit of the data. A float is fixed; an array, in float64, is
        learned.
    lowest : float, default=-inf
        Lower bound of a learned log variance; without it the likelihood of data that are fitted exactly is unbounded.

    Examples
    --------
    >>> import numpy as np
    >>> from skrlv.costs import GaussianError
    >>> GaussianError(np.array([0.0]))(np.zeros((1, 2)), np.ones((1, 2))).round(3).tolist()  # 1 + log(2 pi)
    [2.838]
    """

    log_variance: Any
    lowest: float = -math.inf

    def __call__(self, a, b):
        n_entries = math.prod(a.shape[1:])
        squares = squares_per_sample(a - b) * self._precision
        return 0.5 * squares + 0.5 * n_entries * (math.log(2.0 * math.pi) + self.log_variance)

    def grad(self, a, b):
        precision = self._precision
        return (b - a) * (namespace(b).astype(precision, b.dtype) if self.parameters else precision)

    @property
    def curvature(self):
        return float(self._precision)

    @property
    def _precision(self):
        if not self.parameters:
            return math.exp(-self.log_variance)
        return namespace(self.log_variance).exp(-self.log_variance)

    @property
    def parameters(self):
        return {"log_variance": self.log_variance} if hasattr(self.log_variance, "shape") else {}

    def with_parameters(self, parameters):
        return replace(self, **{name: namespace(v).clip(v, min=self.lowest) for name, v in parameters.items()})

    def gradients(self, a, costs):
        if not self.parameters:
            return {}
        xp, n_entries = namespace(costs), math.prod(a.shape[1:])
        # the gradient of 1/2 |a - b|^2 / sigma^2 in log sigma^2 is minus this term
        constant = 0.5 * n_entries * (math.log(2.0 * math.pi) + self.log_variance)
        return {"log_variance": xp.sum(0.5 * n_entries - (costs - constant))}
