"""Floor 2: C and D, how far a decoded code is from the data (and a code from its prediction)."""

from abc import ABC, abstractmethod
from dataclasses import dataclass

from skrlv._arrays import double, logistic, namespace, squares_per_sample, sum_per_sample


class Cost(ABC):
    """How much it costs to say b where a was seen."""

    @abstractmethod
    def __call__(self, a, b):
        """Cost per sample: two arrays (n_samples, ...) -> (n_samples,), float64."""

    @abstractmethod
    def grad(self, a, b):
        """Gradient in b, shaped like b."""

    @property
    @abstractmethod
    def curvature(self):
        """Largest second derivative in b."""


@dataclass(frozen=True)
class SquaredError(Cost):
    r"""Half the squared distance, :math:`C(a, b) = \frac12 \|a - b\|_2^2`."""

    curvature = 1.0

    def __call__(self, a, b):
        return 0.5 * squares_per_sample(a - b)

    def grad(self, a, b):
        return b - a


@dataclass(frozen=True)
class CrossEntropy(Cost):
    r"""What data in 0..1 cost where each entry is a coin, of which b is the log odds (the logit).

    .. math:: C(a, b) = \sum_i \log(1 + e^{b_i}) - a_i b_i
        = -\sum_i a_i \log \bar y_i + (1 - a_i) \log(1 - \bar y_i), \qquad \bar y = \frac{1}{1 + e^{-b}}

    For entries that are 0 or 1 it is minus the log likelihood, in nats.
    """

    curvature = 0.25

    def __call__(self, a, b):
        xp, a, b = namespace(b), double(a), double(b)
        return sum_per_sample(xp.maximum(b, xp.zeros_like(b)) - a * b + xp.log1p(xp.exp(-xp.abs(b))))

    def grad(self, a, b):
        return logistic(b) - a
