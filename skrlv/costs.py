"""Floor 2: C and D, how far a decoded code is from the data (and a code from its prediction)."""

from abc import ABC, abstractmethod
from dataclasses import dataclass

from skrlv._arrays import squares_per_sample


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
