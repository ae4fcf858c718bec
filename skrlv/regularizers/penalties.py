r"""Regularizers R, which penalise codes. Each is defined by its value and its proximal operator,

.. math:: \mathrm{prox}(v, t) = \arg\min_z \tfrac12 \|z - v\|_2^2 + t R(z).

With ``positive=True`` codes are non-negative: R is infinite if an entry is below zero.
A new regularizer is one class with these two methods, and works in every proximal method; `check_regularizer` tests
them on ordinary codes.
"""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from numbers import Integral
from typing import Any

import numpy as np

from skrlv._arrays import (
    double,
    namespace,
    soft_threshold,
    squares_per_sample,
    sum_per_sample,
    to_device_of,
    to_numpy,
    zeros,
)


class Regularizer(ABC):
    """A penalty on codes, sample by sample."""

    positive = False
    convex = True
    continuous = True  # for codes that are allowed

    @property
    def confines(self) -> bool:
        """Whether R grows along every line, so that exp(-R) has a finite integral."""
        return True

    @property
    def merges(self) -> bool:
        """Whether two entries of a code can be replaced by one entry, their sum, without a larger penalty."""
        return False

    @abstractmethod
    def __call__(self, z):
        """R per sample: codes (n_samples, ..., n_components) -> (n_samples,), float64."""

    @abstractmethod
    def prox(self, v, t):
        """argmin over z of 1/2 norm(z - v)^2 + t R(z), an array of the shape of v; t >= 0 is a number."""

    def slope(self, z):
        """A subgradient of R, an array of the shape of z; the subgradient of abs(z) at 0 is taken to be 0."""
        raise TypeError(f"{type(self).__name__} does not implement slope.")


class LassoFamily(Regularizer):
    r"""Regularizers of the form :math:`\sum_j t_j |z_j| + \frac{r}{2} z_j^2`, for which exact kernels exist."""

    @abstractmethod
    def thresholds(self, lmbda, n_components):
        """The thresholds t_j of lmbda R, a NumPy array (n_components,)."""

    @abstractmethod
    def ridge(self, lmbda):
        """The ridge parameter r of lmbda R, a number."""

    def take(self, entries):
        """The regularizer of some of the entries of a code, given by their indices."""
        return self


@dataclass(frozen=True, eq=False)
class L1(LassoFamily):
    r"""The L1 norm, :math:`R(z) = \sum_j w_j |z_j|`.

    Parameters
    ----------
    positive : bool, default=False
        Whether codes are non-negative.
    weights : array-like of shape (n_components,) or None, default=None
        The factor w_j >= 0 of each atom, copied; None is 1 for all atoms.

    Examples
    --------
    >>> import numpy as np
    >>> from skrlv.regularizers import L1
    >>> L1().prox(np.array([[3.0, -1.0, 0.2]]), 0.5).tolist()
    [[2.5, -0.5, 0.0]]
    >>> L1(positive=True).prox(np.array([[3.0, -1.0, 0.2]]), 0.5).tolist()
    [[2.5, 0.0, 0.0]]
    """

    positive: bool = False
    weights: Any = None

    @property
    def merges(self):
        return self.weights is None

    @property
    def confines(self):
        return self.weights is None or bool((self.weights > 0.0).all())

    def take(self, entries):
        return self if self.weights is None else replace(self, weights=self.weights[entries])

    def __post_init__(self):
        if self.weights is not None:
            object.__setattr__(self, "weights", _checked_weights(self.weights))

    def __call__(self, z):
        return sum_per_sample(namespace(z).abs(z) * self._factors(z)) + _indicator(z, self.positive)

    def prox(self, v, t):
        return soft_threshold(v, t * self._factors(v), self.positive)

    def thresholds(self, lmbda, n_components):
        ones = np.ones(n_components)
        return lmbda * self._factors(ones) * ones

    def ridge(self, lmbda):
        return 0.0

    def slope(self, z):
        return namespace(z).sign(z) * self._factors(z)

    def _factors(self, z):
        """The weights w_j, in the library and dtype of z."""
        if self.weights is None:
            return 1.0
        if self.weights.size != z.shape[-1]:
            raise ValueError(
                f"weights has {self.weights.size} numbers, but codes have {z.shape[-1]} entries; give one per atom."
            )
        return to_device_of(np.minimum(self.weights, float(namespace(z).finfo(z.dtype).max)), z)


@dataclass(frozen=True)
class ElasticNet(LassoFamily):
    r"""The elastic net, :math:`R(z) = \rho \sum_j |z_j| + \frac{1 - \rho}{2} \sum_j z_j^2`.

    Parameters
    ----------
    l1_ratio : float in [0, 1], default=0.5
        The share :math:`\rho` of the L1 norm.
    positive : bool, default=False
        Whether codes are non-negative.

    Examples
    --------
    >>> import numpy as np
    >>> from skrlv.regularizers import ElasticNet
    >>> ElasticNet()(np.array([[3.0, -1.0]])).tolist()
    [4.5]
    """

    l1_ratio: float = 0.5
    positive: bool = False

    def __post_init__(self):
        if not 0.0 <= self.l1_ratio <= 1.0:
            raise ValueError(f"l1_ratio={self.l1_ratio!r} must lie in [0, 1].")

    def __call__(self, z):
        magnitudes, squares = sum_per_sample(namespace(z).abs(z)), squares_per_sample(z)
        return self.l1_ratio * magnitudes + 0.5 * (1.0 - self.l1_ratio) * squares + _indicator(z, self.positive)

    def prox(self, v, t):
        return soft_threshold(v, t * self.l1_ratio, self.positive) / (1.0 + t * (1.0 - self.l1_ratio))

    def thresholds(self, lmbda, n_components):
        return np.full(n_components, lmbda * self.l1_ratio)

    def ridge(self, lmbda):
        return lmbda * (1.0 - self.l1_ratio)

    def slope(self, z):
        return self.l1_ratio * namespace(z).sign(z) + (1.0 - self.l1_ratio) * z


@dataclass(frozen=True)
class GroupL1(Regularizer):
    r"""The group Lasso, :math:`R(z) = \sum_g \|z_g\|_2`: the atoms of a group are used together or not at all.

    Parameters
    ----------
    group_size : int, default=2
        Number of neighbouring atoms in a group; the last group is smaller if this does not divide n_components.
    positive : bool, default=False
        Whether codes are non-negative.

    Examples
    --------
    >>> import numpy as np
    >>> from skrlv.regularizers import GroupL1
    >>> GroupL1(2)(np.array([[3.0, 4.0, 0.0, 0.0]])).round(3).tolist()
    [5.0]
    >>> GroupL1(2).prox(np.array([[3.0, 4.0, 0.1, 0.1]]), 1.0).round(2).tolist()  # a group at a time
    [[2.4, 3.2, 0.0, 0.0]]
    """

    group_size: int = 2
    positive: bool = False

    def __post_init__(self):
        if not isinstance(self.group_size, Integral) or self.group_size < 1:
            raise ValueError(f"group_size={self.group_size!r} must be an integer of at least 1.")

    def __call__(self, z):
        return sum_per_sample(_length(self._groups(z))) + _indicator(z, self.positive)

    def prox(self, v, t):
        xp = namespace(v)
        groups = self._groups(xp.clip(v, min=0.0) if self.positive else v)
        length = _length(groups)
        # A group of zeros has length 0 and stays zero, whatever the divisor.
        keep = xp.clip(length - t, min=0.0) / xp.where(length > 0, length, xp.ones_like(length))
        return xp.reshape(groups * xp.astype(keep, v.dtype), (*v.shape[:-1], -1))[..., : v.shape[-1]]

    def _groups(self, z):
        xp = namespace(z)
        missing = -z.shape[-1] % self.group_size
        if missing:
            z = xp.concat([z, zeros((*z.shape[:-1], missing), like=z)], axis=-1)
        return xp.reshape(z, (*z.shape[:-1], -1, self.group_size))


@dataclass(frozen=True)
class L0(Regularizer):
    r"""Number of non-zero entries, :math:`R(z) = \#\{j : z_j \neq 0\}`; not convex, so solvers find a local minimum.

    Parameters
    ----------
    positive : bool, default=False
        Whether codes are non-negative.

    Examples
    --------
    >>> import numpy as np
    >>> from skrlv.regularizers import L0
    >>> L0().prox(np.array([[3.0, -1.0, 0.2]]), 0.5).tolist()  # entries above sqrt(2 t) stay as they are
    [[3.0, 0.0, 0.0]]
    """

    positive: bool = False
    convex = False
    continuous = False

    @property
    def confines(self):
        return False

    @property
    def merges(self):
        return True

    def __call__(self, z):
        return sum_per_sample(namespace(z).astype(z != 0, z.dtype)) + _indicator(z, self.positive)

    def prox(self, v, t):
        height = v if self.positive else namespace(v).abs(v)
        return namespace(v).where(height > math.sqrt(2.0 * t), v, namespace(v).zeros_like(v))


@dataclass(frozen=True)
class StandardNormal(Regularizer):
    r"""Half the squared norm, :math:`R(z) = \frac12 \|z\|_2^2`, also known as ridge.

    It is minus the log density of the normal distribution N(0, I), up to the constant k/2 log(2 pi).

    Examples
    --------
    >>> import numpy as np
    >>> from skrlv.regularizers import StandardNormal
    >>> StandardNormal().prox(np.array([[3.0, -1.0]]), 1.0).tolist()
    [[1.5, -0.5]]
    """

    def __call__(self, z):
        return 0.5 * squares_per_sample(z)

    def prox(self, v, t):
        return v / (1.0 + t)

    def slope(self, z):
        return z


def _checked_weights(weights):
    weights = np.array(to_numpy(weights), dtype=np.float64)
    if weights.ndim != 1 or not (np.isfinite(weights) & (weights >= 0.0)).all():
        raise ValueError(f"weights must be finite numbers of at least 0, one per atom, got {weights!r}.")
    return weights


def _indicator(z, positive):
    """The indicator of allowed codes: 0 per sample, or infinity if an entry is negative although it must not be."""
    if not positive:
        return 0.0
    xp = namespace(z)
    none = xp.zeros_like(sum_per_sample(z))
    return xp.where(xp.any(z < 0, axis=tuple(range(1, z.ndim))), none + float("inf"), none)


def _length(groups):
    xp = namespace(groups)
    return xp.sqrt(xp.sum(double(groups) ** 2, axis=-1, keepdims=True))
